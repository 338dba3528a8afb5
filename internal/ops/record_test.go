package ops

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"
)

// record sends r through Record to h and returns the answer and the log line.
func record(t *testing.T, o RecordOptions, r *http.Request, h http.HandlerFunc) (*httptest.ResponseRecorder, map[string]any) {
	t.Helper()
	var log bytes.Buffer
	o.Log = slog.New(slog.NewJSONHandler(&log, nil))
	w := httptest.NewRecorder()
	Record(o, h).ServeHTTP(w, r)
	line := map[string]any{}
	if log.Len() > 0 {
		if err := json.Unmarshal(log.Bytes(), &line); err != nil {
			t.Fatalf("the log isn't one JSON object: %v\n%s", err, &log)
		}
	}
	return w, line
}

func TestAccessLog(t *testing.T) {
	r := httptest.NewRequest("PUT", "/v2/a%2Fb/blobs/uploads/x?digest=sha256:00&_state=s3cret&token=s3cret&tag=a&tag=b%0ac", strings.NewReader("12345"))
	r.Header.Set("User-Agent", "docker/27")
	r.Header.Set("Authorization", "Basic s3cret")
	r.Header.Set("Cookie", "s3cret")
	r.RemoteAddr = "[::ffff:192.0.2.7]:1234"
	w, line := record(t, RecordOptions{}, r, func(w http.ResponseWriter, r *http.Request) {
		SetRoute(w, "upload-finish")
		SetUser(w, "ann")
		SetLogIn(w, "proxy")
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusCreated)
		w.WriteHeader(http.StatusOK) // comes too late
		_, _ = io.WriteString(w, "done")
	})
	want := map[string]any{
		"msg": "request", "level": "INFO", "method": "PUT", "path": "/v2/a%2Fb/blobs/uploads/x",
		"query":  "digest=sha256%3A00&tag=a&tag=b%0Ac",
		"status": 201.0, "in": 5.0, "out": 4.0, "client": "192.0.2.7", "user": "ann", "login": "proxy", "route": "upload-finish",
		"agent": "docker/27", "id": w.Header().Get("X-Request-Id"),
	}
	for k, v := range want {
		if line[k] != v {
			t.Errorf("%s: got %v, want %v", k, line[k], v)
		}
	}
	if _, ok := line["ms"].(float64); !ok {
		t.Errorf("ms: got %v, want a number", line["ms"])
	}
	if s, _ := json.Marshal(line); bytes.Contains(s, []byte("s3cret")) {
		t.Errorf("the log holds a secret: %s", s)
	}
}

func TestAccessLogBounds(t *testing.T) {
	long := strings.Repeat("ü", 4000)
	r := httptest.NewRequest("GET", "/", nil)
	r.Method = strings.Repeat("M", 4000)
	r.URL.Path = "/" + long
	r.URL.RawQuery = "last=" + long
	r.Header.Set("User-Agent", long)
	_, line := record(t, RecordOptions{}, r, func(w http.ResponseWriter, _ *http.Request) { SetUser(w, long) })
	for key, most := range map[string]int{"method": maxMethod, "path": maxPath, "query": maxQuery, "agent": maxAgent, "user": maxUser} {
		s, _ := line[key].(string)
		if len(s) == 0 || len(s) > most || !utf8.ValidString(s) || !strings.HasSuffix(s, "…") {
			t.Errorf("%s: got %d bytes (%q), want at most %d, with a sign that it was cut", key, len(s), s, most)
		}
	}
}

func TestAccessLogQuiet(t *testing.T) {
	health := func(w http.ResponseWriter, _ *http.Request) { SetRoute(w, "health") }
	if _, line := record(t, RecordOptions{Quiet: []string{"health"}}, httptest.NewRequest("GET", "/readyz", nil), health); len(line) > 0 {
		t.Errorf("a quiet route was logged at info: %v", line)
	}
	if _, line := record(t, RecordOptions{}, httptest.NewRequest("GET", "/readyz", nil), health); len(line) == 0 {
		t.Error("a route that isn't quiet was not logged")
	}
}

func TestAccessLogClient(t *testing.T) {
	client := func(*http.Request) string { return "198.51.100.7" }
	_, line := record(t, RecordOptions{Client: client}, httptest.NewRequest("GET", "/", nil), func(http.ResponseWriter, *http.Request) {})
	if got := line["client"]; got != "198.51.100.7" {
		t.Errorf("got %v, want what Client says", got)
	}
}

func TestRequestID(t *testing.T) {
	tests := []struct {
		given string
		kept  bool
	}{
		{"abc-DEF_1.2", true},
		{strings.Repeat("a", 64), true},
		{"", false},
		{strings.Repeat("a", 65), false},
		{"a b", false},
		{"a\"b", false},
		{"ä", false},
	}
	for _, tt := range tests {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("X-Request-Id", tt.given)
		w, line := record(t, RecordOptions{}, r, func(http.ResponseWriter, *http.Request) {})
		got := w.Header().Get("X-Request-Id")
		if kept := got == tt.given; kept != tt.kept || len(got) < 10 && !kept {
			t.Errorf("%q: got %q, want it kept: %v", tt.given, got, tt.kept)
		}
		if line["id"] != got {
			t.Errorf("%q: got %v in the log and %q in the answer", tt.given, line["id"], got)
		}
	}
}

func TestRecordPanic(t *testing.T) {
	m := NewMetrics("v")
	func() {
		defer func() { _ = recover() }()
		Record(RecordOptions{Metrics: m}, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			panic("no")
		})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
		t.Error("the panic did not pass through")
	}()
	text := scrape(t, m)
	wantLines(t, text, `berth_http_requests_total{code="500",method="GET",route="other"} 1`, "berth_http_requests_in_flight 0")
}

// A fileWriter is an http.ResponseWriter that can take a file, as that of
// HTTP/1.
type fileWriter struct {
	*httptest.ResponseRecorder
	from io.Reader
}

func (w *fileWriter) ReadFrom(r io.Reader) (int64, error) {
	w.from = r
	return io.Copy(w.ResponseRecorder, r)
}

func TestWriterPassesOn(t *testing.T) {
	inner := &fileWriter{ResponseRecorder: httptest.NewRecorder()}
	src := io.LimitReader(strings.NewReader("hello world"), 5)
	Record(RecordOptions{}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if n, err := w.(io.ReaderFrom).ReadFrom(src); n != 5 || err != nil {
			t.Errorf("ReadFrom: got %d and %v, want 5 and no error", n, err)
		}
		if _, ok := w.(http.Flusher); !ok {
			t.Error("the writer can't flush")
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Errorf("flush: %v", err)
		}
		if u, ok := w.(interface{ Unwrap() http.ResponseWriter }); !ok || u.Unwrap() != inner {
			t.Error("Unwrap doesn't give the inner writer")
		}
	})).ServeHTTP(inner, httptest.NewRequest("GET", "/", nil))
	if inner.from != src {
		t.Errorf("the inner writer was given %T, want the very source", inner.from)
	}
	if !inner.Flushed {
		t.Error("the inner writer was not flushed")
	}

	// An inner writer that takes no files, as that of HTTP/2.
	plain := httptest.NewRecorder()
	Record(RecordOptions{}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.(io.ReaderFrom).ReadFrom(strings.NewReader("hello"))
	})).ServeHTTP(plain, httptest.NewRequest("GET", "/", nil))
	if got := plain.Body.String(); got != "hello" {
		t.Errorf("got %q, want hello", got)
	}
}

func TestInformationalStatus(t *testing.T) {
	_, line := record(t, RecordOptions{}, httptest.NewRequest("GET", "/", nil), func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusNotFound)
	})
	if line["status"] != 404.0 {
		t.Errorf("status: got %v, want 404", line["status"])
	}
}

func TestSetOutsideOfRecord(t *testing.T) {
	SetRoute(httptest.NewRecorder(), "x") // must not fail
	SetUser(httptest.NewRecorder(), "x")
}

func TestFailureKeepsReaderErrors(t *testing.T) {
	// That a file could not be read is not the client's doing.
	_, line := record(t, RecordOptions{}, httptest.NewRequest("GET", "/", nil), func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.(io.ReaderFrom).ReadFrom(io.MultiReader(strings.NewReader("x"), failing{}))
	})
	if line["status"] != 200.0 {
		t.Errorf("status: got %v, want 200", line["status"])
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("disk") }

func FuzzSafeQuery(f *testing.F) {
	for _, s := range []string{"digest=a&token=s", "&&==", "n=%zz", "last=%0d%0a", "tag=a&tag=b;c", "digest=" + strings.Repeat("%41", 500)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got := safeQuery(raw)
		if len(got) > maxQuery {
			t.Errorf("got %d bytes, want at most %d", len(got), maxQuery)
		}
		for i := range len(got) {
			if c := got[i]; c < ' ' || c == '"' || c == 0x7f {
				t.Errorf("%q became %q, which holds %q", raw, got, c)
			}
		}
		for pair := range strings.SplitSeq(got, "&") {
			if key, _, _ := strings.Cut(pair, "="); got != "" && !isLogged(key) && !strings.HasSuffix(key, "…") {
				t.Errorf("%q became %q, which holds the key %q", raw, got, key)
			}
		}
	})
}
