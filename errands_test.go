package berth

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/config"
	"berth/internal/api"
	"berth/internal/usage"
)

// newErrandSite returns a site where retention keeps the newest of the tags of
// team/*, and images in team/app, team/none and other/app that are old enough to
// go. Nothing goes on beside requests.
func newErrandSite(t *testing.T) *site {
	t.Helper()
	cfg := config.Default()
	cfg.Data, cfg.Log.Access = t.TempDir(), false
	cfg.Auth.Htpasswd.Path = writePasswords(t, append(matrixUsers[:], "overseer"))
	apiRules(&cfg)
	cfg.Retention.Rules = []config.RetentionRule{{Repositories: []string{"team/*"}, KeepNewest: 1, UntaggedAfter: time.Hour}}
	at := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	open := func() *site {
		s, err := Open(t.Context(), Options{Config: cfg, Now: func() time.Time { return at }})
		if err != nil {
			t.Fatal(err)
		}
		return &site{t, s, ""}
	}
	s := open()
	for _, tag := range []string{"v1", "v2", "v3"} {
		for _, repo := range []string{"team/app", "team/none", "other/app"} {
			s.put(repo, tag, repo+tag)
		}
	}
	s.put("team/app", "v3", "another v3")
	if err := s.s.Close(); err != nil {
		t.Fatal(err)
	}
	at = at.Add(100 * 24 * time.Hour)
	s = open()
	srv := httptest.NewServer(s.s)
	s.url = srv.URL
	t.Cleanup(func() {
		srv.Close()
		if err := s.s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// read reads the answer to a request of a client into a value.
func read[T any](s *site, c client, path string) (v T) {
	s.t.Helper()
	a := s.want("200", c, "GET", path, "")
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		s.t.Fatal(err)
	}
	return v
}

// runErrands does what the API asks for until the test ends.
func (s *site) runErrands() {
	ended := make(chan error, 1)
	go func() { ended <- s.s.runErrands(s.t.Context()) }()
	s.t.Cleanup(func() {
		if err := <-ended; err != nil {
			s.t.Error(err)
		}
	})
}

// TestAPISimulation shows what rules would do to a repository, in pages that hold
// every decision once, and that it changes nothing.
func TestAPISimulation(t *testing.T) {
	s := newErrandSite(t)
	reader := client{name: "reader"}
	for query, want := range map[string]string{
		"":          "v1 goes, v2 goes, v3 kept, another goes",
		"only=goes": "v1 goes, v2 goes, another goes",
		"only=kept": "v3 kept",
	} {
		for limit := 1; limit <= 5; limit++ {
			var got []string
			for next, more := "", true; more; more = next != "" {
				p := read[api.RetentionPlan](s, reader, fmt.Sprintf("/api/v1/retention/team/app?limit=%d&after=%s&%s", limit, next, query))
				if p.TagsGone != 2 || p.TagsKept != 1 || p.ManifestsGone != 3 || p.Freed <= 0 || len(p.Decisions) > limit {
					t.Errorf("%s, %d at a time: got %+v", query, limit, p)
				}
				for _, d := range p.Decisions {
					what, becomes := d.Tag, "kept"
					if what == "" {
						what = "another"
					}
					if d.Goes {
						becomes = "goes"
					}
					got = append(got, what+" "+becomes)
				}
				next = p.Next
			}
			if text := strings.Join(got, ", "); text != want {
				t.Errorf("%s, %d at a time: got %s, want %s", query, limit, text, want)
			}
		}
	}
	p := read[api.RetentionPlan](s, client{name: "admin"}, "/api/v1/retention/other/app")
	if p.TagsGone != 0 || p.TagsKept != 3 || p.Decisions[0].Reason != "no rule is about it" {
		t.Errorf("where no rule is about anything: got %+v", p)
	}
}

// TestAPIRetain shows that a run that was asked for does what the space was said to
// come of, and tells of it.
func TestAPIRetain(t *testing.T) {
	s := newErrandSite(t)
	overseer := client{name: "overseer"}
	s.measure()
	would := read[usage.Report](s, overseer, "/api/v1/usage").Retention
	if would == nil || would.Tags != 4 || would.Manifests != 5 || would.Bytes <= 0 {
		t.Errorf("the rules would free %+v", would)
	}
	status := read[api.RetentionStatus](s, overseer, "/api/v1/retention")
	if len(status.Rules) != 1 || status.Rules[0].KeepNewest != 1 || status.Rules[0].UntaggedAfter != 3600 || status.Grace != 24*3600 || status.Last != nil {
		t.Errorf("the status is %+v", status)
	}
	s.want("202", overseer, "POST", "/api/v1/retention", "")
	s.runErrands()
	for status.Last == nil {
		status = read[api.RetentionStatus](s, overseer, "/api/v1/retention")
	}
	if r := status.Last; r.Tags != 4 || r.Manifests != 5 || r.Stayed != 0 || r.Error != "" || !status.Since.IsZero() {
		t.Errorf("the run did %+v", r)
	}
	if a := s.want("200", client{name: "admin"}, "GET", "/v2/team/app/tags/list", ""); !strings.Contains(a.body, `["v3"]`) {
		t.Errorf("the tags are %s", a.body)
	}
	if a := s.want("200", client{name: "admin"}, "GET", "/v2/other/app/tags/list", ""); !strings.Contains(a.body, `["v1","v2","v3"]`) {
		t.Errorf("the tags that no rule is about are %s", a.body)
	}
	s.measure()
	if r := read[usage.Report](s, overseer, "/api/v1/usage").Retention; *r != (usage.Retained{}) {
		t.Errorf("after the run, the rules would free %+v", r)
	}

	without := newSite(t, t.TempDir(), append(matrixUsers[:], "overseer"), func(c *config.Config) {
		apiRules(c)
		c.Retention.Rules = nil
	})
	if a := without.want("400 UNSUPPORTED", overseer, "POST", "/api/v1/retention", ""); !strings.Contains(a.body, "retention.rules") {
		t.Errorf("without rules: got %s", a.body)
	}
	without.measure()
	if a := without.want("200", overseer, "GET", "/api/v1/usage", ""); strings.Contains(a.body, `"retention"`) {
		t.Errorf("without rules the usage is %s", a.body)
	}
}

// TestAPICheck shows that a check that was asked for tells what it has found, and
// mends nothing.
func TestAPICheck(t *testing.T) {
	s := newErrandSite(t)
	overseer := client{name: "overseer"}
	digest := s.upload("team/app", "content")
	var damaged string
	err := filepath.WalkDir(s.s.cfg.Data, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if body, _ := os.ReadFile(path); string(body) == "content" {
				damaged = path
			}
		}
		return err
	})
	if err != nil || damaged == "" {
		t.Fatalf("there is no file of %s: %v", digest, err)
	}
	if err := os.Chmod(damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(damaged, 3); err != nil {
		t.Fatal(err)
	}
	checks := read[api.Checks](s, overseer, "/api/v1/checks")
	if checks.Last != nil {
		t.Errorf("before any check: got %+v", checks)
	}
	s.want("202", overseer, "POST", "/api/v1/checks", "")
	s.runErrands()
	for checks.Last == nil {
		checks = read[api.Checks](s, overseer, "/api/v1/checks")
	}
	r := checks.Last
	if r.Problems != 1 || len(r.Findings) != 1 || r.Findings[0].Kind != "blob-size" || r.Findings[0].Digest != digest || r.Findings[0].Done != "" ||
		len(r.Kinds) != 1 || r.Kinds[0].Count != 1 || r.Error != "" {
		t.Errorf("the check found %+v", r)
	}
	if info, err := os.Stat(damaged); err != nil || info.Size() != 3 {
		t.Errorf("the check touched the file: %v %v", info, err)
	}
}
