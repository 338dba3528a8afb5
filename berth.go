package berth

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"berth/config"
	"berth/internal/api"
	"berth/internal/auth"
	"berth/internal/blob"
	"berth/internal/blob/fsblob"
	"berth/internal/event"
	"berth/internal/fsck"
	"berth/internal/gc"
	"berth/internal/guard"
	"berth/internal/listen"
	"berth/internal/meta/sqlmeta"
	"berth/internal/ops"
	"berth/internal/registry"
	"berth/internal/registry2/tree"
	"berth/internal/retention"
)

// Options are what Open needs.
type Options struct {
	Config  config.Config
	Logger  *slog.Logger     // nil discards
	Now     func() time.Time // nil means time.Now
	Version string           // of the program, for its operator; empty means dev
}

// A Server is a registry: an http.Handler for its clients, and what goes on
// behind it.
type Server struct {
	cfg     config.Config
	log     *slog.Logger
	now     func() time.Time // the wall clock
	version string

	meta      *sqlmeta.DB
	blobs     *fsblob.Store
	core      *registry.Core
	collector *gc.Collector
	scrubber  *fsck.Scrubber
	measuring *measuring

	collections *errand[struct{}] // what the API can have done
	retentions  *errand[api.RetentionRun]
	fscks       *errand[api.CheckRun]

	retention *retention.Runner
	snapshots sqlmeta.Snapshots
	login     *login
	proxies   *listen.Proxies
	health    *ops.Health
	metrics   *ops.Metrics
	tree      *tree.Tree    // that registry:2 left, or will find
	adopter   *tree.Adopter // nil when the tree is not read
	shadow    *tree.Shadow  // nil when it is not written

	notifications notifications
	backups       backups

	clients http.Handler // what ServeHTTP serves
	admin   http.Handler // the same registry without log-in, for the operator
	closers closers
}

// Open opens the data directory, brings the database up to date and returns a
// server. It opens no listener and starts no goroutine. Its errors say what to
// do about them.
func Open(ctx context.Context, o Options) (_ *Server, err error) {
	if err := o.Config.Validate(); err != nil {
		return nil, err
	}
	cfg, err := absolute(o.Config)
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, log: cmp.Or(o.Logger, slog.New(slog.DiscardHandler)), version: cmp.Or(o.Version, "dev")}
	if s.now = o.Now; s.now == nil {
		s.now = time.Now
	}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if err := s.openData(ctx, o.Now); err != nil {
		return nil, err
	}
	if s.login, err = openLogin(ctx, cfg, s.log); err != nil {
		return nil, err
	}
	if err := s.openEvents(ctx); err != nil {
		return nil, err
	}
	if err := s.openOps(); err != nil {
		return nil, err
	}
	store, err := s.openStorageTimes()
	if err != nil {
		return nil, err
	}
	manifests, err := manifestRules(cfg.Manifests)
	if err != nil {
		return nil, err
	}
	s.core = registry.New(registry.Options{
		Blobs: store, Records: s.meta, Log: s.log,
		Deletion:      deletion(cfg),
		Manifests:     manifests,
		RefuseMissing: cfg.Manifests.Missing == config.MissingRefuse,
		MaxUpload:     int64(cfg.Uploads.MaxSize),
		Grace:         cfg.GC.Grace,
	})
	s.collector = &gc.Collector{
		Records: s.meta, Blobs: store, Grace: cfg.GC.Grace, Delay: cfg.GC.Delay, UploadIdle: cfg.Uploads.Expire, Log: s.log,
		Steps: []gc.Step{s.expireTrash(), s.retain(), s.trimHistory()},
		Every: cfg.GC.Every, Window: gcWindow(cfg.GC.Window), Now: s.now,
	}
	s.openScrub()
	s.measuring = s.newMeasuring()
	s.collections, s.retentions, s.fscks = newErrand[struct{}](), newErrand[api.RetentionRun](), newErrand[api.CheckRun]()
	s.proxies = listen.NewProxies(listen.ProxyOptions{Trusted: cfg.HTTP.TrustedProxies, Setting: "http.trusted_proxies", Log: s.log})
	if err := s.openTree(ctx); err != nil {
		return nil, err
	}
	s.openHandlers()
	return s, nil
}

// absolute fills in what the configuration leaves open, and ties its paths to
// the working directory as it is now.
func absolute(cfg config.Config) (_ config.Config, err error) {
	if cfg.Data, err = filepath.Abs(cfg.Data); err != nil {
		return cfg, fmt.Errorf("data directory: %w", err)
	}
	cfg = cfg.Derive()
	if cfg.Database.Path, err = filepath.Abs(cfg.Database.Path); err != nil {
		return cfg, fmt.Errorf("database: %w", err)
	}
	return cfg, nil
}

// leastReserve is the least free space that keeps the database writing: deletes and
// collections need it when a disk is full.
const leastReserve = 16 * config.MiB

// openData takes the data directory and opens what is in it.
func (s *Server) openData(ctx context.Context, now func() time.Time) error {
	facts, err := fsblob.Probe(s.cfg.Data)
	if err != nil {
		return err
	}
	if err := s.checkFileSystem(facts); err != nil {
		return err
	}
	lock, err := fsblob.LockDir(s.cfg.Data)
	if err != nil {
		return err
	}
	s.closers.add(func(context.Context) error { return lock.Close() })
	if err := refuseUnfinished(s.cfg.Data); err != nil {
		return err
	}
	if s.blobs, err = fsblob.Open(fsblob.Options{Dir: s.cfg.Data, Reserve: int64(s.cfg.Storage.Reserve), Known: s.known, Log: s.log}); err != nil {
		return err
	}
	s.closers.add(func(context.Context) error { return s.blobs.Close() })
	if r := s.cfg.Storage.Reserve; r < leastReserve {
		s.log.Warn("storage.reserve is so small that the database may find no space when the disk is full: its log takes up to 16 MiB",
			"reserve", r.String(), "better", leastReserve.String())
	}
	if err := os.MkdirAll(filepath.Dir(s.cfg.Database.Path), 0o700); err != nil {
		return fmt.Errorf("make the folder of the database: %w", err)
	}
	return s.openDatabase(ctx, now)
}

// known tells the blob store what is recorded. Nobody asks before there is a database.
func (s *Server) known(ctx context.Context, key blob.Key) (bool, error) {
	return s.meta.KnownKey(ctx, key)
}

// checkFileSystem refuses to put SQLite where it isn't safe: where files may be
// changed from another machine, or without locks and shared memory that work. On
// fuse and 9p, which a container on a desktop machine gets, a program beside us
// answers for the files; it may be trusted if these work.
func (s *Server) checkFileSystem(facts fsblob.Facts) error {
	inside := s.cfg.Database.Path == config.Config{Data: s.cfg.Data}.Derive().Database.Path
	works := facts.Locks && facts.MapsShared
	beside := facts.Type == "fuse" || facts.Type == "9p"
	switch {
	case !inside || works && !facts.Network:
		return nil
	case works && beside:
		s.log.Warn("the database is on a file system that another program answers for; database.path can move it to a local disk",
			"directory", s.cfg.Data, "type", facts.Type)
		return nil
	}
	return fmt.Errorf("the data directory %s is on %s, where a database can be damaged (no reliable locks or shared memory): "+
		"keep the content there and put the database on a local disk with database.path, such as database.path: /var/lib/berth/berth.db", s.cfg.Data, facts.Type)
}

func deletion(cfg config.Config) registry.Deletion {
	if cfg.Delete.Enabled {
		return registry.DeletionOn
	}
	return registry.DeletionOff
}

// manifestRules turns what the configuration says of manifests into rules.
func manifestRules(c config.Manifests) (m registry.Manifests, err error) {
	m = registry.Manifests{RefuseURLs: c.URLs.Refuse, Platforms: c.Platforms}
	for _, list := range []struct {
		from []string
		to   *[]*regexp.Regexp
	}{{c.URLs.Allow, &m.AllowURLs}, {c.URLs.Deny, &m.DenyURLs}} {
		for _, text := range list.from {
			re, err := regexp.Compile(text)
			if err != nil {
				return m, fmt.Errorf("manifests.urls: %w", err)
			}
			*list.to = append(*list.to, re)
		}
	}
	return m, nil
}

// open returns the registry as a client may use it.
func (s *Server) open(p auth.Principal, by event.Actor) registry.Service {
	return guard.New(s.gated(s.core.As(by)), p, s.login.policy)
}

// ServeHTTP serves the registry's clients: the distribution API under /v2/, a
// page for people at /, and /healthz and /readyz.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.clients.ServeHTTP(w, r) }

// Admin returns the handler for the registry's operator, who needs no log-in and
// may do everything: the distribution API, and at /admin/ what only an operator
// asks for. It must only be reachable by the operator.
func (s *Server) Admin() http.Handler { return s.admin }

// Close writes what has to be kept, and gives up the data directory. Requests
// that are still running fail.
func (s *Server) Close() error { return s.closers.close(context.Background()) }
