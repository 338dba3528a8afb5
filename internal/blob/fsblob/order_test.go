package fsblob

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"berth/internal/blob"
)

// A recorder is a hook that writes down what succeeded.
type recorder struct {
	mu  sync.Mutex
	ops []string
}

func (r *recorder) hook(op, name string, do func() error) error {
	err := do()
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.ops = append(r.ops, op+" "+name)
	}
	return err
}

// take returns what was written down. The fsyncs between two other steps may come in
// any order, and are given by name.
func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	ops := slices.DeleteFunc(r.ops, func(op string) bool { return strings.HasPrefix(op, "space ") || strings.HasPrefix(op, "open") })
	r.ops = nil
	isSync := func(i int) bool { return strings.HasPrefix(ops[i], "syncdir ") || strings.HasPrefix(ops[i], "fsync ") }
	for i := 1; i < len(ops); i++ {
		for j := i; j > 0 && isSync(j) && isSync(j-1) && ops[j] < ops[j-1]; j-- {
			ops[j], ops[j-1] = ops[j-1], ops[j]
		}
	}
	return ops
}

func wantOps(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// TestOrder holds the order of what makes a blob durable: the content before the
// name where the file system doesn't keep that order by itself, and with the name
// where it does once the disk has been given the content.
func TestOrder(t *testing.T) {
	for _, ordered := range []bool{false, true} {
		t.Run(fmt.Sprint("ordered ", ordered), func(t *testing.T) { testOrder(t, ordered) })
	}
}

func testOrder(t *testing.T, ordered bool) {
	var r recorder
	s := openTest(t, t.TempDir(), r.hook)
	s.ordered = ordered
	r.take()
	put := func(names ...string) {
		t.Helper()
		key := blob.NewKey()
		up := uploadPath(key)
		first, last := []string{"fsync " + up}, []string(nil)
		if ordered {
			first, last = []string{"await " + up}, first
		}
		linked := slices.IndexFunc(names, func(n string) bool { return strings.HasPrefix(n, "link ") }) + 1
		if _, err := put(t, s, key, "ab"); err != nil {
			t.Fatal(err)
		}
		for i, n := range names {
			names[i] = strings.ReplaceAll(n, "KEY", string(key))
		}
		wantOps(t, r.take(), slices.Concat([]string{"create " + up, "write " + up, "write " + up}, first, names[:linked], last, names[linked:], []string{"remove " + up}))
	}
	o := object{digestOf("ab"), "KEY"}
	alg, hh := blobsDir+"/sha256", path.Dir(o.hexDir())
	put("mkdir "+alg, "mkdir "+hh, "mkdir "+o.hexDir(), "link "+o.path(),
		"syncdir "+blobsDir, "syncdir "+alg, "syncdir "+hh, "syncdir "+o.hexDir())

	// The same content again: the upper directories are known to be durable; the
	// lowest one's entry is synced anew, since it is not remembered who made it.
	put("link "+o.path(), "syncdir "+hh, "syncdir "+o.hexDir())
}

// TestOrderUnsupported holds that the content comes first where one can't wait for
// the disk to be given it.
func TestOrderUnsupported(t *testing.T) {
	var r recorder
	s := openTest(t, t.TempDir(), func(op, name string, do func() error) error {
		if op == "await" {
			do = func() error { return errors.ErrUnsupported }
		}
		return r.hook(op, name, do)
	})
	s.ordered = true
	r.take()
	mustPut(t, s, "ab")
	var got []string
	for _, op := range r.take() {
		op, _, _ = strings.Cut(op, " ")
		got = append(got, op)
	}
	wantOps(t, got, []string{"create", "write", "write", "fsync", "mkdir", "mkdir", "mkdir", "link", "syncdir", "syncdir", "syncdir", "syncdir", "remove"})
}

// TestOrderRenaming is TestOrder where there are no hard links.
func TestOrderRenaming(t *testing.T) {
	var r recorder
	s := openTest(t, t.TempDir(), r.hook)
	mustPut(t, s, "ab")
	s.renames.Store(true)
	r.take()
	key := blob.NewKey()
	o := object{digestOf("ab"), key}
	up := uploadPath(key)
	if _, err := put(t, s, key, "ab"); err != nil {
		t.Fatal(err)
	}
	wantOps(t, r.take(), []string{
		"create " + up, "write " + up, "write " + up, "fsync " + up,
		"create " + up + ".intent", "write " + up + ".intent", "fsync " + up + ".intent", "syncdir " + uploadsDir,
		"rename " + o.path(), "syncdir " + path.Dir(o.hexDir()), "syncdir " + o.hexDir(),
		"remove " + up + ".intent",
	})

	// Taken back: the intent, which leads to the object, goes last.
	key, _ = interrupted(t, s, "taken back")
	r.take()
	w, err := s.Resume(t.Context(), key, 3, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	up = uploadPath(key)
	wantOps(t, r.take(), []string{
		"rename " + up, "remove " + object{digestOf("taken back"), key}.hexDir(), "syncdir " + uploadsDir, "remove " + up + ".intent", "truncate " + up,
	})
}

// TestOrderOpen holds that the fixed part of a new tree is durable before the
// first blob is.
func TestOrderOpen(t *testing.T) {
	var r recorder
	openTest(t, t.TempDir(), r.hook)
	want := []string{"mkdir berth", "syncdir .", "mkdir berth/uploads", "syncdir berth", "mkdir docker", "syncdir .",
		"mkdir docker/registry", "syncdir docker", "mkdir docker/registry/v2", "syncdir docker/registry",
		"mkdir docker/registry/v2/blobs", "syncdir docker/registry/v2"}
	got := r.take()
	wantOps(t, got[:min(len(want), len(got))], want)
}

// A durability is a hook that keeps account of what would survive a loss of
// power: names once their directory is fsynced, bytes once their file is.
type durability struct {
	mu    sync.Mutex
	names map[string]bool // false: made, and not yet durable
	dirty map[string]bool // files written to since their last fsync
}

func newDurability() *durability {
	return &durability{names: make(map[string]bool), dirty: make(map[string]bool)}
}

func (d *durability) hook(op, name string, do func() error) error {
	if op == "syncdir" { // beside others, as it really is
		covered := d.inside(name)
		err := do()
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, n := range covered {
			if _, ok := d.names[n]; ok && err == nil {
				d.names[n] = true
			}
		}
		return err
	}
	// What changes names happens in one step with the account of it.
	d.mu.Lock()
	defer d.mu.Unlock()
	err := do()
	if err != nil {
		return err
	}
	switch op {
	case "mkdir", "link", "rename":
		d.names[name] = false
	case "write":
		d.dirty[name] = true
	case "remove":
		delete(d.names, name)
	case "fsync":
		delete(d.dirty, name)
	}
	return nil
}

// inside returns which names a syncdir that begins now makes durable. Those that
// appear while it runs are not certain to be.
func (d *durability) inside(dir string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var covered []string
	for n := range d.names {
		if path.Dir(n) == dir {
			covered = append(covered, n)
		}
	}
	return covered
}

// survives returns what is missing for o to survive now.
func (d *durability) survives(o object) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dirty[uploadPath(o.id)] {
		return fmt.Errorf("%s is not fsynced", o.id)
	}
	for _, p := range prefixes(o.path()) {
		if durable, ok := d.names[p]; ok && !durable {
			return fmt.Errorf("the name %s is not durable", p)
		}
	}
	return nil
}

// TestDurableBesideOthers commits many objects at once, some into directories
// that others are making at the same moment, some into ones being deleted.
func TestDurableBesideOthers(t *testing.T) {
	d := newDurability()
	s := openTest(t, t.TempDir(), d.hook)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 12 {
				content := fmt.Sprint("content ", j%3)
				key := blob.NewKey()
				w, err := s.Create(t.Context(), key)
				if err != nil {
					t.Error(err)
					return
				}
				io.WriteString(w, content)
				final, err := w.Commit(t.Context(), digestOf(content))
				if err != nil {
					t.Error(err)
				} else if err := d.survives(object{digestOf(content), key}); err != nil {
					t.Error(err)
				}
				if err := w.Settle(t.Context()); err != nil {
					t.Error(err)
				}
				w.Close()
				if i%2 == 0 {
					if err := s.Delete(t.Context(), final); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
}

// TestDurableAfterKill holds that directories which a killed process made, and
// may not have fsynced, are fsynced by the next one that uses them.
func TestDurableAfterKill(t *testing.T) {
	dir := t.TempDir()
	o := object{digestOf("x"), blob.NewKey()}
	if err := os.MkdirAll(filepath.Join(dir, o.hexDir()), 0o755); err != nil {
		t.Fatal(err)
	}
	d := newDurability()
	for _, p := range prefixes(o.hexDir()) {
		d.names[p] = false
	}
	s := openTest(t, dir, d.hook)
	if _, err := put(t, s, o.id, "x"); err != nil {
		t.Fatal(err)
	}
	if err := d.survives(o); err != nil {
		t.Error(err)
	}
}
