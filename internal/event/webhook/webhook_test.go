package webhook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/internal/event"
	"berth/internal/oci"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A receiver keeps the requests that it gets, and answers with status.
type receiver struct {
	*httptest.Server
	status  int
	headers []http.Header
	bodies  [][]byte
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{status: http.StatusOK}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil || req.Method != http.MethodPost {
			t.Errorf("%s %s: %v", req.Method, req.URL, err)
		}
		r.headers, r.bodies = append(r.headers, req.Header), append(r.bodies, body)
		if req.URL.Path == "/elsewhere" {
			return // once is enough to be seen
		}
		if r.status >= 300 && r.status < 400 {
			w.Header().Set("Location", r.URL+"/elsewhere")
		}
		w.WriteHeader(r.status)
		io.WriteString(w, "an answer that nobody reads")
	}))
	t.Cleanup(r.Close)
	return r
}

func newEndpoint(t *testing.T, o Options) *Endpoint {
	t.Helper()
	o.Name, o.Timeout, o.Threshold, o.Backoff = "ci", 10*time.Second, 3, time.Minute
	o.Source = Source{Addr: "host:5000", InstanceID: "an instance"}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	e, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

var update = flag.Bool("update", false, "write testdata/envelopes.golden")

var alice = event.Actor{
	Name: "alice", Addr: "192.0.2.1:999", Host: "reg:5000", Method: "PUT", UserAgent: "docker/1", RequestID: "r1", Base: "https://reg/pre",
}

// some returns an event of each kind that is sent.
func some(t *testing.T) []event.Event {
	d := oci.SHA256.FromBytes([]byte("x"))
	repo, from := must(oci.ParseRepo("a/b")), must(oci.ParseRepo("c"))
	e := event.Event{Seq: 1, ID: "id", Time: time.Date(2026, 11, 28, 1, 2, 3, 4000, time.UTC), Repo: repo, Digest: d, By: alice}
	with := func(a event.Action, k event.Kind, change func(*event.Event)) event.Event {
		n := e
		n.Action, n.Kind = a, k
		change(&n)
		return n
	}
	manifest := func(e *event.Event) {
		e.MediaType, e.Size, e.Tag = oci.MediaTypeImage, 7, must(oci.ParseTag("v1"))
	}
	return []event.Event{
		with(event.Push, event.Blob, func(e *event.Event) { e.Size = 3 }),
		with(event.Mount, event.Blob, func(e *event.Event) { e.Size, e.From = 3, from }),
		with(event.Push, event.Manifest, manifest),
		with(event.Pull, event.Manifest, func(e *event.Event) { manifest(e); e.Tag = oci.Tag{}; e.By = event.Actor{} }),
		with(event.Delete, event.Manifest, func(*event.Event) {}),
		with(event.Delete, event.Tag, func(e *event.Event) { e.Tag = must(oci.ParseTag("v1")) }),
		with(event.Delete, event.Blob, func(*event.Event) {}),
	}
}

// TestEnvelope compares the envelope of every kind of event with what is kept in
// testdata, which was compared with registry:2's (see test/events).
func TestEnvelope(t *testing.T) {
	r := newReceiver(t)
	e := newEndpoint(t, Options{URL: r.URL + "/hook", Manifest: func(context.Context, oci.Repo, oci.Digest) ([]byte, error) {
		return []byte(`{"config":{"mediaType":"c","digest":"sha256:1","size":1},"layers":[{"mediaType":"l","digest":"sha256:2","size":2,"annotations":{"k":"v"}}],
			"manifests":[{"mediaType":"m","digest":"sha256:3","size":3,"platform":{"os":"linux","architecture":"arm64","variant":"v8"}}]}`), nil
	}})
	var got strings.Builder
	for _, ev := range some(t) {
		if err := e.Deliver(t.Context(), []event.Event{ev}); err != nil {
			t.Fatal(err)
		}
		got.Write(r.bodies[len(r.bodies)-1])
		got.WriteString("\n")
		if typ := r.headers[len(r.headers)-1].Get("Content-Type"); typ != MediaType {
			t.Errorf("the type is %q", typ)
		}
	}
	golden := filepath.Join("testdata", "envelopes.golden")
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || string(want) != got.String() {
		t.Errorf("%v: the envelopes are not those of %s:\n%s", err, golden, got.String())
	}
}

// TestReferences holds that a manifest that has gone, or that is none, has no
// references, and that one which cannot be read now is tried again.
func TestReferences(t *testing.T) {
	r := newReceiver(t)
	body, failure := []byte("{}"), error(nil)
	e := newEndpoint(t, Options{URL: r.URL, Manifest: func(context.Context, oci.Repo, oci.Digest) ([]byte, error) { return body, failure }})
	push := some(t)[2:3]
	for _, tt := range []struct {
		body    string
		failure error
		ok      bool
	}{{"{}", nil, true}, {`{"layers":7}`, nil, true}, {"", fs.ErrNotExist, true}, {"", io.ErrUnexpectedEOF, false}} {
		body, failure = []byte(tt.body), tt.failure
		if err := e.Deliver(t.Context(), push); (err == nil) != tt.ok {
			t.Errorf("%q, %v: got %v", tt.body, tt.failure, err)
		}
	}
	for _, b := range r.bodies {
		if strings.Contains(string(b), "references") {
			t.Errorf("references in %s", b)
		}
	}
	if n := e.Numbers(); len(r.bodies) != 3 || n.Errors != 1 || n.Events != 1 || n.Successes != 3 {
		t.Errorf("%d requests, %+v", len(r.bodies), n)
	}
}

// TestAnswers holds which answers accept events, that none is followed, and what
// is counted.
func TestAnswers(t *testing.T) {
	r := newReceiver(t)
	e := newEndpoint(t, Options{URL: r.URL})
	push := some(t)[:1]
	accepted := map[int]bool{200: true, 202: true, 204: true, 302: true, 303: true, 304: true}
	for _, code := range []int{200, 202, 204, 301, 302, 303, 304, 307, 308, 400, 404, 500, 503} {
		r.status = code
		if err := e.Deliver(t.Context(), push); (err == nil) != accepted[code] {
			t.Errorf("%d: got %v", code, err)
		}
	}
	if len(r.bodies) != 13 {
		t.Errorf("%d requests for 13 deliveries", len(r.bodies))
	}
	n := e.Numbers()
	if n.Events != 1 || n.Successes != 6 || n.Failures != 7 || n.Errors != 0 || n.Statuses["404 Not Found"] != 1 || len(n.Statuses) != 13 {
		t.Errorf("counted %+v", n)
	}
	r.Close()
	if err := e.Deliver(t.Context(), push); err == nil || e.Numbers().Errors != 1 {
		t.Errorf("without a server: %v, %+v", err, e.Numbers())
	}
}

// TestHeaders holds that the operator's headers are sent, and the credentials
// that the URL holds.
func TestHeaders(t *testing.T) {
	r := newReceiver(t)
	e := newEndpoint(t, Options{
		URL:     strings.Replace(r.URL, "http://", "http://user:pass@", 1),
		Headers: http.Header{"X-One": {"a", "b"}, "user-agent": {"mine"}},
	})
	if err := e.Deliver(t.Context(), some(t)[:1]); err != nil {
		t.Fatal(err)
	}
	h := r.headers[0]
	if got := h.Values("X-One"); len(got) != 2 || h.Get("User-Agent") != "mine" || h.Get("Authorization") != "Basic dXNlcjpwYXNz" || h.Get(SignatureHeader) != "" {
		t.Errorf("sent %v", h)
	}
}

// TestSignature holds that what is signed is the body as it is sent, with the
// key that the file holds at that moment, and that nothing is sent without one.
func TestSignature(t *testing.T) {
	r := newReceiver(t)
	file := filepath.Join(t.TempDir(), "secret")
	write := func(s string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o := Options{Name: "ci", URL: r.URL, Secret: file}
	if _, err := New(o); err == nil {
		t.Error("made without a key")
	}
	write("first\n")
	e := newEndpoint(t, o)
	for _, key := range []string{"first", "second"} {
		write(key + "\n")
		if err := e.Deliver(t.Context(), some(t)[:1]); err != nil {
			t.Fatal(err)
		}
		mac := hmac.New(sha256.New, []byte(key))
		mac.Write(r.bodies[len(r.bodies)-1])
		want := "sha256=" + hex.EncodeToString(mac.Sum(nil))
		if got := r.headers[len(r.headers)-1].Get(SignatureHeader); got != want {
			t.Errorf("%s: signed %s, want %s", key, got, want)
		}
	}
	write(" \n")
	if err := e.Deliver(t.Context(), some(t)[:1]); err == nil || len(r.bodies) != 2 {
		t.Errorf("sent without a key, or no error: %v", err)
	}
}

// TestWants holds what an endpoint is told of.
func TestWants(t *testing.T) {
	events := some(t)
	collect := events[0]
	collect.Action = event.Collect
	for _, tt := range []struct {
		name string
		o    Options
		want string // one letter for each event
	}{
		{"everything", Options{}, "yyyyyyyn"},
		{"no pulls", Options{IgnoreActions: []string{"pull"}}, "yyynyyyn"},
		{"no blobs", Options{IgnoreMediaTypes: []string{"application/octet-stream"}}, "nnyyyyyn"},
		{"no images", Options{IgnoreMediaTypes: []string{oci.MediaTypeImage}}, "yynnyyyn"},
		{"others' repositories", Options{Repositories: func(r oci.Repo) bool { return r.String() == "c" }}, "nnnnnnnn"},
	} {
		e := newEndpoint(t, tt.o)
		var got strings.Builder
		for _, ev := range append(events, collect) {
			if e.Wants(ev) {
				got.WriteByte('y')
			} else {
				got.WriteByte('n')
			}
		}
		if got.String() != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got.String(), tt.want)
		}
	}
}

func TestBackoff(t *testing.T) {
	e := newEndpoint(t, Options{})
	for failures, want := range []time.Duration{0, 0, 0, time.Minute, time.Minute} {
		if got := e.Backoff(failures); got != want {
			t.Errorf("after %d failures: %v, want %v", failures, got, want)
		}
	}
}

// TestNoSecrets holds that no error and no line of the log tells what is in the
// URL or in the headers.
func TestNoSecrets(t *testing.T) {
	var log strings.Builder
	r := newReceiver(t)
	r.status = 302
	host := strings.TrimPrefix(r.URL, "http://")
	o := Options{Headers: http.Header{"Authorization": {"Bearer hidden"}}, Log: slog.New(slog.NewTextHandler(&log, nil))}
	for _, url := range []string{
		"http://user:hidden@" + host + "/hidden?token=hidden", "http://user:hidden@" + host + "x/hidden", "http://hidden\x7f/", "http://user:hidden@127.0.0.1:1/?hidden",
	} {
		o.URL = url
		if err := newEndpoint(t, o).Deliver(t.Context(), some(t)[:1]); err != nil {
			log.WriteString(err.Error())
		}
	}
	if strings.Contains(log.String(), "hidden") || log.Len() == 0 {
		t.Errorf("told: %s", log.String())
	}
}

// FuzzReferences holds that no manifest breaks the envelope.
func FuzzReferences(f *testing.F) {
	f.Add([]byte(`{"config":{"digest":"d"},"layers":[{}],"manifests":[{"platform":{}}]}`))
	f.Add([]byte(`{"config":null,"layers":7}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if _, err := json.Marshal(references(body)); err != nil {
			t.Error(err)
		}
	})
}
