package config

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

// Locations is the form of the addresses in answers.
type Locations string

// The values of [HTTP.Locations].
const (
	LocationsRelative Locations = "relative"
	LocationsAbsolute Locations = "absolute"
)

// ClientAuth is what is asked of clients' certificates.
type ClientAuth string

// The values of [TLS.ClientAuth].
const (
	ClientAuthNone             ClientAuth = "none"
	ClientAuthRequest          ClientAuth = "request"
	ClientAuthRequire          ClientAuth = "require"
	ClientAuthVerify           ClientAuth = "verify"
	ClientAuthRequireAndVerify ClientAuth = "require_and_verify"
)

// Shadow is when registry:2's links are kept in step.
type Shadow string

// The values of [Registry2.Shadow].
const (
	ShadowAuto Shadow = "auto"
	ShadowOn   Shadow = "on"
	ShadowOff  Shadow = "off"
)

// Allowed is a right that a [Rule] gives.
type Allowed string

// The values of [Rule.Allow].
const (
	AllowPull   Allowed = "pull"
	AllowPush   Allowed = "push"
	AllowCreate Allowed = "create"
	AllowDelete Allowed = "delete"
	AllowAdmin  Allowed = "admin"
)
