package config

import (
	"path/filepath"
	"time"
)

// Config is the whole configuration of a Berth server.
type Config struct {
	// Data is the directory that holds everything: the content, the database
	// with the names, and the database's snapshots. Keeping this directory is
	// keeping the registry. It is made if it does not exist; one process at a
	// time may use it. A relative path counts from the working directory.
	//
	// When Berth is called as `registry`, the default is registry:2's own,
	// `/var/lib/registry`.
	Data string `yaml:"data"`

	// ReadOnly makes the registry refuse every push and deletion, with 405
	// UNSUPPORTED. Pulls go on.
	ReadOnly bool `yaml:"read_only"`

	// Access is the list of rules that say who may do what where. A rule adds
	// rights and takes none away, so their order means nothing; what no rule
	// allows is denied. Without any rule, whoever is logged in may do everything
	// and `auth.anonymous` says what the others may; without any log-in
	// configured, everybody may do everything.
	Access []Rule `yaml:"access"`

	Database      Database      `yaml:"database"`
	Cache         Cache         `yaml:"cache"`
	HTTP          HTTP          `yaml:"http"`
	Auth          Auth          `yaml:"auth"`
	Manifests     Manifests     `yaml:"manifests"`
	Tags          Tags          `yaml:"tags"`
	Lists         Lists         `yaml:"lists"`
	Delete        Delete        `yaml:"delete"`
	Uploads       Uploads       `yaml:"uploads"`
	Trash         Trash         `yaml:"trash"`
	Retention     Retention     `yaml:"retention"`
	GC            GC            `yaml:"gc"`
	Scrub         Scrub         `yaml:"scrub"`
	Storage       Storage       `yaml:"storage"`
	Registry2     Registry2     `yaml:"registry2"`
	Notifications Notifications `yaml:"notifications"`
	Health        Health        `yaml:"health"`
	Log           Log           `yaml:"log"`
	Metrics       Metrics       `yaml:"metrics"`
}

// Registry2 is living together with a registry:2 that used this data directory
// before, or will again.
type Registry2 struct {
	// Shadow says whether registry:2's own links are kept in step with what is
	// pushed, so that registry:2 can be started again on the same directory:
	// `auto` while the directory is one that was taken over and
	// `berth adopt --finish` has not been called, `on` always, `off` never.
	Shadow Shadow `yaml:"shadow"`
}

// Database is the SQLite database that knows every repository, tag and
// manifest. It belongs to the data directory and travels with it.
type Database struct {
	// Path is the database file. Move it to a local disk if the data directory
	// is on a network file system, where SQLite's locking and shared memory
	// are not safe; its snapshots stay in the data directory. The files beside
	// it whose names begin with its name belong to it: when it is moved, with
	// the server stopped, they go along.
	Path string `yaml:"path" derived:"<data>/berth/berth.db"`

	Snapshots Snapshots `yaml:"snapshots"`
}

// Snapshots are consistent copies of the database, written into the data
// directory while the server runs and when it stops. Should the database be
// lost, the newest one brings the names back.
type Snapshots struct {
	// Every is the time between two snapshots. 0 writes one at shutdown only.
	// What is pushed after the newest snapshot is what the loss of the
	// database would cost.
	Every time.Duration `yaml:"every"`

	// Keep is how many snapshots are kept; older ones are removed.
	Keep int `yaml:"keep"`
}

// Cache is what is kept in memory of what is in the database, to answer at once.
// It is never older than the database.
type Cache struct {
	// Memory bounds it. What nobody has asked for of late goes first. Manifests,
	// tags and memberships of blobs take some 350 bytes each, a manifest its own
	// size besides. Up to a quarter of it goes to what tells that something surely is
	// not there, 4 to 16 bytes for each tag, manifest and blob. Blobs of up to 64 KiB that were pulled are kept as well, in
	// half as much again. 0 keeps nothing.
	Memory Size `yaml:"memory"`
}

// Manifests is what is accepted as a manifest.
type Manifests struct {
	// MaxSize is the size of the largest manifest that may be pushed.
	MaxSize Size `yaml:"max_size"`

	// Missing is what happens to a manifest that names content which the
	// repository never had: `accept` it, as the OCI specification asks (sparse
	// indexes, layers that live elsewhere), or `refuse` it. Content that the
	// repository had and has lost is refused in any case.
	Missing Missing `yaml:"missing"`

	// Platforms is the list of platforms, such as `linux/amd64`, whose manifests
	// an index must find in its repository when it is pushed; `all` stands for
	// every one that it names. Empty accepts sparse indexes, as the OCI
	// specification asks.
	Platforms []string `yaml:"platforms"`

	URLs ManifestURLs `yaml:"urls"`
}

// ManifestURLs is about layers that are not in the registry but named by URLs.
// Berth never fetches them.
type ManifestURLs struct {
	// Refuse says whether every manifest that names such URLs is refused.
	Refuse bool `yaml:"refuse"`

	// Allow is the list of regular expressions of which a URL must match one.
	// Empty allows all.
	Allow []string `yaml:"allow"`

	// Deny is the list of regular expressions of which a URL must match none.
	Deny []string `yaml:"deny"`
}

// Lists is how much of a list one answer holds.
type Lists struct {
	// CatalogMax is the largest number of repositories in one page of the
	// catalog, and the number in a page whose size was not asked for.
	CatalogMax int `yaml:"catalog_max"`

	// TagsMax is the largest number of tags in one page. 0 sets no limit: who
	// doesn't ask for a page gets all tags.
	TagsMax int `yaml:"tags_max"`
}

// Delete is deletion by clients.
type Delete struct {
	// Enabled says whether clients may delete tags, manifests and blobs. Where
	// it is false, they are answered 405 UNSUPPORTED. The operator may in any
	// case, with `berth rm`.
	//
	// When Berth is called as `registry`, the default is registry:2's own,
	// `false`; `REGISTRY_STORAGE_DELETE_ENABLED` sets it there.
	Enabled bool `yaml:"enabled"`
}

// Uploads is about pushes that are under way.
type Uploads struct {
	// Expire is how long an upload may rest before it is given up and its bytes
	// are removed. Until then a client may go on where it stopped. 0 keeps it
	// for ever.
	Expire time.Duration `yaml:"expire"`

	// MaxSize is the size of the largest blob that may be pushed. 0 sets no
	// limit.
	MaxSize Size `yaml:"max_size"`

	// MaxOpen is how many uploads there may be that have begun and not ended, whether
	// they run or rest. Each takes about a KiB of memory until it ends or
	// expires. When there are so many, those give way of which nothing has come for a
	// minute, the oldest first; if there are none, who wants to begin another one is
	// answered 429 TOOMANYREQUESTS. 0 sets no limit.
	MaxOpen int `yaml:"max_open"`
}

// GC is the collection of what nothing needs any more. It runs beside pushes
// and pulls, in small steps.
type GC struct {
	// Grace is how long content that nothing refers to is kept before it is
	// collected. It should be longer than the slowest push takes between its
	// first layer and its manifest. It counts while the server runs.
	Grace time.Duration `yaml:"grace"`

	// Every is the time between two collections. One costs next to nothing when
	// there is nothing to collect.
	Every time.Duration `yaml:"every"`

	// Delay is the time between taking content out of the database and
	// deleting its bytes, so that pulls which have just begun can finish.
	Delay time.Duration `yaml:"delay"`

	// Window is when collections may run, a time of the day such as
	// `02:00-05:00` in the time zone of the server; it may span midnight. What is
	// not done when it ends goes on when it comes again. Empty is always.
	Window Window `yaml:"window"`
}

// Storage is the disk under the data directory.
type Storage struct {
	// Reserve is the free space to leave on the disk. Below it pushes are
	// answered 507, while pulls and deletions go on. 0 leaves none.
	Reserve Size `yaml:"reserve"`
}

// Default returns the configuration that an empty file stands for. The defaults
// that depend on other settings are left empty in it; [Config.Derive] fills
// them in once the others are known.
func Default() Config {
	return Config{
		Data:     "./berth-data",
		Database: Database{Snapshots: Snapshots{Every: time.Hour, Keep: 3}},
		Cache:    Cache{Memory: 32 * MiB},
		HTTP: HTTP{
			Locations: LocationsRelative, HTTP2: true, ShutdownGrace: 30 * time.Second,
			TLS: TLS{Minimum: TLS12, ClientAuth: ClientAuthNone, ACME: ACME{Directory: LetsEncrypt, Listen: ":80"}},
		},
		Auth:          Auth{Anonymous: AnonymousNone, Realm: "Berth"},
		Manifests:     Manifests{MaxSize: 4 * MiB, Missing: MissingAccept},
		Tags:          Tags{History: 365 * 24 * time.Hour},
		Lists:         Lists{CatalogMax: 1000},
		Delete:        Delete{Enabled: true},
		Uploads:       Uploads{Expire: 24 * time.Hour, MaxOpen: 100_000},
		Trash:         Trash{Keep: 7 * 24 * time.Hour},
		Retention:     Retention{Every: time.Hour},
		Scrub:         Scrub{Every: 30 * 24 * time.Hour, Rate: 10 * MiB},
		GC:            GC{Grace: 24 * time.Hour, Every: time.Minute, Delay: 5 * time.Minute},
		Storage:       Storage{Reserve: 64 * MiB},
		Registry2:     Registry2{Shadow: ShadowAuto},
		Notifications: Notifications{Keep: 7 * 24 * time.Hour},
		Health:        Health{Storage: StorageCheck{Enabled: true, Interval: 10 * time.Second, Threshold: 3}},
		Log:           Log{Level: LogInfo, Format: LogText, Access: true},
		Metrics:       Metrics{Path: "/metrics", Prometheus: true},
	}
}

// Derive returns c with those settings filled in that are still empty and whose
// default depends on other settings: database.path, http.tls.acme.cache and
// http.listen. It may be called again on its own result. [Load] has called it already.
func (c Config) Derive() Config {
	if c.Database.Path == "" {
		c.Database.Path = filepath.Join(c.Data, "berth", "berth.db")
	}
	if c.HTTP.TLS.ACME.Cache == "" {
		c.HTTP.TLS.ACME.Cache = filepath.Join(c.Data, "berth", "acme")
	}
	if len(c.HTTP.Listen) == 0 {
		c.HTTP.Listen = []string{"127.0.0.1:5000", "[::1]:5000"}
		if c.Auth.LogIn() {
			c.HTTP.Listen = []string{":5000"}
		}
	}
	return c
}
