package fsck_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"berth/internal/blob"
	"berth/internal/fsck"
	"berth/internal/meta"
	"berth/internal/oci"
)

// A damage is done to an image, of which blob 1 is damaged where it is about a
// blob.
type damage struct {
	name  string
	do    func(e *env, i image) error
	want  string // the kinds that a check finds
	bytes bool   // found only by reading all bytes
}

func (e *env) instead(i image, put func(file string) error) error {
	file := e.file(i.blobs[1].Digest)
	return errors.Join(os.Remove(file), put(file))
}

func ofFiles() []damage {
	return []damage{
		{name: "flipped", bytes: true, want: "blob-bytes", do: func(e *env, i image) error {
			f, err := os.OpenFile(e.file(i.blobs[1].Digest), os.O_RDWR, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteAt([]byte{0xff}, 7000)
			return err
		}},
		{name: "swapped with another of its size", bytes: true, want: "blob-bytes", do: func(e *env, i image) error {
			text := []byte(i.contents[1])
			text[0]++
			return e.instead(i, func(file string) error { return os.WriteFile(file, text, 0o600) })
		}},
		{name: "truncated", want: "blob-size", do: func(e *env, i image) error { return os.Truncate(e.file(i.blobs[1].Digest), 100) }},
		{name: "emptied", want: "blob-size", do: func(e *env, i image) error { return os.Truncate(e.file(i.blobs[1].Digest), 0) }},
		{name: "grown", want: "blob-size", do: func(e *env, i image) error { return os.Truncate(e.file(i.blobs[1].Digest), 1<<20) }},
		{name: "missing", want: "blob-missing", do: func(e *env, i image) error { return os.Remove(e.file(i.blobs[1].Digest)) }},
		{name: "its folder missing", want: "blob-missing", do: func(e *env, i image) error { return os.RemoveAll(filepath.Dir(e.file(i.blobs[1].Digest))) }},
		{name: "a symbolic link", want: "blob-not-a-file", do: func(e *env, i image) error {
			outside := filepath.Join(e.t.TempDir(), "outside")
			if err := os.WriteFile(outside, []byte(i.contents[1]), 0o600); err != nil {
				return err
			}
			return e.instead(i, func(file string) error { return os.Symlink(outside, file) })
		}},
		{name: "a directory", want: "blob-not-a-file", do: func(e *env, i image) error {
			return e.instead(i, func(file string) error { return os.Mkdir(file, 0o700) })
		}},
		{name: "marked though it is good", want: "blob-good", do: func(e *env, i image) error {
			b, err := e.db.FindContent(e.t.Context(), i.blobs[1].Digest)
			if err != nil {
				return err
			}
			return e.db.MarkDamaged(e.t.Context(), b.Digest, b.Key)
		}},
		{name: "an object without a record", want: "object-unknown", do: func(e *env, _ image) error { e.orphan("nobody knows this"); return nil }},
		{name: "another object of a recorded digest", want: "object-unknown", do: func(e *env, i image) error { e.orphan(i.contents[1]); return nil }},
		{name: "a file of an upload without a record", want: "upload-unknown", do: func(e *env, _ image) error {
			key := blob.NewKey()
			w, err := e.blobs.Create(e.t.Context(), key)
			if err != nil {
				return err
			}
			_, err = w.Write([]byte("half"))
			old := time.Now().Add(-time.Hour)
			return errors.Join(err, w.Close(), os.Chtimes(filepath.Join(e.dir, "berth/uploads", string(key)), old, old))
		}},
	}
}

func ofRecords() []damage {
	change := func(text string, args ...func(image) any) func(*env, image) error {
		return func(e *env, i image) error {
			var values []any
			for _, a := range args {
				values = append(values, a(i))
			}
			e.sql(text, values...)
			return nil
		}
	}
	manifest := func(i image) any { return i.manifest.String() }
	layer := func(i image) any { return i.blobs[1].Digest.String() }
	return []damage{
		{name: "a flipped manifest", want: "manifest-bytes", do: change(`UPDATE manifests SET body = CAST(replace(body, 'schemaVersion', 'schemaversion') AS BLOB) WHERE digest = ?`, manifest)},
		{name: "an empty manifest", want: "manifest-bytes manifest-size", do: change(`UPDATE manifests SET body = x'' WHERE digest = ?`, manifest)},
		{name: "a manifest's size", want: "manifest-size", do: change(`UPDATE manifests SET size = 7 WHERE digest = ?`, manifest)},
		{name: "a deleted need", want: "manifest-references member-forgotten", do: func(e *env, i image) error {
			e.sql(`UPDATE repo_blobs SET candidate = 0 WHERE digest = ?`, layer(i))
			e.sql(`DELETE FROM manifest_refs WHERE digest = ?`, layer(i))
			return nil
		}},
		{name: "a need too many", want: "manifest-references part-lost", do: func(e *env, i image) error {
			e.sql(`INSERT INTO manifest_refs (repo_id, digest, manifest_id) SELECT repo_id, 'sha256:' || hex(zeroblob(32)), id FROM manifests WHERE digest = ?`, manifest(i))
			return nil
		}},
		{name: "a deleted membership", want: "blob-unheld part-lost", do: change(`DELETE FROM repo_blobs WHERE digest = ?`, layer)},
		{name: "a deleted blob row", want: "member-unknown object-unknown", do: change(`DELETE FROM blobs WHERE digest = ?`, layer)},
		{name: "a deleted blob row and membership", want: "object-unknown part-lost", do: func(e *env, i image) error {
			e.sql(`DELETE FROM repo_blobs WHERE digest = ?`, layer(i))
			e.sql(`DELETE FROM blobs WHERE digest = ?`, layer(i))
			return nil
		}},
		{name: "another size in the record", want: "blob-size", do: change(`UPDATE blobs SET size = size + 1 WHERE digest = ?`, layer)},
		{name: "a key that is none", want: "blob-missing object-unknown", do: change(`UPDATE blobs SET key = 'sha256/' || substr(digest, 8) || '/' || lower(hex(zeroblob(16))) WHERE digest = ?`, layer)},
		{name: "a needed key among the garbage", want: "key-garbage", do: change(`INSERT INTO garbage (key, due) SELECT key, 0 FROM blobs WHERE digest = ?`, layer)},
		{name: "a deleted manifest", want: "repository-listed row-orphaned row-orphaned row-orphaned tag-broken", do: change(`DELETE FROM manifests WHERE digest = ?`, manifest)},
		{name: "a tag that is wrong about its digest", want: "tag-broken", do: change(`UPDATE tags SET digest = ?`, layer)},
		{name: "a repository not listed", want: "repository-listed", do: change(`UPDATE repos SET listed = 0`)},
		{name: "a forgotten membership", want: "member-forgotten", do: func(e *env, i image) error {
			d := e.push(i.repo, "nothing needs this")
			e.sql(`UPDATE repo_blobs SET candidate = 0 WHERE digest = ?`, d.Digest.String())
			return nil
		}},
		{name: "an upload without its bytes", want: "upload-lost", do: func(e *env, i image) error {
			u := meta.Upload{ID: "gone", Repo: i.repo, Key: blob.NewKey(), Algorithm: oci.SHA256}
			if err := e.db.CreateUpload(e.t.Context(), u); err != nil {
				return err
			}
			u.Size = 100
			return e.db.SaveUpload(e.t.Context(), u)
		}},
	}
}

// TestFound holds that each kind of damage is found, with what to do about it,
// and nothing else.
func TestFound(t *testing.T) {
	for _, d := range append(ofFiles(), ofRecords()...) {
		t.Run(d.name, func(t *testing.T) {
			e := newEnv(t)
			i := e.image("team/app")
			e.clean("before")
			if err := d.do(e, i); err != nil {
				t.Fatal(err)
			}
			if got := kinds(e.check(fsck.Options{})); d.bytes && got != "" {
				t.Errorf("found %q without reading", got)
			}
			found, sum := e.checkAll(fsck.Options{ReadData: 100})
			if got := kinds(found); got != d.want {
				t.Errorf("found %q, want %q", got, d.want)
			}
			if sum.Problems != int64(len(found)) || sum.Cured != 0 {
				t.Errorf("summed up as %+v", sum)
			}
			for _, f := range found {
				if f.Means == "" || f.Do == "" {
					t.Errorf("%s is not explained: %+v", f.Kind, f)
				}
			}
		})
	}
}

// TestInfos holds that what is allowed is told and is no problem.
func TestInfos(t *testing.T) {
	e := newEnv(t)
	i := e.image("team/app")
	elsewhere := i.blobs[2]
	elsewhere.Digest = oci.SHA256.FromBytes([]byte("elsewhere"))
	e.put(i.repo, "sparse", body(i.manifest.String(), i.blobs[0], elsewhere))
	e.put(i.repo, "alone", body(elsewhere.Digest.String(), i.blobs[0]))
	found, sum := e.checkAll(fsck.Options{ReadData: 100})
	if got, want := kinds(found), "part-absent subject-absent"; got != want || sum.Problems != 0 || sum.Infos != 2 {
		t.Errorf("found %q %+v, want %q", got, sum, want)
	}
}

// TestRepairedAndHealed holds that after a repair either all is well, or what is
// left heals when clients push again, and that no bytes are gone: a file that was
// there is still there, in its place or in the quarantine.
func TestRepairedAndHealed(t *testing.T) {
	for _, d := range append(ofFiles(), ofRecords()...) {
		t.Run(d.name, func(t *testing.T) {
			e := newEnv(t)
			i := e.image("team/app")
			e.damageAndRepair(i, d, func() {})
			e.heal(i)
		})
	}
}

func (e *env) damageAndRepair(i image, d damage, between func()) {
	e.t.Helper()
	if err := d.do(e, i); err != nil {
		e.t.Fatal(err)
	}
	before := e.bytes()
	between()
	found, sum := e.checkAll(fsck.Options{ReadData: 100, Repair: fsck.RepairSafely})
	if sum.Problems == 0 {
		e.t.Errorf("found nothing")
	}
	for _, f := range found {
		if f.Cured && f.Done == "" {
			e.t.Errorf("%s: cured, and nobody says how", f.Kind)
		}
	}
	after := e.bytes()
	for content := range before {
		if !after[content] && content != "half" {
			e.t.Errorf("%d bytes %.20q are gone", len(content), content)
		}
	}
}

// heal pushes an image again if that is still needed, and holds that all is well.
func (e *env) heal(i image) {
	e.t.Helper()
	if left := e.check(fsck.Options{ReadData: 100}); len(left) > 0 || e.pullable(i) != nil {
		e.t.Logf("pushed again for %s, %v", kinds(left), e.pullable(i))
		e.again(i)
		e.check(fsck.Options{Repair: fsck.RepairSafely})
	}
	e.clean("after all")
	if err := e.pullable(i); err != nil {
		e.t.Error(err)
	}
	found, _ := e.checkAll(fsck.Options{EmptyQuarantine: true})
	if len(found) > 0 || e.files("berth/quarantine") > 0 {
		e.t.Errorf("after the quarantine was emptied: %s, %d files", kinds(found), e.files("berth/quarantine"))
	}
}

// TestRepairInterrupted holds that a repair that ends anywhere is one that goes on.
func TestRepairInterrupted(t *testing.T) {
	for _, d := range append(ofFiles(), ofRecords()...) {
		t.Run(d.name, func(t *testing.T) {
			e := newEnv(t)
			i := e.image("team/app")
			e.damageAndRepair(i, d, func() {
				for n := 1; ; n++ {
					c := e.checker()
					stop := &stopper{Mender: e.db, Store: e.blobs, at: n}
					c.Mender, c.Blobs = stop, stop
					_, err := c.Run(t.Context(), fsck.Options{ReadData: 100, Repair: fsck.RepairSafely, Tell: func(fsck.Finding) error { return nil }})
					if !errors.Is(err, errStopped) {
						if err != nil {
							t.Fatal(err)
						}
						e.sql(`UPDATE clock SET ticks = ticks`) // something to find, below
						e.orphan("found after the interruptions")
						return
					}
				}
			})
			e.heal(i)
		})
	}
}

// TestRepairGivesNothingAway holds that what a repository lost goes back to it, and
// to none that merely names it: nobody gets to read what they never had.
func TestRepairGivesNothingAway(t *testing.T) {
	e := newEnv(t)
	i := e.image("team/app")
	other := repo(t, "spy/app")
	config := e.push(other, "config of the spy")
	e.put(other, "v1", body("", config, i.blobs[1]))
	e.sql(`DELETE FROM repo_blobs WHERE digest = ?`, i.blobs[1].Digest.String())
	e.check(fsck.Options{Repair: fsck.RepairSafely})
	e.clean("after the repair")
	if err := e.pullable(i); err != nil {
		t.Error(err)
	}
	if b, err := e.core.Blob(t.Context(), other, i.blobs[1].Digest); err == nil {
		b.Close()
		t.Error("a repository was given a blob that it never had")
	}
}

// TestManifestFromElsewhere holds that a damaged manifest gets its bytes back from
// another repository that has it.
func TestManifestFromElsewhere(t *testing.T) {
	e := newEnv(t)
	i := e.image("team/app")
	other := repo(t, "team/copy")
	for n := range i.blobs {
		e.push(other, i.contents[n])
	}
	e.put(other, "v1", i.body)
	e.sql(`UPDATE manifests SET body = x'7b7d' WHERE repo_id = (SELECT id FROM repos WHERE name = 'team/app')`)
	if got := e.check(fsck.Options{Repair: fsck.RepairSafely}); kinds(got) != "manifest-bytes manifest-size" && kinds(got) != "manifest-bytes" || !got[0].Cured {
		t.Errorf("got %+v", got)
	}
	e.clean("after the repair")
	if err := e.pullable(i); err != nil {
		t.Error(err)
	}
}

// TestLimited holds that a check of some repositories finds what is wrong with
// these and nothing else.
func TestLimited(t *testing.T) {
	e := newEnv(t)
	i, j := e.image("team/app"), e.image("team/other")
	for _, d := range []oci.Digest{i.blobs[1].Digest, j.blobs[1].Digest} {
		if err := os.Remove(e.file(d)); err != nil {
			t.Fatal(err)
		}
	}
	e.sql(`UPDATE manifests SET size = 1 WHERE digest = ?`, j.manifest.String())
	found, sum := e.checkAll(fsck.Options{Repos: []oci.Repo{i.repo}})
	if kinds(found) != "blob-missing" || found[0].Digest != i.blobs[1].Digest.String() || sum.Blobs != 3 || sum.Manifests != 1 {
		t.Errorf("got %+v %+v", found, sum)
	}
	_, err := e.checker().Run(t.Context(), fsck.Options{Repos: []oci.Repo{repo(t, "no/such")}})
	if !errors.Is(err, meta.ErrNotFound) {
		t.Errorf("an unknown repository: got %v", err)
	}
}

// errStopped stands for the end of the process.
var errStopped = errors.New("stopped")

// A stopper does its first changes and ends the process at one of them: before it
// or, every other time, after it.
type stopper struct {
	fsck.Mender
	fsck.Store
	at int
}

func (s *stopper) change(do func() error) error {
	if s.at--; s.at == 0 {
		return errStopped
	}
	err := do()
	if s.at--; s.at == 0 && err == nil {
		return errStopped
	}
	return err
}

func (s *stopper) Mend(ctx context.Context, c meta.Contradiction) (did string, err error) {
	err = s.change(func() (err error) { did, err = s.Mender.Mend(ctx, c); return err })
	return did, err
}

func (s *stopper) Reinstate(ctx context.Context, b meta.Blob) (n int, err error) {
	err = s.change(func() (err error) { n, err = s.Mender.Reinstate(ctx, b); return err })
	return n, err
}

func (s *stopper) MendReferences(ctx context.Context, m meta.AuditManifest, parts []string) (ok bool, err error) {
	err = s.change(func() (err error) { ok, err = s.Mender.MendReferences(ctx, m, parts); return err })
	return ok, err
}

func (s *stopper) EndUpload(ctx context.Context, u meta.AuditUpload) error {
	return s.change(func() error { return s.Mender.EndUpload(ctx, u) })
}

func (s *stopper) CondemnUnknown(ctx context.Context, key blob.Key) error {
	return s.change(func() error { return s.Mender.CondemnUnknown(ctx, key) })
}

func (s *stopper) MarkDamaged(ctx context.Context, d oci.Digest, key blob.Key) error {
	return s.change(func() error { return s.Mender.MarkDamaged(ctx, d, key) })
}

func (s *stopper) Quarantine(ctx context.Context, key blob.Key) (ok bool, err error) {
	err = s.change(func() (err error) { ok, err = s.Store.Quarantine(ctx, key); return err })
	return ok, err
}

func (s *stopper) Delete(ctx context.Context, key blob.Key) error {
	return s.change(func() error { return s.Store.Delete(ctx, key) })
}
