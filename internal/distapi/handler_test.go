package distapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/internal/auth"
	"berth/internal/auth/token"
	"berth/internal/blob"
	"berth/internal/distapi/route"
	"berth/internal/meta"
	"berth/internal/oci"
	"berth/internal/registry"
)

// example returns a request for every endpoint, on a repository that has what
// is asked for.
func example(b *bench, t testing.TB, k route.Kind) (target string, body string) {
	blobDigest := b.pushBlob("app", "hello")
	index := b.pushManifest(t, "app", emptyIndex, "v1")
	rt := route.Route{Kind: k, Repo: mustRepo("app"), Digest: blobDigest, Ref: oci.Ref{Tag: mustTag("v1")}, Upload: "none", Page: route.Page{N: route.Whole}}
	switch k {
	case route.Ping, route.Catalog, route.TokenGet, route.TokenPost:
		rt.Repo = oci.Repo{}
	case route.ManifestPut:
		return rt.String(), emptyIndex
	case route.Referrers:
		rt.Digest = index
	}
	return rt.String(), ""
}

// TestEveryRoute walks every endpoint with every method and every way to show
// up that is not a right one, and with those that are.
func TestEveryRoute(t *testing.T) {
	basic := func(user, password string) []string {
		r := http.Request{Header: http.Header{}}
		r.SetBasicAuth(user, password)
		return r.Header["Authorization"]
	}
	wrong := map[string][]string{
		"no log-in":         nil,
		"empty":             {""},
		"a scheme only":     {"Basic"},
		"no base64":         {"Basic alice:secret"},
		"no colon":          {"Basic YWxpY2U="},
		"another scheme":    {"Digest username=alice"},
		"a stray token":     {"Bearer YWxpY2U6c2VjcmV0"},
		"a bare password":   {"YWxpY2U6c2VjcmV0"},
		"two schemes":       {"Basic Basic YWxpY2U6c2VjcmV0"},
		"two in one header": {"Basic YWxpY2U6c2VjcmV0, Basic YWxpY2U6c2VjcmV0"},
		"two headers":       {"Basic YWxpY2U6c2VjcmV0", "Basic YWxpY2U6c2VjcmV0"},
		"wrong password":    basic("alice", "Secret"),
		"password longer":   basic("alice", "secret "),
		"unknown user":      basic("mallory", "secret"),
		"empty user":        basic("", ""),
		"NUL behind":        basic("alice\x00", "secret"),
	}
	for _, mode := range []string{"basic", "anonymous"} {
		for _, e := range route.Endpoints() {
			for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
				t.Run(mode+"/"+e.Name+"/"+method, func(t *testing.T) {
					b := newBench(t, mode)
					target, body := example(b, t, e.Kind)
					rt, err := route.Parse(method, must(url.ParseRequestURI(target)))
					for name, header := range wrong {
						got := b.status(t, method, target, header, body)
						if want := refusal(mode, name, rt, err); got != want {
							t.Errorf("%s: got %d, want %d", name, got, want)
						}
					}
					if len(b.fake.uploads) > 0 || len(b.fake.repos) > 1 {
						t.Error("something was begun")
					}
					if got := b.status(t, method, target, basic("bob", "secret"), body); err == nil && writes(rt.Kind) && got != 403 {
						t.Errorf("bob, who may only pull: got %d, want 403", got)
					}
					if got := b.status(t, method, target, basic("alice", "secret"), body); err == nil && (got == 401 || got == 403) {
						t.Errorf("alice: got %d", got)
					}
				})
			}
		}
	}
}

func writes(k route.Kind) bool {
	needs := k.Endpoint().Needs
	return needs == auth.Create || needs == auth.Delete
}

// refusal returns the status for a request that comes without a right log-in;
// err is what Parse says of it.
func refusal(mode, name string, rt route.Route, err error) int {
	if e, ok := errors.AsType[*route.RequestError](err); ok {
		return e.Status
	}
	needs := rt.Kind.Endpoint().Needs
	switch {
	case err != nil:
		return statuses[oci.CodeOf(err)]
	case isToken(rt.Kind) && mode == "basic":
		return 404
	case rt.Kind == route.TokenPost: // which has a form
		return 415
	case name == "two headers":
		return 400
	case mode == "anonymous" && name == "no log-in" && (needs == auth.Pull || rt.Kind == route.TokenGet):
		return 200
	}
	return 401
}

// status sends a request without a server in between, as there are many.
func (b *bench) status(t testing.TB, method, target string, authorization []string, body string) int {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	if authorization != nil {
		r.Header["Authorization"] = authorization
	}
	w := httptest.NewRecorder()
	b.ServeHTTP(w, r)
	return w.Code
}

// TestErrors tells the fake to fail and looks at what the client is told.
func TestErrors(t *testing.T) {
	secret := "/secret/path: i/o error"
	tests := []struct {
		name   string
		err    error
		status int
		code   oci.Code
		header string // that must be there
		logged bool
	}{
		{"unknown", errors.New(secret), 500, oci.Unknown, "", true},
		{"wrapped unknown", fmt.Errorf("open blob: %w", os.ErrPermission), 500, oci.Unknown, "", true},
		{"no space for blobs", fmt.Errorf("x: %w", blob.ErrNoSpace), 507, oci.Unknown, "", true},
		{"no space for records", fmt.Errorf("x: %w", meta.ErrNoSpace), 507, oci.Unknown, "", true},
		{"busy", fmt.Errorf("x: %w", blob.ErrBusy), 503, oci.Unavailable, "Retry-After", true},
		{"range", fmt.Errorf("x: %w", &registry.RangeError{ID: "u", Size: 5}), 416, oci.RangeInvalid, "Location", false},
		{"denied", &auth.DeniedError{}, 403, oci.Denied, "", false}, // nobody can log in here
		{"throttled", fmt.Errorf("x: %w", &auth.ThrottledError{}), 429, oci.TooManyRequests, "Retry-After", false},
		{"a code without status", &oci.Error{Code: "OWN"}, 500, oci.Unknown, "", true},
		{"a detail that is no JSON", &oci.Error{Code: oci.BlobUnknown, Message: "x", Detail: func() {}}, 404, oci.BlobUnknown, "", false},
		{"cancelled by somebody else", context.Canceled, 500, oci.Unknown, "", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, "open")
			var log strings.Builder
			b.Log = slog.New(slog.NewTextHandler(&log, nil))
			b.fake.fail = func(string) error { return tt.err }
			for _, method := range []string{"GET", "HEAD"} {
				log.Reset()
				resp, body := b.send(t, method, "/v2/app/manifests/v1", nil, nil)
				if resp.StatusCode != tt.status || tt.header != "" && resp.Header.Get(tt.header) == "" {
					t.Errorf("got %d %v, want %d with %s", resp.StatusCode, resp.Header, tt.status, tt.header)
				}
				if method == "GET" && !strings.HasPrefix(string(body), `{"errors":[{"code":"`+string(tt.code)+`"`) {
					t.Errorf("got %s, want %s", body, tt.code)
				}
				if strings.Contains(string(body), "secret") {
					t.Errorf("got %s, which tells too much", body)
				}
				if logged := log.Len() > 0; logged != tt.logged {
					t.Errorf("got log %q, want one: %v", log.String(), tt.logged)
				}
			}
		})
	}
}

// TestErrorsOfPushes lets every step of a push fail.
func TestErrorsOfPushes(t *testing.T) {
	for _, op := range []string{"start", "resume", "append", "commit", "cancel", "put", "mount"} {
		t.Run(op, func(t *testing.T) {
			b := newBench(t, "open")
			b.Log = slog.New(slog.DiscardHandler)
			d := oci.SHA256.FromBytes([]byte("x")).String()
			resp, _ := b.send(t, "POST", "/v2/app/blobs/uploads/", nil, nil)
			location := resp.Header.Get("Location")
			b.fake.fail = func(at string) error {
				if at == op {
					return fmt.Errorf("x: %w", blob.ErrNoSpace)
				}
				return nil
			}
			requests := map[string][][2]string{
				"start": {{"POST", "/v2/app/blobs/uploads/"}, {"POST", "/v2/app/blobs/uploads/?digest=" + d}},
				"resume": {{"GET", location}, {"PATCH", location}, {"PUT", location + "?digest=" + d},
					{"DELETE", location}},
				"append": {{"PATCH", location}, {"PUT", location + "?digest=" + d}, {"POST", "/v2/app/blobs/uploads/?digest=" + d}},
				"commit": {{"PUT", location + "?digest=" + d}, {"POST", "/v2/app/blobs/uploads/?digest=" + d}},
				"cancel": {{"DELETE", location}},
				"put":    {{"PUT", "/v2/app/manifests/v1"}},
				"mount":  {{"POST", "/v2/app/blobs/uploads/?mount=" + d}},
			}[op]
			for _, q := range requests {
				body := "x"
				if op == "put" {
					body = emptyIndex
				}
				if resp, text := b.send(t, q[0], q[1], nil, strings.NewReader(body)); resp.StatusCode != 507 {
					t.Errorf("%v: got %d %s, want 507", q, resp.StatusCode, text)
				}
			}
		})
	}
}

// TestUploadTooLarge holds that a limit of the registry is 413, and nothing
// stays of an upload that nobody knows of.
func TestUploadTooLarge(t *testing.T) {
	b := newBench(t, "open")
	b.fake.fail = func(op string) error {
		if op == "append" {
			return &oci.Error{Code: oci.SizeInvalid, Message: "too large"}
		}
		return nil
	}
	d := oci.SHA256.FromBytes([]byte("x")).String()
	if resp, body := b.send(t, "POST", "/v2/app/blobs/uploads/?digest="+d, nil, strings.NewReader("x")); resp.StatusCode != 413 {
		t.Errorf("got %d %s, want 413", resp.StatusCode, body)
	}
	if len(b.fake.uploads) != 0 {
		t.Errorf("got %d uploads left, want none", len(b.fake.uploads))
	}
}

// specCodes are the codes of the distribution specification ("Error Codes").
const specCodes = `BLOB_UNKNOWN BLOB_UPLOAD_INVALID BLOB_UPLOAD_UNKNOWN DIGEST_INVALID MANIFEST_BLOB_UNKNOWN MANIFEST_INVALID
MANIFEST_UNKNOWN NAME_INVALID NAME_UNKNOWN SIZE_INVALID UNAUTHORIZED DENIED UNSUPPORTED TOOMANYREQUESTS`

// moreCodes are those that registry:2 added and clients know.
const moreCodes = `UNKNOWN UNAVAILABLE RANGE_INVALID TAG_INVALID PAGINATION_NUMBER_INVALID`

func TestCodes(t *testing.T) {
	known := map[string]bool{}
	for _, code := range strings.Fields(specCodes + " " + moreCodes) {
		known[code] = true
		if statuses[oci.Code(code)] < 400 {
			t.Errorf("%s has no status", code)
		}
	}
	for code := range statuses {
		if !known[string(code)] {
			t.Errorf("%s is a code of nobody else", code)
		}
	}
}

// TestExpiredToken holds that a token lets its holder finish an upload that
// takes longer than the token lives, and nothing else.
func TestExpiredToken(t *testing.T) {
	b := newBench(t, "anonymous")
	policy := b.Policy
	bearer := func(name string, actions ...auth.Action) http.Header {
		g := auth.Grants{Repos: []auth.RepoGrant{{Repo: mustRepo("app"), Actions: actions}}}
		text, _, err := b.Tokens.Issue(auth.Principal{Name: name}, g)
		if err != nil {
			t.Fatal(err)
		}
		return http.Header{"Authorization": {"Bearer " + text}}
	}
	alice, carol, reader := bearer("alice", auth.Pull, auth.Push), bearer("carol", auth.Push), bearer("alice", auth.Pull)
	expect := func(want int, header http.Header, method, target, body string) {
		t.Helper()
		if resp, text := b.send(t, method, target, header, strings.NewReader(body)); resp.StatusCode != want {
			t.Errorf("%s %s: got %d %s, want %d", method, target, resp.StatusCode, text, want)
		}
	}
	resp, _ := b.send(t, "POST", "/v2/app/blobs/uploads/", alice, nil)
	location := resp.Header.Get("Location")
	d := oci.SHA256.FromBytes([]byte("0123")).String()
	b.now.Add(time.Hour)
	expect(401, alice, "GET", "/v2/", "")
	expect(401, alice, "GET", "/v2/app/tags/list", "")
	expect(401, alice, "POST", "/v2/app/blobs/uploads/", "")
	expect(401, alice, "PUT", "/v2/app/manifests/v1", emptyIndex)
	expect(403, carol, "PATCH", location, "x") // may not push there at all
	expect(401, reader, "PATCH", location, "x")
	expect(202, alice, "PATCH", location, "01")
	expect(204, alice, "GET", location, "")
	b.Policy = rules{} // alice has lost her rights meanwhile
	expect(403, alice, "PATCH", location, "23")
	b.Policy = policy
	b.Known = func(p auth.Principal) bool { return p.Name != "alice" }
	expect(401, alice, "PATCH", location, "23")
	b.Known = func(p auth.Principal) bool { return true }
	expect(201, alice, "PUT", location+"?digest="+d, "23")
	resp, _ = b.send(t, "POST", "/v2/app/blobs/uploads/", bearer("alice", auth.Push), nil)
	b.now.Add(-time.Hour)
	b.now.Add(time.Hour + token.TTL + auth.Overtime)
	expect(401, alice, "PATCH", resp.Header.Get("Location"), "x")
}

// TestNamedAddresses holds how answers name addresses: relative unless told
// otherwise, and never by a Host that could break out of the header.
func TestNamedAddresses(t *testing.T) {
	alice := http.Header{"Authorization": {"Basic YWxpY2U6c2VjcmV0"}}
	proxy, evil := Peer{Scheme: "https", Host: "proxy.example"}, Peer{Scheme: "http", Host: `evil"`}
	const external = "https://registry.example/prefix"
	tests := []struct {
		name             string
		external, prefix string
		form             Form
		peer             Peer
		location, realm  string // what stands before /v2/
	}{
		{"as it comes", "", "", Relative, proxy, "", "https://proxy.example"},
		{"below a prefix", "", "/prefix", Relative, proxy, "/prefix", "https://proxy.example/prefix"},
		{"known from outside", external, "/prefix", Relative, evil, "/prefix", external},
		{"absolute", "", "/prefix", Absolute, proxy, "https://proxy.example/prefix", "https://proxy.example/prefix"},
		{"absolute and known", external, "/prefix", Absolute, evil, external, external},
		{"absolute, but of nothing", "", "/prefix", Absolute, evil, "/prefix", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, "anonymous")
			b.ExternalURL, b.Prefix, b.Locations = tt.external, tt.prefix, tt.form
			b.Peer = func(*http.Request) Peer { return tt.peer }
			resp, _ := b.send(t, "POST", "/v2/app/blobs/uploads/", alice, nil)
			if got, want := resp.Header.Get("Location"), tt.location+"/v2/app/blobs/uploads/upload-1"; got != want {
				t.Errorf("got Location %q, want %q", got, want)
			}
			want := `Bearer realm="` + tt.realm + `/v2/token",service="berth"`
			if tt.realm == "" {
				want = "Basic realm=" + quoted(b.Realm)
			}
			resp, _ = b.send(t, "GET", "/v2/", nil, nil)
			if got := resp.Header.Get("Www-Authenticate"); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

func TestCrossSite(t *testing.T) {
	b := newBench(t, "open")
	page := http.Header{"Sec-Fetch-Site": {"cross-site"}, "Origin": {"https://ui.example"}}
	if resp, _ := b.send(t, "GET", "/v2/", page, nil); resp.StatusCode != http.StatusForbidden {
		t.Errorf("a page of another site: got %d, want 403", resp.StatusCode)
	}
	b.CrossSite = func(r *http.Request) bool { return r.Header.Get("Origin") == "https://ui.example" }
	if resp, _ := b.send(t, "GET", "/v2/", page, nil); resp.StatusCode != http.StatusOK {
		t.Errorf("a page that is let in: got %d, want 200", resp.StatusCode)
	}
	page.Set("Origin", "https://other.example")
	if resp, _ := b.send(t, "GET", "/v2/", page, nil); resp.StatusCode != http.StatusForbidden {
		t.Errorf("a page that isn't: got %d, want 403", resp.StatusCode)
	}
}

func TestObserve(t *testing.T) {
	b := newBench(t, "basic")
	var got []Outcome
	b.Observe = func(_ http.ResponseWriter, o Outcome) { got = append(got, o) }
	b.status(t, "GET", "/v2/app/tags/list", []string{"Basic YWxpY2U6c2VjcmV0"}, "")
	b.status(t, "GET", "/v2/app/tags/list", nil, "")
	b.status(t, "GET", "/v2/nonsense", nil, "")
	b.status(t, "GET", "/v2/", []string{"Basic YWxpY2U6c2VjcmV0"}, "")
	want := []string{"tags alice NAME_UNKNOWN", "tags  UNAUTHORIZED", "none  UNSUPPORTED", "ping alice "}
	if len(got) != len(want) {
		t.Fatalf("got %+v, want %v", got, want)
	}
	for i, o := range got {
		if s := fmt.Sprintf("%s %s %s", o.Route.Kind, o.Principal.Name, o.Code); s != want[i] {
			t.Errorf("got %q, want %q", s, want[i])
		}
	}
}

// TestSendfile holds that what blobGet hands to the connection is the file
// itself, which net can let the kernel send.
func TestSendfile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "blob")
	if err := os.WriteFile(name, []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, header := range []string{"", "bytes=2-4"} {
		file, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		w := &readerFrom{ResponseRecorder: httptest.NewRecorder()}
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
		r.Header.Set("Range", header)
		d := oci.SHA256.FromBytes(nil)
		c := &call{route: blobRoute(mustRepo("a"), d), svc: oneBlob{b: &registry.Blob{Reader: sizedFile{file}, Digest: d}}}
		if err := (&Handler{Policy: rules{}}).blobGet(w, r, c); err != nil {
			t.Fatal(err)
		}
		limited, ok := w.from.(*io.LimitedReader)
		if !ok {
			t.Fatalf("got a %T, want an *io.LimitedReader", w.from)
		}
		if _, ok := limited.R.(sizedFile); !ok {
			t.Errorf("got a %T in it, want the file", limited.R)
		}
		if _, err := file.Stat(); err == nil {
			t.Error("the blob was not closed")
		}
	}
}

type readerFrom struct {
	*httptest.ResponseRecorder
	from io.Reader
}

func (w *readerFrom) ReadFrom(r io.Reader) (int64, error) {
	w.from = r
	return io.Copy(w.ResponseRecorder, r)
}

type sizedFile struct{ *os.File }

func (f sizedFile) Size() int64 { return 10 }

type oneBlob struct {
	registry.Service
	b *registry.Blob
}

func (s oneBlob) BlobSize(context.Context, oci.Repo, oci.Digest) (int64, error) {
	return s.b.Size(), nil
}

func (s oneBlob) Blob(context.Context, oci.Repo, oci.Digest) (*registry.Blob, error) { return s.b, nil }

// TestMountForAll mounts where everybody may read everything.
func TestMountForAll(t *testing.T) {
	b := newBench(t, "open")
	d := b.pushBlob("app", "hello")
	for target, want := range map[string]int{
		"/v2/other/blobs/uploads/?mount=" + d.String() + "&from=app":     http.StatusCreated,
		"/v2/third/blobs/uploads/?mount=" + d.String():                   http.StatusCreated,
		"/v2/fourth/blobs/uploads/?mount=" + d.String() + "&from=nobody": http.StatusAccepted,
	} {
		if resp, text := b.send(t, "POST", target, nil, nil); resp.StatusCode != want {
			t.Errorf("POST %s: got %d %s, want %d", target, resp.StatusCode, text, want)
		}
	}
}
