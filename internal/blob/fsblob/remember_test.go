package fsblob

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"berth/internal/blob"
)

// openRemembering opens a data directory with a memory of limit bytes, which
// believes no earlier look, and returns what its calls of the file system are
// written to.
func openRemembering(t testing.TB, dir string, limit int64) (*Remembering, *opList) {
	t.Helper()
	if !hasStamps {
		t.Skip("nothing is remembered on this system")
	}
	ops := &opList{}
	m := openTest(t, dir, ops.hook).Remember(limit)
	start, n := time.Now(), atomic.Int64{}
	m.now = func() time.Time { return start.Add(time.Duration(n.Add(1)) * believed) }
	return m, ops
}

// An opList notes what is done to the file system.
type opList struct {
	mu  sync.Mutex
	ops []string
}

func (l *opList) hook(op, _ string, do func() error) error {
	l.mu.Lock()
	l.ops = append(l.ops, op)
	l.mu.Unlock()
	return do()
}

// take returns what was noted and forgets it.
func (l *opList) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	ops := l.ops
	l.ops = nil
	return ops
}

// bytesOf returns the content of key as a pull gets it.
func bytesOf(t testing.TB, s blob.Store, key blob.Key) ([]byte, error) {
	t.Helper()
	r, err := s.Open(t.Context(), key)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if small, ok := r.(blob.Small); ok {
		return small.Bytes()
	}
	return io.ReadAll(r)
}

func pulls(t testing.TB, s blob.Store, key blob.Key, want string) {
	t.Helper()
	if got, err := bytesOf(t, s, key); err != nil || string(got) != want {
		t.Errorf("%s: got %d bytes %.20q, %v, want %d bytes", key, len(got), got, err, len(want))
	}
}

// TestRemember holds what a pull of a small object does to the file system: the
// second one nothing but one look. Who asks the Store gets the file each time.
func TestRemember(t *testing.T) {
	m, ops := openRemembering(t, t.TempDir(), 1<<20)
	small, large := strings.Repeat("s", maxSmall), strings.Repeat("l", maxSmall+1)
	for _, tt := range []struct {
		content string
		again   []string
	}{{small, []string{"stat"}}, {large, []string{"open"}}, {"", []string{"stat"}}} {
		key := mustPut(t, m.Store, tt.content)
		ops.take()
		pulls(t, m, key, tt.content)
		if got, want := ops.take(), []string{"open"}; !slices.Equal(got, want) {
			t.Errorf("%d bytes: got calls %v, want %v", len(tt.content), got, want)
		}
		pulls(t, m, key, tt.content)
		if got := ops.take(); !slices.Equal(got, tt.again) {
			t.Errorf("%d bytes, again: got calls %v, want %v", len(tt.content), got, tt.again)
		}
		for name, open := range map[string]func() (blob.Reader, error){
			"Store.Open": func() (blob.Reader, error) { return m.Store.Open(t.Context(), key) },
			"OpenOnce":   func() (blob.Reader, error) { return m.OpenOnce(t.Context(), key) },
			"Find":       func() (blob.Reader, error) { return m.Find(t.Context(), key) },
		} {
			r, err := open()
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := r.(blob.Small); ok {
				t.Errorf("%s reads from memory", name)
			}
			r.Close()
			if got, want := ops.take(), []string{"open"}; !slices.Equal(got, want) {
				t.Errorf("%s: got calls %v, want %v", name, got, want)
			}
		}
	}
}

// TestBelieved holds for how long a pull believes the last look at a file, and that
// nobody else does.
func TestBelieved(t *testing.T) {
	const content = "content"
	dir := t.TempDir()
	m, ops := openRemembering(t, dir, 1<<20)
	now := time.Now()
	m.now = func() time.Time { return now }
	key := mustPut(t, m.Store, content)
	pull := func(want ...string) {
		t.Helper()
		ops.take()
		pulls(t, m, key, content)
		if got := ops.take(); !slices.Equal(got, want) {
			t.Errorf("got calls %v, want %v", got, want)
		}
	}
	pull("open")
	pull("stat") // that it was there when it was opened is not believed
	pull()
	now = now.Add(believed - 1)
	pull()
	now = now.Add(1)
	pull("stat")
	pull()

	// Somebody else takes it away: who asks whether it is there is told.
	o, _ := parseFinished(key)
	at := filepath.Join(dir, o.path())
	if err := os.Rename(at, at+".away"); err != nil {
		t.Fatal(err)
	}
	pull()
	if size, err := m.Look(t.Context(), key); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %d, %v of what is not there", size, err)
	}
	if got, err := bytesOf(t, m, key); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %q, %v although somebody has looked", got, err)
	}
	if err := os.Rename(at+".away", at); err != nil {
		t.Fatal(err)
	}
	pull("open")
	pull("stat")
	pull()
	if _, err := m.Look(t.Context(), key); err != nil {
		t.Error(err)
	}
	now = now.Add(believed)
	if _, err := m.Look(t.Context(), key); err != nil {
		t.Error(err)
	}
	pull() // the look of another one is as good
}

// TestBelievedDeletions holds that what this process takes away is gone at once,
// whichever part of it does so.
func TestBelievedDeletions(t *testing.T) {
	for name, take := range map[string]func(m *Remembering, key blob.Key) error{
		"the memory": func(m *Remembering, key blob.Key) error { return m.Delete(t.Context(), key) },
		"the store":  func(m *Remembering, key blob.Key) error { return m.Store.Delete(t.Context(), key) },
		"the quarantine": func(m *Remembering, key blob.Key) error {
			_, err := m.Store.Quarantine(t.Context(), key)
			return err
		},
	} {
		m, _ := openRemembering(t, t.TempDir(), 1<<20)
		now := time.Now()
		m.now = func() time.Time { return now }
		key, other := mustPut(t, m.Store, "content"), mustPut(t, m.Store, "another")
		for range 3 {
			pulls(t, m, key, "content")
			pulls(t, m, other, "another")
		}
		if err := take(m, key); err != nil {
			t.Fatal(err)
		}
		if got, err := bytesOf(t, m, key); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("deleted by %s: got %q, %v", name, got, err)
		}
		pulls(t, m, other, "another")
	}
}

// TestBelievedLate keeps bytes in memory that were read after their object was
// deleted: nobody gets them.
func TestBelievedLate(t *testing.T) {
	m, _ := openRemembering(t, t.TempDir(), 1<<20)
	now := time.Now()
	m.now = func() time.Time { return now }
	key := mustPut(t, m.Store, "content")
	r, err := m.Open(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := m.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if got, err := r.(blob.Small).Bytes(); err != nil || string(got) != "content" {
		t.Errorf("got %q, %v of what was open", got, err)
	}
	for range 2 {
		if got, err := bytesOf(t, m, key); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %q, %v, want nothing", got, err)
		}
	}
}

// TestRememberUnread holds that asking whether an object is there reads nothing.
func TestRememberUnread(t *testing.T) {
	m, _ := openRemembering(t, t.TempDir(), 1<<20)
	key := mustPut(t, m.Store, "content")
	r, err := m.Open(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	if m.used != 0 || len(m.objects) != 0 {
		t.Errorf("got %d bytes of %d objects in memory, want none", m.used, len(m.objects))
	}
}

// TestLook holds that asking for a size opens a file once, whatever its size, and
// looks at it from then on; and that it keeps no bytes.
func TestLook(t *testing.T) {
	m, ops := openRemembering(t, t.TempDir(), 1<<20)
	for _, content := range []string{"", "content", strings.Repeat("l", maxSmall+1)} {
		key := mustPut(t, m.Store, content)
		ops.take()
		for _, want := range []string{"open", "stat", "stat"} {
			size, err := m.Look(t.Context(), key)
			if got := ops.take(); err != nil || size != int64(len(content)) || !slices.Equal(got, []string{want}) {
				t.Errorf("%d bytes: got %d, %v with calls %v, want one %s", len(content), size, err, got, want)
			}
		}
		pulls(t, m, key, content)
		if got, want := ops.take(), []string{"open"}; !slices.Equal(got, want) {
			t.Errorf("%d bytes, pulled then: got calls %v, want %v", len(content), got, want)
		}
		if err := m.Store.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		if size, err := m.Look(t.Context(), key); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%d bytes, deleted: got %d, %v", len(content), size, err)
		}
	}
	if m.used != 0 {
		t.Errorf("got %d bytes in memory, want none", m.used)
	}
	none := m.Remember(0)
	key := mustPut(t, m.Store, "x")
	for range 2 {
		if size, err := none.Look(t.Context(), key); size != 1 || err != nil || none.used != 0 {
			t.Errorf("without a memory: got %d, %v, and %d bytes in memory", size, err, none.used)
		}
	}
}

// TestRememberedDamage changes the file of an object that is in memory. What was
// remembered is not served any more; what is found there is, as ever.
func TestRememberedDamage(t *testing.T) {
	const content = "the content of an object"
	tests := []struct {
		name   string
		damage func(at string) error
		want   string // as a pull finds it; empty for missing
	}{
		{"deleted", os.Remove, ""},
		{"cut off", func(at string) error { return os.Truncate(at, 3) }, "the"},
		{"written to", func(at string) error { return writeInto(at, "THE CONTENT OF AN OBJECT") }, "THE CONTENT OF AN OBJECT"},
		{"written to, with its time put back", func(at string) error {
			info, err := os.Stat(at)
			return errors.Join(err, writeInto(at, "THE CONTENT OF AN OBJECT"), os.Chtimes(at, info.ModTime(), info.ModTime()))
		}, "THE CONTENT OF AN OBJECT"},
		{"replaced", func(at string) error {
			return errors.Join(os.WriteFile(at+".new", []byte("THE CONTENT OF AN OBJECT"), 0o600), os.Rename(at+".new", at))
		}, "THE CONTENT OF AN OBJECT"},
		{"a directory", func(at string) error { return errors.Join(os.Remove(at), os.Mkdir(at, 0o700)) }, ""},
		{"a link to itself, moved", func(at string) error {
			return errors.Join(os.Rename(at, at+".moved"), os.Symlink(filepath.Base(at)+".moved", at))
		}, ""},
		{"its directory is gone", func(at string) error { return os.RemoveAll(filepath.Dir(at)) }, ""},
		{"made unreadable and readable again", func(at string) error { return errors.Join(os.Chmod(at, 0), os.Chmod(at, 0o600)) }, content},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			m, _ := openRemembering(t, dir, 1<<20)
			key := mustPut(t, m.Store, content)
			pulls(t, m, key, content)
			pulls(t, m, key, content)
			looked := m.Remember(1 << 20) // has looked and not read
			if _, err := looked.Look(t.Context(), key); err != nil {
				t.Fatal(err)
			}
			o, _ := parseFinished(key)
			if err := tt.damage(filepath.Join(dir, o.path())); err != nil {
				t.Fatal(err)
			}
			size, err := looked.Look(t.Context(), key)
			if tt.want == "" && !errors.Is(err, fs.ErrNotExist) || tt.want != "" && (err != nil || size != int64(len(tt.want))) {
				t.Errorf("Look: got %d, %v, want the size of %q", size, err, tt.want)
			}
			for range 2 {
				got, err := bytesOf(t, m, key)
				if tt.want == "" && !errors.Is(err, fs.ErrNotExist) || tt.want != "" && (err != nil || string(got) != tt.want) {
					t.Errorf("got %q, %v, want %q", got, err, tt.want)
				}
			}
		})
	}
}

func writeInto(at, content string) error {
	f, err := os.OpenFile(at, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt([]byte(content), 0)
	return err
}

// TestRememberedLinks puts a link in the place of a directory on the way to an
// object that is in memory.
func TestRememberedLinks(t *testing.T) {
	const content = "content"
	for _, plain := range []bool{false, true} {
		base := t.TempDir()
		a := &attack{t: t, dir: filepath.Join(base, "data"), outside: filepath.Join(base, "outside")}
		m, _ := openRemembering(t, a.dir, 1<<20)
		m.d.plain = m.d.plain || plain
		a.s = m.Store
		key := mustPut(t, a.s, content)
		o, _ := parseFinished(key)
		writeFile(t, filepath.Join(a.outside, string(o.id)), content)
		writeFile(t, filepath.Join(a.outside, o.digest.Hex(), string(o.id)), content)
		for _, name := range []string{o.hexDir(), filepath.Dir(o.hexDir())} {
			pulls(t, m, key, content)
			at := filepath.Join(a.dir, name)
			if err := os.Rename(at, at+".moved"); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(a.outside, at); err != nil {
				t.Fatal(err)
			}
			if got, err := bytesOf(t, m, key); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s is a link: got %q, %v, want an error that wraps fs.ErrNotExist", name, got, err)
			}
			if err := errors.Join(os.Remove(at), os.Rename(at+".moved", at)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestRememberedAdopted replaces a file of registry:2 that is in memory.
func TestRememberedAdopted(t *testing.T) {
	dir := t.TempDir()
	m, ops := openRemembering(t, dir, 1<<20)
	d := digestOf("content")
	at := filepath.Join(dir, dataPath(d))
	writeFile(t, at, "content")
	o, err := m.Data(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	pulls(t, m, o.Key, "content")
	ops.take()
	pulls(t, m, o.Key, "content")
	if got := ops.take(); !slices.Equal(got, []string{"stat"}) {
		t.Errorf("got calls %v, want one look", got)
	}
	if err := os.Remove(at); err != nil {
		t.Fatal(err)
	}
	writeFile(t, at, "CONTENT")
	pulls(t, m, o.Key, "CONTENT")
}

// TestRememberLimit holds that memory stays within its limit, and that what was
// used last is what stays.
func TestRememberLimit(t *testing.T) {
	const limit = 100_000
	m, ops := openRemembering(t, t.TempDir(), limit)
	var keys []blob.Key
	content := func(i int) string { return strings.Repeat(fmt.Sprint(i%10), 10_000+i) }
	for i := range 20 {
		keys = append(keys, mustPut(t, m.Store, content(i)))
		pulls(t, m, keys[i], content(i))
		pulls(t, m, keys[0], content(0)) // in use all the time
		if m.used > limit || m.used < 10_000 {
			t.Fatalf("after %d: %d bytes are used of %d", i, m.used, limit)
		}
	}
	ops.take()
	pulls(t, m, keys[0], content(0))
	pulls(t, m, keys[19], content(19))
	pulls(t, m, keys[1], content(1))
	if got, want := ops.take(), []string{"stat", "stat", "open"}; !slices.Equal(got, want) {
		t.Errorf("got calls %v, want %v", got, want)
	}
	for _, key := range keys {
		if err := m.Delete(t.Context(), key); err != nil {
			t.Error(err)
		}
	}
	if m.used != 0 || m.recent.Len() != 0 || len(m.objects) != 0 {
		t.Errorf("all is deleted, and %d bytes of %d objects are in memory", m.used, m.recent.Len())
	}
	tiny, _ := openRemembering(t, t.TempDir(), entryCost)
	pulls(t, tiny, mustPut(t, tiny.Store, "x"), "x")
	if tiny.used != 0 {
		t.Errorf("got %d bytes in a memory of %d", tiny.used, entryCost)
	}
}

// TestRememberConcurrently pulls, deletes and pushes at once, from a memory that
// holds a part: whoever gets an answer gets the right bytes, and has them for as
// long as they like.
func TestRememberConcurrently(t *testing.T) {
	m, _ := openRemembering(t, t.TempDir(), 50_000)
	const objects = 32
	var mu sync.RWMutex
	keys := make([]blob.Key, objects)
	content := func(i int) []byte { return bytes.Repeat([]byte{byte('A' + i)}, 1000+100*i) }
	for i := range keys {
		keys[i] = mustPut(t, m.Store, string(content(i)))
	}
	var pulling, pushing sync.WaitGroup
	stop := make(chan struct{})
	pushing.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			i := n % objects
			fresh, err := put(t, m.Store, blob.NewKey(), string(content(i)))
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			old := keys[i]
			keys[i] = fresh
			mu.Unlock()
			if err := m.Delete(t.Context(), old); err != nil {
				t.Error(err)
			}
		}
	})
	for c := range 8 {
		pulling.Go(func() {
			held := map[int][]byte{}
			for n := range 500 {
				i := (n*7 + c) % objects
				mu.RLock()
				key := keys[i]
				mu.RUnlock()
				got, err := bytesOf(t, m, key)
				if errors.Is(err, fs.ErrNotExist) {
					continue // deleted in between
				}
				if err != nil {
					t.Error(err)
					return
				}
				held[i] = got
				runtime.Gosched()
				for i, got := range held {
					if !bytes.Equal(got, content(i)) {
						t.Errorf("%d: got %d bytes of %q", i, len(got), got[0])
						return
					}
				}
			}
		})
	}
	pulling.Wait()
	close(stop)
	pushing.Wait()
}

// TestRememberedAllocations holds that a pull from memory costs no copy.
func TestRememberedAllocations(t *testing.T) {
	m, _ := openRemembering(t, t.TempDir(), 1<<20)
	m.d.hook = nil
	key := mustPut(t, m.Store, strings.Repeat("x", maxSmall))
	pulls(t, m, key, strings.Repeat("x", maxSmall))
	if n := testing.AllocsPerRun(100, func() {
		if _, err := bytesOf(t, m, key); err != nil {
			t.Fatal(err)
		}
	}); n > 6 {
		t.Errorf("got %v allocations, want at most 6", n)
	}
}

func BenchmarkPull(b *testing.B) {
	for _, limit := range []int64{0, 1 << 20} {
		for _, size := range []int{4 << 10, 64 << 10} {
			b.Run(fmt.Sprintf("memory=%d/size=%d", limit, size), func(b *testing.B) {
				m := openTest(b, b.TempDir(), nil).Remember(limit)
				key := mustPut(b, m.Store, strings.Repeat("x", size))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := bytesOf(b, m, key); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
