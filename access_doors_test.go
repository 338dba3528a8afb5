package berth

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"berth/config"
)

// TestCreateMovesNoTag is row A2: who may create makes tags and moves none,
// whatever they are called, one at a time or many at once.
func TestCreateMovesNoTag(t *testing.T) {
	s := newSite(t, t.TempDir(), matrixUsers[:], matrixRules)
	robot := client{name: "creator"}
	first, firstDigest := image("first")
	second, secondDigest := image("second")
	for _, tag := range []string{"latest", "v1"} {
		path := "/v2/team/app/manifests/" + tag
		s.want("201", robot, "PUT", path, first)
		s.want("201", robot, "PUT", path, first) // nothing moves
		a := s.want("403 DENIED", robot, "PUT", path, second)
		if !strings.Contains(a.body, "tag "+tag+" exists") {
			t.Errorf("the answer does not say which tag: %s", a.body)
		}
		s.want("403 DENIED", robot, "PUT", "/v2/team/app/manifests/new?tag="+tag, second)
		s.want("403 DENIED", robot, "PUT", "/v2/team/app/manifests/"+secondDigest+"?tag=new&tag="+tag, second)
		s.want("404 MANIFEST_UNKNOWN", robot, "GET", "/v2/team/app/manifests/new", "")
		if got := s.do(robot, "HEAD", path, "").header.Get("Docker-Content-Digest"); got != firstDigest {
			t.Errorf("%s is %s now", tag, got)
		}
	}
	s.want("404 MANIFEST_UNKNOWN", robot, "GET", "/v2/team/app/manifests/"+secondDigest, "")
	s.want("201", client{name: "writer"}, "PUT", "/v2/team/app/manifests/latest", second)

	var wg sync.WaitGroup
	answers := make([]string, 20)
	for i := range answers {
		body, _ := image(fmt.Sprint("at once ", i))
		wg.Go(func() { answers[i] = s.do(robot, "PUT", "/v2/team/app/manifests/race", body).summary() })
	}
	wg.Wait()
	slices.Sort(answers)
	if answers[0] != "201" || answers[1] != "403 DENIED" || answers[19] != "403 DENIED" {
		t.Errorf("20 at once: got %v, want one 201", answers)
	}
}

// TestMountByRules is row A4: a mount takes only what may be pulled, and is
// never refused for want of the right to pull.
func TestMountByRules(t *testing.T) {
	s := newSite(t, t.TempDir(), matrixUsers[:], matrixRules)
	secret, shared := s.upload("private/a", "secret"), s.upload("public/a", "shared")
	writer := client{name: "writer"}
	for _, from := range []string{"&from=private/a", ""} {
		a := s.want("202", writer, "POST", "/v2/team/app/blobs/uploads/?mount="+secret+from, "")
		if a.header.Get("Location") == "" || a.header.Get("Docker-Content-Digest") != "" {
			t.Errorf("mount%s: got %v", from, a.header)
		}
		s.want("404 BLOB_UNKNOWN", writer, "GET", "/v2/team/app/blobs/"+secret, "")
	}
	s.want("202", writer, "POST", "/v2/team/app/blobs/uploads/?mount="+digestOf("nothing")+"&from=public/a", "")
	s.want("201", writer, "POST", "/v2/team/app/blobs/uploads/?mount="+shared+"&from=public/a", "")
	s.want("201", client{name: "creator"}, "POST", "/v2/team/b/blobs/uploads/?mount="+shared, "")
	s.want("403 DENIED", client{name: "reader"}, "POST", "/v2/team/app/blobs/uploads/?mount="+shared+"&from=public/a", "")
	s.want("201", client{name: "admin"}, "POST", "/v2/team/app/blobs/uploads/?mount="+secret+"&from=private/a", "")
}

// TestListsByRules is row A11: lists hold what may be pulled, and pages of them
// are full.
func TestListsByRules(t *testing.T) {
	s := newSite(t, t.TempDir(), matrixUsers[:], matrixRules)
	for _, repo := range []string{"a", "public/a", "team/a", "team/b", "team-evil/a", "team", "public"} {
		s.put(repo, "v1", repo)
	}
	catalog := func(c client, query string) string {
		var list struct{ Repositories []string }
		a := s.want("200", c, "GET", "/v2/_catalog"+query, "")
		if err := json.Unmarshal([]byte(a.body), &list); err != nil {
			t.Fatal(err)
		}
		return strings.Join(list.Repositories, " ")
	}
	for c, want := range map[client]string{
		{name: "reader"}:                         "public/a team/a team/b",
		{name: "deleter"}:                        "public/a",
		{name: "stranger"}:                       "public/a",
		{name: "admin"}:                          "a public public/a team team-evil/a team/a team/b",
		{name: "roamer", address: "10.9.0.1"}:    "a public public/a team team-evil/a team/a team/b",
		{name: "roamer", address: "192.0.2.200"}: "public/a",
	} {
		if got := catalog(c, ""); got != want {
			t.Errorf("%+v: got %q, want %q", c, got, want)
		}
	}
	if got := catalog(client{name: "reader"}, "?n=2"); got != "public/a team/a" {
		t.Errorf("a page of two: got %q", got)
	}
}

// TestTokensByRules is rows A7, A9 and A10: a token is for what was asked and is
// allowed, and is worth no more than the rights of its holder at each request:
// from where it is sent, and by the rules of that day.
func TestTokensByRules(t *testing.T) {
	dir := t.TempDir()
	scopes := []struct{ scope, writer, creator, anonymous string }{ // what of each kind of request works
		{"repository:team/app:pull", "pull", "pull", ""},
		{"repository:team/app:push", "push", "create", ""},
		{"repository:team/app:pull,push", "pull push", "pull create", ""},
		{"repository:team/app:pull,push,delete", "pull push", "pull create", ""},
		{"repository:team/app:*", "pull push", "pull create", ""},
		{"repository:team/app:create", "", "", ""},
		{"repository:team/app:pull repository:team/app:push", "pull push", "pull create", ""},
		{"repository:team/app:pull&scope=repository:team/app:push", "pull push", "pull create", ""},
		{"repository:team/*:pull,push", "", "", ""},
		{"repository:team:pull,push", "", "", ""},
		{"repository:team-evil/app:pull,push", "", "", ""},
		{"repository:host:5000/team/app:pull", "", "", ""},
		{"repository:team/app:PULL", "", "", ""},
		{"repository:public/app:pull", "", "", ""},
		{"registry:catalog:*", "", "", ""},
		{"image:team/app:pull", "", "", ""},
		{"", "", "", ""},
	}
	body, _ := image("by token")
	other, _ := image("by token, too")
	t.Run("scopes", func(t *testing.T) {
		s := newSite(t, dir, matrixUsers[:], matrixRules)
		works := func(token string) string {
			var list []string
			bearer := client{header: [2]string{"Authorization", "Bearer " + token}}
			for _, q := range []struct{ name, method, path, body string }{
				{"pull", "GET", "/v2/team/app/manifests/v1", ""},
				{"push", "PUT", "/v2/team/app/manifests/v1", other},
				{"create", "PUT", "/v2/team/app/manifests/" + digestOf(body), body},
				{"delete", "DELETE", "/v2/team/app/manifests/v1", ""},
			} {
				s.put("team/app", "v1", "before")
				switch a := s.do(bearer, q.method, q.path, q.body); {
				case a.status < 300 && (q.name != "create" || !slices.Contains(list, "push")):
					list = append(list, q.name)
				case a.status >= 300 && a.status != 401 && a.status != 403:
					t.Errorf("%s: got %d %s", q.name, a.status, a.body)
				}
			}
			return strings.Join(list, " ")
		}
		for _, tt := range scopes {
			for name, want := range map[string]string{"writer": tt.writer, "creator": tt.creator, "": tt.anonymous} {
				if got := works(s.token(client{name: name}, tt.scope)); got != want {
					t.Errorf("%q with the scope %q: got %q, want %q", name, tt.scope, got, want)
				}
			}
		}
	})
	var roamers, writers, readers string
	t.Run("where it is sent from", func(t *testing.T) {
		s := newSite(t, dir, matrixUsers[:], matrixRules)
		roamers = s.token(client{name: "roamer", address: "10.9.0.1"}, "repository:team/app:pull,push,delete")
		writers, readers = s.token(client{name: "writer"}, "repository:team/app:pull,push"), s.token(client{name: "reader"}, "repository:team/app:pull")
		at := func(address string) client {
			return client{address: address, header: [2]string{"Authorization", "Bearer " + roamers}}
		}
		s.want("201", at("10.9.7.7"), "PUT", "/v2/team/app/manifests/v1", body)
		s.want("403 DENIED", at("192.0.2.1"), "PUT", "/v2/team/app/manifests/v1", body)
		s.want("403 DENIED", at("192.0.2.1"), "DELETE", "/v2/team/app/manifests/v1", "")
		s.want("200", client{header: [2]string{"Authorization", "Bearer " + writers}}, "GET", "/v2/team/app/manifests/v1", "")
	})
	t.Run("rights that are gone", func(t *testing.T) { // the token is still good for minutes
		s := newSite(t, dir, matrixUsers[:], func(c *config.Config) {
			matrixRules(c)
			c.Auth.Groups["writers"] = nil
			c.Access[1].Users = []string{"somebody"}
		})
		for _, token := range []string{writers, readers} {
			bearer := client{header: [2]string{"Authorization", "Bearer " + token}}
			s.want("403 DENIED", bearer, "GET", "/v2/team/app/manifests/v1", "")
			s.want("403 DENIED", bearer, "POST", "/v2/team/app/blobs/uploads/", "")
			s.want("200", bearer, "GET", "/v2/", "")
		}
	})
	t.Run("read-only", func(t *testing.T) {
		s := newSite(t, dir, matrixUsers[:], func(c *config.Config) { matrixRules(c); c.ReadOnly = true })
		for _, token := range []string{writers, s.token(client{name: "writer"}, "repository:team/app:pull,push")} {
			bearer := client{header: [2]string{"Authorization", "Bearer " + token}}
			s.want("200", bearer, "GET", "/v2/team/app/manifests/v1", "")
			s.want("405 UNSUPPORTED", bearer, "POST", "/v2/team/app/blobs/uploads/", "") // not: get another token
		}
	})
}

// token asks for a token.
func (s *site) token(c client, scope string) string {
	s.t.Helper()
	a := s.want("200", c, "GET", "/v2/token?service=berth&scope="+strings.ReplaceAll(url.PathEscape(scope), "%26scope=", "&scope="), "")
	var got struct{ Token string }
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || got.Token == "" {
		s.t.Fatalf("no token in %s (error %v)", a.body, err)
	}
	return got.Token
}

// officeOnly lets one network do everything and everybody else nothing, without
// log-in.
func officeOnly(c *config.Config) {
	c.Access = []config.Rule{
		{Anonymous: true, Addresses: networks("10.0.0.0/8", "fd00::/8"), Allow: allow(config.AllowPull, config.AllowPush, config.AllowDelete)},
		{Anonymous: true, Addresses: networks("192.0.2.0/24"), Repositories: []string{"public/**"}, Allow: allow(config.AllowPull)},
	}
}

// TestForgedAddress is row A16: the address that rules look at is the one that
// the trusted proxy saw. What a client writes into a header moves it nowhere.
func TestForgedAddress(t *testing.T) {
	s := newSite(t, t.TempDir(), nil, officeOnly)
	digest := s.put("team/app", "v1", "x")
	paths := map[string]string{"GET /v2/": "", "GET /v2/_catalog": "", "GET /v2/team/app/manifests/v1": "", "GET /v2/team/app/tags/list": "",
		"DELETE /v2/team/app/manifests/" + digest: "", "POST /v2/team/app/blobs/uploads/": ""}
	forged := [][2]string{
		{"X-Forwarded-For", "10.0.0.1, 203.0.113.9"}, {"X-Forwarded-For", "203.0.113.9, nonsense"}, {"X-Forwarded-For", "10.0.0.1, [::ffff:203.0.113.9]:1"},
		{"X-Forwarded-For", "10.0.0.1,203.0.113.9,127.0.0.1"}, {"Forwarded", "for=10.0.0.1, for=203.0.113.9"}, {"X-Real-IP", "203.0.113.9"},
		{"X-Forwarded-For", ""}, {"X-Client-IP", "10.0.0.1"}, {"True-Client-IP", "10.0.0.1"}, {"X-Forwarded-Host", "10.0.0.1"},
	}
	for request := range paths {
		method, path, _ := strings.Cut(request, " ")
		for _, h := range forged {
			s.want("403 DENIED", client{header: h}, method, path, "")
		}
	}
	a := s.want("403 DENIED", client{address: "203.0.113.9"}, "GET", "/v2/team/app/manifests/v1", "")
	if !strings.Contains(a.body, "203.0.113.9") || a.header.Get("Www-Authenticate") != "" {
		t.Errorf("got %v %s, want the address and no challenge", a.header, a.body)
	}
	// Those who are there get in, and as far as their rule goes.
	office, guest := client{address: "10.0.0.1"}, client{address: "192.0.2.7"}
	s.put("public/app", "v1", "y")
	s.want("200", office, "GET", "/v2/", "")
	s.want("202", office, "POST", "/v2/team/app/blobs/uploads/", "")
	s.want("200", client{address: "203.0.113.9, fd00::1"}, "GET", "/v2/team/app/manifests/v1", "")
	s.want("200", guest, "GET", "/v2/", "")
	s.want("200", guest, "GET", "/v2/public/app/manifests/v1", "")
	s.want("403 DENIED", guest, "GET", "/v2/team/app/manifests/v1", "")
	s.want("403 DENIED", guest, "POST", "/v2/public/app/blobs/uploads/", "")

	// Without a trusted proxy no header counts at all.
	direct := newSite(t, t.TempDir(), nil, func(c *config.Config) { officeOnly(c); c.HTTP.TrustedProxies = nil })
	for _, name := range []string{"X-Forwarded-For", "X-Real-IP", "Forwarded"} {
		value := "10.0.0.1"
		if name == "Forwarded" {
			value = "for=10.0.0.1"
		}
		direct.want("403 DENIED", client{header: [2]string{name, value}}, "GET", "/v2/", "")
	}
	// Nobody guesses passwords from where nobody has any right.
	guarded := newSite(t, t.TempDir(), matrixUsers[:], func(c *config.Config) {
		c.Access = []config.Rule{{Users: []string{"*"}, Addresses: networks("10.0.0.0/8"), Allow: allow(config.AllowPull)}}
	})
	guarded.want("401 UNAUTHORIZED", client{name: "reader", address: "10.0.0.1", header: [2]string{"Authorization", "Basic eDp5"}}, "GET", "/v2/", "")
	guarded.want("200", client{name: "reader", address: "10.0.0.1"}, "GET", "/v2/", "")
	for _, c := range []client{{}, {name: "reader"}, {header: [2]string{"Authorization", "Basic eDp5"}}, {header: [2]string{"Authorization", "Bearer x"}}} {
		c.address = "203.0.113.9"
		guarded.want("403 DENIED", c, "GET", "/v2/", "")
		guarded.want("403 DENIED", c, "GET", "/v2/token", "")
	}
}

// TestProxyLogIn has a proxy in front log its users in, by a header of its own
// and by Basic credentials that it passes on.
func TestProxyLogIn(t *testing.T) {
	rules := func(c *config.Config) {
		c.Access = []config.Rule{{Users: []string{"alice"}, Allow: allow(config.AllowPull, config.AllowPush)}, {Users: []string{"reader"}, Allow: allow(config.AllowPull)}}
	}
	const push, path = "POST", "/v2/team/app/blobs/uploads/"
	t.Run("a header", func(t *testing.T) {
		s := newSite(t, t.TempDir(), []string{"reader"}, func(c *config.Config) { rules(c); c.Auth.ProxyHeader = "X-Forwarded-User" })
		named := func(name string) client { return client{header: [2]string{"X-Forwarded-User", name}} }
		s.want("202", named("alice"), push, path, "")
		s.want("403 DENIED", named("bob"), push, path, "")
		s.want("401 UNAUTHORIZED", named(""), push, path, "")
		s.want("401 UNAUTHORIZED", client{}, push, path, "")
		s.want("400 UNAUTHORIZED", named("al\tice"), push, path, "")
		s.want("400 UNAUTHORIZED", named(strings.Repeat("a", 256)), push, path, "")
		// The proxy says who it is, whatever the client itself has sent; without the
		// header its users are those of the password file.
		s.want("202", client{name: "reader", header: [2]string{"X-Forwarded-User", "alice"}}, push, path, "")
		s.want("403 DENIED", client{name: "reader"}, push, path, "")
		s.want("401 UNAUTHORIZED", client{name: "alice"}, push, path, "")
		a := s.do(named("alice"), push, path, "")
		s.want("204", named("alice"), "GET", a.header.Get("Location"), "") // an upload is its user's
		s.want("403 DENIED", named("reader"), "GET", a.header.Get("Location"), "")
	})
	t.Run("from a stranger", func(t *testing.T) {
		s := newSite(t, t.TempDir(), []string{"reader"}, func(c *config.Config) {
			rules(c)
			c.Auth.ProxyHeader, c.HTTP.TrustedProxies = "X-Forwarded-User", networks("192.0.2.1/32")
		})
		s.want("401 UNAUTHORIZED", client{header: [2]string{"X-Forwarded-User", "alice"}}, push, path, "")
		s.want("403 DENIED", client{name: "reader", header: [2]string{"X-Forwarded-User", "alice"}}, push, path, "")
	})
	t.Run("Basic", func(t *testing.T) {
		s := newSite(t, t.TempDir(), nil, func(c *config.Config) { rules(c); c.Auth.ProxyHeader = "authorization" })
		s.want("202", client{name: "alice"}, push, path, "")
		s.want("403 DENIED", client{name: "bob"}, push, path, "")
		a := s.want("401 UNAUTHORIZED", client{}, push, path, "")
		if got := a.header.Get("Www-Authenticate"); !strings.HasPrefix(got, "Basic ") { // the proxy's turn again
			t.Errorf("got the challenge %q", got)
		}
		s.want("401 UNAUTHORIZED", client{header: [2]string{"Authorization", "Bearer alice"}}, push, path, "")
	})
	t.Run("Basic from a stranger", func(t *testing.T) {
		s := newSite(t, t.TempDir(), nil, func(c *config.Config) {
			rules(c)
			c.Auth.ProxyHeader, c.HTTP.TrustedProxies = "Authorization", networks("192.0.2.1/32")
		})
		s.want("401 UNAUTHORIZED", client{name: "alice"}, push, path, "") // as if nothing had come
		s.want("401 UNAUTHORIZED", client{name: "alice"}, "GET", "/v2/", "")
	})
	t.Run("without a setting", func(t *testing.T) {
		s := newSite(t, t.TempDir(), nil, func(*config.Config) {})
		s.want("202", client{name: "alice"}, push, path, "") // the header is passed over
	})
	t.Run("tokens", func(t *testing.T) {
		s := newSite(t, t.TempDir(), []string{"reader"}, func(c *config.Config) {
			rules(c)
			c.Access = append(c.Access, config.Rule{Anonymous: true, Repositories: []string{"public/**"}, Allow: allow(config.AllowPull)})
			c.Auth.ProxyHeader = "X-Forwarded-User"
		})
		token := s.token(client{header: [2]string{"X-Forwarded-User", "alice"}}, "repository:team/app:pull,push")
		s.want("202", client{header: [2]string{"Authorization", "Bearer " + token}}, push, path, "")
	})
}

// TestProxyLogInIsLogged holds that the log tells who the proxy has logged in
// from who has logged in here.
func TestProxyLogInIsLogged(t *testing.T) {
	var log strings.Builder
	cfg := config.Default()
	cfg.Data, cfg.Auth.ProxyHeader = t.TempDir(), "X-User"
	cfg.Auth.Htpasswd.Path = writePasswords(t, []string{"reader"})
	cfg.HTTP.TrustedProxies = networks("192.0.2.1/32")
	s, err := Open(t.Context(), Options{Config: cfg, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, c := range []client{{header: [2]string{"X-User", "alice"}}, {name: "reader"}} {
		r := c.request(t, http.MethodGet, "http://host/v2/", "")
		r.RemoteAddr = "192.0.2.1:1234"
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			t.Errorf("%+v: got %d", c, w.Code)
		}
	}
	if got := log.String(); !strings.Contains(got, "user=alice login=proxy") || !strings.Contains(got, "user=reader route") {
		t.Errorf("got the log %s", got)
	}
}

// TestProxyLogInIsRecorded is the same for events.
func TestProxyLogInIsRecorded(t *testing.T) {
	s := newSite(t, t.TempDir(), []string{"reader"}, func(c *config.Config) {
		c.Auth.ProxyHeader = "X-User"
		c.Notifications.Endpoints = []config.Endpoint{{Name: "x", URL: "http://127.0.0.1:1", Timeout: 1e9, Threshold: 1, Backoff: 1e9}}
	})
	body, _ := image("x")
	s.want("201", client{header: [2]string{"X-User", "alice"}}, "PUT", "/v2/app/manifests/v1", body)
	s.want("201", client{name: "reader"}, "PUT", "/v2/app/manifests/v2", body)
	list, err := s.s.meta.Events(t.Context(), 0, 10)
	if err != nil || len(list) != 2 {
		t.Fatalf("got %v, %v, want two events", list, err)
	}
	if a, b := list[0].By, list[1].By; a.Name != "alice" || a.Via != "proxy" || b.Name != "reader" || b.Via != "" {
		t.Errorf("got %+v and %+v", a, b)
	}
}

// FuzzAccess reads rules as a configuration holds them. Whatever they are, nobody
// has a right whom no rule names, and the rules are as many as were written.
func FuzzAccess(f *testing.F) {
	for _, s := range []string{`[{users: [alice], allow: [pull]}]`, `[{users: ["*"], repositories: ["team/**"], allow: [push]}, {groups: [g], allow: [create]}]`,
		`[{anonymous: true, addresses: [10.0.0.0/8, "::1"], allow: [pull, push, delete]}]`, `[{}]`, `[{users: a}]`, `{}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		loaded, err := config.Load(config.Sources{Environ: []string{"BERTH_ACCESS=" + text, "BERTH_AUTH_HTPASSWD_PATH=users", "BERTH_AUTH_GROUPS={g: [bob]}"}, File: "config/testdata/good-empty.yml"})
		if err != nil {
			return
		}
		rules := AccessRules(loaded.Config)
		if n := len(loaded.Config.Access); n > 0 && len(rules) != n || slices.Contains(rules, "{}") {
			t.Errorf("%s: %d rules became %v", text, n, rules)
		}
		for _, r := range loaded.Config.Access {
			if r.Anonymous || slices.Contains(r.Users, "mallory") || slices.Contains(r.Users, "*") {
				return
			}
		}
		if len(loaded.Config.Access) == 0 {
			return
		}
		for _, user := range []string{"mallory", "-"} {
			a, err := ExplainAccess(loaded.Config, AccessQuestion{User: user, Address: "10.0.0.1", Action: "pull", Repository: "team/app"})
			if err != nil || a.Allowed {
				t.Errorf("%s: %s is allowed to pull (error %v)", text, user, err)
			}
		}
	})
}
