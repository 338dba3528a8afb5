package proxies

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"berth/test/realtest"
)

// A report is what berth doctor --json prints.
type report struct {
	Registry string
	Checks   []struct{ Name, Outcome, Detail string }
	Findings []struct {
		ID, Level, Saw, Breaks string
		Change                 []struct{ Where, What string }
	}
}

func (r report) ids() []string {
	var list []string
	for _, f := range r.Findings {
		list = append(list, f.ID)
	}
	return list
}

// doctor runs berth doctor, logged in, and returns what it found and its exit
// code.
func doctor(t *testing.T, address string, args ...string) (report, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	all := append([]string{"doctor", address, "--json", "--user", name, "--password-stdin"}, args...)
	cmd := realtest.NewCLI(t, realtest.Berth(t)).Input(password+"\n").Command(ctx, all...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var r report
	if jerr := json.Unmarshal(out.Bytes(), &r); jerr != nil {
		t.Fatalf("berth doctor: %v, %v\n%s%s", err, jerr, out.Bytes(), errs.Bytes())
	}
	if strings.Contains(out.String()+errs.String(), password) {
		t.Error("berth doctor prints the password")
	}
	return r, cmd.ProcessState.ExitCode()
}

// TestDoctorFindsNothing runs it against every recipe as it is, with an image to
// pull: there is nothing wrong, nothing is left untested, and nothing is left
// behind.
func TestDoctorFindsNothing(t *testing.T) {
	for _, k := range kinds() {
		for by, s := range map[string]func(*testing.T) stand{
			"Berth": func(t *testing.T) stand { return byBerth(t, k) },
			"proxy": func(t *testing.T) stand { return byProxy(t, k) },
		} {
			t.Run(k.name+", log-in by "+by, func(t *testing.T) {
				s := s(t)
				s.fill(t)
				r, code := doctor(t, s.URL, "--ca", s.CAFile)
				if len(r.Findings) > 0 || code != 0 || r.Registry != "Berth" {
					t.Errorf("exit code %d, registry %q, findings %+v", code, r.Registry, r.Findings)
				}
				for _, c := range r.Checks {
					if c.Outcome != "ok" {
						t.Errorf("%s: %s, %s", c.Name, c.Outcome, c.Detail)
					}
				}
				left, err := filepath.Glob(filepath.Join(s.reg.Dir, "berth", "uploads", "*"))
				if err != nil || len(left) > 0 {
					t.Errorf("uploads are left: %v, %v", left, err)
				}
				if _, body := s.request(t, "GET", "/v2/_catalog", nil, nil, name, password); bytes.Contains(body, []byte("berth-doctor")) {
					t.Errorf("the catalog is %s", body)
				}
			})
		}
	}
}

// fill pushes an image straight to Berth, so that there is something to pull.
func (s stand) fill(t *testing.T) {
	t.Helper()
	fill(t, s.reg.Addr)
}

func fill(t *testing.T, addr string) {
	t.Helper()
	layout := realtest.NewLayout(t, realtest.Image{Layers: []int64{200_000}, Seed: 83})
	crane := realtest.Crane(t)
	crane.Run("auth", "login", addr, "-u", name, "-p", password)
	crane.Run("push", layout.Dir, addr+"/library/app:v1")
}

// A fault is a proxy that is configured wrongly in one way.
type fault struct {
	says string // the id of the finding
	saw  string // in its text
	what string // in one of the changes it proposes

	login  bool // the recipe in which the proxy checks who logs in
	edit   func(recipe string) string
	berth  []string // environment of Berth
	behind string   // what stands behind: Berth, or the real registry
	unread bool     // nobody but root may read the password file
	also   []string // what follows from it
}

// swap replaces a line of a recipe.
func swap(from, to string) func(string) string {
	return func(recipe string) string {
		if !strings.Contains(recipe, from) {
			panic("the recipe has no " + from)
		}
		return strings.ReplaceAll(recipe, from, to)
	}
}

// within adds lines to the part of a recipe that passes requests on.
func within(lines string) func(string) string {
	return func(recipe string) string {
		for _, begin := range []string{"    location /v2/ {\n", "    <Location /v2/>\n"} {
			recipe = strings.Replace(recipe, begin, begin+lines+"\n", 1)
		}
		return recipe
	}
}

func both(a, b func(string) string) func(string) string {
	return func(recipe string) string { return b(a(recipe)) }
}

func nginxFaults() []fault {
	const gone = "127.0.0.1:1"
	return []fault{
		{says: "body-limit", saw: "more than 1 MiB", what: "client_max_body_size 0;", edit: swap("client_max_body_size 0;", "")},
		{says: "body-limit", saw: "more than 100 MiB", what: "client_max_body_size 0;", edit: swap("client_max_body_size 0;", "client_max_body_size 100m;")},
		{says: "request-buffered", what: "proxy_request_buffering off;", edit: swap("proxy_request_buffering off;", "")},
		{says: "location-scheme", saw: "http://", what: "X-Forwarded-Proto $scheme", behind: "registry", edit: swap("proxy_set_header X-Forwarded-Proto $scheme;", "")},
		{says: "location-host", what: "Host $http_host", behind: "registry", edit: swap("Host              $http_host;", "Host localhost;")},
		{says: "not-proxied", what: "location /v2/", edit: swap("location /v2/", "location /v1/")},
		{says: "gateway", saw: "502", what: "proxy_pass", edit: swap("proxy_pass http://berth;", "proxy_pass http://"+gone+";")},
		{says: "redirect", saw: "elsewhere.example", what: "the address it leads to", edit: within("return 301 https://elsewhere.example$request_uri;")},
		{says: "agent-blocked", saw: "docker", what: "$http_user_agent", edit: within("if ($http_user_agent ~ ^docker) { return 404; }")},
		{says: "agent-blocked", saw: "skopeo", what: "$http_user_agent", edit: within("if ($http_user_agent ~ skopeo) { return 403; }")},
		{says: "version-header-missing", what: "map $upstream_http", edit: both(swap("add_header Docker-Distribution-Api-Version", "#"), within("proxy_hide_header Docker-Distribution-Api-Version;"))},
		{says: "version-header-twice", what: "add_header", edit: swap("Api-Version $docker_distribution_api_version always", "Api-Version registry/2.0 always")},
		{says: "errors-replaced", saw: "404", what: "proxy_intercept_errors off;", edit: within("proxy_intercept_errors on; error_page 404 /404.html;")},
		{says: "challenge-missing", what: "WWW-Authenticate", edit: within("proxy_hide_header WWW-Authenticate;")},
		{says: "authorization-lost", saw: "as if nobody had logged in", what: "Authorization", edit: within("proxy_set_header Authorization \"\";")},
		{says: "password-file", saw: "500", what: "auth_basic_user_file", login: true, unread: true},
		{says: "password-file", saw: "403", what: "auth_basic_user_file", login: true, edit: func(r string) string {
			return strings.Replace(r, "auth_basic_user_file ", "auth_basic_user_file /nowhere/", 1)
		}},
		{says: "two-checkers", what: "auth.proxy_header", login: true, berth: []string{"BERTH_AUTH_HTPASSWD_PATH=OTHER"}},
		{says: "nobody-checks", what: "auth_basic", edit: within("if ($http_authorization = \"\") { add_header WWW-Authenticate 'Basic realm=\"x\"' always; return 401; }"), behind: "open", also: []string{"version-header-missing"}},
		{says: "method-blocked", saw: "PATCH", what: "limit_except", edit: within("limit_except GET POST { deny all; }")},
		{says: "content-encoded", saw: "gzip", what: "gzip off;", edit: swap("gzip off;", "gzip_types *; gzip_min_length 1;"), also: []string{"head-length"}},
		{says: "range", what: "Range", edit: within("proxy_set_header Range \"\"; proxy_hide_header Accept-Ranges;")},
		{says: "digest-header", what: "Docker-Content-Digest", edit: within("proxy_hide_header Docker-Content-Digest;")},
		{says: "token-not-proxied", what: "location /v2/", edit: swap("    location /v2/ {", "    location = /v2/token { return 404; }\n    location /v2/ {"),
			berth: []string{"BERTH_AUTH_ANONYMOUS=pull"}, also: []string{"log-in-refused"}},
		{says: "token-address", saw: "http://", what: "http.trusted_proxies", edit: swap("proxy_set_header X-Forwarded-Proto $scheme;", ""), berth: []string{"BERTH_AUTH_ANONYMOUS=pull"}},
		{says: "registry-limit", what: "uploads.max_size", berth: []string{"BERTH_UPLOADS_MAX_SIZE=1MiB"}},
	}
}

func apacheFaults() []fault {
	return []fault{
		{says: "request-buffered", what: "proxy-sendcl", edit: within("SetEnv proxy-sendcl 1")},
		{says: "location-scheme", saw: "http://", what: "X-Forwarded-Proto", behind: "registry", edit: swap("RequestHeader set   X-Forwarded-Proto \"https\"", "")},
		{says: "not-proxied", what: "ProxyPass /v2/", edit: swap("ProxyPass /v2/", "ProxyPass /v1/")},
		{says: "gateway", saw: "503", what: "ErrorLog", edit: func(r string) string {
			_, after, _ := strings.Cut(r, "ProxyPass /v2/ http://")
			addr, _, _ := strings.Cut(after, "/")
			return strings.ReplaceAll(r, addr, "127.0.0.1:1")
		}},
		{says: "version-header-twice", what: "Header onsuccess unset", edit: swap("Header onsuccess unset Docker-Distribution-Api-Version", "")},
		{says: "version-header-missing", what: "Header always set", edit: swap("Header always    set   Docker-Distribution-Api-Version \"registry/2.0\"", "")},
		{says: "errors-replaced", what: "ProxyErrorOverride Off", edit: within("ProxyErrorOverride On"), also: []string{"log-in-refused"}},
		{says: "authorization-lost", what: "RequestHeader unset Authorization", edit: within("RequestHeader unset Authorization")},
		{says: "password-file", saw: "500", what: "AuthUserFile", login: true, unread: true},
		{says: "two-checkers", what: "AuthType", login: true, berth: []string{"BERTH_AUTH_HTPASSWD_PATH=OTHER"}},
		{says: "method-blocked", saw: "PATCH", what: "LimitExcept", edit: within("<LimitExcept GET POST>\nRequire all denied\n</LimitExcept>")},
		{says: "content-encoded", saw: "gzip", what: "no-gzip", edit: swap("SetEnv no-gzip 1", "SetOutputFilter DEFLATE"), also: []string{"head-length"}},
		{says: "range", what: "RequestHeader unset Range", edit: within("RequestHeader unset Range\nHeader unset Accept-Ranges")},
		{says: "agent-blocked", saw: "containerd", what: "RewriteCond", edit: swap("RewriteCond %{HTTP_USER_AGENT} \"^(docker", "RewriteCond %{HTTP_USER_AGENT} \"^(containerd|docker")},
	}
}

// TestDoctorFinds configures nginx and Apache wrongly in one way at a time, and
// wants that found, and the right lines proposed.
func TestDoctorFinds(t *testing.T) {
	faults := map[string][]fault{"nginx": nginxFaults(), "apache": apacheFaults()}
	for _, k := range kinds() {
		for i, f := range faults[k.name] {
			t.Run(k.name+" "+strconv.Itoa(i)+" "+f.says, func(t *testing.T) {
				s := f.start(t, k)
				r, code := doctor(t, s.URL, "--ca", s.CAFile)
				f.check(t, r, code)
			})
		}
	}
}

// start runs the fault.
func (f fault) start(t *testing.T, k kind) *front {
	t.Helper()
	users := passwordFile(t)
	st := site{users: users, edit: f.edit}
	switch {
	case f.behind == "registry":
		st.backend = startRegistry(t, users)
	case f.behind == "open", f.login && f.berth == nil:
		st.backend = realtest.Start(t, realtest.Options{Env: f.berth}).Addr
		fill(t, st.backend)
	default:
		file := passwordFile(t)
		env := append([]string{"BERTH_HTTP_TRUSTED_PROXIES=[127.0.0.1/32]", "BERTH_AUTH_HTPASSWD_PATH=" + file}, f.berth...)
		if slices.Contains(env, "BERTH_AUTH_HTPASSWD_PATH=OTHER") {
			realtest.NewCLI(t, "htpasswd").Run("-Bb", file, name, "another password")
			env = []string{"BERTH_AUTH_HTPASSWD_PATH=" + file}
			st.backend = realtest.Start(t, realtest.Options{Env: env}).Addr
			break
		}
		st.backend = realtest.Start(t, realtest.Options{Env: env}).Addr
		if f.says != "registry-limit" {
			fill(t, st.backend)
		}
	}
	recipe := k.recipe
	if f.login {
		recipe = k.login
	}
	if f.unread {
		realtest.Root(t)
		if err := os.Chmod(users, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return startFront(t, k, recipe, st)
}

// check holds a report against what must be found.
func (f fault) check(t *testing.T, r report, code int) {
	t.Helper()
	found := false
	for _, got := range r.Findings {
		if got.ID != f.says {
			if !slices.Contains(f.also, got.ID) {
				t.Errorf("also found %s: %s", got.ID, got.Saw)
			}
			continue
		}
		found = true
		if !strings.Contains(got.Saw, f.saw) || got.Breaks == "" {
			t.Errorf("saw %q, want %q in it; breaks: %q", got.Saw, f.saw, got.Breaks)
		}
		if text := fmt.Sprint(got.Change); !strings.Contains(text, f.what) {
			t.Errorf("the changes are %s, want %q in them", text, f.what)
		}
		if want := map[string]int{"problem": 1, "hint": 0}[got.Level]; code != want {
			t.Errorf("the exit code is %d, want %d", code, want)
		}
	}
	if !found {
		t.Errorf("found %v, want %s; checks %+v", r.ids(), f.says, r.Checks)
	}
}

// startRegistry runs distribution's own registry.
func startRegistry(t *testing.T, users string) string {
	t.Helper()
	dir := t.TempDir()
	addr := "127.0.0.1:" + strconv.Itoa(realtest.FreePort(t))
	file := write(t, filepath.Join(dir, "config.yml"), "version: 0.1\nstorage: {filesystem: {rootdirectory: "+dir+"}}\nhttp: {addr: \""+addr+
		"\"}\nauth: {htpasswd: {realm: x, path: "+users+"}}\n")
	realtest.StartProgram(t, realtest.ProgramOptions{
		Name: "registry", Args: []string{"serve", file}, Env: []string{"OTEL_TRACES_EXPORTER=none"},
		Ready: func() error { return answers(addr) },
	})
	fill(t, addr)
	return addr
}

// TestDoctorCertificates runs it where the certificate is not right: then the
// password is not sent.
func TestDoctorCertificates(t *testing.T) {
	k := kinds()[0]
	s := byBerth(t, k)
	s.fill(t)
	r, code := doctor(t, s.URL)
	fault{says: "certificate-authority", what: "/etc/docker/certs.d/"}.check(t, r, code)
	asked := func(agent string, who func(realtest.Request) bool) func(*realtest.Log) bool {
		return func(l *realtest.Log) bool {
			return slices.ContainsFunc(l.Requests("GET", "/v2/"), func(r realtest.Request) bool {
				return strings.Contains(r.Entry.Text("agent"), agent) && who(r)
			})
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.reg.URL+"/v2/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("User-Agent", "afterwards")
	resp, err := s.reg.Client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if !s.reg.Log.Await(asked("afterwards", func(realtest.Request) bool { return true })) {
		t.Fatal("the log has no end")
	}
	if asked("doctor", func(r realtest.Request) bool { return r.User != "" })(s.reg.Log) {
		t.Error("the password was sent")
	}
	r, code = doctor(t, strings.Replace(s.URL, "127.0.0.1", "localhost", 1), "--ca", s.CAFile)
	if code != 1 || !slices.Contains(r.ids(), "certificate-name") && !slices.Contains(r.ids(), "unreachable") {
		t.Errorf("another name: exit code %d, found %v", code, r.ids())
	}
	r, code = doctor(t, "http://"+strings.TrimPrefix(s.URL, "https://"))
	fault{says: "tls-only", what: "https://"}.check(t, r, code)
	plain := realtest.Start(t, realtest.Options{})
	r, code = doctor(t, "https://"+plain.Addr)
	fault{says: "no-tls", what: "http.tls.certificate"}.check(t, r, code)
}
