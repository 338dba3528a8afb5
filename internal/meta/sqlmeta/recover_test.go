package sqlmeta

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/internal/event"
)

// A site is a folder with a database and its snapshots, and a clock to set.
type site struct {
	*testing.T
	dir   string
	snaps Snapshots
	now   time.Time
}

func newSite(t *testing.T) *site {
	dir := t.TempDir()
	return &site{T: t, dir: dir, snaps: Snapshots{Dir: filepath.Join(dir, "snapshots"), Keep: 3}, now: time.Date(2026, 11, 23, 10, 15, 0, 0, time.UTC)}
}

func (s *site) path() string { return filepath.Join(s.dir, "berth.db") }

func (s *site) options() Options {
	return Options{Path: s.path(), Now: func() time.Time { return s.now }}
}

func (s *site) open() (*DB, Recovery) {
	s.Helper()
	db, r, err := OpenOrRestore(s.Context(), s.options(), s.snaps)
	if err != nil {
		s.Fatal(err)
	}
	return db, r
}

// fail opens what must not be opened.
func (s *site) fail() error {
	s.Helper()
	db, r, err := OpenOrRestore(s.Context(), s.options(), s.snaps)
	if err == nil {
		db.Close()
		s.Fatalf("no error, and %+v", r)
	}
	return err
}

func (s *site) take(db *DB) SnapshotFile {
	s.Helper()
	f, err := s.snaps.Take(s.Context(), db)
	if err != nil {
		s.Fatal(err)
	}
	return f
}

// fill opens the database, puts one manifest per tag with a snapshot after the
// first ones, and closes it.
func (s *site) fill(inSnapshot, behind []string) SnapshotFile {
	s.Helper()
	db, _ := s.open()
	defer db.Close()
	s.put(db, inSnapshot...)
	f := s.take(db)
	s.put(db, behind...)
	return f
}

func (s *site) put(db *DB, tags ...string) {
	s.Helper()
	for _, tag := range tags {
		mustPut(s.T, db, imageOf(s.T, mustRepo(s.T, "a"), tag, tag))
	}
}

// tags lists what a database has, and closes it.
func (s *site) tags(db *DB) string {
	s.Helper()
	defer db.Close()
	list, err := db.Tags(s.Context(), mustRepo(s.T, "a"), "", 100)
	if err != nil {
		s.Fatal(err)
	}
	var names []string
	for _, t := range list {
		names = append(names, t.Name.String())
	}
	return strings.Join(names, " ")
}

func (s *site) files(pattern string) []string {
	s.Helper()
	list, err := filepath.Glob(filepath.Join(s.dir, pattern))
	if err != nil {
		s.Fatal(err)
	}
	for i := range list {
		list[i] = filepath.Base(list[i])
	}
	return list
}

func (s *site) ok(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// overwrite puts text into the middle of a file.
func (s *site) overwrite(path string, at int64, text string) {
	s.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	s.ok(err)
	_, err = f.WriteAt([]byte(text), at)
	s.ok(errors.Join(err, f.Close()))
}

func TestSnapshotWhileWriting(t *testing.T) {
	s := newSite(t)
	db, _ := s.open()
	defer db.Close()
	stop, done := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for ; ; n++ {
			select {
			case <-stop:
				done <- n
				return
			default:
				s.put(db, fmt.Sprintf("v%04d", n))
			}
		}
	}()
	var last SnapshotFile
	for range 3 {
		last = s.take(db)
	}
	close(stop)
	n := <-done
	if err := checkFile(t.Context(), last.Path, finished); err != nil {
		t.Error(err)
	}
	copied := mustOpen(t, Options{Path: last.Path})
	got := strings.Fields(s.tags(copied))
	if len(got) > n || len(got) > 0 && got[len(got)-1] != fmt.Sprintf("v%04d", len(got)-1) {
		t.Errorf("the snapshot has %d of %d tags, the last one %s", len(got), n, got[len(got)-1])
	}
}

func TestSnapshotsAreKept(t *testing.T) {
	s := newSite(t)
	db, _ := s.open()
	defer db.Close()
	if !db.Changed() {
		t.Error("nothing changed, and there is no snapshot at all")
	}
	for i, step := range []time.Duration{0, time.Hour, 0, -10 * 365 * 24 * time.Hour, time.Hour} { // the clock may stand still or jump back
		s.now = s.now.Add(step)
		s.put(db, fmt.Sprint("v", i))
		if !db.Changed() {
			t.Error("not changed after a put")
		}
		f := s.take(db)
		if db.Changed() {
			t.Error("changed after a snapshot")
		}
		list, err := s.snaps.List()
		s.ok(err)
		if len(list) == 0 || list[0] != f {
			t.Errorf("the newest one is %v, want %v", list, f)
		}
	}
	s.ok(db.SaveClock(t.Context()))
	if db.Changed() {
		t.Error("the clock counts as a change")
	}
	want := []string{"berth-20261123T111500Z.db", "berth-20261123T111501Z.db", "berth-20261123T111502Z.db", "berth-20261123T111503Z.db"}[1:]
	if got := s.files("snapshots/*"); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestSnapshotOfBroken holds that a database that is going bad neither makes a
// snapshot nor pushes out a good one.
func TestSnapshotOfBroken(t *testing.T) {
	s := newSite(t)
	good := s.fill([]string{"v1"}, nil)
	s.snaps.Keep = 1
	db, _ := s.open()
	defer db.Close()
	err := db.writer.do(t.Context(), durable, func(ctx context.Context, t *tx) error {
		_, err := t.exec(ctx, `UPDATE repos SET listed = 0`)
		return err
	})
	s.ok(err)
	s.now = s.now.Add(time.Hour)
	if _, err := s.snaps.Take(t.Context(), db); !errors.Is(err, errBroken) {
		t.Errorf("got %v, want %v", err, errBroken)
	}
	if got := s.files("snapshots/*"); len(got) != 1 || got[0] != filepath.Base(good.Path) {
		t.Errorf("left are %v", got)
	}
}

// TestSnapshotLeftovers holds that what interrupted snapshots have left goes with
// the next one, and nothing else.
func TestSnapshotLeftovers(t *testing.T) {
	s := newSite(t)
	db, _ := s.open()
	defer db.Close()
	s.ok(os.MkdirAll(s.snaps.Dir, 0o700))
	for _, name := range []string{"berth-20251123T111500Z.db.tmp", "berth-20251123T111500Z.db.tmp-journal", "mine.tmp", "berth-mine.db.tmp"} {
		s.ok(os.WriteFile(filepath.Join(s.snaps.Dir, name), []byte("half"), 0o600))
	}
	s.put(db, "v1")
	s.take(db)
	if got, want := s.files("snapshots/*"), []string{"berth-20261123T101500Z.db", "berth-mine.db.tmp", "mine.tmp"}; !slices.Equal(got, want) {
		t.Errorf("left are %v, want %v", got, want)
	}
}

func TestSnapshotCancelled(t *testing.T) {
	s := newSite(t)
	db, _ := s.open()
	defer db.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.snaps.Take(ctx, db); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	if got := s.files("snapshots/*"); len(got) != 0 {
		t.Errorf("left are %v", got)
	}
}

func TestOpenUndisturbed(t *testing.T) {
	s := newSite(t)
	db, r := s.open()
	if r != (Recovery{}) {
		t.Errorf("a new one: %+v", r)
	}
	s.put(db, "v1")
	db.Close()
	db, r = s.open()
	if r != (Recovery{}) {
		t.Errorf("opened again: %+v", r)
	}
	if got := s.tags(db); got != "v1" {
		t.Errorf("tags %q", got)
	}
	if got := s.files("*"); !slices.Equal(got, []string{"berth.db", "berth.db-redo", "berth.db.id"}) {
		t.Errorf("files %v", got)
	}
}

// TestRestoreMissing is case (a): there are snapshots and no database. The log of
// the lost one must not get into the one that is restored.
func TestRestoreMissing(t *testing.T) {
	for name, lose := range map[string]func(s *site){
		"removed":        func(s *site) { s.ok(os.Remove(s.path())) },
		"emptied":        func(s *site) { s.ok(os.Truncate(s.path(), 0)) },
		"without its id": func(s *site) { s.ok(errors.Join(os.Remove(s.path()), os.Remove(s.path()+".id"))) },
		"with a log left": func(s *site) {
			db, _ := s.open()
			s.put(db, "v3")
			log, err := os.ReadFile(s.path() + "-wal")
			s.ok(err)
			db.Close()
			s.ok(errors.Join(os.Remove(s.path()), os.WriteFile(s.path()+"-wal", log, 0o600)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			snap := s.fill([]string{"v1"}, []string{"v2"})
			lose(s)
			s.now = s.now.Add(43 * time.Minute)
			db, r := s.open()
			if r.From != snap.Path || r.Age != 43*time.Minute || !r.Taken.Equal(snap.Taken) {
				t.Errorf("got %+v", r)
			}
			if got := s.tags(db); got != "v1" {
				t.Errorf("tags %q, want v1", got)
			}
			if wantAside := name == "with a log left"; (r.Aside != "") != wantAside {
				t.Errorf("put aside: %q", r.Aside)
			}
			if db, r = s.open(); r != (Recovery{}) {
				t.Errorf("the next time: %+v", r)
			}
			db.Close()
		})
	}
}

// TestRestoreSkipsBroken holds that a broken snapshot is passed over, and that
// without a good one nothing is begun in silence.
// TestPullsAreUnknownAfterRestore holds that a database which was brought back
// from a copy counts pulls from then on: it does not know those since the copy was
// made.
func TestPullsAreUnknownAfterRestore(t *testing.T) {
	s := newSite(t)
	since := func() time.Time {
		t.Helper()
		db, _ := s.open()
		defer db.Close()
		at, err := db.UsesSince(t.Context())
		s.ok(err)
		return at
	}
	s.fill([]string{"v1"}, []string{"v2"})
	first := since()
	s.now = s.now.Add(time.Hour)
	if again := since(); !again.Equal(first) {
		t.Errorf("opened again: got %v, want %v", again, first)
	}
	s.ok(os.Remove(s.path()))
	s.now = s.now.Add(time.Hour)
	restored := since()
	if !restored.After(first) {
		t.Errorf("after a restore: got %v, want later than %v", restored, first)
	}
	s.now = s.now.Add(time.Hour)
	if again := since(); !again.Equal(restored) {
		t.Errorf("opened again after a restore: got %v, want %v", again, restored)
	}
}

func TestRestoreSkipsBroken(t *testing.T) {
	s := newSite(t)
	older := s.fill([]string{"v1"}, nil)
	s.now = s.now.Add(time.Hour)
	newer := s.fill([]string{"v2"}, nil)
	s.overwrite(newer.Path, 5000, strings.Repeat("broken ", 3000))
	s.ok(os.Remove(s.path()))
	db, r := s.open()
	if r.From != older.Path {
		t.Errorf("from %s, want %s", r.From, older.Path)
	}
	if got := s.tags(db); got != "v1" {
		t.Errorf("tags %q, want v1", got)
	}
	s.ok(errors.Join(os.Remove(s.path()), os.WriteFile(older.Path, []byte("nothing"), 0o600)))
	if err := s.fail(); !strings.Contains(err.Error(), s.snaps.Dir) {
		t.Errorf("the error does not say where the snapshots are: %v", err)
	}
	if _, err := os.Stat(s.path()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an empty database was made: %v", err)
	}
}

// TestDamagedInPlace is case (b): the file is where it was, and not right.
func TestDamagedInPlace(t *testing.T) {
	s := newSite(t)
	s.fill([]string{"v1"}, []string{"v2"})
	good, err := os.ReadFile(s.path())
	s.ok(err)
	s.overwrite(s.path(), 0, "this is not a database, it is a text")
	s.now = s.now.Add(43 * time.Minute)
	err = s.fail()
	for _, want := range []string{s.path(), "2026-11-23T10:15:00Z", "43m0s old", "move"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
	if got := s.files("*broken*"); len(got) != 0 {
		t.Errorf("put aside: %v", got)
	}
	s.overwrite(s.path(), 0, string(good))
	db, _ := s.open()
	if got := s.tags(db); got != "v1 v2" {
		t.Errorf("tags %q", got)
	}
	s.ok(os.RemoveAll(s.snaps.Dir))
	s.overwrite(s.path(), 0, "this is not a database, it is a text")
	if err := s.fail(); !strings.Contains(err.Error(), "no snapshot") {
		t.Errorf("got %v", err)
	}
}

// copyTo copies the site as cp -r does.
func (s *site) copyTo() *site {
	s.Helper()
	c := newSite(s.T)
	c.now = s.now
	s.ok(os.RemoveAll(c.dir))
	s.ok(os.CopyFS(c.dir, os.DirFS(s.dir)))
	return c
}

// TestCopied is case (c): the folder was copied.
func TestCopied(t *testing.T) {
	s := newSite(t)
	s.fill([]string{"v1"}, []string{"v2"})

	c := s.copyTo()
	db, r := c.open()
	if !r.Moved || r.From != "" {
		t.Errorf("a good copy: %+v", r)
	}
	if got := c.tags(db); got != "v1 v2" {
		t.Errorf("tags %q", got)
	}
	if db, r = c.open(); r != (Recovery{}) {
		t.Errorf("the next time: %+v", r)
	}
	db.Close()

	torn := s.copyTo()
	torn.overwrite(torn.path(), 5000, strings.Repeat("torn ", 4000))
	was, err := os.ReadFile(torn.path())
	s.ok(err)
	torn.now = torn.now.Add(time.Minute)
	db, r = torn.open()
	if !r.Moved || r.From == "" || r.Cause == nil || r.Age != time.Minute {
		t.Errorf("a torn copy: %+v", r)
	}
	if got := torn.tags(db); got != "v1" {
		t.Errorf("tags %q", got)
	}
	if aside, err := os.ReadFile(r.Aside); err != nil || string(aside) != string(was) {
		t.Errorf("what was put aside is not the torn copy: %v", err)
	}

	torn = s.copyTo()
	torn.overwrite(torn.path(), 5000, strings.Repeat("torn ", 4000))
	s.ok(os.RemoveAll(torn.snaps.Dir))
	if err := torn.fail(); !errors.Is(err, errBroken) && !isCorrupt(err) {
		t.Errorf("without a snapshot: %v", err)
	}
	if _, err := os.Stat(torn.path()); err != nil {
		t.Errorf("without a snapshot the torn copy was taken away: %v", err)
	}
}

// TestCopiedWhileWriting copies database and log at different moments, which is
// what cp does. Whatever comes of it: it starts, and what it says is right.
func TestCopiedWhileWriting(t *testing.T) {
	s := newSite(t)
	db, _ := s.open()
	s.put(db, "v1")
	s.take(db)
	s.put(db, "v2", "v3")
	first := s.copyTo()
	s.put(db, "v4")
	s.ok(db.Idle(t.Context()))
	s.put(db, "v5", "v6")
	second := s.copyTo()
	db.Close()
	s.ok(os.Rename(first.path(), second.path())) // an old database, and a new log that is not its own
	got, r := second.open()
	if !r.Moved {
		t.Errorf("not known as a copy: %+v", r)
	}
	if err := got.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if tags := second.tags(got); !strings.HasPrefix(tags, "v1") {
		t.Errorf("tags %q: what was in the snapshot is gone", tags)
	}
}

// TestCopiedRecordsOfAnotherMoment holds that a copy whose recorded changes do not
// continue what is in its database counts as torn. Where nothing was copied, somebody
// must decide.
func TestCopiedRecordsOfAnotherMoment(t *testing.T) {
	s := newSite(t)
	db, _ := s.open()
	defer db.Close()
	s.put(db, "v1")
	s.take(db)
	touchClock(t, db)
	s.put(db, "v2")
	s.ok(db.writer.settled(t.Context()))
	c := s.copyTo()
	s.ok(db.DeleteTag(t.Context(), mustRepo(t, "a"), mustTag(t, "v2"), event.Actor{}))
	copyFiles(t, s.path(), c.path(), redoExt)
	pool := rawPool(t, c.path())
	exec(t, pool, `DELETE FROM tags WHERE name = 'v2'`)
	pool.Close()
	at := c.copyTo()
	got, r := c.open()
	if !r.Moved || r.From == "" || !errors.Is(r.Cause, errUnlike) {
		t.Errorf("got %+v", r)
	}
	if tags := c.tags(got); tags != "v1" {
		t.Errorf("tags %q", tags)
	}
	id, err := fileID(at.path())
	if err == nil {
		err = os.WriteFile(at.path()+".id", []byte(id), 0o600) // as if it had always been there
	}
	s.ok(err)
	if err := at.fail(); !errors.Is(err, errUnlike) {
		t.Errorf("one that is where it was: %v", err)
	}
}

// TestKilledInFirstStart holds that a database which did not get its tables yet
// is taken for new where none was before, and for torn where one was.
func TestKilledInFirstStart(t *testing.T) {
	s := newSite(t)
	begun := func() {
		pool := rawPool(t, s.path())
		exec(t, pool, `PRAGMA user_version = 0`)
		pool.Close()
		if info, err := os.Stat(s.path()); err != nil || info.Size() == 0 {
			t.Fatalf("%v, %v", info, err)
		}
	}
	begun()
	db, r := s.open()
	if !r.Moved || r.From != "" {
		t.Errorf("got %+v", r)
	}
	db.Close()

	s.ok(os.Remove(s.path()))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := OpenOrRestore(ctx, s.options(), s.snaps); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	begun()
	db, _ = s.open() // it was gone once, so nothing is torn
	db.Close()

	snap := s.fill([]string{"v1"}, nil)
	s.ok(os.Rename(s.path(), s.path()+".moved"))
	begun()
	db, r = s.open()
	if r.From != snap.Path || !errors.Is(r.Cause, errEmpty) {
		t.Errorf("got %+v", r)
	}
	db.Close()
}

// TestUnknownIsNotReplaced holds that a broken file that was never opened here is
// not taken away: it may be something else altogether.
func TestUnknownIsNotReplaced(t *testing.T) {
	s := newSite(t)
	s.fill([]string{"v1"}, nil)
	s.ok(errors.Join(os.Remove(s.path()+".id"), os.WriteFile(s.path(), []byte(strings.Repeat("a diary ", 1000)), 0o600)))
	if err := s.fail(); !isCorrupt(err) {
		t.Errorf("got %v", err)
	}
	if text, err := os.ReadFile(s.path()); err != nil || !strings.HasPrefix(string(text), "a diary") {
		t.Errorf("the file was changed: %.20q, %v", text, err)
	}
}

// TestNewerIsNotReplaced is case (d).
func TestNewerIsNotReplaced(t *testing.T) {
	s := newSite(t)
	s.fill([]string{"v1"}, nil)
	exec(t, rawPool(t, s.path()), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, 1)`)
	for range 2 { // where it was, and as a copy
		if err := s.fail(); !errors.Is(err, errNewer) {
			t.Errorf("got %v, want %v", err, errNewer)
		}
		s.ok(os.WriteFile(s.path()+".id", []byte("another"), 0o600))
	}
	if got := s.files("*broken*"); len(got) != 0 {
		t.Errorf("put aside: %v", got)
	}
}

// TestInterruptedRestore holds that a start that is killed anywhere in a restore
// is made good by the next one.
func TestInterruptedRestore(t *testing.T) {
	s := newSite(t)
	s.fill([]string{"v1"}, []string{"v2"})
	s.ok(os.Rename(s.path(), s.path()+".broken-20261123T101500Z"))
	s.ok(os.WriteFile(s.path()+"-wal", []byte("the log of the broken one"), 0o600))
	s.ok(os.WriteFile(s.path()+".restoring", []byte("half a snap"), 0o600))
	db, r := s.open()
	if r.From == "" {
		t.Errorf("got %+v", r)
	}
	if got := s.tags(db); got != "v1" {
		t.Errorf("tags %q", got)
	}
	if _, err := os.Stat(s.path() + ".restoring"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("left: %v", err)
	}
}

func TestChecksFindDamage(t *testing.T) {
	tests := map[string]string{
		"not listed":       `UPDATE repos SET listed = 0`,
		"no members":       `INSERT INTO blobs (digest, key, size, damaged, created_us) VALUES ('sha256:x', 'k', 1, 0, 0)`,
		"no blob":          `PRAGMA foreign_keys = off; DELETE FROM blobs`,
		"tag of nothing":   `PRAGMA foreign_keys = off; DELETE FROM manifests; UPDATE repos SET listed = 0`,
		"forgotten":        `DELETE FROM manifest_refs; UPDATE repo_blobs SET candidate = 0`,
		"condemned in use": `INSERT INTO garbage (key, due) SELECT key, 0 FROM blobs`,
		"wrong digest":     `UPDATE tags SET digest = 'sha256:x'`,
	}
	for name, damage := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "berth.db")
			db := mustOpen(t, Options{Path: path})
			defer db.Close()
			pushBlob(t, db, mustRepo(t, "a"), "x")
			mustPut(t, db, imageOf(t, mustRepo(t, "a"), "v1", "x"))
			if err := db.Check(t.Context()); err != nil {
				t.Fatal(err)
			}
			exec(t, rawPool(t, path), damage)
			if err := db.Check(t.Context()); !errors.Is(err, errBroken) {
				t.Errorf("got %v, want %v", err, errBroken)
			}
		})
	}
}

// TestIdleCutsTheLog holds that a database at rest is one file.
func TestIdleCutsTheLog(t *testing.T) {
	s := newSite(t)
	db, _ := s.open()
	defer db.Close()
	s.put(db, "v1", "v2")
	s.ok(db.Idle(t.Context()))
	if info, err := os.Stat(s.path() + "-wal"); err != nil || info.Size() != 0 {
		t.Errorf("the log: %v, %v", info, err)
	}
	other := filepath.Join(s.dir, "other.db")
	s.ok(copyFile(s.path(), other))
	if got := s.tags(mustOpen(t, Options{Path: other})); got != "v1 v2" {
		t.Errorf("tags %q", got)
	}
}
