package config

import "net/netip"

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

	// Groups is a map of the names of groups to the names of the users in them,
	// for `access`: `{developers: [alice, bob]}`.
	Groups map[string][]string `yaml:"groups"`

	// ProxyHeader is the header in which a proxy that has logged the user in
	// names that user, such as `X-Forwarded-User`. It is believed from
	// `http.trusted_proxies` only. `Authorization` stands for the user name of
	// the Basic credentials that the proxy has checked and passes on; their
	// passwords are not checked again, so a proxy that checks none would open the
	// registry.
	ProxyHeader string `yaml:"proxy_header"`

	Htpasswd Htpasswd `yaml:"htpasswd"`
	Token    Token    `yaml:"token"`
}

// Htpasswd is log-in with the users of a password file.
type Htpasswd struct {
	// Path is the password file, as `berth htpasswd` or Apache's `htpasswd`
	// writes it. It is read again when it changes. Setting it makes log-in
	// necessary for everything except what `auth.anonymous` allows.
	Path string `yaml:"path"`
}

// Token is log-in with tokens that another server makes, as registry:2's
// `auth: token`: clients are sent there and come back with a signed token.
type Token struct {
	// Realm is the address of the token server, which clients are sent to.
	Realm string `yaml:"realm"`

	// Service is the name of this registry in tokens, their audience.
	Service string `yaml:"service"`

	// Issuer is the name of the token server in tokens.
	Issuer string `yaml:"issuer"`

	// RootCertBundle is the file with the certificates or public keys, in PEM
	// form, that tokens are verified with.
	RootCertBundle string `yaml:"root_cert_bundle"`

	// JWKS is a file with such keys as a JSON Web Key Set.
	JWKS string `yaml:"jwks"`

	// Algorithms is the list of signature algorithms that are accepted. Empty
	// means those that fit the keys: RS256, ES256, EdDSA and their like.
	Algorithms []string `yaml:"algorithms"`
}

// Enabled reports whether tokens of another server are accepted.
func (t Token) Enabled() bool { return t.Realm != "" || t.RootCertBundle != "" || t.JWKS != "" }

// Rule gives rights: to whoever is one of its users, in one of its groups or, if
// it says so, not logged in; coming from one of its addresses; in repositories
// that match one of its patterns.
type Rule struct {
	// Users is the list of names of users, as they log in; `"*"` is everybody who
	// is logged in.
	Users []string `yaml:"users"`

	// Groups is the list of names of groups, see `auth.groups`.
	Groups []string `yaml:"groups"`

	// Anonymous says whether the rule is for everybody, logged in or not.
	Anonymous bool `yaml:"anonymous"`

	// Addresses is the list of addresses (`10.0.0.7`) or networks (`10.0.0.0/8`)
	// that the client must come from. Empty means anywhere.
	Addresses []netip.Prefix `yaml:"addresses"`

	// Repositories is the list of patterns of repository names: `*` stands for
	// characters of one part of a name, and `**` for one or more whole parts, so
	// that `team/**` is everything below `team`. Empty means all.
	Repositories []string `yaml:"repositories"`

	// Allow is the list of what the rule allows: `pull`, `push`, `create` (a push
	// that moves no tag that is there already), `delete`, and `admin`: what is
	// about the registry as a whole in the API under `/api/v1/`.
	Allow []Allowed `yaml:"allow"`
}

// LogIn reports whether any way to log in is configured. Without one, everybody
// who reaches the registry may do everything, unless `access` says otherwise.
func (a Auth) LogIn() bool {
	return a.Htpasswd.Path != "" || a.Token.Enabled() || a.ProxyHeader != ""
}
