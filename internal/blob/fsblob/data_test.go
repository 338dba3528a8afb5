package fsblob

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"berth/internal/blob"
	"berth/internal/oci"
)

// registry2File writes content as registry:2 would.
func registry2File(t testing.TB, dir, content string) oci.Digest {
	t.Helper()
	d := digestOf(content)
	writeFile(t, filepath.Join(dir, filepath.FromSlash(dataPath(d))), content)
	return d
}

func findData(t testing.TB, s *Store, d oci.Digest) blob.Object {
	t.Helper()
	o, err := s.Data(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// TestAdopted holds that a file of registry:2 can be read under its key, from a
// copy of the folder too, and that no Delete removes it.
func TestAdopted(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, nil)
	d := registry2File(t, dir, "from registry:2")
	o := findData(t, s, d)
	if _, ok := parseAdopted(o.Key); !ok || o.Size != 15 || o.Digest != d {
		t.Fatalf("got %+v", o)
	}
	has(t, s, o.Key, "from registry:2")
	if err := s.Delete(t.Context(), o.Key); err != nil {
		t.Error(err)
	}
	has(t, s, o.Key, "from registry:2")

	elsewhere := t.TempDir()
	copied := openTest(t, elsewhere, nil)
	registry2File(t, elsewhere, "from registry:2")
	has(t, copied, o.Key, "from registry:2")

	if _, err := s.Data(t.Context(), digestOf("nothing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a digest without a file: got %v", err)
	}
	for _, key := range []blob.Key{"adopted/", "adopted/sha256/x/1", o.Key + "/..", o.Key + "x", "adopted/../" + o.Key} {
		if _, err := s.Open(t.Context(), key); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("key %q: got %v", key, err)
		}
	}
}

// TestAdoptedLinks holds that no symbolic link is followed to registry:2's
// files, neither at the end nor on the way.
func TestAdoptedLinks(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	s := openTest(t, dir, nil)
	secret := filepath.Join(outside, dataFile)
	writeFile(t, secret, "secret")
	end, way := digestOf("end"), digestOf("way")
	link := func(to, name string) {
		name = filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, name); err != nil {
			t.Skip(err)
		}
	}
	link(secret, dataPath(end))
	link(outside, object{digest: way}.hexDir())
	for _, d := range []oci.Digest{end, way} {
		if o, err := s.Data(t.Context(), d); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %+v, %v", o, err)
		}
	}
	if err := s.RemoveData(t.Context()); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(secret); err != nil || string(b) != "secret" {
		t.Errorf("the file behind the link: %q, %v", b, err)
	}
}

// TestExpose gives objects the name that registry:2 looks for.
func TestExpose(t *testing.T) {
	for _, links := range []bool{true, false} {
		dir := t.TempDir()
		s := openTest(t, dir, func(op, name string, do func() error) error {
			if op == "link" && !links {
				return syscall.EPERM
			}
			return do()
		})
		key := mustPut(t, s, "pushed")
		d := digestOf("pushed")
		data := filepath.Join(dir, filepath.FromSlash(dataPath(d)))
		for range 2 {
			if is, err := s.Expose(t.Context(), key, 6); err != nil || is != d {
				t.Fatalf("links %t: got %s, %v", links, is, err)
			}
		}
		if b, err := os.ReadFile(data); err != nil || string(b) != "pushed" {
			t.Errorf("links %t: got %q, %v", links, b, err)
		}
		if strings.Contains(strings.Join(files(t, dir), " "), ".tmp") {
			t.Errorf("links %t: got %q", links, files(t, dir))
		}
		if !links {
			continue
		}
		if o := findData(t, s, d); o.Key != key {
			t.Errorf("the exposed name leads to %s, want %s", o.Key, key)
		}
		if err := s.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		onlyFinished(t, dir)
	}
}

// TestExposeBeside holds that registry:2's own file of the same content stays,
// through the deletion of ours too, and that a damaged one is replaced.
func TestExposeBeside(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, nil)
	key := mustPut(t, s, "pushed")
	d := registry2File(t, dir, "pushed")
	theirs := findData(t, s, d).Key
	if theirs == key {
		t.Fatalf("a file of its own has the key %s", key)
	}
	if _, err := s.Expose(t.Context(), key, 6); err != nil {
		t.Fatal(err)
	}
	if got := findData(t, s, d).Key; got != theirs {
		t.Errorf("got %s, want %s", got, theirs)
	}
	if err := s.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	has(t, s, theirs, "pushed")

	key = mustPut(t, s, "pushed")
	writeFile(t, filepath.Join(dir, filepath.FromSlash(dataPath(d))), "pus")
	if _, err := s.Expose(t.Context(), key, 6); err != nil {
		t.Fatal(err)
	}
	if got := findData(t, s, d).Key; got != key {
		t.Errorf("a truncated file: got %s, want %s", got, key)
	}
}

// TestPutData writes what is no object.
func TestPutData(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, nil)
	d := digestOf("manifest")
	for range 2 {
		if err := s.PutData(t.Context(), d, []byte("manifest")); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := files(t, dir), []string{dataPath(d)}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	has(t, s, findData(t, s, d).Key, "manifest")
}

// TestOwn takes registry:2's file over for good.
func TestOwn(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, nil)
	d := registry2File(t, dir, "from registry:2")
	loose := registry2File(t, dir, "nobody needs it")
	from := findData(t, s, d).Key
	var keys []blob.Key
	for range 2 {
		key, err := s.Own(t.Context(), from)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	if keys[0] != keys[1] {
		t.Errorf("got %q", keys)
	}
	u, err := s.Unused(t.Context(), func(is oci.Digest) (bool, error) { return is == d, nil })
	if want := (Unused{Files: 1, Bytes: 15}); u != want || err != nil {
		t.Errorf("unused: got %+v, %v, want %+v", u, err, want)
	}
	if err := s.RemoveData(t.Context()); err != nil {
		t.Fatal(err)
	}
	onlyFinished(t, dir, keys[0])
	has(t, s, keys[0], "from registry:2")
	if _, err := s.Data(t.Context(), loose); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what nobody needs: got %v", err)
	}
	again, err := s.Own(t.Context(), keys[0])
	if err != nil || again != keys[0] {
		t.Errorf("a key of its own: got %s, %v", again, err)
	}
}

// TestView holds that looking changes nothing.
func TestView(t *testing.T) {
	dir := t.TempDir()
	d := registry2File(t, dir, "x")
	before := files(t, dir)
	v, err := View(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	has(t, v, findData(t, v, d).Key, "x")
	if got := files(t, dir); !slices.Equal(got, before) {
		t.Errorf("got %q, want %q", got, before)
	}
	if _, err := os.Stat(filepath.Join(dir, berthDir)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory %s: %v", berthDir, err)
	}
}
