package berth

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"berth/config"
)

// TestUploadsAreBounded holds that who begins uploads and leaves them alone is
// told to wait, with what to do, before they take all memory, and that it goes on
// when one ends.
func TestUploadsAreBounded(t *testing.T) {
	cfg := config.Default()
	cfg.Data, cfg.Uploads.MaxOpen = t.TempDir(), 100
	s, err := Open(t.Context(), Options{Config: cfg})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ask := func(method, path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		s.Admin().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, nil))
		return w
	}
	const begin = "/v2/app/blobs/uploads/"
	var last *httptest.ResponseRecorder
	for range cfg.Uploads.MaxOpen {
		if last = ask("POST", begin); last.Code != http.StatusAccepted {
			t.Fatalf("got %d %s", last.Code, last.Body)
		}
	}
	w := ask("POST", begin)
	if w.Code != http.StatusTooManyRequests || !strings.Contains(w.Body.String(), "TOOMANYREQUESTS") || !strings.Contains(w.Body.String(), "uploads.max_open") {
		t.Errorf("one more: got %d %s", w.Code, w.Body)
	}
	if w := ask("DELETE", last.Header().Get("Location")); w.Code != http.StatusNoContent {
		t.Fatalf("cancel: got %d %s", w.Code, w.Body)
	}
	if w := ask("POST", begin); w.Code != http.StatusAccepted {
		t.Errorf("when one has ended: got %d %s", w.Code, w.Body)
	}
}
