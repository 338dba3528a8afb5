package listen

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

var testTime = time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)

func TestBelow(t *testing.T) {
	tests := []struct {
		prefix, target string
		want           string // what the handler sees; nothing: it doesn't
	}{
		{"", "/v2/", "/v2/"},
		{"/a", "/a/v2/", "/v2/"},
		{"/a", "/a", "/"},
		{"/a", "/a/", "/"},
		{"/a", "/a//v2/", "//v2/"},
		{"/a", "/a/%2e%2e/v2/", "/%2e%2e/v2/"},
		{"/a", "/a/v2/x%2Fy/", "/v2/x%2Fy/"},
		{"/a", "/a/../v2/", "/../v2/"},
		{"/a", "/a/v2/?n=1", "/v2/?n=1"},
		{"/a", "/a/a/v2/", "/a/v2/"},
		{"/a", "/ab/v2/", ""},
		{"/a", "/v2/", ""},
		{"/a", "/v2/a/", ""},
		{"/a", "//a/v2/", ""},
		{"/a", "/%61/v2/", ""},
		{"/a", "/A/v2/", ""},
		{"/a/b", "/a/b/v2/", "/v2/"},
		{"/a/b", "/a%2fb/v2/", ""},
		{"/a/b", "/a/v2/", ""},
		{"/a", "http://host/a/v2/", "http://host/v2/"},
		{"/a", "*", ""},
	}
	for _, tt := range tests {
		got, original := "", ""
		h := Below(tt.prefix, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.URL.String() }),
			http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		r := httptest.NewRequest("GET", "/", nil)
		var err error
		if r.URL, err = url.ParseRequestURI(tt.target); err != nil {
			t.Fatal(err)
		}
		original = r.URL.String()
		h.ServeHTTP(nil, r)
		if got != tt.want {
			t.Errorf("%s of %s: got %q, want %q", tt.target, tt.prefix, got, tt.want)
		}
		if r.URL.String() != original {
			t.Errorf("%s: the log would show %s", tt.target, r.URL)
		}
	}
}

func FuzzBelow(f *testing.F) {
	for _, s := range []string{"/a/v2/", "/a", "/a/%2e/", "/%61/", "/a/x%2Fy?z", "/a//", "/ab", "/a%00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			t.Skip()
		}
		inner, ok := below("/a", u)
		if !ok {
			if p := u.EscapedPath(); p == "/a" || strings.HasPrefix(p, "/a/") {
				t.Errorf("%q is not found", target)
			}
			return
		}
		// Nothing is changed but the prefix, escaped or not.
		if got := "/a" + inner.EscapedPath(); got != u.EscapedPath() && u.EscapedPath() != "/a" {
			t.Errorf("%q became %q", u.EscapedPath(), got)
		}
		if got := "/a" + inner.Path; got != u.Path && u.Path != "/a" {
			t.Errorf("%q became %q", u.Path, got)
		}
	})
}
