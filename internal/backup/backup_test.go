package backup

import (
	"archive/tar"
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/internal/blob"
	"berth/internal/blob/fsblob"
	"berth/internal/meta"
	"berth/internal/meta/sqlmeta"
	"berth/internal/oci"
	"berth/internal/registry"
)

// A world is a registry of which backups are taken.
type world struct {
	t     *testing.T
	dir   string
	db    *sqlmeta.DB
	store *fsblob.Store
	core  *registry.Core
	repo  oci.Repo
	n     int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: filepath.Join(t.TempDir(), "data")}
	var err error
	if w.store, err = fsblob.Open(fsblob.Options{Dir: w.dir}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.store.Close() })
	if w.db, err = sqlmeta.Open(t.Context(), sqlmeta.Options{Path: filepath.Join(w.dir, "berth", "berth.db")}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.db.Close() })
	w.write(tokenKeyName, "a key of tokens")
	w.write(acmeDir+"/reg.example.com", "a certificate")
	w.core = registry.New(registry.Options{Blobs: w.store, Records: w.db, Log: slog.New(slog.DiscardHandler), Deletion: registry.DeletionOn})
	if w.repo, err = oci.ParseRepo("team/app"); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) write(name, text string) {
	w.t.Helper()
	path := filepath.Join(w.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// push pushes a blob, and a manifest that needs it.
func (w *world) push(content string) oci.Digest {
	w.t.Helper()
	ctx := w.t.Context()
	d := oci.SHA256.FromBytes([]byte(content))
	u, err := w.core.StartUpload(ctx, w.repo, oci.SHA256)
	if err == nil {
		err = u.Append(ctx, 0, strings.NewReader(content))
	}
	if err == nil {
		err = u.Commit(ctx, d)
	}
	if err == nil {
		m := oci.Manifest{MediaType: "application/x.test", Body: []byte("needs " + d.String()), Blobs: []oci.Descriptor{{Digest: d, Size: int64(len(content))}}}
		_, err = w.core.PutManifest(ctx, registry.Put{Repo: w.repo, Manifest: m})
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

// source makes what the server makes for a backup.
func (w *world) source() Source {
	w.t.Helper()
	ctx := w.t.Context()
	w.n++
	path := filepath.Join(w.t.TempDir(), fmt.Sprintf("copy%d.db", w.n))
	head := Manifest{Format: Format, ID: blob.NewKey(), Origin: "one", Berth: "test"}
	if err := w.db.Snapshot(ctx, path); err != nil {
		w.t.Fatal(err)
	}
	c, err := sqlmeta.OpenCopy(ctx, path)
	if err == nil {
		err = c.Detach(ctx, fsblob.OwnKey)
	}
	if err == nil {
		head.Contents, err = c.Contents(ctx)
	}
	if err == nil {
		err = c.Close()
	}
	info, serr := os.Stat(path)
	if err = errors.Join(err, serr); err != nil {
		w.t.Fatal(err)
	}
	head.Database.Size = info.Size()
	return Source{Data: w.dir, Database: path, Head: head}
}

// file returns where the file of a blob is below dir.
func (w *world) file(dir string, d oci.Digest) string {
	w.t.Helper()
	b, err := w.db.FindContent(w.t.Context(), d)
	if err != nil {
		w.t.Fatal(err)
	}
	name, _, err := fsblob.PathOf(b.Key)
	if err != nil {
		w.t.Fatal(err)
	}
	return filepath.Join(dir, filepath.FromSlash(name))
}

// heard are the digests of what was told to be damaged.
type heard []string

func (h *heard) options() Options {
	return Options{Damaged: func(e DamageError, repositories []string) error {
		_, d, err := fsblob.PathOf(e.Key)
		*h = append(*h, fmt.Sprintf("%s %v %s", d, repositories, e.Why))
		return err
	}}
}

// names lists the files below dir, but for what only using it makes.
func names(t *testing.T, dir string) []string {
	t.Helper()
	var list []string
	err := fs.WalkDir(os.DirFS(dir), ".", func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && p != "berth/lock" {
			list = append(list, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// wantBlob wants a restored data directory to have a blob, or not to have it.
func wantBlob(t *testing.T, dir string, d oci.Digest, damaged bool) {
	t.Helper()
	db, err := sqlmeta.Open(t.Context(), sqlmeta.Options{Path: filepath.Join(dir, "berth", "berth.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	b, err := db.FindContent(t.Context(), d)
	if err != nil || b.Damaged != damaged {
		t.Fatalf("%s: damaged is %v, error %v; want %v", d, b.Damaged, err, damaged)
	}
	store, err := fsblob.View(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	r, err := store.Open(t.Context(), b.Key)
	if damaged {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is damaged, and opens with %v", d, err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	if err != nil || oci.SHA256.FromBytes(text) != d {
		t.Errorf("%s: got %q, %v", d, text, err)
	}
}

// forms are the ways in which a backup is written and read again.
func forms(t *testing.T) map[string]func(Source, Options) (string, Result, error) {
	dir := t.TempDir()
	return map[string]func(Source, Options) (string, Result, error){
		"folder": func(s Source, o Options) (string, Result, error) {
			to := filepath.Join(dir, "folder")
			res, err := Folder(t.Context(), s, to, o)
			return to, res, err
		},
		"archive": func(s Source, o Options) (string, Result, error) {
			var b bytes.Buffer
			res, err := Archive(t.Context(), s, &b, o)
			to := filepath.Join(dir, "backup.tar")
			return to, res, errors.Join(err, os.WriteFile(to, b.Bytes(), 0o600))
		},
	}
}

func target(dir string) Target {
	return Target{Data: dir, Database: filepath.Join(dir, "berth", "berth.db")}
}

// TestBackUpAndRestore takes a backup in each form, verifies it and restores it.
func TestBackUpAndRestore(t *testing.T) {
	for form, write := range forms(t) {
		t.Run(form, func(t *testing.T) {
			w := newWorld(t)
			one, two, none := w.push("one"), w.push("two"), w.push("")
			from, res, err := write(w.source(), Options{})
			if err != nil || res.Objects != 3 || res.Bytes != 6 || res.Manifests != 3 || res.Repositories != 1 || res.Copied != 3 || res.Damaged != 0 {
				t.Fatalf("backup: got %+v, %v", res, err)
			}
			if res, err = Verify(t.Context(), from, nil, Options{}); err != nil || res.Left != 0 || res.Copied != 3 {
				t.Fatalf("verify: got %+v, %v", res, err)
			}
			var done, total int64
			o := Options{Progress: func(d, n int64) error { done, total = d, n; return nil }}
			to := filepath.Join(t.TempDir(), "new")
			if res, err = Restore(t.Context(), from, nil, target(to), o); err != nil || res.Left != 0 || res.Objects != 3 {
				t.Fatalf("restore: got %+v, %v", res, err)
			}
			if done != 6 || total != 6 {
				t.Errorf("the progress ended at %d of %d, want 6 of 6", done, total)
			}
			for _, d := range []oci.Digest{one, two, none} {
				wantBlob(t, to, d, false)
			}
			if text, err := os.ReadFile(filepath.Join(to, "berth", "token.key")); err != nil || string(text) != "a key of tokens" {
				t.Errorf("the key of tokens: got %q, %v", text, err)
			}
			if list := names(t, to); slices.ContainsFunc(list, func(n string) bool { return strings.Contains(n, "json") || strings.Contains(n, "restoring") }) {
				t.Errorf("a restored directory holds %v", list)
			}
		})
	}
}

// TestModes holds that nobody else reads a backup.
func TestModes(t *testing.T) {
	w := newWorld(t)
	w.push("one")
	to := filepath.Join(t.TempDir(), "b")
	if _, err := Folder(t.Context(), w.source(), to, Options{}); err != nil {
		t.Fatal(err)
	}
	for _, name := range append(names(t, to), "berth", ".") {
		info, err := os.Stat(filepath.Join(to, name))
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: mode %v, error %v", name, info.Mode(), err)
		}
	}
	var b bytes.Buffer
	if _, err := Archive(t.Context(), w.source(), &b, Options{}); err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(&b); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil || h.Mode&0o077 != 0 {
			t.Errorf("%s: mode %o, error %v", h.Name, h.Mode, err)
		}
	}
}

// TestAgain holds that the second backup into a folder copies what is new and
// removes what is gone, in that order.
func TestAgain(t *testing.T) {
	w := newWorld(t)
	gone, stays := w.push("gone"), w.push("stays")
	to := filepath.Join(t.TempDir(), "b")
	if _, err := Folder(t.Context(), w.source(), to, Options{}); err != nil {
		t.Fatal(err)
	}
	old := w.file(to, gone)
	m := oci.SHA256.FromBytes([]byte("needs " + gone.String()))
	if err := errors.Join(w.core.DeleteManifest(t.Context(), w.repo, m), w.core.DeleteBlob(t.Context(), w.repo, gone)); err != nil {
		t.Fatal(err)
	}
	fresh := w.push("new")
	s := w.source()
	o := Options{Confirm: func() error {
		if !exists(old) || !exists(w.file(to, fresh)) {
			t.Error("before the new database is in place, an object of the old one is gone or one of the new one is missing")
		}
		return nil
	}}
	res, err := Folder(t.Context(), s, to, o)
	if err != nil || res.Copied != 1 || res.CopiedBytes != 3 || res.Removed != 1 || res.Objects != 2 {
		t.Fatalf("got %+v, %v", res, err)
	}
	if exists(old) || !exists(w.file(to, stays)) {
		t.Error("what is gone is there, or what stays is not")
	}
	if res, err := Verify(t.Context(), to, nil, Options{}); err != nil || res.Left != 0 {
		t.Errorf("verify: got %+v, %v", res, err)
	}
}

// TestStopped stops backups at every part, and wants the one from before to be
// whole, and the next one to go on.
func TestStopped(t *testing.T) {
	stop := errors.New("stop")
	w := newWorld(t)
	to := filepath.Join(t.TempDir(), "b")
	for i := range 6 {
		w.push(fmt.Sprint("more ", i))
		before, _, err := loadManifest(t.Context(), to)
		first := err != nil
		for at := range 4 {
			n := 0
			o := Options{Progress: func(int64, int64) error {
				if n++; n > at {
					return stop
				}
				return nil
			}, Confirm: func() error { return stop }}
			if _, err := Folder(t.Context(), w.source(), to, o); !errors.Is(err, stop) {
				t.Fatalf("got %v, want it stopped", err)
			}
			m, _, err := loadManifest(t.Context(), to)
			if first != (err != nil) || !first && m != before {
				t.Fatalf("stopped at %d: the manifest is %+v, %v; want %+v", at, m, err, before)
			}
			if first {
				if _, err := Restore(t.Context(), to, nil, target(filepath.Join(t.TempDir(), "r")), Options{}); err == nil {
					t.Error("half a backup was restored")
				}
				continue
			}
			if res, err := Verify(t.Context(), to, nil, Options{}); err != nil || res.Left != 0 || res.Objects != int64(i) {
				t.Fatalf("stopped at %d: verify: got %+v, %v", at, res, err)
			}
		}
		if res, err := Folder(t.Context(), w.source(), to, Options{}); err != nil || res.Objects != int64(i+1) {
			t.Fatalf("got %+v, %v", res, err)
		}
	}
}

// TestEndInterrupted holds that between the renames of the end of a backup one of
// the two manifests is always that of the database, and that the next run begins
// by ending it.
func TestEndInterrupted(t *testing.T) {
	w := newWorld(t)
	w.push("one")
	to := filepath.Join(t.TempDir(), "b")
	path := func(name string) string { return filepath.Join(to, filepath.FromSlash(name)) }
	if _, err := Folder(t.Context(), w.source(), to, Options{}); err != nil {
		t.Fatal(err)
	}
	old, err := os.ReadFile(path(manifestName))
	if err != nil {
		t.Fatal(err)
	}
	w.push("two")
	if _, err := Folder(t.Context(), w.source(), to, Options{}); err != nil {
		t.Fatal(err)
	}
	// As if the last rename had not come about.
	if err := errors.Join(os.Rename(path(manifestName), path(manifestName+next)), os.WriteFile(path(manifestName), old, 0o600)); err != nil {
		t.Fatal(err)
	}
	m, name, err := loadManifest(t.Context(), to)
	if err != nil || m.Objects != 2 || name != manifestName+next {
		t.Fatalf("got %+v in %s, %v", m, name, err)
	}
	if res, err := Verify(t.Context(), to, nil, Options{}); err != nil || res.Left != 0 {
		t.Errorf("verify: got %+v, %v", res, err)
	}
	stop := errors.New("stop")
	if _, err := Folder(t.Context(), w.source(), to, Options{Confirm: func() error { return stop }}); !errors.Is(err, stop) {
		t.Fatal(err)
	}
	if m, name, err := loadManifest(t.Context(), to); err != nil || m.Objects != 2 || name != manifestName {
		t.Errorf("after the next run: got %+v in %s, %v", m, name, err)
	}
}

// TestDamagedSource holds that damage of every kind is named, marked, left out and
// survived, in each form.
func TestDamagedSource(t *testing.T) {
	for form, write := range forms(t) {
		t.Run(form, func(t *testing.T) {
			w := newWorld(t)
			good := w.push("good")
			bad := map[oci.Digest]func(string) error{
				w.push("is flipped"):   func(p string) error { return os.WriteFile(p, []byte("is fl1pped"), 0o600) },
				w.push("is truncated"): func(p string) error { return os.Truncate(p, 3) },
				w.push("is empty"):     func(p string) error { return os.Truncate(p, 0) },
				w.push("is missing"):   os.Remove,
				w.push("is a link"): func(p string) error {
					return errors.Join(os.Remove(p), os.Symlink("/etc/hostname", p))
				},
			}
			for d, harm := range bad {
				if err := harm(w.file(w.dir, d)); err != nil {
					t.Fatal(err)
				}
			}
			var h heard
			from, res, err := write(w.source(), h.options())
			if err != nil || res.Left != len(bad) || res.Damaged != int64(len(bad)) || res.Objects != 1 {
				t.Fatalf("got %+v, %v", res, err)
			}
			for d := range bad {
				if !slices.ContainsFunc(h, func(s string) bool { return strings.HasPrefix(s, d.String()+" [team/app] it") }) {
					t.Errorf("%s is not named: %v", d, h)
				}
			}
			if res, err := Verify(t.Context(), from, nil, Options{}); err != nil || res.Left != 0 || res.Damaged != int64(len(bad)) {
				t.Errorf("verify: got %+v, %v", res, err)
			}
			to := filepath.Join(t.TempDir(), "r")
			if res, err := Restore(t.Context(), from, nil, target(to), Options{}); err != nil || res.Left != 0 || res.Damaged != int64(len(bad)) {
				t.Errorf("restore: got %+v, %v", res, err)
			}
			wantBlob(t, to, good, false)
			for d := range bad {
				wantBlob(t, to, d, true)
			}
		})
	}
}

// TestDamagedBackup holds that damage of a backup is found by verifying, and that
// restoring names it and leaves it out.
func TestDamagedBackup(t *testing.T) {
	w := newWorld(t)
	good, bad, lost := w.push("good"), w.push("will be bad"), w.push("will be lost")
	from := filepath.Join(t.TempDir(), "b")
	if _, err := Folder(t.Context(), w.source(), from, Options{}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(w.file(from, bad), []byte("will be BAD"), 0o600), os.Remove(w.file(from, lost))); err != nil {
		t.Fatal(err)
	}
	var h heard
	if res, err := Verify(t.Context(), from, nil, h.options()); err != nil || res.Left != 2 || len(h) != 2 {
		t.Errorf("verify: got %+v, %v, %v", res, h, err)
	}
	h = nil
	to := filepath.Join(t.TempDir(), "r")
	if res, err := Restore(t.Context(), from, nil, target(to), h.options()); err != nil || res.Left != 2 || res.Damaged != 2 || len(h) != 2 {
		t.Errorf("restore: got %+v, %v, %v", res, h, err)
	}
	wantBlob(t, to, good, false)
	wantBlob(t, to, bad, true)
	wantBlob(t, to, lost, true)
	// The backup itself is as it was.
	if res, err := Verify(t.Context(), from, nil, Options{}); err != nil || res.Left != 2 || res.Damaged != 0 {
		t.Errorf("verify again: got %+v, %v", res, err)
	}
}

// TestDamagedManifest holds that a manifest whose bytes have changed in the database
// is named when a backup is taken, verified and restored.
func TestDamagedManifest(t *testing.T) {
	for form, write := range forms(t) {
		t.Run(form, func(t *testing.T) {
			w := newWorld(t)
			w.push("good")
			d := oci.SHA256.FromBytes([]byte("needs " + w.push("one").String()))
			s := w.source()
			db, err := sql.Open("sqlite", s.Database)
			if err == nil {
				_, err = db.Exec(`UPDATE manifests SET body = replace(body, 'needs', 'NEEDS') WHERE digest = ?`, d.String())
				err = errors.Join(err, db.Close())
			}
			if err != nil {
				t.Fatal(err)
			}
			var h []string
			o := Options{Damaged: func(e DamageError, repositories []string) error {
				h = append(h, fmt.Sprintf("%s %v", e.Manifest, repositories))
				return nil
			}}
			from, res, err := write(s, o)
			if err != nil || res.BadManifests != 1 {
				t.Errorf("backup: got %+v, %v", res, err)
			}
			if res, err := Verify(t.Context(), from, nil, o); err != nil || res.BadManifests != 1 {
				t.Errorf("verify: got %+v, %v", res, err)
			}
			to := filepath.Join(t.TempDir(), "r")
			if res, err := Restore(t.Context(), from, nil, target(to), o); err != nil || res.BadManifests != 1 {
				t.Errorf("restore: got %+v, %v", res, err)
			}
			if want := d.String() + " [team/app]"; !slices.Equal(h, []string{want, want, want}) {
				t.Errorf("got %v", h)
			}
		})
	}
}

// TestRestoreGoesOn stops a restore at every part, wants it to be refused as a
// data directory for everything else, and to go on.
func TestRestoreGoesOn(t *testing.T) {
	stop := errors.New("stop")
	for form, write := range forms(t) {
		t.Run(form, func(t *testing.T) {
			w := newWorld(t)
			one, two := w.push("one"), w.push("two")
			from, _, err := write(w.source(), Options{})
			if err != nil {
				t.Fatal(err)
			}
			w.push("three")
			other := filepath.Join(t.TempDir(), "other")
			if _, err := Folder(t.Context(), w.source(), other, Options{}); err != nil {
				t.Fatal(err)
			}
			to := filepath.Join(t.TempDir(), "r")
			for at := range 2 {
				n := 0
				_, err := Restore(t.Context(), from, nil, target(to), Options{Progress: func(int64, int64) error {
					if n++; n > at {
						return stop
					}
					return nil
				}})
				if !errors.Is(err, stop) {
					t.Fatalf("got %v, want it stopped", err)
				}
				if !exists(filepath.Join(to, RestoringName)) || exists(filepath.Join(to, databaseName)) {
					t.Fatal("half a restore can be started")
				}
			}
			if _, err := Restore(t.Context(), other, nil, target(to), Options{}); err == nil || !strings.Contains(err.Error(), "part of another backup") {
				t.Errorf("another backup: got %v", err)
			}
			if res, err := Restore(t.Context(), from, nil, target(to), Options{}); err != nil || res.Objects != 2 {
				t.Fatalf("got %+v, %v", res, err)
			}
			wantBlob(t, to, one, false)
			wantBlob(t, to, two, false)
			if _, err := Restore(t.Context(), from, nil, target(to), Options{}); err == nil || !strings.Contains(err.Error(), "is not empty") {
				t.Errorf("into a registry: got %v", err)
			}
		})
	}
}

// TestRefused holds which folders are left alone.
func TestRefused(t *testing.T) {
	w := newWorld(t)
	w.push("one")
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "letters"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	good, used, others := filepath.Join(t.TempDir(), "b"), filepath.Join(t.TempDir(), "u"), filepath.Join(t.TempDir(), "o")
	for _, dir := range []string{good, used, others} {
		if _, err := Folder(t.Context(), w.source(), dir, Options{}); err != nil {
			t.Fatal(err)
		}
	}
	// A registry was started on it.
	db, err := sqlmeta.Open(t.Context(), sqlmeta.Options{Path: filepath.Join(used, "berth", "berth.db")})
	if err == nil {
		err = errors.Join(db.SetTree(t.Context(), meta.TreeAdopted), db.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	another := w.source()
	another.Head.Origin = "two"
	for _, tt := range []struct {
		name, dir, want string
		s               Source
	}{
		{"something else", full, "neither empty nor a backup", w.source()},
		{"inside", filepath.Join(w.dir, "backup"), "inside each other", w.source()},
		{"around", filepath.Dir(w.dir), "inside each other", w.source()},
		{"used", used, "used as a data directory", w.source()},
		{"another registry's", others, "of another registry", another},
	} {
		var before []string
		if exists(tt.dir) {
			before = names(t, tt.dir)
		}
		if _, err := Folder(t.Context(), tt.s, tt.dir, Options{}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
		if exists(tt.dir) != (before != nil) || before != nil && !slices.Equal(names(t, tt.dir), before) {
			t.Errorf("%s: it was changed", tt.name)
		}
	}
	if _, err := Restore(t.Context(), good, nil, target(full), Options{}); err == nil || !strings.Contains(err.Error(), "is not empty") {
		t.Errorf("restore into something: got %v", err)
	}
	if _, err := Restore(t.Context(), full, nil, target(filepath.Join(t.TempDir(), "r")), Options{}); err == nil || !strings.Contains(err.Error(), "no whole backup") {
		t.Errorf("restore from something: got %v", err)
	}
	elsewhere := Target{Data: filepath.Join(t.TempDir(), "r"), Database: filepath.Join(full, "letters")}
	if _, err := Restore(t.Context(), good, nil, elsewhere, Options{}); err == nil || !strings.Contains(err.Error(), "is there already") {
		t.Errorf("a database that is there: got %v", err)
	}
}

// TestContextEnds holds that whoever gives up is obeyed.
func TestContextEnds(t *testing.T) {
	w := newWorld(t)
	w.push("one")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Folder(ctx, w.source(), filepath.Join(t.TempDir(), "b"), Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
