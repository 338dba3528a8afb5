package config

import (
	"net/netip"
	"time"
)

// HTTP is how clients reach the registry.
type HTTP struct {
	// Listen is the list of addresses to listen on, each `host:port`. A port
	// alone, `:5000`, means every network this machine has; IPv6 addresses
	// stand in brackets, `[::1]:5000`. `unix:/run/berth/berth.sock` is a socket
	// for a proxy on the same machine: its user and its group may connect to it
	// (mode 0660), and what they forward is believed as from `trusted_proxies`.
	//
	// Without log-in the default is this machine alone, since everybody who
	// reaches the registry may push to it and delete from it. With log-in it is
	// `:5000`; so it is, as with registry:2, when Berth is called as `registry`
	// or `REGISTRY_*` variables are in force.
	Listen []string `yaml:"listen" derived:"127.0.0.1:5000 and [::1]:5000 without log-in, :5000 with log-in"`

	// ExternalURL is the address under which clients reach this registry, such
	// as `https://registry.example.com`. Set it if a proxy stands in between and
	// `auth.anonymous` is `pull`: clients are then told where to get tokens, by
	// a whole URL. It may end in `prefix`.
	ExternalURL string `yaml:"external_url"`

	// TrustedProxies is the list of addresses (`10.0.0.7`) or networks
	// (`10.0.0.0/8`) of the reverse proxies in front of this registry. The
	// X-Forwarded-For, X-Real-IP and X-Forwarded-Proto headers are believed
	// from these peers, and from nobody else.
	TrustedProxies []netip.Prefix `yaml:"trusted_proxies"`

	// Prefix is the path below which everything is served, such as `/registry`,
	// for a proxy that passes that part of the path on. Empty is the root, where
	// docker looks for a registry. `/`, `/healthz` and `/readyz` stay as well.
	Prefix string `yaml:"prefix"`

	// Locations is the form of the addresses in answers: `relative`, which works
	// behind any proxy, or `absolute`: below `external_url` if it is set, and
	// else at the address that the request was sent to.
	Locations Locations `yaml:"locations"`

	// Headers is a map of headers that are added to every answer, each with a
	// list of values: `{Strict-Transport-Security: [max-age=31536000]}`. They
	// take the place of Berth's own of the same name. Pages of the sites in
	// `Access-Control-Allow-Origin` may then use the registry from a browser.
	Headers map[string][]string `yaml:"headers"`

	// HTTP2 says whether HTTP/2 is offered to clients that use TLS.
	HTTP2 bool `yaml:"http2"`

	// H2C says whether HTTP/2 is spoken without TLS too, for proxies that want it.
	H2C bool `yaml:"h2c"`

	// ShutdownDelay is how long requests are taken as before after SIGTERM,
	// while `/readyz` already says no, so that load balancers can notice.
	ShutdownDelay time.Duration `yaml:"shutdown_delay"`

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

	// Ciphers is the list of cipher suites for TLS 1.2, by their IANA names.
	// Empty leaves the choice to Berth, which is the safer one. Those of TLS 1.3
	// are always on.
	Ciphers []string `yaml:"ciphers"`

	// ClientAuth is what is asked of clients' certificates: `none`, `request` (one
	// may be shown), `require` (one must be shown, whoever signed it), `verify`
	// (one that is shown must be signed by `client_ca`) or `require_and_verify`.
	ClientAuth ClientAuth `yaml:"client_auth"`

	// ClientCA is the list of files with the authorities of clients'
	// certificates, in PEM form.
	ClientCA []string `yaml:"client_ca"`

	ACME ACME `yaml:"acme"`
}

// LetsEncrypt is the directory of Let's Encrypt.
const LetsEncrypt = "https://acme-v02.api.letsencrypt.org/directory"

// ACME is certificates that are got and renewed by themselves, from Let's
// Encrypt or another server that speaks ACME. It takes the place of
// `http.tls.certificate` and `http.tls.key`.
type ACME struct {
	// Hosts is the list of names to get certificates for. It turns ACME on. The
	// names must lead to this machine: the ACME server connects to them, on
	// port 443 (tls-alpn-01) or on port 80 (http-01).
	Hosts []string `yaml:"hosts"`

	// Email is where the ACME server writes to when something is wrong.
	Email string `yaml:"email"`

	// Directory is the address of the ACME server.
	Directory string `yaml:"directory"`

	// Cache is the directory where the account and the certificates are kept.
	Cache string `yaml:"cache" derived:"<data>/berth/acme"`

	// Listen is the address on which http-01 challenges are answered, and
	// everything else is sent on to https. Empty turns it off; tls-alpn-01
	// remains.
	Listen string `yaml:"listen"`

	// CA is a file with the authority of the ACME server's own certificate, in
	// PEM form, if it is a private one.
	CA string `yaml:"ca"`

	// EABID is the key id of an external account binding, which some ACME
	// servers want (ZeroSSL, Google, a company's own).
	EABID string `yaml:"eab_id"`

	// EABKey is the file with the key of that binding, as the server's operator
	// gives it: base64url.
	EABKey string `yaml:"eab_key"`
}

// Enabled reports whether certificates are got by ACME.
func (a ACME) Enabled() bool { return len(a.Hosts) > 0 }

// Enabled reports whether the registry speaks TLS itself.
func (t TLS) Enabled() bool { return t.Certificate != "" || t.Key != "" || t.ACME.Enabled() }
