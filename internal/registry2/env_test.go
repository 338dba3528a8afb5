package registry2

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"berth/config"
)

// load reads the variables as a server would, without any file.
func load(environ []string, as Mode) (*config.Loaded, error) {
	return config.Load(config.Sources{File: "testdata/empty.yml", Base: Defaults(as), Registry2: Reader(environ, as)})
}

// TestTranslated takes every variable that is understood, in the forms that
// registry:2 knows, and shows what becomes of it.
func TestTranslated(t *testing.T) {
	tests := []struct {
		name    string
		environ string // separated by blank-free semicolons
		path    string // the key that is looked at
		want    string // its line in the YAML form
	}{
		{"address", "REGISTRY_HTTP_ADDR=0.0.0.0:5000", "listen", `listen: [0.0.0.0:5000] # REGISTRY_HTTP_ADDR`},
		{"address, port alone", "REGISTRY_HTTP_ADDR=:443", "listen", `listen: [":443"] # REGISTRY_HTTP_ADDR`},
		{"address, IPv6", "REGISTRY_HTTP_ADDR=[::1]:5000", "listen", `listen: ["[::1]:5000"] # REGISTRY_HTTP_ADDR`},
		{"address, in quotes", `REGISTRY_HTTP_ADDR="localhost:5001"`, "listen", `listen: [localhost:5001] # REGISTRY_HTTP_ADDR`},
		{"address, with a comment", `REGISTRY_HTTP_ADDR=localhost:5001 # ours`, "listen", `listen: [localhost:5001] # REGISTRY_HTTP_ADDR`},
		{"address, in a subtree", "REGISTRY_HTTP={addr: 'localhost:5001', net: tcp}", "listen", `listen: [localhost:5001] # REGISTRY_HTTP, http.addr`},
		{"directory", "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY=/data", "data", `data: /data # REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY`},
		{"directory, in lower case", "REGISTRY_STORAGE_filesystem_rootdirectory=/data", "data", `data: /data # REGISTRY_STORAGE_filesystem_rootdirectory`},
		{"directory, of Windows", `REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY=C:\registry`, "data", `data: C:\registry # REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY`},
		{"directory, in a subtree", "REGISTRY_STORAGE={filesystem: {rootdirectory: /data}}", "data", `data: /data # REGISTRY_STORAGE, storage.filesystem.rootdirectory`},
		{"directory, with its driver", "REGISTRY_STORAGE=filesystem;REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY=/data", "data", `data: /data # REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY`},
		{"no deletion", "REGISTRY_STORAGE_DELETE_ENABLED=false", "enabled", `enabled: false # REGISTRY_STORAGE_DELETE_ENABLED`},
		{"deletion", "REGISTRY_STORAGE_DELETE_ENABLED=true", "enabled", `enabled: true # REGISTRY_STORAGE_DELETE_ENABLED`},
		{"no deletion, in YAML's words", "REGISTRY_STORAGE_DELETE_ENABLED=off", "enabled", `enabled: false # REGISTRY_STORAGE_DELETE_ENABLED`},
		{"no deletion, in quotes", `REGISTRY_STORAGE_DELETE_ENABLED="false"`, "enabled", `enabled: false # REGISTRY_STORAGE_DELETE_ENABLED`},
		{"no deletion, in a subtree", `REGISTRY_STORAGE_DELETE={"enabled": false}`, "enabled", `enabled: false # REGISTRY_STORAGE_DELETE, storage.delete.enabled`},
		{"log-in", "REGISTRY_AUTH=htpasswd;REGISTRY_AUTH_HTPASSWD_PATH=/auth/htpasswd;REGISTRY_AUTH_HTPASSWD_REALM=Registry Realm", "path", `path: /auth/htpasswd # REGISTRY_AUTH_HTPASSWD_PATH`},
		{"log-in, its realm", "REGISTRY_AUTH_HTPASSWD_PATH=/auth/htpasswd;REGISTRY_AUTH_HTPASSWD_REALM=basic-realm", "realm", `realm: basic-realm # REGISTRY_AUTH_HTPASSWD_REALM`},
		{"log-in, a realm that is a mapping in YAML", "REGISTRY_AUTH_HTPASSWD_PATH=/a;REGISTRY_AUTH_HTPASSWD_REALM=basic: realm", "realm", `realm: "basic: realm" # REGISTRY_AUTH_HTPASSWD_REALM`},
		{"log-in, a realm that is a number in YAML", "REGISTRY_AUTH_HTPASSWD_PATH=/a;REGISTRY_AUTH_HTPASSWD_REALM=007", "realm", `realm: 007 # REGISTRY_AUTH_HTPASSWD_REALM`},
		{"log-in, in lower case", "REGISTRY_AUTH=htpasswd;REGISTRY_AUTH_htpasswd_path=/auth/htpasswd", "path", `path: /auth/htpasswd # REGISTRY_AUTH_htpasswd_path`},
		{"log-in, in a subtree", "REGISTRY_AUTH={htpasswd: {realm: r, path: /auth/htpasswd}}", "path", `path: /auth/htpasswd # REGISTRY_AUTH, auth.htpasswd.path`},
		{"no log-in", "REGISTRY_AUTH=none", "path", `path: "" # REGISTRY_AUTH`},
		{"no log-in, in a subtree", "REGISTRY_AUTH={none: {}}", "path", `path: "" # REGISTRY_AUTH, auth.none`},
		{"certificate", "REGISTRY_HTTP_TLS_CERTIFICATE=/certs/domain.crt;REGISTRY_HTTP_TLS_KEY=/certs/domain.key", "certificate", `certificate: /certs/domain.crt # REGISTRY_HTTP_TLS_CERTIFICATE`},
		{"key", "REGISTRY_HTTP_TLS_CERTIFICATE=/certs/domain.crt;REGISTRY_HTTP_TLS_KEY=/certs/domain.key", "key", `key: /certs/domain.key # REGISTRY_HTTP_TLS_KEY`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, err := load(strings.Split(tt.environ, ";"), Berth)
			if err != nil {
				t.Fatal(err)
			}
			if got := lines(t, l, tt.path); !slices.Contains(got, tt.want) {
				t.Errorf("got %q, want %s", got, tt.want)
			}
		})
	}
}

// lines returns the lines of the YAML form that set a key of this name.
func lines(t *testing.T, l *config.Loaded, name string) []string {
	t.Helper()
	var b strings.Builder
	if err := l.WriteYAML(&b); err != nil {
		t.Fatal(err)
	}
	var found []string
	for line := range strings.Lines(b.String()) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, name+":") {
			found = append(found, line)
		}
	}
	return found
}

// TestRefused takes what must not be ignored. None of the values may be told:
// each holds the word secret.
func TestRefused(t *testing.T) {
	tests := []struct {
		name    string
		environ string
		want    string
	}{
		{"another driver", "REGISTRY_STORAGE=secret", "storage (REGISTRY_STORAGE): is no storage driver that Berth knows"},
		{"a driver's setting", "REGISTRY_STORAGE_S3_SECRETKEY=secret", "storage.s3 (REGISTRY_STORAGE_S3_SECRETKEY): stores in S3,"},
		{"a driver in a subtree", "REGISTRY_STORAGE={s3: {secretkey: secret}}", "storage.s3 (REGISTRY_STORAGE): stores in S3,"},
		{"a driver in memory", "REGISTRY_STORAGE_INMEMORY=", "storage.inmemory (REGISTRY_STORAGE_INMEMORY): keeps everything in memory,"},
		{"a bad subtree of storage", "REGISTRY_STORAGE={filesystem: secret", "storage (REGISTRY_STORAGE): is not valid YAML"},
		{"a mirror", "REGISTRY_PROXY_REMOTEURL=https://secret", "proxy.remoteurl (REGISTRY_PROXY_REMOTEURL): makes the registry a mirror"},
		{"a mirror in a subtree", "REGISTRY_PROXY={remoteurl: 'https://secret'}", "proxy.remoteurl (REGISTRY_PROXY): makes the registry a mirror"},
		{"another log-in", "REGISTRY_AUTH=secret", "auth (REGISTRY_AUTH): is no way to log in that Berth knows"},
		{"another log-in's setting", "REGISTRY_AUTH_LDAP_PASSWORD=secret", "auth.ldap (REGISTRY_AUTH_LDAP_PASSWORD): is no way to log in"},
		{"another log-in in a subtree", "REGISTRY_AUTH={silly: {realm: secret}}", "auth.silly (REGISTRY_AUTH): lets in whoever says anything"},
		{"tokens without keys", "REGISTRY_AUTH_TOKEN_REALM=https://secret", "auth.token (REGISTRY_AUTH_TOKEN_REALM): names no keys to verify tokens with"},
		{"tokens without a service", "REGISTRY_AUTH_TOKEN_REALM=https://secret", "auth.token (REGISTRY_AUTH_TOKEN_REALM): has no service: set auth.token.service (REGISTRY_AUTH_TOKEN_SERVICE)"},
		{"log-in without a file", "REGISTRY_AUTH=htpasswd", "auth.htpasswd (REGISTRY_AUTH): asks for log-in with a password file, but none is named: set auth.htpasswd.path (REGISTRY_AUTH_HTPASSWD_PATH)"},
		{"log-in with a realm alone", "REGISTRY_AUTH_HTPASSWD_REALM=secret", "auth.htpasswd (REGISTRY_AUTH_HTPASSWD_REALM): asks for log-in with a password file, but none"},
		{"log-in with an empty file name", "REGISTRY_AUTH_HTPASSWD_PATH=", "auth.htpasswd (REGISTRY_AUTH_HTPASSWD_PATH): asks for log-in with a password file, but none"},
		{"log-in with a null file name", "REGISTRY_AUTH={htpasswd: {path: ~}}", "auth.htpasswd (REGISTRY_AUTH): asks for log-in with a password file, but none"},
		{"log-in with an unknown key", "REGISTRY_AUTH_HTPASSWD_FILE=/secret", "auth.htpasswd (REGISTRY_AUTH_HTPASSWD_FILE): asks for log-in with a password file, but none"},
		{"log-in and none", "REGISTRY_AUTH=none;REGISTRY_AUTH_HTPASSWD_PATH=/secret", "auth.none (REGISTRY_AUTH): says that there is no log-in, and auth.htpasswd (REGISTRY_AUTH_HTPASSWD_PATH) that there is"},
		{"a section with a text", "REGISTRY_AUTH_HTPASSWD=/secret", "auth.htpasswd (REGISTRY_AUTH_HTPASSWD): holds a text where keys belong"},
		{"a section that is no YAML", "REGISTRY_HTTP={tls: {secret", "http (REGISTRY_HTTP): is not valid YAML"},
		{"an anchor that is none", "REGISTRY_HTTP={secret: *secret}", "http (REGISTRY_HTTP): is not valid YAML"},
		{"certificates of clients, how", "REGISTRY_HTTP_TLS_CLIENTAUTH=secret", "http.tls.clientauth (REGISTRY_HTTP_TLS_CLIENTAUTH): is none of its values: write request-client-cert"},
		{"Let's Encrypt for nobody", "REGISTRY_HTTP_TLS_LETSENCRYPT_CACHEFILE=/secret", "http.tls.letsencrypt (REGISTRY_HTTP_TLS_LETSENCRYPT_CACHEFILE): names no hosts"},
		{"a socket without a name", "REGISTRY_HTTP_NET=unix", "http.net (REGISTRY_HTTP_NET): asks for a socket, but http.addr does not name one"},
		{"another network", "REGISTRY_HTTP_NET=secret", "http.net (REGISTRY_HTTP_NET): asks for another network than tcp or unix"},
		{"a gap in a list", "REGISTRY_NOTIFICATIONS_ENDPOINTS_1_URL=http://secret", "notifications.endpoints (REGISTRY_NOTIFICATIONS_ENDPOINTS_1_URL): is about element 1, but there are only 0 before it"},
		{"no number in a list", "REGISTRY_NOTIFICATIONS_ENDPOINTS_URL=http://secret", "notifications.endpoints (REGISTRY_NOTIFICATIONS_ENDPOINTS_URL): needs the number of an element, as in REGISTRY_NOTIFICATIONS_ENDPOINTS_0"},
		{"a text for a list of sections", "REGISTRY_NOTIFICATIONS_ENDPOINTS=secret", "notifications.endpoints (REGISTRY_NOTIFICATIONS_ENDPOINTS): is no list"},
		{"keys for a text", "REGISTRY_HTTP={addr: {secret: secret}}", "http.addr (REGISTRY_HTTP): holds keys or a list where one value belongs"},
		{"middleware", "REGISTRY_MIDDLEWARE={registry: [{name: secret}]}", "middleware.registry (REGISTRY_MIDDLEWARE): changes how the registry works"},
		{"middleware of storage", "REGISTRY_MIDDLEWARE_STORAGE_0_NAME=secret", "middleware.storage[0] (REGISTRY_MIDDLEWARE_STORAGE_0_NAME): changes how content is stored"},
		{"platforms", "REGISTRY_VALIDATION_MANIFESTS_INDEXES_PLATFORMS=secret", "validation.manifests.indexes.platforms (REGISTRY_VALIDATION_MANIFESTS_INDEXES_PLATFORMS): is none of its values"},
		{"a certificate alone", "REGISTRY_HTTP_TLS_CERTIFICATE=/c.pem", "http.tls.certificate (REGISTRY_HTTP_TLS_CERTIFICATE): has no key"},
		{"an address that is none", "REGISTRY_HTTP_ADDR=5000", `http.listen[0] (REGISTRY_HTTP_ADDR): "5000" has no colon: write ":5000"`},
		{"several addresses", "REGISTRY_HTTP_ADDR=:1,:2", `http.listen[0] (REGISTRY_HTTP_ADDR): ":1,:2" `},
		{"neither true nor false", "REGISTRY_STORAGE_DELETE_ENABLED=1", `delete.enabled (REGISTRY_STORAGE_DELETE_ENABLED): "1" is neither: write true or false`},
	}
	for _, tt := range tests {
		for _, as := range []Mode{Berth, Registry} {
			_, err := load(strings.Split(tt.environ, ";"), as)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s, mode %d: got %v, want %s", tt.name, as, err, tt.want)
				continue
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("%s: the error tells the value: %v", tt.name, err)
			}
		}
	}
}

// TestNotes takes what is ignored, loudly or not, and what is worth saying.
func TestNotes(t *testing.T) {
	const unknown, empty = ": registry:2 has no such variable: ignored", ": is empty: as if it were not set"
	mayDelete := "clients may delete by default, unlike with registry:2: REGISTRY_STORAGE_DELETE_ENABLED=false forbids it"
	everywhere := "since REGISTRY_* variables are set, the address to listen on is :5000 by default, as with registry:2"
	tests := []struct {
		name    string
		environ []string
		as      Mode
		want    []string
	}{
		{"nothing", []string{"HOME=/root", "XREGISTRY_A=b"}, Berth, nil},
		{"not needed", []string{"REGISTRY_HTTP_SECRET=s3cret"}, Berth, []string{"http.secret (REGISTRY_HTTP_SECRET): not needed: uploads are kept in the database, not in signed addresses"}},
		{"not needed, a whole section", []string{"REGISTRY_REDIS_PASSWORD=s3cret", "REGISTRY_REDIS_ADDR=s3cret:6379", "REGISTRY_STORAGE_CACHE_BLOBDESCRIPTOR=redis"}, Berth, []string{
			"redis (REGISTRY_REDIS_ADDR, REGISTRY_REDIS_PASSWORD): not needed: Berth keeps what it needs in memory by itself",
			"storage.cache (REGISTRY_STORAGE_CACHE_BLOBDESCRIPTOR): not needed: Berth keeps what it needs in memory by itself",
		}},
		{"a mirror's password without a mirror", []string{"REGISTRY_PROXY_PASSWORD=s3cret"}, Berth, []string{"proxy.password (REGISTRY_PROXY_PASSWORD): belongs to proxy.remoteurl, which is not set"}},
		{"unknown", []string{"REGISTRY_HTTP_COLOUR=s3cret", "REGISTRY_HTTP_ADDR_PORT=1", "REGISTRY_HEALTH_FILE_0_FILE=x"}, Berth, []string{
			"REGISTRY_HEALTH_FILE_0_FILE" + unknown, "REGISTRY_HTTP_ADDR_PORT" + unknown, "REGISTRY_HTTP_COLOUR" + unknown,
		}},
		{"unknown, in a subtree", []string{"REGISTRY_REPORTING={colour: {a: s3cret}}"}, Berth, []string{
			"reporting.colour (REGISTRY_REPORTING): registry:2 has no such key: ignored", "reporting (REGISTRY_REPORTING): Berth reports to nobody: watch its log",
		}},
		{"unknown, no setting at all", []string{"REGISTRY_PASSWORD=s3cret", "REGISTRY_=1"}, Berth, []string{"REGISTRY_" + unknown, "REGISTRY_PASSWORD" + unknown}},
		{"the version", []string{"REGISTRY_VERSION=0.2"}, Berth, []string{"REGISTRY_VERSION is ignored: the version is that of the file"}},
		{"lower case", []string{"REGISTRY_http_addr=:1", "REGISTRY_auth_TOKEN=s3cret"}, Berth, []string{
			"REGISTRY_auth_TOKEN is ignored: registry:2 knows its variables in upper case only",
			"REGISTRY_http_addr is ignored: registry:2 knows its variables in upper case only",
		}},
		{"empty", []string{"REGISTRY_HTTP_ADDR=", "REGISTRY_AUTH=", "REGISTRY_STORAGE=~"}, Berth, []string{
			"auth (REGISTRY_AUTH)" + empty, "http.addr (REGISTRY_HTTP_ADDR)" + empty, "storage (REGISTRY_STORAGE)" + empty,
		}},
		{"the file's name", []string{"REGISTRY_CONFIGURATION_PATH=/etc/x.yml"}, Berth, nil},
		{"where podman keeps its log-ins", []string{"REGISTRY_AUTH_FILE=/run/containers/0/auth.json"}, Berth, nil},
		{"kubernetes", []string{
			"REGISTRY_PORT=tcp://10.0.0.1:5000", "REGISTRY_SERVICE_HOST=10.0.0.1", "REGISTRY_SERVICE_PORT=5000", "REGISTRY_PORT_5000_TCP_ADDR=10.0.0.1",
			"REGISTRY_AUTH_PORT=tcp://10.0.0.2:5001", "REGISTRY_AUTH_SERVICE_HOST=10.0.0.2", "REGISTRY_PROXY_PORT_80_TCP=tcp://10.0.0.3:80", "REGISTRY_STORAGE_SERVICE_PORT_API=80",
		}, Berth, nil},
		{"something understood", []string{"REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY=/data"}, Berth, []string{mayDelete, everywhere}},
		{"everything said", []string{"REGISTRY_HTTP_ADDR=:1", "REGISTRY_STORAGE_DELETE_ENABLED=true"}, Berth, nil},
		{"no realm", []string{"REGISTRY_HTTP_ADDR=:1", "REGISTRY_STORAGE_DELETE_ENABLED=true", "REGISTRY_AUTH_HTPASSWD_PATH=/a"}, Berth, []string{
			"auth.htpasswd (REGISTRY_AUTH_HTPASSWD_PATH): has no realm, without which registry:2 would not start: Berth goes on with its own",
		}},
		{"as registry", nil, Registry, []string{"clients may not delete by default, as with registry:2: REGISTRY_STORAGE_DELETE_ENABLED=true lets them"}},
		{"as registry, with deletion", []string{"REGISTRY_STORAGE_DELETE_ENABLED=true"}, Registry, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := Reader(tt.environ, tt.as)("", nil)
			if diff := cmp.Diff(tt.want, s.Notes); diff != "" {
				t.Errorf("notes (-want +got):\n%s", diff)
			}
			if len(s.Problems) != 0 {
				t.Errorf("refused: %v", s.Problems)
			}
		})
	}
}

func TestDefaults(t *testing.T) {
	tests := []struct {
		name    string
		environ []string
		as      Mode
		data    string
		listen  []string
		deletes bool
	}{
		{"berth", nil, Berth, "./berth-data", []string{"127.0.0.1:5000", "[::1]:5000"}, true},
		{"berth, with what is ignored", []string{"REGISTRY_HTTP_SECRET=debug", "REGISTRY_PORT=tcp://1.2.3.4:5"}, Berth, "./berth-data", []string{"127.0.0.1:5000", "[::1]:5000"}, true},
		{"berth by REGISTRY_*", []string{"REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY=/data"}, Berth, "/data", []string{":5000"}, true},
		{"berth by REGISTRY_AUTH=none", []string{"REGISTRY_AUTH=none"}, Berth, "./berth-data", []string{":5000"}, true},
		{"registry", nil, Registry, "/var/lib/registry", []string{":5000"}, false},
		{"registry with settings", []string{"REGISTRY_HTTP_ADDR=:1", "REGISTRY_STORAGE_DELETE_ENABLED=true"}, Registry, "/var/lib/registry", []string{":1"}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, err := load(tt.environ, tt.as)
			if err != nil {
				t.Fatal(err)
			}
			c := l.Config
			if c.Data != tt.data || !slices.Equal(c.HTTP.Listen, tt.listen) || c.Delete.Enabled != tt.deletes {
				t.Errorf("got %s, %v, %v, want %s, %v, %v", c.Data, c.HTTP.Listen, c.Delete.Enabled, tt.data, tt.listen, tt.deletes)
			}
		})
	}
}

// TestFileWinsOverDefaults holds that registry:2's defaults lie below Berth's
// own file.
func TestFileWinsOverDefaults(t *testing.T) {
	environ := []string{"REGISTRY_HTTP_TLS_KEY=/k", "REGISTRY_HTTP_TLS_CERTIFICATE=/c"}
	l, err := config.Load(config.Sources{File: "testdata/file.yml", Base: Defaults(Registry), Registry2: Reader(environ, Registry)})
	if err != nil {
		t.Fatal(err)
	}
	if c := l.Config; c.Data != "/file" || !c.Delete.Enabled || !slices.Equal(c.HTTP.Listen, []string{":1"}) {
		t.Errorf("got %s, %v, %v", c.Data, c.Delete.Enabled, c.HTTP.Listen)
	}
}

func FuzzReader(f *testing.F) {
	const file = "version: 0.1\n"
	for _, seed := range [][3]string{
		{file, "HTTP_ADDR", "[::1]:5000"}, {file, "AUTH", "{htpasswd: {path: /a}}"}, {file, "AUTH", "none"}, {file, "STORAGE", "{s3: {}}"},
		{"", "HTTP", "{tls: {key: a, certificate: b}}"}, {file, "STORAGE_DELETE", "{enabled: !!bool yes}"}, {file, "", "a: &a [*a]"},
		{"", "AUTH_HTPASSWD_REALM", "|\n a\n b"}, {"", "HTTP", "{? {a: b} : c, ~: d}"}, {"", "PORT", "tcp://"},
		{file + "notifications: {endpoints: [{name: a, url: b, headers: {c: [d]}}]}\n", "NOTIFICATIONS_ENDPOINTS_1_HEADERS_X", "[y]"},
		{file + "http: {headers: {a: [b]}}\nhttp: {tls: {clientcas: a}}\n", "HTTP_TLS_CLIENTCAS_0", "x"},
		{file + "storage: filesystem\nauth:\n", "STORAGE_MAINTENANCE_UPLOADPURGING", "{age: 5}"},
		{file + "health: {http: [{uri: a, statuscode: b}], storagedriver: {}}\nvalidation: {enabled: true}\n", "MIDDLEWARE_STORAGE_0", "{name: x}"},
		{"a: &x {b: c}\n<<: *x\nversion: 0.1\n", "LOG_FIELDS_A_B_C", "d"},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, file, name, value string) {
		called := ""
		if file != "" {
			called = "config.yml"
		}
		read := func() config.Overlay {
			return Reader([]string{prefix + name + "=" + value, prefix + "HTTP_ADDR=:1"}, Berth)(called, []byte(file))
		}
		s := read()
		if got, want := fmt.Sprint(read()), fmt.Sprint(s); got != want {
			t.Errorf("the same twice gives %s and %s", got, want)
		}
		for _, v := range s.Values {
			if v.Origin == "" || v.Path == "" || !v.List && len(v.Items) != 1 {
				t.Errorf("got the value %+v", v)
			}
		}
		for _, p := range s.Problems {
			if p.Origin == "" || p.Text == "" {
				t.Errorf("got the problem %+v", p)
			}
		}
	})
}
