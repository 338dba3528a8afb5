package config

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

// TestValidate has a case for every rule, as somebody who makes a Config by hand
// meets it.
func TestValidate(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(*Config)
		want  string // the key, a colon, and the beginning of the text
	}{
		{"no data", func(c *Config) { c.Data = "" }, "data: is empty"},
		{"data of another encoding", func(c *Config) { c.Data = "/srv/\xff" }, "data: is not UTF-8"},
		{"a line break", func(c *Config) { c.Auth.Realm = "a\nb" }, "auth.realm: holds a control character"},
		{"a line break in a list", func(c *Config) { c.HTTP.Listen = []string{":1", ":2\n"} }, "http.listen[1]: holds a control character"},
		{"snapshots too often", func(c *Config) { c.Database.Snapshots.Every = time.Second }, "database.snapshots.every: 1s is out of bounds"},
		{"snapshots before now", func(c *Config) { c.Database.Snapshots.Every = -time.Hour }, "database.snapshots.every: -1h is out of bounds"},
		{"no snapshot kept", func(c *Config) { c.Database.Snapshots.Keep = 0 }, "database.snapshots.keep: 0 is out of bounds"},
		{"too many snapshots", func(c *Config) { c.Database.Snapshots.Keep = 1001 }, "database.snapshots.keep: 1001 is out of bounds"},
		{"an address", func(c *Config) { c.HTTP.Listen = []string{"5000"} }, `http.listen[0]: "5000" has no colon`},
		{"an address twice", func(c *Config) { c.HTTP.Listen = []string{":1", ":1"} }, `http.listen[1]: ":1" is the same as http.listen[0]`},
		{"a URL without a scheme", func(c *Config) { c.HTTP.ExternalURL = "example.com" }, "http.external_url: is no URL"},
		{"a URL of another scheme", func(c *Config) { c.HTTP.ExternalURL = "ftp://example.com" }, "http.external_url: is no URL"},
		{"a URL with a user", func(c *Config) { c.HTTP.ExternalURL = "https://u:p@example.com" }, "http.external_url: holds a user"},
		{"a URL with a path", func(c *Config) { c.HTTP.ExternalURL = "https://example.com/x" }, "http.external_url: has the path"},
		{"a URL with a query", func(c *Config) { c.HTTP.ExternalURL = "https://example.com?" }, "http.external_url: has a query"},
		{"a URL with a fragment", func(c *Config) { c.HTTP.ExternalURL = "https://example.com#a" }, "http.external_url: has a query or a fragment"},
		{"no network", func(c *Config) { c.HTTP.TrustedProxies = []netip.Prefix{{}} }, "http.trusted_proxies[0]: is no network"},
		{"a negative grace", func(c *Config) { c.HTTP.ShutdownGrace = -1 }, "http.shutdown_grace: -1ns is out of bounds"},
		{"a grace without end", func(c *Config) { c.HTTP.ShutdownGrace = 25 * time.Hour }, "http.shutdown_grace: 25h is out of bounds"},
		{"a certificate alone", func(c *Config) { c.HTTP.TLS.Certificate = "c.pem" }, "http.tls.certificate: has no key"},
		{"a key alone", func(c *Config) { c.HTTP.TLS.Key = "k.pem" }, "http.tls.key: has no certificate"},
		{"an old TLS", func(c *Config) { c.HTTP.TLS.Minimum = "1.1" }, `http.tls.minimum: TLS 1.1 is broken`},
		{"an anonymous push", func(c *Config) { c.Auth.Anonymous = "push" }, `auth.anonymous: "push" is none of its values: write none or pull`},
		{"pull without log-in", func(c *Config) { c.Auth.Anonymous = AnonymousPull }, "auth.anonymous: is pull, but no log-in is configured"},
		{"no realm", func(c *Config) { c.Auth.Realm = "" }, "auth.realm: is empty"},
		{"a realm that ends its quotes", func(c *Config) { c.Auth.Realm = `a"` }, "auth.realm: holds a quotation mark"},
		{"a realm that escapes its quotes", func(c *Config) { c.Auth.Realm = `a\` }, "auth.realm: holds a quotation mark or a backslash"},
		{"small manifests", func(c *Config) { c.Manifests.MaxSize = 1 }, "manifests.max_size: 1 is out of bounds: write a size from 64KiB to 64MiB"},
		{"large manifests", func(c *Config) { c.Manifests.MaxSize = GiB }, "manifests.max_size: 1GiB is out of bounds"},
		{"a small cache", func(c *Config) { c.Cache.Memory = 4 * KiB }, "cache.memory: 4KiB is out of bounds: write 0 for none, or a size from 1MiB to 64GiB"},
		{"a negative cache", func(c *Config) { c.Cache.Memory = -1 }, "cache.memory: -1 is out of bounds"},
		{"missing", func(c *Config) { c.Manifests.Missing = "" }, `manifests.missing: "" is none of its values: write accept or refuse`},
		{"uploads that expire at once", func(c *Config) { c.Uploads.Expire = time.Second }, "uploads.expire: 1s is out of bounds"},
		{"negative uploads", func(c *Config) { c.Uploads.MaxSize = -1 }, "uploads.max_size: is negative"},
		{"few uploads", func(c *Config) { c.Uploads.MaxOpen = 99 }, "uploads.max_open: 99 is out of bounds: write 0 for no limit, or a number from 100 to 100000000"},
		{"less than no uploads", func(c *Config) { c.Uploads.MaxOpen = -1 }, "uploads.max_open: -1 is out of bounds"},
		{"no grace", func(c *Config) { c.GC.Grace = 0 }, "gc.grace: 0 is out of bounds"},
		{"collection without rest", func(c *Config) { c.GC.Every = 0 }, "gc.every: 0 is out of bounds"},
		{"collection hardly ever", func(c *Config) { c.GC.Every = 25 * time.Hour }, "gc.every: 25h is out of bounds"},
		{"a negative delay", func(c *Config) { c.GC.Delay = -time.Second }, "gc.delay: -1s is out of bounds"},
		{"a negative reserve", func(c *Config) { c.Storage.Reserve = -1 }, "storage.reserve: is negative"},
		{"a level", func(c *Config) { c.Log.Level = "trace" }, `log.level: "trace" is none of its values: write debug, info, warn or error`},
		{"a format", func(c *Config) { c.Log.Format = "logstash" }, `log.format: "logstash" is none of its values: write text or json`},
		{"a form of locations", func(c *Config) { c.HTTP.Locations = "full" }, `http.locations: "full" is none of its values`},
		{"a client certificate", func(c *Config) { c.HTTP.TLS.ClientAuth = "yes" }, `http.tls.client_auth: "yes" is none of its values`},
		{"a delay without end", func(c *Config) { c.HTTP.ShutdownDelay = 25 * time.Hour }, "http.shutdown_delay: 25h is out of bounds"},
		{"a shadow", func(c *Config) { c.Registry2.Shadow = "yes" }, `registry2.shadow: "yes" is none of its values: write auto, on or off`},
		{"an empty catalog", func(c *Config) { c.Lists.CatalogMax = 0 }, "lists.catalog_max: 0 is out of bounds: write a number from 1"},
		{"negative tags", func(c *Config) { c.Lists.TagsMax = -1 }, "lists.tags_max: -1 is out of bounds"},
		{"a rule for nobody", func(c *Config) { c.Access = []Rule{{Allow: []Allowed{AllowPull}}} }, "access[0]: is for nobody"},
		{"a rule that allows nothing", func(c *Config) { c.Access = []Rule{{Anonymous: true}} }, "access[0]: allows nothing"},
		{"a rule for a group that is none", func(c *Config) {
			c.Access = []Rule{{Anonymous: true, Groups: []string{"g"}, Allow: []Allowed{AllowPull}}}
		}, `access[0].groups[0]: "g" is no group`},
		{"a right", func(c *Config) { c.Access = []Rule{{Anonymous: true, Allow: []Allowed{"all"}}} }, `access[0].allow[0]: "all" is none of its values`},
		{"a rule for users where nobody logs in", func(c *Config) { c.Access = []Rule{{Users: []string{"alice"}, Allow: []Allowed{AllowPull}}} }, "access[0]: is for people who are logged in, and there is no log-in: set auth.htpasswd.path"},
		{"a user without a name", func(c *Config) {
			c.Access = []Rule{{Users: []string{""}, Anonymous: true, Allow: []Allowed{AllowPull}}}
		}, "access[0].users[0]: is empty"},
		{"a user with a space", func(c *Config) {
			c.Access = []Rule{{Users: []string{"a", "b "}, Anonymous: true, Allow: []Allowed{AllowPull}}}
		}, `access[0].users[1]: "b " has a space around it`},
		{"a pattern of users", func(c *Config) {
			c.Access = []Rule{{Users: []string{"ci-*"}, Anonymous: true, Allow: []Allowed{AllowPull}}}
		}, `access[0].users[0]: "ci-*" has a star, which is no pattern here`},
		{"no network in a rule", func(c *Config) {
			c.Access = []Rule{{Anonymous: true, Addresses: []netip.Prefix{{}}, Allow: []Allowed{AllowPull}}}
		}, "access[0].addresses[0]: is no network"},
		{"a pattern", func(c *Config) {
			c.Access = []Rule{{Anonymous: true, Repositories: []string{"a", "Team/**"}, Allow: []Allowed{AllowPull}}}
		}, `access[0].repositories[1]: the pattern "Team/**" can match no repository: write lower-case letters`},
		{"a pattern with a host", func(c *Config) {
			c.Access = []Rule{{Anonymous: true, Repositories: []string{"reg:5000/a"}, Allow: []Allowed{AllowPull}}}
		}, `access[0].repositories[0]: the pattern "reg:5000/a" has a colon: write the repository alone`},
		{"everybody in a group", func(c *Config) { c.Auth.Groups = map[string][]string{"g": {"*"}} }, `auth.groups.g: holds "*"`},
		{"nobody in a group", func(c *Config) { c.Auth.Groups = map[string][]string{"g": {"a", ""}} }, "auth.groups.g[1]: is empty"},
		{"a header with a space", func(c *Config) { c.Auth.ProxyHeader = "X User" }, `auth.proxy_header: "X User" is no name of a header`},
		{"two who check a password", func(c *Config) {
			c.Auth.Htpasswd.Path, c.Auth.ProxyHeader = "users", "authorization"
			c.HTTP.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32")}
		}, "auth.proxy_header: is Authorization, whose passwords the proxy checks, and there is auth.htpasswd.path"},
		{"a header that nobody may set", func(c *Config) { c.Auth.ProxyHeader = "X-User" }, "auth.proxy_header: is believed from trusted proxies only, and there are none"},
		{"an endpoint without a name", func(c *Config) { c.Notifications.Endpoints = []Endpoint{endpoint("")} }, "notifications.endpoints[0].name: is empty"},
		{"two endpoints of a name", func(c *Config) { c.Notifications.Endpoints = []Endpoint{endpoint("a"), endpoint("a")} }, `notifications.endpoints[1].name: "a" is the name of another`},
		{"an endpoint's pattern", func(c *Config) {
			e := endpoint("a")
			e.Repositories = []string{"team/*", "Team"}
			c.Notifications.Endpoints = []Endpoint{e}
		}, `notifications.endpoints[0].repositories[1]: the pattern "Team" can match no repository: write lower-case letters`},
		{"events that are not kept", func(c *Config) { c.Notifications.Keep = 0 }, "notifications.keep: 0 is out of bounds"},
		{"a file without a name", func(c *Config) { c.Health.Files = []FileCheck{{Interval: time.Minute}} }, "health.files[0].file: is empty"},
		{"a check of no address", func(c *Config) {
			c.Health.TCP = []TCPCheck{{Address: "5000", Timeout: 1e9, Interval: 1e9, Threshold: 1}}
		}, `health.tcp[0].address: "5000" has no colon`},
		{"a check of no URL", func(c *Config) {
			c.Health.HTTP = []HTTPCheck{{URL: "x", Status: 200, Timeout: 1e9, Interval: 1e9, Threshold: 1}}
		}, "health.http[0].url: is no URL"},
		{"a status", func(c *Config) {
			c.Health.HTTP = []HTTPCheck{{URL: "http://a", Timeout: 1e9, Interval: 1e9, Threshold: 1}}
		}, "health.http[0].status: 0 is out of bounds"},
		{"a pattern that is none", func(c *Config) { c.Manifests.URLs.Deny = []string{"("} }, `manifests.urls.deny[0]: "(" is no regular expression`},
		{"a platform", func(c *Config) { c.Manifests.Platforms = []string{"all", "amd64"} }, `manifests.platforms[1]: "amd64" is no platform: write one such as linux/amd64`},
		{"metrics without a slash", func(c *Config) { c.Metrics.Listen, c.Metrics.Path = "127.0.0.1:1", "metrics" }, `metrics.path: "metrics" is no path`},
		{"metrics in the place of health", func(c *Config) { c.Metrics.Listen, c.Metrics.Path = "127.0.0.1:1", "/debug/vars" }, `metrics.path: "/debug/vars" is where something else is`},
		{"a socket without a path", listenOn("unix:"), "http.listen[0]: names no socket"},
		{"a socket that is a folder", listenOn("unix:/run/"), "http.listen[0]: names no socket"},
		{"a socket as a URL", listenOn("unix:///run/berth.sock"), "http.listen[0]: a socket is written with one colon"},
		{"a socket beside the way", listenOn("unix:/run/../berth.sock"), "http.listen[0]: has a path that is not clean: write unix:/berth.sock"},
		{"a socket twice", listenOn("unix:/a", "unix:/a"), `http.listen[1]: "unix:/a" is the same`},
		{"a prefix that is the root", prefixed("/"), "http.prefix: is the root"},
		{"a prefix without its slash", prefixed("registry"), "http.prefix: does not begin with a slash"},
		{"a prefix with a slash too many", prefixed("/registry/"), "http.prefix: ends in a slash: write /registry"},
		{"a prefix that is not clean", prefixed("/a//b"), "http.prefix: is no clean path: write /a/b"},
		{"a prefix that climbs", prefixed("/a/../b"), "http.prefix: is no clean path: write /b"},
		{"a prefix with an escape", prefixed("/a%2fb"), "http.prefix: holds something else"},
		{"a prefix with a query", prefixed("/a?b"), "http.prefix: holds something else"},
		{"a prefix with a colon", prefixed("/a:b"), "http.prefix: holds something else"},
		{"a prefix that is not ASCII", prefixed("/ä"), "http.prefix: holds something else"},
		{"a prefix and another path", func(c *Config) { c.HTTP.Prefix, c.HTTP.ExternalURL = "/a", "https://example.com/b" }, `http.external_url: has the path "/b" and http.prefix is "/a"`},
		{"a header without a name", header("", "x"), `http.headers: "" is no name`},
		{"a header with a colon", header("A:", "x"), `http.headers: "A:" is no name`},
		{"a header that frames", header("content-length", "1"), `http.headers: "content-length" is for the registry to write`},
		{"a header with a line break", header("A", "x\r\nB: y"), `http.headers: the value of "A" holds a control character`},
		{"a certificate and ACME", func(c *Config) {
			c.HTTP.TLS.Certificate, c.HTTP.TLS.Key, c.HTTP.TLS.ACME.Hosts = "c", "k", []string{"a.example"}
		}, "http.tls.certificate: is set and so is http.tls.acme.hosts"},
		{"a cipher", func(c *Config) { c.HTTP.TLS.Ciphers = []string{"AES128-SHA"} }, "http.tls.ciphers[0]: is no cipher suite: write TLS_"},
		{"a weak cipher", func(c *Config) { c.HTTP.TLS.Ciphers = []string{"TLS_RSA_WITH_RC4_128_SHA"} }, "http.tls.ciphers[0]: TLS_RSA_WITH_RC4_128_SHA is weak"},
		{"clients without an authority", func(c *Config) { withTLS(c); c.HTTP.TLS.ClientAuth = ClientAuthVerify }, "http.tls.client_auth: is verify, but http.tls.client_ca is empty"},
		{"an authority for nothing", func(c *Config) { withTLS(c); c.HTTP.TLS.ClientCA = []string{"ca.pem"} }, "http.tls.client_ca: is set, but http.tls.client_auth is none"},
		{"an authority without a name", func(c *Config) {
			withTLS(c)
			c.HTTP.TLS.ClientAuth, c.HTTP.TLS.ClientCA = ClientAuthVerify, []string{""}
		}, "http.tls.client_ca[0]: is empty"},
		{"client certificates without TLS", func(c *Config) { c.HTTP.TLS.ClientAuth = ClientAuthRequest }, "http.tls.client_auth: is request, but there is no TLS"},
		{"ACME for nobody", func(c *Config) { c.HTTP.TLS.ACME.Email = "a@b.example" }, "http.tls.acme.hosts: is empty"},
		{"ACME for a wildcard", acme("*.example.com"), "http.tls.acme.hosts[0]: is a wildcard"},
		{"ACME for an address", acme("192.0.2.1"), "http.tls.acme.hosts[0]: is an address"},
		{"ACME for an IPv6 address", acme("::1"), "http.tls.acme.hosts[0]: is an address"},
		{"ACME for a port", acme("a.example:443"), "http.tls.acme.hosts[0]: is no name of a host"},
		{"ACME for a URL", acme("https://a.example"), "http.tls.acme.hosts[0]: is no name of a host"},
		{"ACME for nothing", acme(""), "http.tls.acme.hosts[0]: is no name of a host"},
		{"ACME for a name without a domain", acme("registry"), "http.tls.acme.hosts[0]: has no dot"},
		{"ACME in capitals", acme("A.example"), "http.tls.acme.hosts[0]: has upper case letters: write a.example"},
		{"ACME by http", func(c *Config) { acme("a.example")(c); c.HTTP.TLS.ACME.Directory = "http://acme.example" }, "http.tls.acme.directory: is no https address"},
		{"ACME mail", func(c *Config) { acme("a.example")(c); c.HTTP.TLS.ACME.Email = "mailto:a@b" }, "http.tls.acme.email: is no address of mail"},
		{"half a binding", func(c *Config) { acme("a.example")(c); c.HTTP.TLS.ACME.EABID = "kid" }, "http.tls.acme.eab_id: and http.tls.acme.eab_key belong together"},
		{"challenges nowhere", func(c *Config) { acme("a.example")(c); c.HTTP.TLS.ACME.Listen = "80" }, `http.tls.acme.listen: "80" has no colon`},
		{"challenges on the registry's port", func(c *Config) { acme("a.example")(c); c.HTTP.TLS.ACME.Listen = ":5000" }, `http.tls.acme.listen: ":5000" is taken by http.listen`},
		{"a token server without a realm", func(c *Config) { tokens(c); c.Auth.Token.Realm = "auth.example.com" }, "auth.token.realm: is no URL"},
		{"a realm with a password", func(c *Config) { tokens(c); c.Auth.Token.Realm = "https://a:b@c/" }, "auth.token.realm: holds a user"},
		{"a token server that is half set", func(c *Config) { c.Auth.Token.Issuer = "x" }, "auth.token.realm: is empty"},
		{"no service", func(c *Config) { tokens(c); c.Auth.Token.Service = " " }, "auth.token.service: is empty"},
		{"no issuer", func(c *Config) { tokens(c); c.Auth.Token.Issuer = "" }, "auth.token.issuer: is empty"},
		{"no keys", func(c *Config) { tokens(c); c.Auth.Token.RootCertBundle = "" }, "auth.token.root_cert_bundle: is empty"},
		{"a shared secret", func(c *Config) { tokens(c); c.Auth.Token.Algorithms = []string{"HS256"} }, `auth.token.algorithms[0]: "HS256" signs with a shared secret`},
		{"an algorithm", func(c *Config) { tokens(c); c.Auth.Token.Algorithms = []string{"none"} }, `auth.token.algorithms[0]: "none" is no algorithm`},
		{"metrics nowhere", func(c *Config) { c.Metrics.Listen = "9090" }, `metrics.listen: "9090" has no colon: write "127.0.0.1:9090"`},
		{"metrics everywhere", func(c *Config) { c.Metrics.Listen = ":9090" }, `metrics.listen: ":9090" has no host`},
		{"metrics on the registry's own port", func(c *Config) { c.Metrics.Listen = "127.0.0.1:5000" }, `metrics.listen: "127.0.0.1:5000" is taken`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := Default()
			tt.spoil(&c)
			err := c.Validate()
			if got := errorText(err); !strings.HasPrefix(got, "the configuration has a problem: "+tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if got := errorText(c.Derive().Validate()); !strings.Contains(got, tt.want) {
				t.Errorf("after Derive: got %q, want %q", got, tt.want)
			}
		})
	}
	if err := Default().Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	if err := Default().Derive().Validate(); err != nil {
		t.Errorf("the derived defaults: %v", err)
	}
}

// listenOn, prefixed, header and acme return what sets one thing; withTLS and
// tokens set what others build on.
func listenOn(list ...string) func(*Config) { return func(c *Config) { c.HTTP.Listen = list } }
func prefixed(s string) func(*Config)       { return func(c *Config) { c.HTTP.Prefix = s } }
func acme(host string) func(*Config) {
	return func(c *Config) { c.HTTP.TLS.ACME.Hosts = []string{host} }
}
func header(name, value string) func(*Config) {
	return func(c *Config) { c.HTTP.Headers = map[string][]string{name: {value}} }
}
func withTLS(c *Config) { c.HTTP.TLS.Certificate, c.HTTP.TLS.Key = "c.pem", "k.pem" }
func tokens(c *Config) {
	c.Auth.Token = Token{Realm: "https://auth.example.com/token", Service: "s", Issuer: "i", RootCertBundle: "b.pem"}
}

func TestAddresses(t *testing.T) {
	for _, good := range []string{":5000", "127.0.0.1:0", "[::1]:5000", "[fe80::1%eth0]:5000", "localhost:1", "registry_1.example-a.com:65535", "0.0.0.0:80", "[::]:443"} {
		if text := badAddress(good, ""); text != "" {
			t.Errorf("%s is refused: %s", good, text)
		}
	}
	collisions := []struct {
		a, b string
		want bool
	}{
		{"127.0.0.1:1", "127.0.0.1:1", true},
		{"127.0.0.1:1", "127.0.0.1:2", false},
		{"127.0.0.1:1", ":1", true},
		{"0.0.0.0:1", "127.0.0.1:1", true},
		{"[::]:1", "127.0.0.1:1", true},
		{"127.0.0.1:1", "[::1]:1", false},
		{"127.0.0.1:0", "127.0.0.1:0", false},
	}
	for _, tt := range collisions {
		if got := collide(tt.a, tt.b); got != tt.want {
			t.Errorf("collide(%s, %s) = %v, want %v", tt.a, tt.b, got, tt.want)
		}
		if got := collide(tt.b, tt.a); got != tt.want {
			t.Errorf("collide(%s, %s) = %v, want %v", tt.b, tt.a, got, tt.want)
		}
	}
}

// TestProxyOnSocket holds that a proxy on a socket need not be named to log in.
func TestProxyOnSocket(t *testing.T) {
	c := Default()
	c.HTTP.Listen, c.Auth.ProxyHeader = []string{"unix:/run/berth.sock"}, "X-Forwarded-User"
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
}

func TestWarnings(t *testing.T) {
	const open, clear, proxy, grace = "no log-in is configured", "there is no TLS", "0.0.0.0/0", "gc.grace is shorter"
	tests := []struct {
		name string
		set  func(*Config)
		want []string // parts of the warnings
	}{
		{"the defaults", func(*Config) {}, nil},
		{"loopback by name", func(c *Config) { c.HTTP.Listen = []string{"localhost:1", "127.8.0.1:1"} }, nil},
		{"open to all", func(c *Config) { c.HTTP.Listen = []string{"127.0.0.1:5000", ":5001"} }, []string{open}},
		{"log-in in clear", func(c *Config) { c.Auth.Htpasswd.Path = "x" }, []string{clear}},
		{"log-in with TLS", func(c *Config) { c.Auth.Htpasswd.Path, c.HTTP.TLS.Certificate = "x", "y" }, nil},
		{"log-in behind a proxy", func(c *Config) {
			c.Auth.Htpasswd.Path, c.HTTP.TrustedProxies = "x", []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32")}
		}, nil},
		{"rules instead of log-in", func(c *Config) {
			c.HTTP.Listen = []string{":5000"}
			c.Access = []Rule{{Anonymous: true, Allow: []Allowed{AllowPull}}, {Anonymous: true, Allow: []Allowed{AllowPush}, Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}}
		}, nil},
		{"a rule that is open to all", func(c *Config) {
			c.HTTP.Listen = []string{":5000"}
			c.Access = []Rule{{Anonymous: true, Allow: []Allowed{AllowPull, AllowDelete}}}
		}, []string{"access[0] lets everybody do more than pull"}},
		{"two ways to let pull", func(c *Config) {
			c.Auth.Htpasswd.Path, c.Auth.Anonymous = "x", AnonymousPull
			c.Access = []Rule{{Users: []string{"*"}, Allow: []Allowed{AllowPush}}}
		}, []string{clear, "auth.anonymous has no effect"}},
		{"everybody is a proxy", func(c *Config) { c.HTTP.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")} }, []string{proxy}},
		{"short grace", func(c *Config) { c.GC.Grace = time.Minute }, []string{grace}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := Default()
			tt.set(&c)
			got := c.Warnings()
			if len(got) != len(tt.want) {
				t.Fatalf("got %q, want %q", got, tt.want)
			}
			for i := range got {
				if !strings.Contains(got[i], tt.want[i]) {
					t.Errorf("got %q, want %q", got[i], tt.want[i])
				}
			}
		})
	}
}

func TestNetworks(t *testing.T) {
	tests := []struct{ text, want string }{
		{"10.0.0.7", "10.0.0.7/32"},
		{"10.1.2.3/8", "10.0.0.0/8"},
		{"::1", "::1/128"},
		{"::ffff:10.0.0.7", "10.0.0.7/32"},
		{" fd00::/8 ", "fd00::/8"},
	}
	for _, tt := range tests {
		got, err := parseNetwork(tt.text)
		if err != nil || got.String() != tt.want {
			t.Errorf("parseNetwork(%q) = %s, %v, want %s", tt.text, got, err, tt.want)
		}
	}
	for _, bad := range []string{"", "10.0.0", "fe80::1%eth0", "10.0.0.0/-1", "proxy"} {
		if got, err := parseNetwork(bad); err == nil {
			t.Errorf("parseNetwork(%q) = %s, want an error", bad, got)
		}
	}
}

func endpoint(name string) Endpoint {
	return Endpoint{Name: name, URL: "http://127.0.0.1/", Timeout: time.Second, Backoff: time.Second, Threshold: 1}
}
