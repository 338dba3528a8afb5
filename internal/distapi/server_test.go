package distapi

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/internal/auth"
	"berth/internal/auth/token"
	"berth/internal/blob/memblob"
	"berth/internal/event"
	"berth/internal/guard"
	"berth/internal/meta/sqlmeta"
	"berth/internal/oci"
	"berth/internal/registry"
)

// users is an Authenticator of passwords in clear text.
type users map[string]string

func (u users) Authenticate(_ context.Context, c auth.Credentials) (auth.Principal, error) {
	switch password, ok := u[c.User]; {
	case c.User == "throttled":
		return auth.Principal{}, &auth.ThrottledError{RetryAfterSeconds: 7}
	case c.User == "broken":
		return auth.Principal{}, io.ErrUnexpectedEOF
	case c.User == "nobody":
		return auth.Principal{}, nil
	case !ok:
		return auth.Principal{}, auth.ErrNotMine
	case password != c.Password:
		return auth.Principal{}, auth.ErrRejected
	}
	return auth.Principal{Name: c.User}, nil
}

// rules is a Policy: everybody's rights are the actions listed under their name
// and the repository, or under their name and "*".
type rules map[string][]auth.Action

func (r rules) Decide(p auth.Principal, a auth.Access) auth.Decision {
	for _, repo := range []string{a.Repo.String(), "*"} {
		if slices.Contains(r[p.Name+" "+repo], a.Action) {
			return auth.Decision{Verdict: auth.Allowed}
		}
	}
	return r.refuse(p)
}

func (r rules) refuse(p auth.Principal) auth.Decision {
	if p.Anonymous() {
		return auth.Decision{Verdict: auth.NeedsLogIn}
	}
	return auth.Decision{}
}

func (r rules) Enters(p auth.Principal) auth.Decision {
	if p.Anonymous() {
		return r.refuse(p)
	}
	return auth.Decision{Verdict: auth.Allowed}
}

func somePolicy() rules {
	all := []auth.Action{auth.Pull, auth.Create, auth.Push, auth.Delete}
	return rules{"alice *": all, "bob *": {auth.Pull}, "carol carol": all}
}

func somebody() users { return users{"alice": "secret", "bob": "secret", "carol": "a:b c"} }

// A bench is a Handler that can be used through HTTP.
type bench struct {
	*Handler
	fake *fake
	url  string
	now  *manualClock
}

type manualClock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *manualClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *manualClock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// newBench returns a bench of a fake, with one of three ways to log in: "open"
// has none, "basic" wants a user for everything, "anonymous" lets the anonymous
// pull.
func newBench(t testing.TB, mode string) *bench {
	t.Helper()
	f := newFake()
	b := newBenchOf(t, mode, func(user string) registry.Service { return fakeUser{f, user} })
	b.fake = f
	return b
}

// newCoreBench returns a bench of the real thing, but for the disk under it.
func newCoreBench(t testing.TB, mode string) *bench {
	t.Helper()
	db, err := sqlmeta.Open(t.Context(), sqlmeta.Options{Path: filepath.Join(t.TempDir(), "db"), Grace: time.Hour, Memory: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	core := registry.New(registry.Options{
		Blobs: memblob.New(), Records: db, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Deletion: registry.DeletionOn, Grace: time.Hour,
	})
	b := newBenchOf(t, mode, func(user string) registry.Service { return core.As(event.Actor{Name: user}) })
	t.Cleanup(func() { db.Close() })
	return b
}

func newBenchOf(t testing.TB, mode string, open func(user string) registry.Service) *bench {
	t.Helper()
	clock := &manualClock{t: time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)}
	h := &Handler{Policy: auth.NewRules(auth.RuleBook{Rules: auth.Open()}), Realm: `Berth "the" registry`, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	switch mode {
	case "open":
	case "basic":
		h.Auth, h.Policy = somebody(), somePolicy()
	case "anonymous":
		policy := somePolicy()
		policy[" *"] = []auth.Action{auth.Pull}
		h.Auth, h.Policy = somebody(), policy
		h.Tokens = must(token.NewIssuer([]byte(strings.Repeat("k", token.KeySize)), clock.Now))
	default:
		t.Fatalf("no mode %q", mode)
	}
	h.Open = func(p auth.Principal, _ event.Actor) registry.Service { return guard.New(open(p.Name), p, h.Policy) }
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return &bench{Handler: h, url: srv.URL, now: clock}
}

// send sends a request as it is written: target is not cleaned or escaped.
func (b *bench) send(t testing.TB, method, target string, header http.Header, body io.Reader) (*http.Response, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, b.url, body)
	if err != nil {
		t.Fatal(err)
	}
	r.URL = must(url.Parse(b.url))
	r.URL.Opaque = target
	if strings.HasPrefix(target, "//") {
		r.URL.Opaque = "http://" + r.URL.Host + target
	}
	for key, list := range header {
		switch key {
		case "Host":
			r.Host = list[0]
		case "Content-Length":
			r.ContentLength = number(list[0])
		default:
			r.Header[key] = list
		}
	}
	client := http.Client{
		Transport:     &http.Transport{DisableCompression: true, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	return resp, text
}

// raw sends text over a connection of its own and returns everything that comes
// back until the server closes it.
func (b *bench) raw(t testing.TB, text string) string {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(b.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil && len(answer) == 0 {
		t.Fatal(err)
	}
	return string(answer)
}

// pushBlob puts a blob into the fake.
func (b *bench) pushBlob(repo, content string) oci.Digest {
	d := oci.SHA256.FromBytes([]byte(content))
	b.fake.repo(mustRepo(repo)).blobs[d] = []byte(content)
	return d
}

// pushManifest puts a manifest into the fake.
func (b *bench) pushManifest(t testing.TB, repo, content string, tags ...string) oci.Digest {
	t.Helper()
	p := registry.Put{Repo: mustRepo(repo), Manifest: must(oci.ParseManifest("", []byte(content)))}
	for _, s := range tags {
		p.Tags = append(p.Tags, mustTag(s))
	}
	res, err := fakeUser{b.fake, ""}.PutManifest(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return res.Digest
}

const emptyIndex = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`
