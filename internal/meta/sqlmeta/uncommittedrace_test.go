package sqlmeta

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

// A slot is something that one writer changes again and again, from version to
// version, and that all others look at.
type slot struct {
	name        string
	begun, done atomic.Int64
	to          func(v int64) error      // makes version v of v-1
	is          func(v int64) string     // what version v looks like
	look        func() (string, error)   // what it looks like
	before      []func() (string, error) // other ways to look, which say the same
}

// move makes the next version.
func (s *slot) move() error {
	v := s.begun.Add(1)
	if err := s.to(v); err != nil {
		return fmt.Errorf("%s to version %d: %w", s.name, v, err)
	}
	s.done.Store(v)
	return nil
}

// see looks, and reports what is none of the versions that there were meanwhile.
func (s *slot) see(rnd *rand.Rand) error {
	look := s.look
	if n := rnd.IntN(1 + len(s.before)); n > 0 {
		look = s.before[n-1]
	}
	least := s.done.Load()
	got, err := look()
	if err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	most := s.begun.Load()
	for v := least; v <= most; v++ {
		if s.is(v) == got {
			return nil
		}
	}
	return fmt.Errorf("%s is %q, and version %d, %q, was done before and %d begun", s.name, got, least, s.is(least), most)
}

// A ground is where slots are.
type ground struct {
	t  *testing.T
	db *DB
}

// versioned returns a put of version v of a manifest.
func (g ground) versioned(repo oci.Repo, tag string, v int64) meta.ManifestPut {
	p := imageOf(g.t, repo, tag, "layer")
	p.Manifest.Body = fmt.Appendf(nil, "version %d of %s", v, tag)
	p.Digest = oci.SHA256.FromBytes(p.Manifest.Body)
	return p
}

func (g ground) bodyOf(repo oci.Repo, ref oci.Ref) (string, error) {
	m, err := g.db.FindManifest(g.t.Context(), repo, ref)
	return answer(err, string(m.Body))
}

// tag is a tag that is put at odd versions, and removed at even ones.
func (g ground) tag(repo oci.Repo, name string) *slot {
	tag := mustTag(g.t, name)
	return &slot{
		name: "tag " + name,
		to: func(v int64) error {
			if v%2 == 0 {
				return g.db.DeleteTag(g.t.Context(), repo, tag, event.Actor{})
			}
			_, err := g.db.PutManifest(g.t.Context(), g.versioned(repo, name, v))
			return err
		},
		is: func(v int64) string {
			if v%2 == 0 {
				return "not found"
			}
			return string(g.versioned(repo, name, v).Manifest.Body)
		},
		look: func() (string, error) { return g.bodyOf(repo, oci.Ref{Tag: tag}) },
	}
}

// listed is a tag of which the list of tags says whether it is there.
func (g ground) listed(repo oci.Repo, name string) *slot {
	s, tag := g.tag(repo, name), mustTag(g.t, name)
	s.name += " in the list"
	s.is = func(v int64) string { return fmt.Sprint(v%2 == 1) }
	s.look = func() (string, error) {
		list, err := g.db.TagNames(g.t.Context(), repo, "", 100)
		return answer(err, slices.Contains(list, tag))
	}
	return s
}

// blob is a blob that a repository has at odd versions. Its content is there all
// the time.
func (g ground) blob(from, repo oci.Repo, content string) *slot {
	d := oci.SHA256.FromBytes([]byte(content))
	return &slot{
		name: "blob " + content,
		to: func(v int64) error {
			if v%2 == 1 {
				return g.db.LinkBlob(g.t.Context(), from, repo, d, event.Actor{})
			}
			return g.db.UnlinkBlob(g.t.Context(), repo, d, event.Actor{})
		},
		is: func(v int64) string {
			if v%2 == 1 {
				return fmt.Sprint(len(content))
			}
			return "not found"
		},
		look: func() (string, error) {
			b, err := g.db.FindBlob(g.t.Context(), repo, d)
			return answer(err, b.Size)
		},
	}
}

// manifest is a manifest that is deleted and put again, and sometimes restored.
func (g ground) manifest(repo oci.Repo, name string) *slot {
	p := g.versioned(repo, name, 0)
	s := &slot{name: "manifest " + name}
	s.to = func(v int64) error {
		switch {
		case v%2 == 0:
			return g.db.DeleteManifest(g.t.Context(), repo, p.Digest, event.Actor{})
		case v%4 == 1:
			_, err := g.db.PutManifest(g.t.Context(), p)
			return err
		}
		e, err := g.db.FindTrash(g.t.Context(), meta.TrashWhat{Repo: repo, Ref: oci.Ref{Digest: p.Digest}})
		if err == nil {
			_, err = g.db.Restore(g.t.Context(), meta.Restore{ID: e.ID})
		}
		return err
	}
	s.is = func(v int64) string {
		if v%2 == 0 {
			return "not found"
		}
		return string(p.Manifest.Body)
	}
	s.look = func() (string, error) { return g.bodyOf(repo, oci.Ref{Digest: p.Digest}) }
	s.before = []func() (string, error){func() (string, error) { return g.bodyOf(repo, oci.Ref{Tag: p.Tags[0]}) }}
	return s
}

// repository is one that is filled, deleted as a whole, and filled anew or restored.
func (g ground) repository(from oci.Repo, name string) *slot {
	repo, d := mustRepo(g.t, name), oci.SHA256.FromBytes([]byte("layer"))
	made := func(v int64) int64 { return v - v%4 } // which version its image is of
	s := &slot{name: "repository " + name}
	deleted := int64(0)
	s.to = func(v int64) (err error) {
		switch v % 4 {
		case 1:
			if err = g.db.LinkBlob(g.t.Context(), from, repo, d, event.Actor{}); err == nil {
				_, err = g.db.PutManifest(g.t.Context(), g.versioned(repo, name, made(v)))
			}
		case 3:
			_, err = g.db.Restore(g.t.Context(), meta.Restore{ID: deleted})
		default:
			deleted, err = g.db.DeleteRepo(g.t.Context(), repo, event.Actor{})
		}
		return err
	}
	s.is = func(v int64) string {
		if v%2 == 0 {
			return "not found"
		}
		return string(g.versioned(repo, name, made(v)).Manifest.Body)
	}
	s.look = func() (string, error) { return g.bodyOf(repo, oci.Ref{Tag: mustTag(g.t, name)}) }
	return s
}

// TestNobodyReadsWhatWas has many change what others look at, mostly by records that
// are not committed, with a memory that forgets. Nobody sees anything that was
// before what could be known of, and in the end the memory has nothing else.
func TestNobodyReadsWhatWas(t *testing.T) {
	for _, memory := range []int64{0, 24 << 10, 1 << 20} {
		db := mustOpen(t, Options{Path: filepath.Join(t.TempDir(), "berth.db"), Memory: memory, Trash: time.Hour, Grace: time.Hour})
		g, a, other := ground{t, db}, mustRepo(t, "a"), mustRepo(t, "other")
		pushBlob(t, db, a, "layer")
		pushBlob(t, db, other, "layer")
		pushBlob(t, db, other, "blob")
		slots := []*slot{
			g.tag(a, "t1"), g.tag(a, "t2"), g.listed(a, "l1"), g.listed(a, "l2"), g.blob(other, a, "blob"),
			g.manifest(a, "m1"), g.manifest(other, "m2"), g.repository(other, "r1"), g.repository(a, "r2"),
		}
		var writing, reading sync.WaitGroup
		stop := make(chan struct{})
		for _, s := range slots {
			writing.Go(func() {
				rnd := rand.New(rand.NewPCG(uint64(memory), uint64(len(s.name))))
				for range 60 {
					if err := errors.Join(s.move(), s.see(rnd)); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		for i := range 4 {
			reading.Go(func() {
				rnd := rand.New(rand.NewPCG(uint64(i), 1))
				for {
					select {
					case <-stop:
						return
					default:
					}
					if rnd.IntN(20) == 0 {
						db.hot.Forget()
					}
					if err := slots[rnd.IntN(len(slots))].see(rnd); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		writing.Wait()
		close(stop)
		reading.Wait()
		settleNow(t, db)
		for _, wrong := range wrongInMemory(t.Context(), db) {
			t.Error(wrong)
		}
		if err := db.Check(t.Context()); err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}
