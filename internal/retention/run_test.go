package retention_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/internal/blob"
	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/meta/sqlmeta"
	"berth/internal/oci"
	"berth/internal/retention"
)

// An env is a database with a runner, and clocks that the test sets.
type env struct {
	testing.TB
	db      *sqlmeta.DB
	runner  *retention.Runner
	time    time.Time     // of the wall clock
	running time.Duration // of the process
	fixed   []string      // immutable tags
	serial  int
	docs    map[oci.Digest]doc // what was pushed
}

func newEnv(t testing.TB, rules ...rule) *env {
	e := &env{TB: t, time: now(), docs: map[oci.Digest]doc{}}
	var err error
	e.db, err = sqlmeta.Open(t.Context(), sqlmeta.Options{
		Path: filepath.Join(t.TempDir(), "berth.db"), Grace: grace, Trash: 7 * day, Memory: 1 << 20, Doubt: func(err error) { t.Error(err) },
		Now: func() time.Time { return e.time }, Running: func() time.Duration { return e.running },
		Immutable: func(_ oci.Repo, tag oci.Tag) bool { return slices.Contains(e.fixed, tag.String()) },
	})
	e.ok(err)
	t.Cleanup(func() {
		if err := e.db.Check(context.Background()); err != nil {
			t.Errorf("check: %v", err)
		}
		e.db.Close()
	})
	e.runner = &retention.Runner{
		Records: e.db, Policy: retention.Policy{Rules: rules, Grace: grace}, Every: time.Hour,
		Clock: retention.NewClock(func() time.Time { return e.time }, func() time.Duration { return e.running }), Log: slog.New(slog.DiscardHandler),
	}
	return e
}

func (e *env) ok(err error) {
	e.Helper()
	if err != nil {
		e.Fatal(err)
	}
}

// pass lets time go by.
func (e *env) pass(d time.Duration) {
	e.time = e.time.Add(d)
	e.running += d
}

// A doc is what a manifest is made from.
type doc struct {
	layers  []string
	parts   []oci.Digest
	subject oci.Digest
}

// put pushes a manifest with its layers under tags.
func (e *env) put(r string, d doc, tags ...string) oci.Digest {
	e.Helper()
	e.serial++
	m := oci.Manifest{MediaType: "application/x.test"}
	for _, l := range d.layers {
		e.upload(r, l)
		m.Blobs = append(m.Blobs, oci.Descriptor{Digest: digest(l), Size: int64(len(l))})
	}
	for _, p := range d.parts {
		m.Children = append(m.Children, oci.Descriptor{Digest: p, Size: oci.UnknownSize})
	}
	if !d.subject.IsZero() {
		m.Subject = &oci.Descriptor{Digest: d.subject}
	}
	var err error
	m.Body, err = json.Marshal(map[string]any{"serial": e.serial, "layers": d.layers})
	e.ok(err)
	pushed := e.putManifest(r, m, tags...)
	e.docs[pushed] = d
	return pushed
}

func (e *env) putManifest(r string, m oci.Manifest, tags ...string) oci.Digest {
	e.Helper()
	p := meta.ManifestPut{Repo: repo(e, r), Digest: oci.SHA256.FromBytes(m.Body), Manifest: m}
	for _, s := range tags {
		p.Tags = append(p.Tags, tag(e, s))
	}
	_, err := e.db.PutManifest(e.Context(), p)
	e.ok(err)
	return p.Digest
}

func (e *env) upload(r, content string) {
	e.Helper()
	e.serial++
	u := meta.Upload{ID: meta.UploadID(fmt.Sprint(e.serial)), Repo: repo(e, r), Key: blob.NewKey(), Algorithm: oci.SHA256}
	e.ok(e.db.CreateUpload(e.Context(), u))
	_, err := e.db.CommitUpload(e.Context(), u, meta.Blob{Digest: digest(content), Key: u.Key, Size: int64(len(content))}, event.Actor{})
	e.ok(err)
}

// point puts a tag on a manifest that is there.
func (e *env) point(r, name string, d oci.Digest) {
	e.Helper()
	m, err := e.db.FindManifest(e.Context(), repo(e, r), oci.Ref{Digest: d})
	e.ok(err)
	parsed := oci.Manifest{MediaType: m.MediaType, Body: m.Body}
	_, err = e.db.PutManifest(e.Context(), meta.ManifestPut{Repo: repo(e, r), Digest: d, Manifest: parsed, Tags: []oci.Tag{tag(e, name)}})
	e.ok(err)
}

func (e *env) tags(r string) string {
	e.Helper()
	list, err := e.db.Tags(e.Context(), repo(e, r), "", 1000)
	e.ok(err)
	var names []string
	for _, t := range list {
		names = append(names, t.Name.String())
	}
	return strings.Join(names, " ")
}

func (e *env) has(r string, d oci.Digest) bool {
	e.Helper()
	_, err := e.db.FindManifest(e.Context(), repo(e, r), oci.Ref{Digest: d})
	return err == nil
}

func (e *env) run() (all []retention.Done) {
	e.Helper()
	e.ok(e.runner.Run(e.Context(), retention.Repos{}, func(d retention.Done) error {
		all = append(all, d)
		return nil
	}))
	return all
}

func (e *env) want(what string, got, want any) {
	e.Helper()
	if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
		e.Errorf("%s: got %s, want %s", what, g, w)
	}
}

// TestRun holds that what goes is in the trash, as families, and comes back whole.
func TestRun(t *testing.T) {
	e := newEnv(t, rule{Tags: patterns(t, "v*"), KeepNewest: 1})
	arm := e.put("a", doc{layers: []string{"base", "arm"}})
	amd := e.put("a", doc{layers: []string{"base", "amd"}})
	index := e.put("a", doc{parts: []oci.Digest{arm, amd}}, "v1", "stable-1")
	sig := e.put("a", doc{layers: []string{"signature"}}, "sha256-"+index.Hex()+".sig")
	sbom := e.put("a", doc{layers: []string{"sbom"}, subject: index})
	e.pass(time.Hour)
	e.put("a", doc{layers: []string{"base"}}, "v2")
	e.want("too young", len(e.run()), 0)
	e.pass(30 * day)
	e.want("a tag of an image that stays", e.run(), []retention.Done{{Repo: repo(t, "a"), Tags: 1}})
	e.ok(e.db.DeleteTag(t.Context(), repo(t, "a"), tag(t, "stable-1"), event.Actor{}))
	e.want("no rule is about untagged manifests", len(e.run()), 0)

	e.point("a", "v1", index)
	e.pass(time.Hour)
	e.put("a", doc{layers: []string{"base"}}, "v3")
	e.pass(30 * day)
	// v2 goes too: v1 was pushed after it.
	e.want("the families", e.run(), []retention.Done{{Repo: repo(t, "a"), Tags: 3, Manifests: 6}})
	e.want("tags", e.tags("a"), "v3")
	e.want("again", len(e.run()), 0)
	for _, d := range []oci.Digest{arm, amd, index, sig, sbom} {
		if e.has("a", d) {
			t.Errorf("%s is there", d)
		}
	}
	list, err := e.db.TrashEntries(t.Context(), repo(t, "a"), 0, 10)
	e.ok(err)
	i := slices.IndexFunc(list, func(l meta.TrashEntry) bool { return l.Manifests == 5 })
	if i < 0 || list[i].Reason != meta.ReasonRetention {
		t.Fatalf("no entry of the family: %+v", list)
	}
	_, err = e.db.Restore(t.Context(), meta.Restore{ID: list[i].ID})
	e.ok(err)
	for _, d := range []oci.Digest{arm, amd, index, sig, sbom} {
		if !e.has("a", d) {
			t.Errorf("%s did not come back", d)
		}
	}
	e.want("tags that came back", e.tags("a"), "sha256-"+index.Hex()+".sig v1 v3")
}

// A meddler changes something between the look at a repository and what follows.
type meddler struct {
	*sqlmeta.DB
	meddle func()
}

func (m *meddler) RepoState(ctx context.Context, r oci.Repo) (meta.RepoState, error) {
	s, err := m.DB.RepoState(ctx, r)
	if m.meddle != nil {
		m.meddle()
		m.meddle = nil
	}
	return s, err
}

// TestMeanwhile holds that what somebody changes after the decision stays, with
// everything that belongs to it.
func TestMeanwhile(t *testing.T) {
	for _, tt := range []struct {
		name   string
		meddle func(e *env, index, part oci.Digest)
		want   string // tags
		stays  bool   // the image
	}{
		{"nothing", func(*env, oci.Digest, oci.Digest) {}, "keep", false},
		{"the tag moves", func(e *env, _, _ oci.Digest) { e.put("a", doc{}, "v1") }, "keep SIG v1", true},
		{"another tag is put on it", func(e *env, index, _ oci.Digest) { e.point("a", "v9", index) }, "keep SIG v1 v9", true},
		{"another index names its part", func(e *env, _, part oci.Digest) { e.put("a", doc{parts: []oci.Digest{part}}, "new") }, "keep new SIG v1", true},
		{"the tag becomes immutable", func(e *env, _, _ oci.Digest) { e.fixed = []string{"v1"} }, "keep SIG v1", true},
		{"the tag is deleted", func(e *env, _, _ oci.Digest) {
			e.ok(e.db.DeleteTag(e.Context(), repo(e, "a"), tag(e, "v1"), event.Actor{}))
		}, "keep SIG", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newEnv(t, rule{KeepNewest: 1})
			part := e.put("a", doc{layers: []string{"x"}})
			index := e.put("a", doc{parts: []oci.Digest{part}}, "v1")
			sig := "sha256-" + index.Hex() + ".sig"
			e.put("a", doc{}, sig)
			e.pass(time.Hour)
			e.put("a", doc{}, "keep")
			e.pass(30 * day)
			e.runner.Records = &meddler{DB: e.db, meddle: func() { tt.meddle(e, index, part) }}
			done := e.run()
			e.want("tags", strings.ReplaceAll(e.tags("a"), sig, "SIG"), tt.want)
			e.want("the image is there", []bool{e.has("a", index), e.has("a", part)}, []bool{tt.stays, tt.stays})
			if tt.stays && (len(done) != 1 || done[0].Stayed != 1) {
				t.Errorf("got %+v, want one that stayed", done)
			}
		})
	}
}

// TestStep holds when a server looks, and that it goes on in bounded steps.
func TestStep(t *testing.T) {
	e := newEnv(t, rule{Repositories: repos(t, "a", "b/**"), KeepNewest: 1})
	for _, r := range []string{"a", "b/c", "other"} {
		for i := range 8 {
			e.pass(time.Second)
			e.put(r, doc{}, fmt.Sprint("v", i))
		}
	}
	e.time = e.time.Add(30 * day) // which the runner does not believe
	e.running += 5 * time.Minute
	steps := func(limit int) (n, most int) {
		t.Helper()
		for {
			before := e.runner.Tags()
			did, err := e.runner.Step(t.Context(), limit)
			e.ok(err)
			if most = max(most, int(e.runner.Tags()-before)); did == 0 {
				return n, most
			}
			if n++; n > 100 {
				t.Fatal("there is no end of it")
			}
		}
	}
	if n, _ := steps(3); n != 0 {
		t.Errorf("%d steps right after the start", n)
	}
	e.running += 6 * time.Minute
	if n, _ := steps(3); n != 2 || e.runner.Tags() != 0 {
		t.Errorf("the first look: %d steps and %d tags, want 2 repositories and a clock that is not believed", n, e.runner.Tags())
	}
	e.running += 30 * day
	n, most := steps(3)
	if n != 6 || most != 3 || e.runner.Tags() != 14 || e.runner.Manifests() != 14 {
		t.Errorf("%d steps of at most %d, %d tags and %d manifests; want 6 of 3, 14 and 14", n, most, e.runner.Tags(), e.runner.Manifests())
	}
	e.want("tags", []string{e.tags("a"), e.tags("b/c"), e.tags("other")}, "[v7 v7 v0 v1 v2 v3 v4 v5 v6 v7]")
	e.running += time.Hour - 1
	if n, _ := steps(3); n != 0 {
		t.Errorf("%d steps before it is time", n)
	}
	e.running++
	if n, _ := steps(3); n != 2 {
		t.Errorf("%d steps when it is time, want 2", n)
	}
}

// TestClock holds that only time which passes makes anything old.
func TestClock(t *testing.T) {
	at, running := now(), time.Hour
	c := retention.NewClock(func() time.Time { return at }, func() time.Duration { return running })
	for _, tt := range []struct {
		name          string
		wall, running time.Duration
		want          time.Duration
	}{
		{"at the beginning", 0, 0, 0},
		{"time passes", day, day, day},
		{"the clock is set forward", 900 * day, 2 * day, 2 * day},
		{"and back again", 3 * day, 3 * day, 3 * day},
		{"the clock is set back", -day, 4 * day, -day},
	} {
		at, running = now().Add(tt.wall), time.Hour+tt.running
		if got := c.Time().Sub(now()); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestSimulateIsRun holds, for random repositories, that a run does what a
// simulation says, that what stays is whole, and that a second run does nothing.
func TestSimulateIsRun(t *testing.T) {
	for seed := range uint64(25) {
		r := rand.New(rand.NewPCG(seed, 2))
		rules := randomRules(t, r)
		e := newEnv(t, rules...)
		randomRecords(e, r)
		var gone, kept []string
		sum, err := e.runner.Simulate(t.Context(), retention.Repos{}, e.runner.Policy, func(d retention.Decision) error {
			switch name := d.Repo.String() + ":" + d.Tag.String(); {
			case d.Tag.IsZero():
			case d.Goes:
				gone = append(gone, name)
			default:
				kept = append(kept, name)
			}
			return nil
		})
		e.ok(err)
		before := total(e)
		tags, manifests := 0, 0
		for _, d := range e.run() {
			tags, manifests = tags+d.Tags, manifests+d.Manifests
			e.want(fmt.Sprint(seed, " stayed"), d.Stayed, 0)
		}
		e.want(fmt.Sprint(seed, " tags"), tags, len(gone))
		e.want(fmt.Sprint(seed, " sum"), []int{sum.TagsGone, sum.TagsKept, sum.ManifestsGone}, []int{tags, len(kept), manifests})
		for _, name := range gone {
			repoName, tagName, _ := strings.Cut(name, ":")
			if slices.Contains(strings.Fields(e.tags(repoName)), tagName) {
				t.Errorf("seed %d: %s is still there", seed, name)
			}
		}
		for _, name := range kept {
			repoName, tagName, _ := strings.Cut(name, ":")
			whole(e, repoName, tagName)
		}
		e.want(fmt.Sprint(seed, " again"), len(e.run()), 0)
		// What the trash has dropped is what was said to come free.
		e.pass(8 * day)
		for n := 1; n > 0; {
			n, err = e.db.ExpireTrash(t.Context(), 100)
			e.ok(err)
		}
		e.pass(2 * day)
		for n := 1; n > 0; {
			n, _, err = e.db.CollectBlobs(t.Context(), grace, 100)
			e.ok(err)
		}
		e.want(fmt.Sprint(seed, " freed"), before-total(e), sum.Freed)
	}
}

// total is how many bytes there are that something needs.
func total(e *env) (sum int64) {
	e.Helper()
	seen := map[oci.Digest]bool{}
	list, err := e.db.Repos(e.Context(), "", 100)
	e.ok(err)
	for _, r := range list {
		blobs, err := e.db.RepoBlobs(e.Context(), r, "", 1000)
		e.ok(err)
		for _, b := range blobs {
			if !seen[b.Digest] {
				seen[b.Digest] = true
				sum += b.Size
			}
		}
		manifests, err := e.db.RepoManifests(e.Context(), r, "", 1000)
		e.ok(err)
		for _, m := range manifests {
			sum += int64(len(m.Body))
		}
	}
	return sum
}

// randomRecords fills two repositories.
func randomRecords(e *env, r *rand.Rand) {
	var all [2][]oci.Digest
	for range 30 {
		i := r.IntN(2)
		name := []string{"a", "b"}[i]
		var d doc
		for range r.IntN(3) {
			d.layers = append(d.layers, fmt.Sprint("layer ", r.IntN(12)))
		}
		slices.Sort(d.layers)
		d.layers = slices.Compact(d.layers)
		if len(all[i]) > 0 {
			for range r.IntN(3) {
				d.parts = append(d.parts, all[i][r.IntN(len(all[i]))])
			}
			if r.IntN(4) == 0 {
				d.subject = all[i][r.IntN(len(all[i]))]
			}
		}
		var tags []string
		if r.IntN(2) == 0 {
			tags = append(tags, fmt.Sprintf("%c%d", "abv"[r.IntN(3)], r.IntN(20)))
		}
		if r.IntN(4) == 0 && len(all[i]) > 0 {
			tags = append(tags, "sha256-"+all[i][r.IntN(len(all[i]))].Hex()+".sig")
		}
		all[i] = append(all[i], e.put(name, d, tags...))
		if r.IntN(4) == 0 {
			e.db.NoteUse(repo(e, name), all[i][r.IntN(len(all[i]))], meta.Use(r.IntN(3)))
		}
		e.pass(time.Duration(r.IntN(72)) * time.Hour)
	}
}

// whole holds that everything that a tag leads to is there.
func whole(e *env, r, name string) {
	e.Helper()
	m, err := e.db.FindManifest(e.Context(), repo(e, r), oci.Ref{Tag: tag(e, name)})
	if err != nil {
		e.Errorf("%s:%s: %v", r, name, err)
		return
	}
	s, err := e.db.RepoState(e.Context(), repo(e, r))
	e.ok(err)
	for d := range reach(s, []oci.Digest{m.Digest}) {
		for _, part := range e.docs[d].parts {
			if !e.has(r, part) {
				e.Errorf("%s:%s needs %s, which lacks %v", r, name, d, part)
			}
		}
		for _, l := range e.docs[d].layers {
			if _, err := e.db.FindBlob(e.Context(), repo(e, r), digest(l)); err != nil {
				e.Errorf("%s:%s needs %s, which lacks a layer: %v", r, name, d, err)
			}
		}
	}
}

func repos(t testing.TB, list ...string) (patterns []oci.Pattern) {
	t.Helper()
	for _, s := range list {
		p, err := oci.ParsePattern(s)
		if err != nil {
			t.Fatal(err)
		}
		patterns = append(patterns, p)
	}
	return patterns
}
