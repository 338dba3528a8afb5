package model_test

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"berth/internal/blob"
	"berth/internal/blob/blobtest"
	"berth/internal/blob/fsblob"
	"berth/internal/blob/memblob"
	"berth/internal/gc"
	"berth/internal/meta"
	"berth/internal/meta/sqlmeta"
	"berth/internal/oci"
	"berth/internal/registry"
)

// How long things are kept in these tests. The rest is chosen by the seed.
const (
	delay      = time.Minute
	uploadIdle = 2 * time.Hour
	tombstones = 7 * 24 * time.Hour // as package gc has it
)

// A world is a registry whose process, disk and clock are in the test's hands.
type world struct {
	t    *testing.T
	seed uint64
	rnd  *rand.Rand
	pool *pool
	log  []string // the steps so far

	dir     string // the data directory
	dbs     int    // how many places the database has had
	running time.Duration
	ticks   time.Duration // when the process began
	saved   time.Duration // ticks that survive a crash
	grace   time.Duration
	keep    time.Duration // of the trash
	refuse  bool          // RefuseMissing
	wall    time.Time     // when the process began, by a clock that people set

	immutable func(oci.Repo, oci.Tag) bool // which tags neither move nor go

	raw       store // without faults
	db        *sqlmeta.DB
	peekDB    *sql.DB
	faults    *faults
	recs      *records // db with the faults
	core      *registry.Core
	quiet     *registry.Core // without faults, and its reads leave no trace
	collector *gc.Collector

	memory  int64 // of the process, for records
	fragile bool  // whether anything is damaged behind the registry's back
	damaged bool  // it was

	s        state             // what is recorded
	broken   map[blob.Key]bool // objects that were damaged behind the registry's back
	sessions []*session        // uploads that the clients know of
	ghosts   []*session        // uploads that are over, of which a value is left
	mem      *memblob.Store    // nil: files
}

// A store is what both stores are.
type store interface {
	blob.Store
	blob.Recoverer
}

// A session is an upload as its client knows it.
type session struct {
	id      meta.UploadID
	repo    oci.Repo
	by      string
	content []byte
	algo    oci.Algorithm
	stale   registry.Upload // a value from before; nil after a restart
	hollow  bool            // the bytes may be gone
}

// dataDir returns a directory that is in memory where the system has one: these
// tests wait for thousands of commits, and not for the disk.
func dataDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "berth-model-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func newWorld(t *testing.T, seed uint64) *world {
	t.Helper()
	w := &world{
		t: t, seed: seed, rnd: rand.New(rand.NewPCG(seed, 1)), dir: dataDir(t), broken: make(map[blob.Key]bool),
		wall: time.Unix(1_700_000_000, 0),
	}
	w.pool = newPool(t, w.rnd)
	w.refuse, w.fragile = w.chance(20), w.chance(60)
	if seed%2 == 1 {
		w.mem = memblob.New()
	}
	w.begin()
	t.Cleanup(w.end)
	w.s = w.peek()
	return w
}

func (w *world) chance(percent int) bool { return w.rnd.IntN(100) < percent }

func pick[T any](w *world, list []T) T { return list[w.rnd.IntN(len(list))] }

// now is the time that counts for grace.
func (w *world) now() time.Duration { return w.ticks + w.running }

func (w *world) dbPath() string { return filepath.Join(w.dir, fmt.Sprintf("db%d", w.dbs), "berth.db") }

// begin starts a process.
func (w *world) begin() {
	w.t.Helper()
	w.running, w.ticks = 0, w.saved
	w.grace, w.memory = pick(w, []time.Duration{0, time.Hour, time.Hour}), pick(w, []int64{0, 1 << 20, 1 << 20})
	w.configure()
	if err := os.MkdirAll(filepath.Dir(w.dbPath()), 0o700); err != nil {
		w.t.Fatal(err)
	}
	var err error
	w.db, err = sqlmeta.Open(w.t.Context(), sqlmeta.Options{
		Path: w.dbPath(), Grace: w.grace, Delay: delay, Trash: w.keep, Immutable: w.immutable,
		Memory: w.memory, Doubt: func(err error) { w.t.Error(err) },
		Running: func() time.Duration { return w.running }, Now: func() time.Time { return w.wall.Add(w.running) },
	})
	if err != nil {
		w.fatalf("open the database: %v", err)
	}
	if w.raw = w.mem; w.mem == nil {
		if w.raw, err = fsblob.Open(fsblob.Options{
			Dir: filepath.Join(w.dir, "data"), Known: func(ctx context.Context, key blob.Key) (bool, error) { return w.db.KnownKey(ctx, key) },
		}); err != nil {
			w.fatalf("open the store: %v", err)
		}
	}
	name := url.URL{Scheme: "file", Path: w.dbPath(), RawQuery: "_pragma=busy_timeout(10000)"}
	if w.peekDB, err = sql.Open("sqlite", name.String()); err != nil {
		w.fatalf("open the database to look into it: %v", err)
	}
	w.wire()
}

// configure chooses settings that may be others after each restart.
func (w *world) configure() {
	w.keep = pick(w, []time.Duration{0, 5 * time.Hour, 30 * time.Hour, tombstones})
	w.immutable = func(oci.Repo, oci.Tag) bool { return false }
	if w.chance(40) {
		repo, all := pick(w, w.pool.repos), w.chance(20)
		w.immutable = func(r oci.Repo, t oci.Tag) bool { return r == repo && (all || t.String()[0] == 'v') }
	}
}

// wire puts the parts together.
func (w *world) wire() {
	w.faults = &faults{}
	log := slog.New(slog.DiscardHandler)
	w.recs = &records{w.db, w.faults}
	faulty := blobtest.Faulty(w.raw, w.faults.inject)
	o := registry.Options{
		Blobs: faulty, Records: w.recs, Log: log, Deletion: registry.DeletionOn, RefuseMissing: w.refuse,
		Grace: w.grace, CheckpointBytes: 50_000, CheckpointEvery: time.Hour,
	}
	w.core = registry.New(o)
	w.collector = &gc.Collector{Records: w.recs, Blobs: faulty, Grace: w.grace, Delay: delay, UploadIdle: uploadIdle, Log: log}
	o.Blobs, o.Records, o.Grace = w.raw, w.db, -time.Hour
	w.quiet = registry.New(o)
}

// end ends the process as it should.
func (w *world) end() {
	w.peekDB.Close()
	if err := w.db.Close(); err != nil {
		w.t.Errorf("close the database: %v", err)
	}
	if c, ok := w.raw.(io.Closer); ok {
		c.Close()
	}
}

// restart ends the process and begins another one.
func (w *world) restart() {
	w.t.Helper()
	w.saved = max(w.saved, w.now())
	w.wall = w.wall.Add(w.running)
	w.end()
	w.begin()
	w.forgetHandles()
}

// committed sees to it that what is recorded is in the database, for who reads it by
// another connection. Any reader does.
func (w *world) committed() {
	w.t.Helper()
	if _, err := w.db.KnownKey(w.t.Context(), "none"); err != nil {
		w.t.Fatal(err)
	}
}

// crash begins another process with what is in the files at this moment.
func (w *world) crash() {
	w.t.Helper()
	old := w.dbPath()
	w.dbs++
	if err := os.MkdirAll(filepath.Dir(w.dbPath()), 0o700); err != nil {
		w.t.Fatal(err)
	}
	for _, suffix := range []string{"", "-wal", "-uploads", "-redo"} {
		b, err := os.ReadFile(old + suffix)
		if err == nil {
			err = os.WriteFile(w.dbPath()+suffix, b, 0o600)
		}
		if err != nil && !os.IsNotExist(err) {
			w.t.Fatal(err)
		}
	}
	w.end()
	os.RemoveAll(filepath.Dir(old))
	w.begin()
	w.forgetHandles()
}

func (w *world) forgetHandles() {
	w.ghosts = nil
	for _, s := range w.sessions {
		s.stale = nil
	}
}

// step notes what is being done.
func (w *world) step(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf(format, args...))
}

// fatalf ends the test with what led to this.
func (w *world) fatalf(format string, args ...any) {
	w.t.Helper()
	tail := w.log[max(0, len(w.log)-40):]
	text := ""
	for i, s := range tail {
		text += fmt.Sprintf("%5d %s\n", len(w.log)-len(tail)+i+1, s)
	}
	w.t.Fatalf("seed %d (BERTH_TEST_SEED=%d), step %d: %s\nthe last steps:\n%s", w.seed, w.seed, len(w.log), fmt.Sprintf(format, args...), text)
}
