package floor

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReplay opens what another server has written, also if its last line was
// cut off.
func TestReplay(t *testing.T) {
	dir := t.TempDir()
	open := func() *Server {
		s, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	do := func(want int, method, path, body string) string {
		t.Helper()
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json; charset=utf-8")
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != want {
			t.Fatalf("%s %s: got %d, want %d: %s", method, path, w.Code, want, w.Body)
		}
		return w.Header().Get("Location") + w.Header().Get("Docker-Content-Digest") + " " + w.Body.String()
	}
	const blob = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
	at, _, _ := strings.Cut(do(202, "POST", "/v2/a/blobs/uploads/", ""), " ")
	do(201, "PUT", at+"?digest="+blob, "hello")
	do(201, "POST", "/v2/b/blobs/uploads/?mount="+blob+"&from=a", "")
	do(201, "PUT", "/v2/a/manifests/v1", "{\n\"a\": 1}\n")
	do(201, "PUT", "/v2/a/manifests/v2", "{}")
	do(201, "PUT", "/v2/a/manifests/gone", `{"x":1}`)
	do(202, "DELETE", "/v2/a/manifests/gone", "")
	questions := func() string {
		var b strings.Builder
		for _, path := range []string{"/v2/_catalog", "/v2/a/tags/list", "/v2/a/manifests/v1", "/v2/a/manifests/v2", "/v2/b/blobs/" + blob} {
			b.WriteString(do(200, "GET", path, "") + "\n")
		}
		return b.String()
	}
	before := questions()
	s = open()
	if after := questions(); after != before {
		t.Errorf("got\n%swant\n%s", after, before)
	}
	path := filepath.Join(dir, "journal")
	journal, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, rest := range []string{"blob a", "put 100 a v3 t\n{}"} {
		if err := os.WriteFile(path, append(bytes.Clone(journal), rest...), 0o600); err != nil {
			t.Fatal(err)
		}
		if s = open(); questions() != before {
			t.Errorf("%q at the end changes what is there", rest)
		}
	}
	if err := os.WriteFile(path, append(bytes.Clone(journal), "what\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); err == nil {
		t.Error("a line that is none was passed over")
	}
}

func TestReferrers(t *testing.T) {
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		body := fmt.Sprintf(`{"n":%d,"subject":{"digest":"sha256:1"}}`, i)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest("PUT", fmt.Sprintf("/v2/a/manifests/m%d", i), strings.NewReader(body)))
		if w.Code != http.StatusCreated {
			t.Fatal(w.Code)
		}
	}
	got := 0
	for path, pages := "/v2/a/referrers/sha256:1?n=2", 0; path != ""; pages++ {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		got += strings.Count(w.Body.String(), "sha256:")
		path, _, _ = strings.Cut(strings.TrimPrefix(w.Header().Get("Link"), "<"), ">")
		if pages > 3 {
			t.Fatal("it does not end")
		}
	}
	if got != 5 {
		t.Errorf("got %d referrers in pages, want 5", got)
	}
}
