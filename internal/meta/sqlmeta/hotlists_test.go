package sqlmeta

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

// A lister asks for everything that is kept in memory of lists, and whatever else
// depends on which tags there are.
type lister struct {
	repos    []oci.Repo
	tags     []oci.Tag
	subjects []oci.Digest
}

func (l lister) ask(t *testing.T, db *DB) map[string]any {
	t.Helper()
	got := map[string]any{}
	note := func(what string, v any, err error) {
		if err != nil && !errors.Is(err, meta.ErrNotFound) {
			t.Fatal(what, err)
		}
		got[what] = fmt.Sprint(v, err)
	}
	for _, limit := range []int{1, 3, 100} {
		for _, after := range []string{"", "a", "v1"} {
			list, err := db.Repos(t.Context(), after, limit)
			note(fmt.Sprint("repos ", after, limit), list, err)
			for _, r := range l.repos {
				tags, err := db.TagNames(t.Context(), r, after, limit)
				note(fmt.Sprint("tags ", r, after, limit), tags, err)
			}
		}
		for _, r := range l.repos {
			for _, d := range l.subjects {
				for _, kind := range []string{"", "a/b"} {
					list, err := db.Referrers(t.Context(), meta.ReferrerQuery{Repo: r, Subject: d, Type: kind, Limit: limit, Bytes: 1000 / limit})
					note(fmt.Sprint("referrers ", r, d, kind, limit), list, err)
				}
			}
		}
	}
	for _, r := range l.repos {
		for _, tag := range l.tags {
			m, err := db.FindManifest(t.Context(), r, oci.Ref{Tag: tag})
			note(fmt.Sprint("manifest ", r, tag), m.Digest, err)
		}
	}
	return got
}

// TestListsFollowChanges changes a registry in all ways that change a list, and
// compares what is in memory with what the database has after each step.
func TestListsFollowChanges(t *testing.T) {
	db := mustOpen(t, Options{Path: filepath.Join(t.TempDir(), "berth.db"), Memory: 1 << 20, Trash: time.Hour})
	defer db.Close()
	cold := &DB{opts: db.opts, clock: db.clock, reader: db.reader, finding: db.finding}
	var l lister
	for _, name := range []string{"a", "b", "c/d"} {
		l.repos = append(l.repos, mustRepo(t, name))
	}
	for i := range 4 {
		l.tags = append(l.tags, mustTag(t, fmt.Sprint("v", i)))
	}
	for i := range 3 {
		l.subjects = append(l.subjects, subject(i))
	}
	c := churn{lister: l, DB: db, rnd: rand.New(rand.NewPCG(1, 2))}
	const steps = 150
	for step := range steps {
		if err := c.step(t); err != nil && !errors.Is(err, meta.ErrNotFound) {
			t.Fatal(step, err)
		}
		want := l.ask(t, cold)
		for range 2 {
			got := l.ask(t, db)
			for what := range want {
				if got[what] != want[what] {
					t.Fatalf("step %d: %s: got %v, want %v", step, what, got[what], want[what])
				}
			}
		}
	}
	if s := db.hot.Stats(); s.Hits < steps*50 {
		t.Errorf("%d hits: the memory was not asked", s.Hits)
	}
}

func subject(i int) oci.Digest { return oci.SHA256.FromBytes(fmt.Append(nil, "image ", i)) }

// A churn changes a registry at random.
type churn struct {
	lister
	*DB
	rnd     *rand.Rand
	entries []int64 // of the trash
}

func (c *churn) step(t *testing.T) error {
	repo, n, tag := c.repos[c.rnd.IntN(len(c.repos))], c.rnd.IntN(6), c.tags[c.rnd.IntN(len(c.tags))]
	m := oci.Manifest{MediaType: oci.MediaTypeImage, Body: fmt.Append(nil, "image ", n)}
	if n > 2 {
		m.Subject, m.ArtifactType = &oci.Descriptor{Digest: subject(n - 3)}, []string{"a/b", "c/d"}[n%2]
	}
	put := meta.ManifestPut{Repo: repo, Digest: subject(n), Manifest: m}
	switch k := c.rnd.IntN(10); {
	case k < 3:
		put.Tags = []oci.Tag{tag}
		fallthrough
	case k < 5:
		_, err := c.PutManifest(t.Context(), put)
		return err
	case k < 6:
		return c.DeleteManifest(t.Context(), repo, put.Digest, event.Actor{})
	case k < 8:
		return c.DeleteTag(t.Context(), repo, tag, event.Actor{})
	case k < 9:
		id, err := c.DeleteRepo(t.Context(), repo, event.Actor{})
		c.entries = append(c.entries, id)
		return err
	case len(c.entries) > 0:
		// It may be refused, since there is such a repository again.
		_, _ = c.Restore(t.Context(), meta.Restore{ID: c.entries[c.rnd.IntN(len(c.entries))]})
	}
	return nil
}
