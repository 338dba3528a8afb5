package berth

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/config"
	"berth/internal/distapi/route"
	"berth/internal/oci"
)

// A site is a registry with users, as its clients see it: through HTTP, from
// whichever address they are at.
type site struct {
	t   *testing.T
	s   *Server
	url string
}

// A client is somebody at an address.
type client struct {
	name    string // of a user, whose password is the name; empty is anonymous
	address string // as the proxy in front says; empty is this machine
	header  [2]string
}

// An answer has been read to its end.
type answer struct {
	status int
	header http.Header
	body   string
}

// newSite opens a registry in dir behind a proxy on this machine, with a password
// file of users if there are any.
func newSite(t *testing.T, dir string, users []string, change func(*config.Config)) *site {
	t.Helper()
	cfg := config.Default()
	cfg.Data, cfg.Log.Access = dir, false
	cfg.HTTP.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	if len(users) > 0 {
		cfg.Auth.Htpasswd.Path = writePasswords(t, users)
	}
	change(&cfg)
	s, err := Open(t.Context(), Options{Config: cfg})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(s)
	t.Cleanup(func() {
		srv.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &site{t, s, srv.URL}
}

func writePasswords(t *testing.T, users []string) string {
	t.Helper()
	var b strings.Builder
	for _, user := range users {
		sum := sha1.Sum([]byte(user)) // which costs nothing to check
		fmt.Fprintf(&b, "%s:{SHA}%s\n", user, base64.StdEncoding.EncodeToString(sum[:]))
	}
	file := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func (c client) request(t *testing.T, method, url, body string) *http.Request {
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if c.name != "" {
		r.SetBasicAuth(c.name, c.name)
	}
	if c.address != "" {
		r.Header.Set("X-Forwarded-For", c.address)
	}
	if c.header[0] != "" {
		r.Header.Set(c.header[0], c.header[1])
	}
	switch {
	case strings.HasPrefix(body, `{"schemaVersion"`):
		r.Header.Set("Content-Type", oci.MediaTypeIndex)
	case strings.HasPrefix(body, "{"):
		r.Header.Set("Content-Type", "application/json")
	case strings.HasPrefix(body, "grant_type="):
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return r
}

func (s *site) do(c client, method, path, body string) answer {
	s.t.Helper()
	resp, err := http.DefaultClient.Do(c.request(s.t, method, s.url+path, body))
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(text)}
}

// want is do with a status that is known, and the code of the error if it is one.
func (s *site) want(status string, c client, method, path, body string) answer {
	s.t.Helper()
	a := s.do(c, method, path, body)
	if got := a.summary(); got != status {
		s.t.Errorf("%s@%s %s %s: got %s %s, want %s", c.name, c.address, method, path, got, a.body, status)
	}
	return a
}

// summary is the status and the code of the error, if there is one.
func (a answer) summary() string {
	var e struct {
		Errors []struct{ Code string }
	}
	if a.status >= 400 && json.Unmarshal([]byte(a.body), &e) == nil && len(e.Errors) == 1 {
		return fmt.Sprint(a.status, " ", e.Errors[0].Code)
	}
	return fmt.Sprint(a.status)
}

// operator asks as the operator does, whom no rule holds.
func (s *site) operator(method, path, body string) answer {
	s.t.Helper()
	w := httptest.NewRecorder()
	s.s.Admin().ServeHTTP(w, client{}.request(s.t, method, "http://berth"+path, body))
	return answer{w.Code, w.Header(), w.Body.String()}
}

// image returns an index with a note in it, and its digest.
func image(note string) (body, digest string) {
	body = fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[],"annotations":{"note":%q}}`, oci.MediaTypeIndex, note)
	return body, oci.SHA256.FromBytes([]byte(body)).String()
}

func digestOf(s string) string { return oci.SHA256.FromBytes([]byte(s)).String() }

// put has the operator put a manifest.
func (s *site) put(repo, tag, note string) (digest string) {
	s.t.Helper()
	body, digest := image(note)
	if a := s.operator("PUT", "/v2/"+repo+"/manifests/"+tag, body); a.status != 201 {
		s.t.Fatalf("put %s:%s: %d %s", repo, tag, a.status, a.body)
	}
	return digest
}

// upload has the operator upload a blob.
func (s *site) upload(repo, content string) (digest string) {
	s.t.Helper()
	digest = digestOf(content)
	if a := s.operator("POST", "/v2/"+repo+"/blobs/uploads/?digest="+digest, content); a.status != 201 {
		s.t.Fatalf("upload to %s: %d %s", repo, a.status, a.body)
	}
	return digest
}

func allow(actions ...config.Allowed) []config.Allowed { return actions }

func networks(list ...string) (all []netip.Prefix) {
	for _, s := range list {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

// matrixRules are the rules that the matrix of clients is asked under.
func matrixRules(c *config.Config) {
	const pull, push, create, del = config.AllowPull, config.AllowPush, config.AllowCreate, config.AllowDelete
	c.Auth.Groups = map[string][]string{"writers": {"writer"}}
	c.Access = []config.Rule{
		{Anonymous: true, Repositories: []string{"public/**"}, Allow: allow(pull)},
		{Users: []string{"reader"}, Repositories: []string{"team/**"}, Allow: allow(pull)},
		{Users: []string{"creator"}, Repositories: []string{"team/*"}, Allow: allow(pull, create)},
		{Groups: []string{"writers"}, Repositories: []string{"team/**"}, Allow: allow(pull, push)},
		{Users: []string{"deleter"}, Repositories: []string{"team/**"}, Allow: allow(del)},
		{Users: []string{"admin"}, Allow: allow(pull, push, del)},
		{Users: []string{"roamer"}, Addresses: networks("10.9.0.0/16", "fd00::/8"), Allow: allow(pull, push, del)},
	}
}

// rights returns what c may do with repo under matrixRules: not as the rules say
// it, but as whoever wrote them meant it.
func rights(c client, repo string) string {
	team := strings.HasPrefix(repo, "team/")
	has := ""
	if strings.HasPrefix(repo, "public/") {
		has = "pull"
	}
	switch {
	case c.name == "admin", c.name == "roamer" && (strings.HasPrefix(c.address, "10.9.") || strings.HasPrefix(c.address, "fd00:")):
		return "pull create push delete"
	case c.name == "reader" && team:
		return "pull"
	case c.name == "creator" && team:
		return "pull create"
	case c.name == "writer" && team:
		return "pull create push"
	case c.name == "deleter" && team:
		return "delete"
	}
	return has
}

func may(c client, action, repo string) bool {
	return slices.Contains(strings.Fields(rights(c, repo)), action)
}

func matrixClients() []client {
	return []client{
		{}, {name: "reader"}, {name: "creator"}, {name: "writer"}, {name: "deleter"}, {name: "admin"}, {name: "stranger"},
		{name: "roamer", address: "10.9.1.1"}, {name: "roamer", address: "192.0.2.1"}, {name: "roamer", address: "fd00::7"}, {address: "10.9.1.1"},
	}
}

var matrixUsers = [...]string{"reader", "creator", "writer", "deleter", "admin", "roamer", "stranger"}

// TestEveryRouteByRole is row A1: each endpoint × method × kind of client ×
// repository, against the real server, with and without read-only, answers as
// the rights of that client say, and what is refused changes nothing.
func TestEveryRouteByRole(t *testing.T) {
	for _, mode := range []string{"writable", "read-only"} {
		t.Run(mode, func(t *testing.T) {
			s := newSite(t, t.TempDir(), matrixUsers[:], func(c *config.Config) {
				matrixRules(c)
				c.ReadOnly = mode == "read-only"
			})
			for _, repo := range []string{"team/app", "team-evil/app", "public/app"} {
				for _, c := range matrixClients() {
					for _, e := range route.Endpoints() {
						s.walk(c, e, repo, mode == "read-only")
					}
				}
			}
		})
	}
}

// walk asks one endpoint with every method.
func (s *site) walk(c client, e route.Endpoint, repo string, readOnly bool) {
	s.t.Helper()
	target, body := s.prepare(c, e.Kind, repo, readOnly)
	for _, method := range []string{"OPTIONS", "HEAD", e.Method, "GET", "POST", "PUT", "PATCH", "DELETE"} {
		rt, err := route.Parse(method, c.request(s.t, method, s.url+target, "").URL)
		switch {
		case err != nil:
			if a := s.do(c, method, target, ""); a.status != 400 && a.status != 404 && a.status != 405 {
				s.t.Errorf("%+v %s %s: got %d, want what is no request", c, method, target, a.status)
			}
			continue
		case rt.Kind != e.Kind || method == e.Method && body == "asked": // another endpoint's turn, or it has had it
			continue
		}
		before := s.state(repo)
		a := s.do(c, method, target, body)
		want := expected(c, rt, repo, readOnly)
		got := a.summary()
		if method == "HEAD" { // which has no body to say more
			want, _, _ = strings.Cut(want, " ")
		}
		if done := slices.Contains(strings.Split(e.Success, ", "), got); done != (want == "done") || !done && got != want {
			s.t.Errorf("%+v %s %s: got %s %s, want %s", c, method, target, got, a.body, want)
		}
		if want != "done" && s.state(repo) != before {
			s.t.Errorf("%+v %s %s: was refused and changed something", c, method, target)
		}
		if method == e.Method {
			body = "asked"
		}
	}
}

// expected returns what the rights of c say of rt.
func expected(c client, rt route.Route, repo string, readOnly bool) string {
	needs := string(rt.Kind.Endpoint().Needs)
	switch {
	case rt.Kind == route.TokenGet:
		return "done"
	case rt.Kind == route.TokenPost:
		return "done" // its form has the password
	case needs == "" && c.name == "":
		return "401 UNAUTHORIZED"
	case needs == "": // the public images are for everybody
		return "done"
	case !may(c, needs, repo) && c.name == "":
		return "401 UNAUTHORIZED"
	case !may(c, needs, repo):
		return "403 DENIED"
	case readOnly && needs != "pull":
		return "405 UNSUPPORTED"
	}
	return "done"
}

// prepare makes a request of kind k possible, if only the rights are there, and
// returns its target and its body.
func (s *site) prepare(c client, k route.Kind, repo string, readOnly bool) (target, body string) {
	s.t.Helper()
	blob := s.upload(repo, "content of "+repo)
	s.put("team/app", "other", "other")
	base := "/v2/" + repo
	switch k {
	case route.Ping:
		return "/v2/", ""
	case route.TokenGet:
		return "/v2/token?scope=repository:" + repo + ":pull,push", ""
	case route.TokenPost:
		name := c.name
		if name == "" {
			name = "reader" // there is no form for the anonymous
		}
		return "/v2/token", "grant_type=password&username=" + name + "&password=" + name
	case route.Catalog:
		return "/v2/_catalog", ""
	case route.Tags:
		s.put(repo, "v1", "one")
		return base + "/tags/list", ""
	case route.Referrers:
		return base + "/referrers/" + s.put(repo, "v1", "one"), ""
	case route.ManifestGet, route.ManifestDelete:
		s.put(repo, "v1", "one")
		return base + "/manifests/v1", ""
	case route.ManifestPut:
		body, digest := image("pushed by digest")
		return base + "/manifests/" + digest, body
	case route.BlobGet:
		return base + "/blobs/" + blob, ""
	case route.BlobDelete:
		return base + "/blobs/" + s.upload(repo, "to be deleted"), ""
	case route.UploadStart:
		return base + "/blobs/uploads/", ""
	}
	return s.session(c, k, repo, readOnly)
}

// session returns an upload in progress: the client's own, if they can have one.
func (s *site) session(c client, k route.Kind, repo string, readOnly bool) (target, body string) {
	s.t.Helper()
	a := s.operator("POST", "/v2/"+repo+"/blobs/uploads/", "")
	if may(c, "create", repo) && !readOnly {
		a = s.do(c, "POST", "/v2/"+repo+"/blobs/uploads/", "")
	}
	if a.status != 202 {
		s.t.Fatalf("begin an upload: %d %s", a.status, a.body)
	}
	target = a.header.Get("Location")
	if k == route.UploadFinish {
		return target + "?digest=" + digestOf("x"), "x"
	}
	if k == route.UploadAppend {
		return target, "x"
	}
	return target, ""
}

// state is what there is in repo, as the operator sees it.
func (s *site) state(repo string) string {
	var b bytes.Buffer
	for _, path := range []string{"/v2/_catalog", "/v2/" + repo + "/tags/list", "/v2/" + repo + "/manifests/v1",
		"/v2/" + repo + "/blobs/" + digestOf("content of "+repo), "/v2/" + repo + "/blobs/" + digestOf("to be deleted")} {
		a := s.operator("GET", path, "")
		fmt.Fprintln(&b, a.status, a.header.Get("Docker-Content-Digest"), len(a.body), a.body)
	}
	return b.String()
}
