package config

import (
	"net/netip"
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

	Database  Database  `yaml:"database"`
	HTTP      HTTP      `yaml:"http"`
	Auth      Auth      `yaml:"auth"`
	Manifests Manifests `yaml:"manifests"`
	Delete    Delete    `yaml:"delete"`
	Uploads   Uploads   `yaml:"uploads"`
	GC        GC        `yaml:"gc"`
	Storage   Storage   `yaml:"storage"`
	Log       Log       `yaml:"log"`
	Metrics   Metrics   `yaml:"metrics"`
}

// Database is the SQLite database that knows every repository, tag and
// manifest. It belongs to the data directory and travels with it.
type Database struct {
	// Path is the database file. Move it to a local disk if the data directory
	// is on a network file system, where SQLite's locking and shared memory
	// are not safe; its snapshots stay in the data directory.
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

// HTTP is how clients reach the registry.
type HTTP struct {
	// Listen is the list of addresses to listen on, each `host:port`. A port
	// alone, `:5000`, means every network this machine has; IPv6 addresses
	// stand in brackets, `[::1]:5000`.
	//
	// Without log-in the default is this machine alone, since everybody who
	// reaches the registry may push to it and delete from it. With log-in it is
	// `:5000`; so it is, as with registry:2, when Berth is called as `registry`
	// or `REGISTRY_*` variables are in force.
	Listen []string `yaml:"listen" derived:"127.0.0.1:5000 and [::1]:5000 without log-in, :5000 with log-in"`

	// ExternalURL is the address under which clients reach this registry, such
	// as `https://registry.example.com`. Set it if a proxy stands in between and
	// `auth.anonymous` is `pull`: clients are then told where to get tokens, by
	// a whole URL. Locations in answers are relative and work behind any proxy.
	ExternalURL string `yaml:"external_url"`

	// TrustedProxies is the list of addresses (`10.0.0.7`) or networks
	// (`10.0.0.0/8`) of the reverse proxies in front of this registry. The
	// X-Forwarded-For, X-Real-IP and X-Forwarded-Proto headers are believed
	// from these peers, and from nobody else.
	TrustedProxies []netip.Prefix `yaml:"trusted_proxies"`

	// ShutdownGrace is how long running pushes and pulls may take to finish
	// after SIGTERM; what is still running then is cut off.
	ShutdownGrace time.Duration `yaml:"shutdown_grace"`

	TLS TLS `yaml:"tls"`
}

// TLS is encryption by certificate and key files. Both are read again when they
// change, without dropping a connection. Without them Berth speaks plain HTTP,
// which docker accepts from this machine only.
type TLS struct {
	// Certificate is the file with the certificate in PEM form, followed by the
	// intermediate certificates between it and the root.
	Certificate string `yaml:"certificate"`

	// Key is the file with the certificate's private key in PEM form.
	Key string `yaml:"key"`

	// Minimum is the oldest version of TLS that is spoken: `1.2` or `1.3`.
	Minimum TLSVersion `yaml:"minimum"`
}

// Auth is who may do what. Without any log-in configured, everybody who reaches
// the registry may do everything.
type Auth struct {
	// Anonymous is what clients may do without logging in: `none`, or `pull`
	// from every repository. It needs a log-in to be configured: without one
	// everything is open.
	Anonymous Anonymous `yaml:"anonymous"`

	// Realm is the name that browsers and clients show when they ask for a
	// user and a password.
	Realm string `yaml:"realm"`

	Htpasswd Htpasswd `yaml:"htpasswd"`
}

// Htpasswd is log-in with the users of a password file.
type Htpasswd struct {
	// Path is the password file, as `berth htpasswd` or Apache's `htpasswd`
	// writes it. It is read again when it changes. Setting it makes log-in
	// necessary for everything except what `auth.anonymous` allows.
	Path string `yaml:"path"`
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
}

// Delete is deletion by clients.
type Delete struct {
	// Enabled says whether clients may delete tags, manifests and blobs. Where
	// it is false, they are answered 405 UNSUPPORTED.
	//
	// When Berth is called as `registry`, the default is registry:2's own,
	// `false`; `REGISTRY_STORAGE_DELETE_ENABLED` sets it there.
	Enabled bool `yaml:"enabled"`
}

// Uploads is about pushes that are under way.
type Uploads struct {
	// Expire is how long an upload may rest before it is given up and its bytes
	// are removed. Until then a client may go on where it stopped.
	Expire time.Duration `yaml:"expire"`

	// MaxSize is the size of the largest blob that may be pushed. 0 sets no
	// limit.
	MaxSize Size `yaml:"max_size"`
}

// GC is the collection of what nothing needs any more. It runs beside pushes
// and pulls, in small steps.
type GC struct {
	// Grace is how long content that nothing refers to is kept before it is
	// collected. It should be longer than the slowest push takes between its
	// first layer and its manifest. It counts while the server runs.
	Grace time.Duration `yaml:"grace"`

	// Every is the time between two steps of collection. A step is bounded, and
	// costs nothing when there is nothing to collect.
	Every time.Duration `yaml:"every"`

	// Delay is the time between taking content out of the database and
	// deleting its bytes, so that pulls which have just begun can finish.
	Delay time.Duration `yaml:"delay"`
}

// Storage is the disk under the data directory.
type Storage struct {
	// Reserve is the free space to leave on the disk. Below it pushes are
	// answered 507, while pulls and deletions go on. 0 leaves none.
	Reserve Size `yaml:"reserve"`
}

// Log is what the server writes to standard error.
type Log struct {
	// Level is the least important message that is logged: `debug`, `info`,
	// `warn` or `error`.
	Level LogLevel `yaml:"level"`

	// Format is the form of the lines: `text` or `json`.
	Format LogFormat `yaml:"format"`

	// Access says whether every request is logged when it is done.
	Access bool `yaml:"access"`
}

// Metrics is the numbers that Prometheus reads, at `/metrics` on a listener of
// their own.
type Metrics struct {
	// Listen is the address of that listener, such as `127.0.0.1:5001`. Empty
	// turns it off. Whoever reaches it reads it without log-in, so its host must
	// be written: `0.0.0.0:5001` if every network shall reach it.
	Listen string `yaml:"listen"`
}

// TLSVersion is a version of TLS.
type TLSVersion string

// The versions that [TLS.Minimum] may name.
const (
	TLS12 TLSVersion = "1.2"
	TLS13 TLSVersion = "1.3"
)

// Anonymous is what clients may do without log-in.
type Anonymous string

// The values of [Auth.Anonymous].
const (
	AnonymousNone Anonymous = "none"
	AnonymousPull Anonymous = "pull"
)

// Missing is what to do with manifests whose content was never pushed.
type Missing string

// The values of [Manifests.Missing].
const (
	MissingAccept Missing = "accept"
	MissingRefuse Missing = "refuse"
)

// LogLevel is the importance of a log message. Its values are names that
// slog.Level's UnmarshalText understands.
type LogLevel string

// The values of [Log.Level].
const (
	LogDebug LogLevel = "debug"
	LogInfo  LogLevel = "info"
	LogWarn  LogLevel = "warn"
	LogError LogLevel = "error"
)

// LogFormat is the form of log lines.
type LogFormat string

// The values of [Log.Format].
const (
	LogText LogFormat = "text"
	LogJSON LogFormat = "json"
)

// Default returns the configuration that an empty file stands for. The defaults
// that depend on other settings are left empty in it; [Config.Derive] fills
// them in once the others are known.
func Default() Config {
	return Config{
		Data:      "./berth-data",
		Database:  Database{Snapshots: Snapshots{Every: time.Hour, Keep: 3}},
		HTTP:      HTTP{ShutdownGrace: 30 * time.Second, TLS: TLS{Minimum: TLS12}},
		Auth:      Auth{Anonymous: AnonymousNone, Realm: "Berth"},
		Manifests: Manifests{MaxSize: 4 * MiB, Missing: MissingAccept},
		Delete:    Delete{Enabled: true},
		Uploads:   Uploads{Expire: 24 * time.Hour},
		GC:        GC{Grace: 24 * time.Hour, Every: time.Minute, Delay: 5 * time.Minute},
		Storage:   Storage{Reserve: 64 * MiB},
		Log:       Log{Level: LogInfo, Format: LogText, Access: true},
	}
}

// Derive returns c with those settings filled in that are still empty and whose
// default depends on other settings: database.path and http.listen. It may be
// called again on its own result. [Load] has called it already.
func (c Config) Derive() Config {
	if c.Database.Path == "" {
		c.Database.Path = filepath.Join(c.Data, "berth", "berth.db")
	}
	if len(c.HTTP.Listen) == 0 {
		c.HTTP.Listen = []string{"127.0.0.1:5000", "[::1]:5000"}
		if c.Auth.LogIn() {
			c.HTTP.Listen = []string{":5000"}
		}
	}
	return c
}

// LogIn reports whether any way to log in is configured. Without one, everybody
// who reaches the registry may do everything.
func (a Auth) LogIn() bool { return a.Htpasswd.Path != "" }

// Enabled reports whether the registry speaks TLS itself.
func (t TLS) Enabled() bool { return t.Certificate != "" || t.Key != "" }
