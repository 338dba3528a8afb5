package listen

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestHeaders(t *testing.T) {
	const here = "https://ui.example"
	one := map[string][]string{"x-operator": {"a", "b"}, "Cache-Control": {"private"}}
	star := map[string][]string{"Access-Control-Allow-Origin": {"*"}}
	two := map[string][]string{"access-control-allow-origin": {here, "https://two.example"}}
	handler := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		switch r.URL.Path {
		case "/error":
			http.Error(w, "no", http.StatusNotFound)
		case "/flush":
			_ = http.NewResponseController(w).Flush()
		case "/hint":
			w.WriteHeader(http.StatusEarlyHints)
			_, _ = io.WriteString(w, "x")
		case "/file":
			f, err := os.Open(os.Args[0])
			if err != nil {
				panic(err)
			}
			defer func() { _ = f.Close() }()
			http.ServeContent(w, r, "x", testTime, f)
		case "/write":
			_, _ = io.WriteString(w, "x")
		}
	}
	tests := []struct {
		name         string
		set          map[string][]string
		method, path string
		origin       string
		preflight    bool
		status       int
		header       string
		want         string // values joined by |
	}{
		{"nothing to add", nil, "GET", "/write", "", false, 200, "Cache-Control", "no-store"},
		{"added", one, "GET", "/write", "", false, 200, "X-Operator", "a|b"},
		{"added to an error", one, "GET", "/error", "", false, 404, "X-Operator", "a|b"},
		{"added to silence", one, "GET", "/", "", false, 200, "X-Operator", "a|b"},
		{"added to a flush", one, "GET", "/flush", "", false, 200, "X-Operator", "a|b"},
		{"added behind a hint", one, "GET", "/hint", "", false, 200, "X-Operator", "a|b"},
		{"added to a file", one, "GET", "/file", "", false, 200, "X-Operator", "a|b"},
		{"added to a HEAD", one, "HEAD", "/file", "", false, 200, "X-Operator", "a|b"},
		{"in place of the handler's", one, "GET", "/write", "", false, 200, "Cache-Control", "private"},
		{"any origin", star, "GET", "/write", here, false, 200, "Access-Control-Allow-Origin", "*"},
		{"the origin of the request", two, "GET", "/write", here, false, 200, "Access-Control-Allow-Origin", here},
		{"its other origin", two, "GET", "/write", "https://two.example", false, 200, "Access-Control-Allow-Origin", "https://two.example"},
		{"no origin of ours", two, "GET", "/write", "https://evil.example", false, 200, "Access-Control-Allow-Origin", ""},
		{"caches are told", two, "GET", "/write", "", false, 200, "Vary", "Origin"},
		{"a question before", two, "OPTIONS", "/error", here, true, 204, "Access-Control-Allow-Origin", here},
		{"a question of a stranger", two, "OPTIONS", "/error", "https://evil.example", true, 404, "Access-Control-Allow-Origin", ""},
		{"a question that is none", two, "OPTIONS", "/error", here, false, 404, "Access-Control-Allow-Origin", here},
		{"a question where none is asked", one, "OPTIONS", "/error", here, true, 404, "X-Operator", "a|b"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := httptest.NewServer(NewHeaders(tt.set).Wrap(http.HandlerFunc(handler)))
			defer s.Close()
			r, err := http.NewRequest(tt.method, s.URL+tt.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if tt.origin != "" {
				r.Header.Set("Origin", tt.origin)
			}
			if tt.preflight {
				r.Header.Set("Access-Control-Request-Method", "GET")
			}
			resp, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if got := strings.Join(resp.Header.Values(tt.header), "|"); resp.StatusCode != tt.status || got != tt.want {
				t.Errorf("got %d and %s %q, want %d and %q", resp.StatusCode, tt.header, got, tt.status, tt.want)
			}
		})
	}
}

func TestCrossSite(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Origin", "https://ui.example")
	for origins, want := range map[string]bool{"": false, "*": true, "https://ui.example": true, "https://ui.example.evil": false, "null": false} {
		set := map[string][]string{}
		if origins != "" {
			set["Access-Control-Allow-Origin"] = []string{origins}
		}
		if got := NewHeaders(set).CrossSite(r); got != want {
			t.Errorf("with %q: got %v, want %v", origins, got, want)
		}
	}
	r.Header.Del("Origin")
	if NewHeaders(map[string][]string{"Access-Control-Allow-Origin": {""}}).CrossSite(r) {
		t.Error("no origin is one that is named")
	}
}

// TestHeadersKeepSendfile holds that a file still reaches the writer beneath as
// a file.
func TestHeadersKeepSendfile(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	w := &readerFrom{ResponseRecorder: httptest.NewRecorder()}
	NewHeaders(map[string][]string{"X": {"y"}}).Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.Copy(w, f)
	})).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if w.from == nil || w.from != io.Reader(f) && !isFile(w.from) {
		t.Errorf("the writer got %T", w.from)
	}
	if w.Header().Get("X") != "y" {
		t.Error("the header is missing")
	}
}

func isFile(r io.Reader) bool {
	_, ok := r.(interface{ Fd() uintptr })
	return ok
}

// A readerFrom notes what it is given to send.
type readerFrom struct {
	*httptest.ResponseRecorder
	from io.Reader
}

func (w *readerFrom) ReadFrom(r io.Reader) (int64, error) {
	w.from = r
	return 0, nil
}
