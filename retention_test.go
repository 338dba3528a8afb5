package berth

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"berth/config"
)

// TestRetentionOfServer holds that a server notes pulls by its clients, and not
// those of its operator, that they survive a restart, that rules keep by them,
// and that immutable tags stay whatever the rules say (row A3).
func TestRetentionOfServer(t *testing.T) {
	cfg := config.Default()
	cfg.Data = t.TempDir()
	cfg.Tags.Immutable = []config.ImmutableTags{{Tags: []string{"fixed"}}}
	cfg.Retention.Rules = []config.RetentionRule{{KeepPulledWithin: 30 * 24 * time.Hour}}
	at := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	var s *Server
	open := func() {
		t.Helper()
		var err error
		if s, err = Open(t.Context(), Options{Config: cfg, Now: func() time.Time { return at }}); err != nil {
			t.Fatal(err)
		}
	}
	ask := func(operator bool, method, path, body string) string {
		t.Helper()
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/vnd.oci.image.index.v1+json")
		if operator {
			s.Admin().ServeHTTP(w, r)
		} else {
			s.ServeHTTP(w, r)
		}
		if w.Code >= 300 {
			t.Fatalf("%s %s: got %d %s", method, path, w.Code, w.Body)
		}
		return w.Body.String()
	}
	later := func(d time.Duration) {
		t.Helper()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		at = at.Add(d)
		open()
	}
	open()
	for _, tag := range []string{"pulled", "listed", "fixed"} {
		body := `{"schemaVersion":2,"manifests":[],"annotations":{"n":"` + tag + `"}}`
		ask(true, "PUT", "/v2/app/manifests/"+tag, body)
	}
	later(25 * 24 * time.Hour)
	ask(false, "GET", "/v2/app/manifests/pulled", "")
	ask(false, "HEAD", "/v2/app/manifests/listed", "")
	ask(true, "GET", "/v2/app/manifests/listed", "")
	later(10 * 24 * time.Hour)
	said := ask(true, "POST", "/admin/simulate", "")
	for _, want := range []string{
		`"tag":"listed","digest":"sha256:`, `"goes":true,"reason":"pushed 35 days ago, not pulled since that is noted (rule 1)"`,
		`"reason":"pulled 10 days ago (rule 1)"`, `"reason":"immutable (tags.immutable)"`, `"tags_kept":2,"tags_gone":1,"manifests_gone":1`,
	} {
		if !strings.Contains(said, want) {
			t.Errorf("the simulation lacks %s:\n%s", want, said)
		}
	}
	if done := ask(true, "POST", "/admin/retain?repository=app", ""); !strings.Contains(done, `{"repository":"app","tags":1,"manifests":1,"stayed":0}`) {
		t.Errorf("the run says %s", done)
	}
	if tags := ask(false, "GET", "/v2/app/tags/list", ""); tags != `{"name":"app","tags":["fixed","pulled"]}`+"\n" {
		t.Errorf("the tags are %s", tags)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
