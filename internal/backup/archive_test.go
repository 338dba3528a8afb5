package backup

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/internal/blob"
	"berth/internal/blob/fsblob"
)

// archiveOf returns a small backup as an archive.
func archiveOf(t testing.TB, w *world) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := Archive(t.Context(), w.source(), &b, Options{}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// An item is an entry of an archive.
type item struct {
	tar.Header
	body []byte
}

// items takes an archive apart.
func items(t testing.TB, b []byte) []item {
	t.Helper()
	var list []item
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, item{*h, body})
	}
}

// pack puts an archive together.
func pack(t testing.TB, list []item) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, i := range list {
		h := i.Header
		h.Size, h.PAXRecords, h.Format = int64(len(i.body)), nil, tar.FormatUnknown
		if h.Typeflag != tar.TypeReg {
			h.Size = 0
		}
		err := w.WriteHeader(&h)
		if err == nil && h.Typeflag == tar.TypeReg {
			_, err = w.Write(i.body)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestOrder holds the order of an archive, and that two of the same moment are
// alike.
func TestOrder(t *testing.T) {
	w := newWorld(t)
	for i := range 5 {
		w.push(fmt.Sprint(i))
	}
	s := w.source()
	var one, two bytes.Buffer
	if _, err := Archive(t.Context(), s, &one, Options{}); err != nil {
		t.Fatal(err)
	}
	if _, err := Archive(t.Context(), s, &two, Options{}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one.Bytes(), two.Bytes()) {
		t.Error("two archives of the same are not alike")
	}
	var got []string
	for _, i := range items(t, one.Bytes()) {
		name := i.Name
		if _, d, err := fsblob.KeyAt(name); err == nil {
			name = "object"
			if got := d.Algorithm().FromBytes(i.body); got != d {
				t.Errorf("%s holds %s", d, got)
			}
		}
		got = append(got, name)
	}
	want := "[berth-backup-begun.json berth/ berth/token.key berth/acme/reg.example.com object object object object object berth/berth.db berth-backup.json]"
	if fmt.Sprint(got) != want {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// TestUnpacked holds that an archive that tar has unpacked is a backup in the form
// of a folder.
func TestUnpacked(t *testing.T) {
	w := newWorld(t)
	d := w.push("one")
	dir := t.TempDir()
	for _, i := range items(t, archiveOf(t, w)) {
		path := filepath.Join(dir, filepath.FromSlash(i.Name))
		err := os.MkdirAll(filepath.Dir(path), 0o700)
		if err == nil && i.Typeflag == tar.TypeReg {
			err = os.WriteFile(path, i.body, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if res, err := Verify(t.Context(), dir, nil, Options{}); err != nil || res.Left != 0 || res.Copied != 1 {
		t.Errorf("verify: got %+v, %v", res, err)
	}
	wantBlob(t, dir, d, false)
}

// TestCutOff holds that an archive which ends too early is said to be cut off
// wherever that is, and that nothing can be started from what was restored.
func TestCutOff(t *testing.T) {
	w := newWorld(t)
	w.push("one")
	w.push("two")
	whole := archiveOf(t, w)
	for end := 0; end < len(whole)-1024-512; end += 1021 { // what is behind that may be zero
		if _, err := Verify(t.Context(), "-", bytes.NewReader(whole[:end]), Options{}); err == nil || !strings.Contains(err.Error(), "cut off") {
			t.Fatalf("verify of %d of %d bytes: got %v", end, len(whole), err)
		}
		if end%(8*1021) != 0 {
			continue
		}
		dir := filepath.Join(t.TempDir(), "r")
		if _, err := Restore(t.Context(), "-", bytes.NewReader(whole[:end]), target(dir), Options{}); err == nil || !strings.Contains(err.Error(), "cut off") {
			t.Fatalf("restore of %d of %d bytes: got %v", end, len(whole), err)
		}
		if exists(filepath.Join(dir, databaseName)) {
			t.Fatal("half a restore has a database")
		}
	}
}

// TestHostileArchives holds what is refused, and that nothing of it is outside of
// the directory that it was restored into.
func TestHostileArchives(t *testing.T) {
	w := newWorld(t)
	w.push("one")
	w.push("two")
	list := items(t, archiveOf(t, w))
	const objects, database, end = 4, 6, 7 // where they are in the list
	object := list[objects]
	change := func(f func([]item) []item) []byte {
		copied := append([]item{}, list...)
		return pack(t, f(copied))
	}
	insert := func(i item) []byte {
		return change(func(l []item) []item { return append(l[:objects:objects], append([]item{i}, l[objects:]...)...) })
	}
	named := func(name string) item { i := object; i.Name = name; return i }
	typed := func(kind byte) item { i := object; i.Typeflag, i.Linkname = kind, "/etc/passwd"; return i }
	edit := func(at int, old, new string) []byte {
		return change(func(l []item) []item {
			l[at].body = bytes.ReplaceAll(l[at].body, []byte(old), []byte(new))
			return l
		})
	}
	for _, tt := range []struct {
		name    string
		archive []byte
		want    string
	}{
		{"an absolute name", insert(named("/tmp/berth-evil")), "which no backup has"},
		{"a name that leads out", insert(named("../evil")), "which no backup has"},
		{"a name that leads out below", insert(named("berth/acme/../../../evil")), "which no backup has"},
		{"a name of the database's log", insert(named("berth/berth.db-wal")), "which no backup has"},
		{"a hidden way out", insert(named("docker/registry/v2/blobs/sha256/../../../../../evil")), "which no backup has"},
		{"a symbolic link", insert(typed(tar.TypeSymlink)), "not a plain file"},
		{"a hard link", insert(typed(tar.TypeLink)), "not a plain file"},
		{"a device", insert(typed(tar.TypeChar)), "not a plain file"},
		{"a fifo", insert(typed(tar.TypeFifo)), "not a plain file"},
		{"a folder of somebody's", insert(typed(tar.TypeDir)), "not a plain file"},
		{"an object twice", insert(object), "in the wrong place"},
		{"an object more", edit(0, `"objects": 2`, `"objects": 1`), "more than it says"},
		{"bytes more", edit(0, `"bytes": 6`, `"bytes": 5`), "more than it says"},
		{"a file more", insert(named("berth/acme/more")), "one file too many"},
		{"a larger database", change(func(l []item) []item { l[database].body = append(bytes.Clone(l[database].body), 0); return l }), "larger than it says"},
		{"another database", change(func(l []item) []item {
			l[database].body = bytes.Clone(l[database].body)
			l[database].body[9999]++
			return l
		}), "it is damaged"},
		{"no database", change(func(l []item) []item { return append(l[:database], l[end:]...) }), "does not belong"},
		{"no end", change(func(l []item) []item { return l[:end] }), "cut off"},
		{"something behind the end", change(func(l []item) []item { return append(l, object) }), "behind its end"},
		{"something behind the database", change(func(l []item) []item { return append(l[:end:end], object, l[end]) }), "behind the database"},
		{"no beginning", change(func(l []item) []item { return l[1:] }), "not a backup of Berth's"},
		{"a newer form", edit(0, `"format": 1`, `"format": 2`), "newer"},
		{"no manifest", edit(0, `"format"`, `"x"`), "not one of a backup"},
		{"a number below zero", edit(0, `"objects": 2`, `"objects": -2`), "below zero"},
		{"counts that are wrong", edit(end, `"tags": 0`, `"tags": 7`), "changed by hand"},
		{"a compressed one", []byte("\x1f\x8b\x08" + strings.Repeat("x", 2000)), "compressed"},
		{"nothing", nil, "cut off"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Verify(t.Context(), "-", bytes.NewReader(tt.archive), Options{}); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("verify: got %v, want %q", err, tt.want)
			}
			around := t.TempDir()
			_, err := Restore(t.Context(), "-", bytes.NewReader(tt.archive), target(filepath.Join(around, "r")), Options{})
			if err == nil && !strings.Contains(tt.want, "by hand") {
				t.Error("it was restored")
			}
			list, err := os.ReadDir(around)
			if err != nil || len(list) > 1 || exists("/tmp/berth-evil") {
				t.Errorf("there is more than what was restored: %v, %v", list, err)
			}
		})
	}
}

// TestSparse holds that no few bytes become many.
func TestSparse(t *testing.T) {
	w := newWorld(t)
	w.push("one")
	list := items(t, archiveOf(t, w))
	head := list[0].body
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	if err := errors.Join(tw.WriteHeader(&tar.Header{Name: headName, Size: int64(len(head)), Mode: 0o600, Typeflag: tar.TypeReg}), second(tw.Write(head)), tw.Flush()); err != nil {
		t.Fatal(err)
	}
	b.Write(sparseEntry(list[4].Name))
	if _, err := Verify(t.Context(), "-", &b, Options{}); err == nil || !strings.Contains(err.Error(), "not a plain file") {
		t.Errorf("got %v", err)
	}
}

func second(_ int, err error) error { return err }

// sparseEntry is a file in GNU's form 1.0 of sparse files: a terabyte of nothing.
func sparseEntry(name string) []byte {
	record := func(k, v string) string {
		n := len(k) + len(v) + 3
		for len(fmt.Sprint(n))+len(k)+len(v)+3 != n {
			n = len(fmt.Sprint(n)) + len(k) + len(v) + 3
		}
		return fmt.Sprintf("%d %s=%s\n", n, k, v)
	}
	pax := record("GNU.sparse.major", "1") + record("GNU.sparse.minor", "0") + record("GNU.sparse.name", name) + record("GNU.sparse.realsize", "1099511627776")
	block := func(typ byte, name string, body []byte) []byte {
		h := make([]byte, 512)
		copy(h, name)
		copy(h[100:], "0000600\x000000000\x000000000\x00")
		copy(h[124:], fmt.Sprintf("%011o\x00", len(body)))
		copy(h[136:], "00000000000\x00        ")
		h[156] = typ
		copy(h[257:], "ustar\x0000")
		sum := 0
		for _, c := range h {
			sum += int(c)
		}
		copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
		out := append(h, body...)
		return append(out, make([]byte, (512-len(body)%512)%512)...)
	}
	sparse := make([]byte, 512)
	copy(sparse, "1\n1099511627776\n0\n")
	return append(block('x', "PaxHeaders/x", []byte(pax)), block('0', "x", sparse)...)
}

// TestSpace holds that a backup that can't fit is refused before anything is
// written.
func TestSpace(t *testing.T) {
	w := newWorld(t)
	w.push("one")
	list := items(t, archiveOf(t, w))
	list[0].body = bytes.Replace(list[0].body, []byte(`"bytes": 3`), []byte(`"bytes": 999999999999999999`), 1)
	dir := filepath.Join(t.TempDir(), "r")
	if _, err := Restore(t.Context(), "-", bytes.NewReader(pack(t, list)), target(dir), Options{}); err == nil || !strings.Contains(err.Error(), "are free") {
		t.Errorf("got %v", err)
	}
	if exists(filepath.Join(dir, RestoringName)) {
		t.Error("it was begun")
	}
}

// FuzzArchive reads anything as an archive. Whatever it is, no more comes of it
// than it says at its beginning.
func FuzzArchive(f *testing.F) {
	head, err := Manifest{Format: Format, ID: "0123456789abcdef0123456789abcdef", Taken: time.Unix(0, 0).UTC(), Files: 1, Database: Database{Size: 99}}.text()
	if err != nil {
		f.Fatal(err)
	}
	file := func(name string, body []byte) item {
		return item{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o600}, body}
	}
	object := "docker/registry/v2/blobs/sha256/e3/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855/0123456789abcdef0123456789abcdef"
	f.Add(pack(f, []item{file(headName, head), file(tokenKeyName, []byte("x")), file(databaseName, []byte("no database")), file(manifestName, head)}))
	f.Add(pack(f, []item{file(headName, bytes.Replace(head, []byte(`"objects": 0`), []byte(`"objects": 9`), 1)), file(object, nil)}))
	f.Add(append(pack(f, []item{file(headName, head)})[:1024], sparseEntry(object)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := &bounded{t: t}
		o := Options{}
		err := (&tarball{r: tar.NewReader(bytes.NewReader(b))}).run(t.Context(), c, o.teller())
		if err == nil && !c.ended || int64(len(b)) < c.bytes {
			t.Errorf("got %v, ended %v, %d bytes of %d", err, c.ended, c.bytes, len(b))
		}
	})
}

// TestMutations does what FuzzArchive does to thousands of archives that are
// nearly right: with the database linked in, fuzzing itself is slow.
func TestMutations(t *testing.T) {
	w := newWorld(t)
	w.push("one")
	w.push("two")
	list := items(t, archiveOf(t, w))
	for i := range list {
		if list[i].Name == databaseName {
			list[i].body = []byte("no database")
		}
	}
	whole := pack(t, list)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		b := bytes.Clone(whole)
		for range 1 + rng.IntN(4) {
			switch at := rng.IntN(len(b)); rng.IntN(4) {
			case 0:
				b[at] ^= 1 << rng.IntN(8)
			case 1:
				b[at] = "0123456789/.x\x00"[rng.IntN(14)]
			case 2:
				b = b[:at+1]
			case 3: // a block moves
				from, to := at/512*512, rng.IntN(len(b))/512*512
				copy(b[to:], bytes.Clone(b[from:min(from+512, len(b))]))
			}
		}
		c := &bounded{t: t}
		err := (&tarball{r: tar.NewReader(bytes.NewReader(b))}).run(t.Context(), c, Options{}.teller())
		if err == nil && !c.ended || int64(len(b)) < c.bytes {
			t.Fatalf("got %v, ended %v, %d bytes of %d", err, c.ended, c.bytes, len(b))
		}
	}
}

// bounded is a receiver that wants to get no more than it was told.
type bounded struct {
	t              *testing.T
	head           Manifest
	files, objects int64
	bytes          int64 // of objects
	last           blob.Key
	hasDB, ended   bool
}

func (c *bounded) begin(_ context.Context, head Manifest) error {
	c.head = head
	return nil
}

func (c *bounded) file(_ context.Context, name string, size int64, r io.Reader) error {
	if c.files++; !isFile(name) || size > maxFile || c.files > int64(c.head.Files) || c.objects > 0 {
		c.t.Errorf("file %d: %q of %d bytes", c.files, name, size)
	}
	_, err := io.Copy(io.Discard, r)
	return err
}

func (c *bounded) object(_ context.Context, key blob.Key, size int64, open opener) error {
	c.objects++
	c.bytes += size
	if _, _, err := fsblob.PathOf(key); err != nil || key <= c.last || c.objects > c.head.Objects || c.bytes > c.head.Bytes || c.hasDB {
		c.t.Errorf("object %d: %q of %d bytes", c.objects, key, size)
	}
	c.last = key
	r, err := open()
	if err != nil {
		return err
	}
	n, err := io.Copy(io.Discard, r)
	if err == nil && n != size {
		c.t.Errorf("object %q has %d bytes, gave %d", key, size, n)
	}
	if err != nil {
		c.bytes -= size - n
	}
	return err
}

func (c *bounded) database(_ context.Context, size int64, r io.Reader) error {
	if size > c.head.Database.Size || c.hasDB {
		c.t.Errorf("a database of %d bytes", size)
	}
	c.hasDB = true
	_, err := io.Copy(io.Discard, r)
	return err
}

func (c *bounded) end(_ context.Context, m Manifest) error {
	if c.ended = true; !c.hasDB || m.ID != c.head.ID {
		c.t.Error("an end that does not belong to the beginning")
	}
	return nil
}

// FuzzIsFile holds that the name of a small file leads to where those are.
func FuzzIsFile(f *testing.F) {
	for _, s := range []string{tokenKeyName, "berth/acme/x", "berth/acme/..", "berth/acme/", "berth/acme/a/b", "berth/acme/a\\b", "/berth/acme/x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if isFile(name) && (filepath.ToSlash(filepath.Clean(name)) != name || !strings.HasPrefix(name, "berth/") || strings.Contains(name, "..") && filepath.Base(name) == "..") {
			t.Errorf("%q is accepted", name)
		}
	})
}
