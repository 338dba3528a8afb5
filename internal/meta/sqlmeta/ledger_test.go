package sqlmeta

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/internal/blob"
	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

func uploadOf(t *testing.T, id meta.UploadID) meta.Upload {
	return meta.Upload{
		ID: id, Repo: mustRepo(t, "a"), By: "alice \"\n", Key: blob.NewKey(), Algorithm: oci.SHA512,
		Started: time.Now().UTC().Truncate(time.Microsecond),
	}
}

// saved is u as it is saved with size bytes.
func savedWith(t *testing.T, db *DB, u meta.Upload, size int64) meta.Upload {
	t.Helper()
	u.Size, u.Hash, u.State = size, []byte("hash\x00\xff"), []byte("state")
	if err := db.SaveUpload(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	u.Version++
	return u
}

// killed opens a database as a process finds it whose predecessor was killed now.
func killed(t *testing.T, db *DB) *DB {
	t.Helper()
	path := filepath.Join(t.TempDir(), "berth.db")
	for _, ext := range []string{"", "-wal", ledgerExt, redoExt} {
		if err := copyFile(db.path+ext, path+ext); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	next := mustOpen(t, Options{Path: path})
	t.Cleanup(func() { next.Close() })
	return next
}

// TestUploadsSurvive holds that the next process knows the uploads that ran, as
// they were saved last, and no others.
func TestUploadsSurvive(t *testing.T) {
	db := openTemp(t)
	u := map[string]meta.Upload{}
	for _, id := range []meta.UploadID{"begun", "saved", "again", "committed", "dropped", "expired"} {
		u[string(id)] = uploadOf(t, id)
		if err := db.CreateUpload(t.Context(), u[string(id)]); err != nil {
			t.Fatal(err)
		}
	}
	_, err := db.CommitUpload(t.Context(), u["committed"], meta.Blob{Digest: oci.SHA256.FromBytes(nil), Key: "k"}, event.Actor{})
	if err := errors.Join(err, db.DropUpload(t.Context(), u["dropped"])); err != nil {
		t.Fatal(err)
	}
	if n, err := db.ExpireUploads(t.Context(), -time.Hour, 1); n != 1 || err != nil { // the first one
		t.Fatal(n, err)
	}
	delete(u, "begun")
	u["saved"] = savedWith(t, db, u["saved"], 5)
	u["again"] = savedWith(t, db, savedWith(t, db, u["again"], 5), 6)

	for round, next := 0, killed(t, db); round < 3; round, next = round+1, killed(t, next) {
		for _, id := range []meta.UploadID{"saved", "again"} {
			got, err := next.FindUpload(t.Context(), mustRepo(t, "a"), id)
			if want := u[string(id)]; err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s:\ngot  %+v, %v\nwant %+v", id, got, err, want)
			}
		}
		// Of one to which nothing was saved there may be an object, finished even.
		got, err := next.FindUpload(t.Context(), mustRepo(t, "a"), "expired")
		want := u["expired"]
		if want.Key = got.Key; err != nil || !reflect.DeepEqual(got, want) || got.Key == u["expired"].Key || got.Key.Check() != nil {
			t.Errorf("got %+v, %v, want %+v with another key than %s", got, err, want, u["expired"].Key)
		}
		if known, err := next.KnownKey(t.Context(), u["expired"].Key); known || err != nil {
			t.Errorf("its old key: known is %v, %v", known, err)
		}
		if known, err := next.KnownKey(t.Context(), got.Key); !known || err != nil {
			t.Errorf("its key: known is %v, %v", known, err)
		}
		if n := next.ledger.count(); n != 3 {
			t.Errorf("%d uploads run, want 3", n)
		}
	}
}

// TestOverWithoutLine holds that an upload is over if the database says so, when
// what ended it was not written to the file of uploads any more.
func TestOverWithoutLine(t *testing.T) {
	db := openTemp(t)
	content := oci.SHA256.FromBytes([]byte("known"))
	pushBlob(t, db, mustRepo(t, "a"), "known")
	ends := map[meta.UploadID]func(meta.Upload) error{
		"dropped": func(u meta.Upload) error { return db.DropUpload(t.Context(), u) },
		"known": func(u meta.Upload) error {
			_, err := db.CommitUpload(t.Context(), u, meta.Blob{Digest: content, Size: 5}, event.Actor{})
			return err
		},
		"committed": func(u meta.Upload) error {
			_, err := db.CommitUpload(t.Context(), u, meta.Blob{Digest: oci.SHA256.FromBytes([]byte("1")), Key: "final"}, event.Actor{})
			return err
		},
		"one of two": func(u meta.Upload) error {
			_, err := db.CommitUpload(t.Context(), u, meta.Blob{Digest: content, Key: "second", Size: 5}, event.Actor{})
			return err
		},
		"same key": func(u meta.Upload) error { // as where an object has one key all its life
			_, err := db.CommitUpload(t.Context(), u, meta.Blob{Digest: oci.SHA256.FromBytes(nil), Key: u.Key}, event.Actor{})
			return err
		},
	}
	for id, end := range ends {
		u := uploadOf(t, id)
		if err := db.CreateUpload(t.Context(), u); err != nil {
			t.Fatal(err)
		}
		u = savedWith(t, db, u, 5)
		if err := end(u); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(db.path + ledgerExt)
	if err == nil {
		err = os.WriteFile(db.path+ledgerExt, withoutOver(b), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	next := killed(t, db)
	for id := range ends {
		if _, err := next.FindUpload(t.Context(), mustRepo(t, "a"), id); !errors.Is(err, meta.ErrNotFound) {
			t.Errorf("%s: found, %v", id, err)
		}
	}
}

// withoutOver leaves out that anything is over.
func withoutOver(b []byte) (left []byte) {
	for text := range bytes.Lines(b) {
		if !bytes.Contains(text, []byte(`"over":true`)) {
			left = append(left, text...)
		}
	}
	return left
}

// TestOneEnds holds that what one is ending is gone for all others, until it
// turns out that it is not.
func TestOneEnds(t *testing.T) {
	db := openTemp(t)
	u := uploadOf(t, "u")
	if err := db.CreateUpload(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	err := db.end(t.Context(), func(ctx context.Context, x *tx) error {
		_, commit := db.CommitUpload(ctx, u, meta.Blob{Digest: oci.SHA256.FromBytes(nil), Key: "k"}, event.Actor{})
		for what, err := range map[string]error{"commit": commit, "save": db.SaveUpload(ctx, u)} {
			if !errors.Is(err, meta.ErrNotFound) {
				t.Errorf("%s: got %v, want %v", what, err, meta.ErrNotFound)
			}
		}
		n, err := db.ExpireUploads(ctx, -time.Hour, 9)
		if err := errors.Join(err, db.DropUpload(ctx, u)); n != 0 || err != nil {
			t.Errorf("%d expired, %v", n, err)
		}
		if list, err := db.AuditUploads(ctx, "", 9); err != nil || len(list) != 1 {
			t.Errorf("listed %v, %v", list, err)
		} else if _, err := db.FindAuditUpload(ctx, "u"); !errors.Is(err, meta.ErrNotFound) {
			t.Errorf("a check finds it to look for its object: %v", err)
		}
		return errInjected
	}, claimed(t, db, u))
	if !errors.Is(err, errInjected) {
		t.Error(err)
	}
	savedWith(t, db, u, 1)
}

func claimed(t *testing.T, db *DB, u meta.Upload) *running {
	t.Helper()
	r, err := db.ledger.claim(u.Repo, u.ID)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestOlderUploads holds that uploads that an older program recorded in the
// database go on.
func TestOlderUploads(t *testing.T) {
	db := openTemp(t)
	pushBlob(t, db, mustRepo(t, "a"), "x")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	pool, err := sql.Open("sqlite", db.path)
	if err == nil {
		_, err = pool.ExecContext(t.Context(), `INSERT INTO uploads (id, repo_id, owner, key, size, algorithm, hash, state, version, started_us, saved)
			SELECT 'old', id, 'alice', 'old key', 7, 'sha256', x'00ff', NULL, 3, 5000000, 2 FROM repos WHERE name = 'a'`)
	}
	if err := errors.Join(err, pool.Close()); err != nil {
		t.Fatal(err)
	}
	want := meta.Upload{ID: "old", Repo: mustRepo(t, "a"), By: "alice", Key: "old key", Size: 7, Algorithm: oci.SHA256, Hash: []byte{0, 255}, Version: 3, Started: time.Unix(5, 0).UTC()}
	for range 2 {
		next := killed(t, db)
		if got, err := next.FindUpload(t.Context(), want.Repo, "old"); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
		if left, err := next.exists(t.Context(), `SELECT 1 FROM uploads WHERE id > $1`, ""); left || err != nil {
			t.Errorf("rows are left: %v, %v", left, err)
		}
		db = next
	}
}

// flaky is the file of a ledger whose writes fail.
type flaky struct {
	ledgerFile
	err *error
}

func (f flaky) WriteAt(p []byte, off int64) (int, error) {
	if *f.err == nil {
		return f.ledgerFile.WriteAt(p, off)
	}
	n, _ := f.ledgerFile.WriteAt(p[:len(p)/2], off)
	return n, *f.err
}

// TestLedgerFull holds that what cannot be written down is not answered for, that
// the file is right again as soon as there is space, and that an upload that
// could not be said to be over is over all the same.
func TestLedgerFull(t *testing.T) {
	db := openTemp(t)
	var fault error
	open := db.ledger.open
	db.ledger.open = func(path string) (ledgerFile, error) {
		f, err := open(path)
		return flaky{f, &fault}, err
	}
	kept, ended := uploadOf(t, "kept"), uploadOf(t, "ended")
	if err := errors.Join(db.CreateUpload(t.Context(), kept), db.CreateUpload(t.Context(), ended)); err != nil {
		t.Fatal(err)
	}
	kept = savedWith(t, db, kept, 1)

	fault = fmt.Errorf("injected: %w", syscall.ENOSPC)
	block := db.path + ledgerExt + "-new" // where it would be written anew
	if err := os.Mkdir(block, 0o700); err != nil {
		t.Fatal(err)
	}
	refused := uploadOf(t, "refused")
	if err := db.CreateUpload(t.Context(), refused); !errors.Is(err, meta.ErrNoSpace) {
		t.Errorf("begun with %v, want %v", err, meta.ErrNoSpace)
	}
	if err := db.Trouble(); !errors.Is(err, meta.ErrNoSpace) {
		t.Errorf("trouble: %v", err)
	}
	more := kept
	more.Size = 2
	if err := db.SaveUpload(t.Context(), more); err == nil {
		t.Error("saved")
	}
	if err := db.DropUpload(t.Context(), ended); err != nil {
		t.Error(err)
	}
	if err := os.Remove(block); err != nil {
		t.Fatal(err)
	}
	if got, err := db.FindUpload(t.Context(), kept.Repo, "kept"); err != nil || !reflect.DeepEqual(got, kept) {
		t.Errorf("got %+v, %v, want %+v", got, err, kept)
	}
	kept = savedWith(t, db, kept, 3) // writes the file anew
	if err := db.Trouble(); err != nil {
		t.Errorf("trouble: %v", err)
	}
	fault = nil
	next := killed(t, db)
	if got, err := next.FindUpload(t.Context(), kept.Repo, "kept"); err != nil || !reflect.DeepEqual(got, kept) {
		t.Errorf("after a kill: got %+v, %v, want %+v", got, err, kept)
	}
	if n := next.ledger.count(); n != 1 {
		t.Errorf("%d uploads, want 1", n)
	}
}

// TestLedgerStaysSmall holds that the file does not grow with what is over, and
// that nothing is lost when it is written anew.
func TestLedgerStaysSmall(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l")
	l := newLedger(path, func() int64 { return 7 })
	kept := uploadOf(t, "kept")
	if err := l.begin(kept); err != nil {
		t.Fatal(err)
	}
	largest := int64(0)
	for i := range 20_000 {
		u := uploadOf(t, meta.UploadID(fmt.Sprint(i)))
		if err := l.begin(u); err != nil {
			t.Fatal(err)
		}
		r, err := l.claim(u.Repo, u.ID)
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			l.over(r)
		} else {
			l.endsAs(r, "final")
			l.committed(r)
		}
		largest = max(largest, l.size)
	}
	if largest > ledgerSlack+1000 {
		t.Errorf("it had %d bytes", largest)
	}
	if err := l.close(); err != nil {
		t.Error(err)
	}
	b, err := os.ReadFile(path)
	all := map[meta.UploadID]*running{}
	readLines(b, all)
	if got := all["kept"]; err != nil || len(all) != 1 || got.saved != 7 || !reflect.DeepEqual(got.Upload, kept) {
		t.Errorf("got %v, %v", all, err)
	}
	if err := l.begin(uploadOf(t, "late")); !errors.Is(err, errClosed) {
		t.Errorf("begun after the end: %v", err)
	}
}

// TestTornLines holds that a line that is not as it was written says nothing, and
// that those around it do.
func TestTornLines(t *testing.T) {
	one, two := &running{Upload: uploadOf(t, "one")}, &running{Upload: uploadOf(t, "two")}
	first, second := appendLine(nil, one), appendLine(nil, two)
	for i := range first {
		torn := bytes.Clone(first)
		torn[i] ^= 1
		all := map[meta.UploadID]*running{}
		if readLines(append(torn, second...), all); all["one"] != nil {
			t.Errorf("read with byte %d another: %+v", i, all["one"])
		}
		if i < len(first)-1 && all["two"] == nil { // else it is the end of the line
			t.Errorf("the second was not read with byte %d of the first another", i)
		}
		clear(all)
		if readLines(append(bytes.Clone(second), first[:i]...), all); len(all) != 1 {
			t.Errorf("read %v with %d bytes of the last line", all, i)
		}
	}
}

// FuzzLedger holds that whatever the file of uploads holds, what is read from it
// can be written and read again, and that whole lines behind it are read.
func FuzzLedger(f *testing.F) {
	u := &running{Upload: meta.Upload{ID: "1", Key: "k", Size: 5, Hash: []byte{1}, Started: time.UnixMicro(5).UTC()}, saved: 9}
	u.Repo, _ = oci.ParseRepo("a/b")
	good := appendLine(nil, u)
	f.Add([]byte{})
	f.Add(good)
	f.Add(appendOver(bytes.Clone(good), "1"))
	f.Add(good[:len(good)-2])
	f.Add([]byte(strings.Repeat("\x00", 100)))
	f.Add(encode(nil, line{ID: "2", Repo: "NO", Key: "k"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		all, again := map[meta.UploadID]*running{}, map[meta.UploadID]*running{}
		readLines(b, all)
		var text []byte
		for r := range maps.Values(all) {
			if r.ID == "" || r.Key == "" || r.Repo.IsZero() || r.Size < 0 {
				t.Errorf("read %+v", r)
			}
			text = appendLine(text, r)
		}
		if readLines(text, again); !reflect.DeepEqual(all, again) {
			t.Errorf("read %v, and again %v", all, again)
		}
		late := map[meta.UploadID]*running{}
		if readLines(append(append(bytes.Clone(b), '\n'), good...), late); !reflect.DeepEqual(late["1"], u) {
			t.Errorf("behind it %+v was read, want %+v", late["1"], u)
		}
	})
}
