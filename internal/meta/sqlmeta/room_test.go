package sqlmeta

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"berth/internal/blob"
	"berth/internal/meta"
	"berth/internal/oci"
)

// TestRoomForUploads holds that there are no more unfinished uploads than there may
// be: those that nothing came of give way when they have rested, others never do.
func TestRoomForUploads(t *testing.T) {
	var running time.Duration
	o := Options{Path: filepath.Join(t.TempDir(), "berth.db"), MaxUploads: 3, Running: func() time.Duration { return running }}
	db := mustOpen(t, o)
	begin := func(id meta.UploadID) (meta.Upload, error) {
		u := uploadOf(t, id)
		return u, db.CreateUpload(t.Context(), u)
	}
	must := func(id meta.UploadID) meta.Upload {
		t.Helper()
		u, err := begin(id)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	full := func(why string) {
		t.Helper()
		if _, err := begin("too many"); !errors.Is(err, meta.ErrTooManyUploads) {
			t.Fatalf("%s: got %v", why, err)
		}
	}
	has := func(want ...meta.UploadID) {
		t.Helper()
		var got []meta.UploadID
		for _, r := range db.ledger.behind("", 100) {
			got = append(got, r.ID)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("there are %v, want %v", got, want)
		}
	}
	savedWith(t, db, must("a"), 5)
	b := must("b")
	running += emptyFor
	must("c")
	running += emptyFor / 2
	must("d") // b has rested
	has("a", "c", "d")
	if known, err := db.KnownKey(t.Context(), b.Key); err != nil || !known {
		t.Errorf("what came of an upload that gave way is not collected: %v, %v", known, err)
	}
	if _, err := db.FindUpload(t.Context(), b.Repo, "b"); !errors.Is(err, meta.ErrNotFound) {
		t.Errorf("an upload that gave way: got %v", err)
	}
	full("none has rested for long")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	o.MaxUploads = 2 // they are there all the same
	db = mustOpen(t, o)
	defer db.Close()
	has("a", "c", "d")
	running += emptyFor
	savedWith(t, db, must("e"), 7) // c and d have rested
	has("a", "e")
	running += 100 * emptyFor
	full("all have saved something")
	if err := db.DropUpload(t.Context(), meta.Upload{ID: "a", Repo: mustRepo(t, "a")}); err != nil {
		t.Fatal(err)
	}
	must("f")
	has("e", "f")
}

// TestChoose holds that the lists of a ledger are the first ones in their order,
// however many there are.
func TestChoose(t *testing.T) {
	l := newLedger("", func() int64 { return 0 })
	const n = 1000
	for i := range n {
		id := meta.UploadID(fmt.Sprintf("%04d", i))
		l.all[id] = &running{Upload: meta.Upload{ID: id}, saved: int64(n - i)}
	}
	for _, limit := range []int{0, 1, 7, 333, n, 2 * n} {
		for name, order := range map[string]func(a, b *running) int{"by identifier": byID, "by time": bySaved} {
			odd := func(r *running) bool { return r.saved%2 == 1 }
			list := l.list(limit, odd, order)
			if len(list) != min(limit, n/2) || !slices.IsSortedFunc(list, order) {
				t.Errorf("%d %s: got %d, or in another order", limit, name, len(list))
			}
			for i, r := range list {
				want := int64(2*i + 1)
				if name == "by identifier" {
					want = int64(n-1) - int64(2*i)
				}
				if r.saved != want || l.all[r.ID] == r {
					t.Fatalf("%d %s: item %d is %s, or no copy", limit, name, i, r.ID)
				}
			}
		}
	}
}

// BenchmarkAbandonedUploads measures what uploads take in memory that are begun and
// left alone.
func BenchmarkAbandonedUploads(b *testing.B) {
	db := mustOpen(b, Options{Path: filepath.Join(b.TempDir(), "berth.db")})
	defer db.Close()
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, n := heap(), 0
	for b.Loop() {
		n++
		u := meta.Upload{ID: meta.UploadID(fmt.Sprintf("%032x-key", n)), Repo: mustRepo(b, "team/"+fmt.Sprint(n%7)), By: "ci", Key: blob.NewKey(), Algorithm: oci.SHA256, Started: time.Now()}
		if err := db.CreateUpload(b.Context(), u); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(heap()-before)/float64(n), "B/upload")
}
