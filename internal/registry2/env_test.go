package registry2

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"berth/config"
)

// load reads the variables as a server would, without any file.
func load(environ []string, as Mode) (*config.Loaded, error) {
	return config.Load(config.Sources{File: "testdata/empty.yml", Base: Defaults(as), Registry2: FromEnv(environ, as)})
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
		{"address, in a subtree", "REGISTRY_HTTP={addr: 'localhost:5001', net: tcp}", "listen", `listen: [localhost:5001] # REGISTRY_HTTP`},
		{"directory", "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY=/data", "data", `data: /data # REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY`},
		{"directory, in lower case", "REGISTRY_STORAGE_filesystem_rootdirectory=/data", "data", `data: /data # REGISTRY_STORAGE_filesystem_rootdirectory`},
		{"directory, of Windows", `REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY=C:\registry`, "data", `data: C:\registry # REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY`},
		{"directory, in a subtree", "REGISTRY_STORAGE={filesystem: {rootdirectory: /data}}", "data", `data: /data # REGISTRY_STORAGE`},
		{"directory, with its driver", "REGISTRY_STORAGE=filesystem;REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY=/data", "data", `data: /data # REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY`},
		{"no deletion", "REGISTRY_STORAGE_DELETE_ENABLED=false", "enabled", `enabled: false # REGISTRY_STORAGE_DELETE_ENABLED`},
		{"deletion", "REGISTRY_STORAGE_DELETE_ENABLED=true", "enabled", `enabled: true # REGISTRY_STORAGE_DELETE_ENABLED`},
		{"no deletion, in YAML's words", "REGISTRY_STORAGE_DELETE_ENABLED=off", "enabled", `enabled: false # REGISTRY_STORAGE_DELETE_ENABLED`},
		{"no deletion, in quotes", `REGISTRY_STORAGE_DELETE_ENABLED="false"`, "enabled", `enabled: false # REGISTRY_STORAGE_DELETE_ENABLED`},
		{"no deletion, in a subtree", `REGISTRY_STORAGE_DELETE={"enabled": false}`, "enabled", `enabled: false # REGISTRY_STORAGE_DELETE`},
		{"log-in", "REGISTRY_AUTH=htpasswd;REGISTRY_AUTH_HTPASSWD_PATH=/auth/htpasswd;REGISTRY_AUTH_HTPASSWD_REALM=Registry Realm", "path", `path: /auth/htpasswd # REGISTRY_AUTH_HTPASSWD_PATH`},
		{"log-in, its realm", "REGISTRY_AUTH_HTPASSWD_PATH=/auth/htpasswd;REGISTRY_AUTH_HTPASSWD_REALM=basic-realm", "realm", `realm: basic-realm # REGISTRY_AUTH_HTPASSWD_REALM`},
		{"log-in, a realm that is a mapping in YAML", "REGISTRY_AUTH_HTPASSWD_PATH=/a;REGISTRY_AUTH_HTPASSWD_REALM=basic: realm", "realm", `realm: "basic: realm" # REGISTRY_AUTH_HTPASSWD_REALM`},
		{"log-in, a realm that is a number in YAML", "REGISTRY_AUTH_HTPASSWD_PATH=/a;REGISTRY_AUTH_HTPASSWD_REALM=007", "realm", `realm: 007 # REGISTRY_AUTH_HTPASSWD_REALM`},
		{"log-in, in lower case", "REGISTRY_AUTH=htpasswd;REGISTRY_AUTH_htpasswd_path=/auth/htpasswd", "path", `path: /auth/htpasswd # REGISTRY_AUTH_htpasswd_path`},
		{"log-in, in a subtree", "REGISTRY_AUTH={htpasswd: {realm: r, path: /auth/htpasswd}}", "path", `path: /auth/htpasswd # REGISTRY_AUTH`},
		{"no log-in", "REGISTRY_AUTH=none", "path", `path: "" # REGISTRY_AUTH`},
		{"no log-in, in a subtree", "REGISTRY_AUTH={none: {}}", "path", `path: "" # REGISTRY_AUTH`},
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
		{"another driver", "REGISTRY_STORAGE=secret", "REGISTRY_STORAGE: names another storage driver than filesystem"},
		{"a driver's setting", "REGISTRY_STORAGE_S3_SECRETKEY=secret", "REGISTRY_STORAGE_S3_SECRETKEY: configures the storage driver s3,"},
		{"a driver in a subtree", "REGISTRY_STORAGE={s3: {secretkey: secret}}", "REGISTRY_STORAGE: configures the storage driver s3,"},
		{"a driver in memory", "REGISTRY_STORAGE_INMEMORY=", "REGISTRY_STORAGE_INMEMORY: configures the storage driver inmemory,"},
		{"a bad subtree of storage", "REGISTRY_STORAGE={filesystem: secret", "REGISTRY_STORAGE: names another storage driver than filesystem"},
		{"read-only", "REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED=true", "REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED: makes the registry read-only"},
		{"read-only, in a subtree", `REGISTRY_STORAGE_MAINTENANCE_READONLY={"enabled":true}`, "REGISTRY_STORAGE_MAINTENANCE_READONLY: makes the registry read-only"},
		{"a mirror", "REGISTRY_PROXY_REMOTEURL=https://secret", "REGISTRY_PROXY_REMOTEURL: makes the registry a mirror"},
		{"a mirror's password", "REGISTRY_PROXY_PASSWORD=secret", "REGISTRY_PROXY_PASSWORD: makes the registry a mirror"},
		{"a mirror in a subtree", "REGISTRY_PROXY={remoteurl: 'https://secret'}", "REGISTRY_PROXY: makes the registry a mirror"},
		{"another log-in", "REGISTRY_AUTH=secret", "REGISTRY_AUTH: names another way to log in than htpasswd"},
		{"another log-in's setting", "REGISTRY_AUTH_TOKEN_REALM=https://secret", "REGISTRY_AUTH_TOKEN_REALM: configures the log-in token,"},
		{"another log-in in a subtree", "REGISTRY_AUTH={silly: {realm: secret}}", "REGISTRY_AUTH: configures the log-in silly,"},
		{"log-in without a file", "REGISTRY_AUTH=htpasswd", "REGISTRY_AUTH: asks for log-in with a password file, but none is named: set REGISTRY_AUTH_HTPASSWD_PATH"},
		{"log-in with a realm alone", "REGISTRY_AUTH_HTPASSWD_REALM=secret", "REGISTRY_AUTH_HTPASSWD_REALM: asks for log-in with a password file, but none"},
		{"log-in with an empty file name", "REGISTRY_AUTH_HTPASSWD_PATH=", "REGISTRY_AUTH_HTPASSWD_PATH: asks for log-in with a password file, but none"},
		{"log-in with a null file name", "REGISTRY_AUTH={htpasswd: {path: ~}}", "REGISTRY_AUTH: asks for log-in with a password file, but none"},
		{"log-in with an unknown key", "REGISTRY_AUTH_HTPASSWD_FILE=/secret", "REGISTRY_AUTH_HTPASSWD_FILE: asks for log-in with a password file, but none"},
		{"log-in and none", "REGISTRY_AUTH=none;REGISTRY_AUTH_HTPASSWD_PATH=/secret", "REGISTRY_AUTH: says that there is no log-in, and REGISTRY_AUTH_HTPASSWD_PATH that there is"},
		{"a section with a text", "REGISTRY_AUTH_HTPASSWD=/secret", "REGISTRY_AUTH_HTPASSWD: holds a text where keys belong"},
		{"a section that is no YAML", "REGISTRY_HTTP={tls: {secret", "REGISTRY_HTTP: holds a text where keys belong"},
		{"certificates of clients", "REGISTRY_HTTP_TLS_CLIENTCAS=[/secret.pem]", "REGISTRY_HTTP_TLS_CLIENTCAS: asks clients for certificates"},
		{"certificates of clients, one by one", "REGISTRY_HTTP_TLS_CLIENTCAS_0=/secret.pem", "REGISTRY_HTTP_TLS_CLIENTCAS_0: asks clients for certificates"},
		{"certificates of clients, how", "REGISTRY_HTTP_TLS_CLIENTAUTH=secret", "REGISTRY_HTTP_TLS_CLIENTAUTH: asks clients for certificates"},
		{"Let's Encrypt", "REGISTRY_HTTP_TLS_LETSENCRYPT_HOSTS=[secret.example.com]", "REGISTRY_HTTP_TLS_LETSENCRYPT_HOSTS: asks for certificates of Let's Encrypt"},
		{"a socket", "REGISTRY_HTTP_NET=unix", "REGISTRY_HTTP_NET: asks for another network than tcp"},
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
	const unknown = " is not known to this version of Berth: ignored"
	mayDelete := "clients may delete by default, unlike with registry:2: REGISTRY_STORAGE_DELETE_ENABLED=false forbids it"
	everywhere := "since REGISTRY_* variables are set, the address to listen on is :5000 by default, as with registry:2"
	tests := []struct {
		name    string
		environ []string
		as      Mode
		want    []string
	}{
		{"nothing", []string{"HOME=/root", "XREGISTRY_A=b"}, Berth, nil},
		{"unknown", []string{"REGISTRY_HTTP_SECRET=s3cret"}, Berth, []string{"REGISTRY_HTTP_SECRET" + unknown}},
		{"unknown, in a section we know", []string{"REGISTRY_STORAGE_FILESYSTEM_MAXTHREADS=100"}, Berth, []string{"REGISTRY_STORAGE_FILESYSTEM_MAXTHREADS" + unknown}},
		{"unknown, a subtree is named once", []string{"REGISTRY_LOG={level: debug, fields: {a: s3cret}}"}, Berth, []string{"REGISTRY_LOG" + unknown}},
		{"unknown, no setting at all", []string{"REGISTRY_PASSWORD=s3cret", "REGISTRY_=1"}, Berth, []string{"REGISTRY_" + unknown, "REGISTRY_PASSWORD" + unknown}},
		{"lower case", []string{"REGISTRY_http_addr=:1", "REGISTRY_auth_TOKEN=s3cret"}, Berth, []string{
			"REGISTRY_auth_TOKEN is ignored: registry:2 knows its variables in upper case only",
			"REGISTRY_http_addr is ignored: registry:2 knows its variables in upper case only",
		}},
		{"empty", []string{"REGISTRY_HTTP_ADDR=", "REGISTRY_AUTH=", "REGISTRY_STORAGE=", "REGISTRY_STORAGE_DELETE_ENABLED=~"}, Berth, []string{
			"REGISTRY_AUTH is empty: ignored", "REGISTRY_HTTP_ADDR is empty: ignored", "REGISTRY_STORAGE_DELETE_ENABLED is empty: ignored",
		}},
		{"not read-only", []string{"REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED=no"}, Berth, []string{"REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED" + unknown}},
		{"the file's name", []string{"REGISTRY_CONFIGURATION_PATH=/etc/x.yml"}, Berth, nil},
		{"where podman keeps its log-ins", []string{"REGISTRY_AUTH_FILE=/run/containers/0/auth.json"}, Berth, nil},
		{"kubernetes", []string{
			"REGISTRY_PORT=tcp://10.0.0.1:5000", "REGISTRY_SERVICE_HOST=10.0.0.1", "REGISTRY_SERVICE_PORT=5000", "REGISTRY_PORT_5000_TCP_ADDR=10.0.0.1",
			"REGISTRY_AUTH_PORT=tcp://10.0.0.2:5001", "REGISTRY_AUTH_SERVICE_HOST=10.0.0.2", "REGISTRY_PROXY_PORT_80_TCP=tcp://10.0.0.3:80", "REGISTRY_STORAGE_SERVICE_PORT_API=80",
		}, Berth, nil},
		{"something understood", []string{"REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY=/data"}, Berth, []string{mayDelete, everywhere}},
		{"everything said", []string{"REGISTRY_HTTP_ADDR=:1", "REGISTRY_STORAGE_DELETE_ENABLED=true"}, Berth, nil},
		{"no realm", []string{"REGISTRY_HTTP_ADDR=:1", "REGISTRY_STORAGE_DELETE_ENABLED=true", "REGISTRY_AUTH_HTPASSWD_PATH=/a"}, Berth, []string{
			"REGISTRY_AUTH_HTPASSWD_REALM is not set, without which registry:2 would not start: Berth goes on with its own realm",
		}},
		{"as registry", nil, Registry, []string{"clients may not delete by default, as with registry:2: REGISTRY_STORAGE_DELETE_ENABLED=true lets them"}},
		{"as registry, with deletion", []string{"REGISTRY_STORAGE_DELETE_ENABLED=true"}, Registry, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := FromEnv(tt.environ, tt.as)
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
		{"berth, with what is ignored", []string{"REGISTRY_LOG_LEVEL=debug", "REGISTRY_PORT=tcp://1.2.3.4:5"}, Berth, "./berth-data", []string{"127.0.0.1:5000", "[::1]:5000"}, true},
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
	l, err := config.Load(config.Sources{File: "testdata/file.yml", Base: Defaults(Registry), Registry2: FromEnv(environ, Registry)})
	if err != nil {
		t.Fatal(err)
	}
	if c := l.Config; c.Data != "/file" || !c.Delete.Enabled || !slices.Equal(c.HTTP.Listen, []string{":1"}) {
		t.Errorf("got %s, %v, %v", c.Data, c.Delete.Enabled, c.HTTP.Listen)
	}
}

func TestTranslateRefuses(t *testing.T) {
	_, err := config.Load(config.Sources{File: "testdata/config.yml", Translate: Translate})
	for _, want := range []string{"testdata/config.yml: ", "configuration of registry:2", "comes with a later release", "REGISTRY_AUTH_HTPASSWD_PATH"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func FuzzFromEnv(f *testing.F) {
	for _, seed := range [][2]string{
		{"HTTP_ADDR", "[::1]:5000"}, {"AUTH", "{htpasswd: {path: /a}}"}, {"AUTH", "none"}, {"STORAGE", "{s3: {}}"}, {"HTTP", "{tls: {key: a, certificate: b}}"},
		{"STORAGE_DELETE", "{enabled: !!bool yes}"}, {"", "a: &a [*a]"}, {"AUTH_HTPASSWD_REALM", "|\n a\n b"}, {"HTTP", "{? {a: b} : c, ~: d}"}, {"PORT", "tcp://"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		environ := []string{prefix + name + "=" + value}
		s := FromEnv(environ, Berth)
		again := FromEnv(environ, Berth)
		if diff := cmp.Diff(s.Values, again.Values); diff != "" {
			t.Errorf("the same variable twice gives two results: %s", diff)
		}
		if !slices.Equal(s.Notes, again.Notes) {
			t.Errorf("the same variable twice gives two notes: %q, %q", s.Notes, again.Notes)
		}
		for _, v := range s.Values {
			if v.Origin == "" || v.Path == "" || len(v.Items) != 1 {
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
