package berth

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/config"
	"berth/internal/gc"
	"berth/internal/oci"
)

// immutableVs makes tags that begin with v immutable, in repository app.
func immutableVs(c *config.Config) {
	c.Tags.Immutable = []config.ImmutableTags{{Repositories: []string{"app"}, Tags: []string{"v*"}}}
}

// TestImmutableDoors is row A3: there is no way to move or to remove an immutable
// tag, whoever asks and by whatever name.
func TestImmutableDoors(t *testing.T) {
	dir := t.TempDir()
	s := newSite(t, dir, nil, immutableVs)
	first, firstDigest := image("first")
	second, secondDigest := image("second")
	index := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[{"mediaType":%q,"digest":%q,"size":%d}]}`,
		oci.MediaTypeIndex, oci.MediaTypeIndex, firstDigest, len(first))
	anybody := client{}
	for _, tag := range []string{"v1", "latest", "other"} {
		s.want("201", anybody, "PUT", "/v2/app/manifests/"+tag, first)
	}
	s.want("201", anybody, "PUT", "/v2/app/manifests/v1", first) // nothing moves
	s.want("201", anybody, "PUT", "/v2/app/manifests/v-index", index)
	s.want("201", anybody, "PUT", "/v2/app/manifests/"+secondDigest, second)

	type door struct{ name, method, path, body string }
	doors := []door{
		{"push", "PUT", "/v2/app/manifests/v1", second},
		{"push of two tags", "PUT", "/v2/app/manifests/" + secondDigest + "?tag=new&tag=v1", second},
		{"delete of the tag", "DELETE", "/v2/app/manifests/v1", ""},
		{"delete of an index's tag", "DELETE", "/v2/app/manifests/v-index", ""},
		{"delete of an index", "DELETE", "/v2/app/manifests/" + digestOf(index), ""},
	}
	inUse := door{"delete of a child", "DELETE", "/v2/app/manifests/" + firstDigest, ""} // which other tags have, too
	check := func(when string) {
		t.Helper()
		for _, who := range []struct {
			name string
			ask  func(method, path, body string) answer
		}{
			{"a client", func(method, path, body string) answer { return s.do(anybody, method, path, body) }},
			{"the operator", s.operator},
		} {
			for _, d := range doors {
				a := who.ask(d.method, d.path, d.body)
				if a.summary() != "403 DENIED" || !strings.Contains(a.body, "immutable") || !strings.Contains(a.body, "tags.immutable") {
					t.Errorf("%s, %s by %s: got %s %s, want 403 DENIED and why", when, d.name, who.name, a.summary(), a.body)
				}
			}
			if a := who.ask(inUse.method, inUse.path, ""); a.summary() != "405 UNSUPPORTED" {
				t.Errorf("%s, %s by %s: got %s, want 405 UNSUPPORTED", when, inUse.name, who.name, a.summary())
			}
		}
		for _, action := range []url.Values{
			{"to": {secondDigest}}, {"to": {secondDigest}, "cause": {"set"}}, {"to": {secondDigest}, "dry_run": {"1"}}, {"to": {secondDigest}, "from": {firstDigest}},
		} {
			action.Set("repository", "app")
			action.Set("tag", "v1")
			if a := s.operator("POST", "/admin/tag-move?"+action.Encode(), ""); !strings.Contains(a.body, "tag v1 of app is immutable") {
				t.Errorf("%s, tag-move %v: got %s", when, action, a.body)
			}
		}
		s.want("200", anybody, "GET", "/v2/app/manifests/"+firstDigest, "")
		for tag, digest := range map[string]string{"v1": firstDigest, "v-index": digestOf(index)} {
			if got := s.do(anybody, "HEAD", "/v2/app/manifests/"+tag, "").header.Get("Docker-Content-Digest"); got != digest {
				t.Errorf("%s, %s is %s now", when, tag, got)
			}
		}
		s.want("404 MANIFEST_UNKNOWN", anybody, "GET", "/v2/app/manifests/new", "")
	}
	check("at first")

	// Neither does a collection that lets go of untagged manifests, whose clock is
	// far ahead, nor a restart.
	sweeper := &gc.Sweeper{Collector: s.s.collector, Records: s.s.meta, Now: func() time.Time { return time.Now().Add(1000 * time.Hour) }}
	if _, err := sweeper.Sweep(t.Context(), gc.SweepOptions{Untagged: true, Tell: func(gc.Item) error { return nil }}); err != nil {
		t.Fatal(err)
	}
	s.want("404 MANIFEST_UNKNOWN", anybody, "GET", "/v2/app/manifests/"+secondDigest, "")
	s.want("201", anybody, "PUT", "/v2/app/manifests/"+secondDigest, second)
	check("after a collection")

	// What is not immutable is as it was.
	s.want("201", anybody, "PUT", "/v2/app/manifests/latest", second)
	s.want("202", anybody, "DELETE", "/v2/app/manifests/other", "")
	s.want("201", anybody, "PUT", "/v2/app2/manifests/v1", first)
	s.want("201", anybody, "PUT", "/v2/app2/manifests/v1", second)
	s.want("202", anybody, "DELETE", "/v2/app2/manifests/"+secondDigest, "")
	check("beside tags that move")
}

// TestImmutableRestart holds that tags stay immutable over a restart, and can be
// moved once the setting is taken back.
func TestImmutableRestart(t *testing.T) {
	dir := t.TempDir()
	free := func(*config.Config) {}
	for i, run := range []struct {
		set  func(*config.Config)
		want string
	}{{free, "201"}, {immutableVs, "403 DENIED"}, {immutableVs, "403 DENIED"}, {free, "201"}} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			body, _ := image(fmt.Sprint(i))
			newSite(t, dir, nil, run.set).want(run.want, client{}, "PUT", "/v2/app/manifests/v1", body)
		})
	}
}

// TestImmutableAtOnce holds that of many first pushes of a tag one wins, and that
// all others hear why they did not.
func TestImmutableAtOnce(t *testing.T) {
	s := newSite(t, t.TempDir(), nil, immutableVs)
	var wg sync.WaitGroup
	answers, digests := make([]string, 20), make([]string, 20)
	for i := range answers {
		body, digest := image(fmt.Sprint("at once ", i))
		digests[i] = digest
		wg.Go(func() { answers[i] = s.do(client{}, "PUT", "/v2/app/manifests/v1", body).summary() })
	}
	wg.Wait()
	won := slices.Index(answers, "201")
	if got := s.do(client{}, "HEAD", "/v2/app/manifests/v1", "").header.Get("Docker-Content-Digest"); won < 0 || got != digests[won] {
		t.Errorf("v1 is %s, and the push that won was number %d", got, won)
	}
	slices.Sort(answers)
	if answers[1] != "403 DENIED" || answers[19] != "403 DENIED" {
		t.Errorf("got %v, want one 201", answers)
	}
}

// TestTagHistoryAction holds that it is told who moved a tag, that nothing is told
// twice, and that endpoints hear of a rollback as of a push.
func TestTagHistoryAction(t *testing.T) {
	hook := newHook(t)
	s := newSite(t, t.TempDir(), []string{"alice"}, func(c *config.Config) {
		c.Notifications.Endpoints = []config.Endpoint{endpointAt("ci", hook.URL)}
	})
	alice := client{name: "alice", address: "192.0.2.9"}
	first, firstDigest := image("first")
	second, secondDigest := image("second")
	for _, body := range []string{first, first, second} {
		s.want("201", alice, "PUT", "/v2/app/manifests/v1", body)
	}
	s.operator("POST", "/admin/tag-move?repository=app&tag=v1", "")
	s.operator("DELETE", "/v2/app/manifests/"+secondDigest, "")

	var got []string
	for line := range strings.Lines(s.operator("POST", "/admin/tag-history?repository=app&tag=v1", "").body) {
		var l struct{ Told *tagMoveLine }
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		if m := l.Told; m != nil {
			got = append(got, fmt.Sprintf("%s %s>%s by %q %q from %q, was %s", m.Cause, m.From, m.To, m.By, m.Via, m.Address, m.Old))
		}
	}
	want := []string{
		fmt.Sprintf(`rollback %s>%s by "" "operator" from "", was trash`, secondDigest, firstDigest),
		fmt.Sprintf(`push %s>%s by "alice" "" from "192.0.2.9", was there`, firstDigest, secondDigest),
		fmt.Sprintf(`push >%s by "alice" "" from "192.0.2.9", was `, firstDigest),
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	events, err := s.s.meta.Events(t.Context(), 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	var heard []string
	for _, e := range events {
		heard = append(heard, fmt.Sprintf("%s %s %s %s %d", e.Action, e.Kind, e.Tag, e.Digest, e.Size))
	}
	if want := fmt.Sprintf("push manifest v1 %s %d", firstDigest, len(first)); !slices.Contains(heard, want) || heard[len(heard)-2] != want {
		t.Errorf("got events\n%s\nwant the rollback before the last: %s", strings.Join(heard, "\n"), want)
	}
}

// TestHistoryIsTrimmed holds that a collection forgets moves that are older than
// tags.history.
func TestHistoryIsTrimmed(t *testing.T) {
	s := newSite(t, t.TempDir(), nil, func(*config.Config) {})
	s.put("app", "v1", "first")
	app, err := oci.ParseRepo("app")
	if err != nil {
		t.Fatal(err)
	}
	count := func() int {
		list, err := s.s.meta.TagHistory(t.Context(), app, oci.Tag{}, 0, 10)
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	if _, err := s.s.collector.Collect(t.Context()); err != nil || count() != 1 {
		t.Errorf("at first: %d moves, %v, want 1", count(), err)
	}
	s.s.cfg.Tags.History = 0
	if _, err := s.s.collector.Collect(t.Context()); err != nil || count() != 0 {
		t.Errorf("in the end: %d moves, %v, want none", count(), err)
	}
}
