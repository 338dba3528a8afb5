package reliability

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"berth/test/realtest"
)

// storedFile returns the file that holds a blob.
func storedFile(t *testing.T, dir, digest string) string {
	t.Helper()
	var found []string
	for p, d := range blobFiles(t, dir) {
		if d == digest {
			found = append(found, p)
		}
	}
	if len(found) != 1 {
		t.Fatalf("blob %s is in %d files, want 1: %v", digest, len(found), found)
	}
	return found[0]
}

// A damage does something bad to the file of a blob. outside is a file with the
// same content elsewhere.
type damage struct {
	name  string
	do    func(file, outside string) error
	stays bool // only a person can undo it: Berth removes no folder that it did not make
}

func damages() []damage {
	instead := func(put func(file, outside string) error) func(string, string) error {
		return func(file, outside string) error {
			if err := os.Remove(file); err != nil {
				return err
			}
			return put(file, outside)
		}
	}
	return []damage{
		{name: "truncated", do: func(file, _ string) error { return os.Truncate(file, 100) }},
		{name: "emptied", do: func(file, _ string) error { return os.Truncate(file, 0) }},
		{name: "longer", do: func(file, _ string) error {
			f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteString("more")
			return err
		}},
		{name: "removed", do: func(file, _ string) error { return os.Remove(file) }},
		{name: "a link to the same content", do: instead(func(file, outside string) error { return os.Symlink(outside, file) })},
		{name: "a link to nothing", do: instead(func(file, _ string) error { return os.Symlink("/nowhere", file) })},
		{name: "a link to itself", do: instead(func(file, _ string) error { return os.Symlink(file, file) })},
		{name: "a FIFO", do: instead(func(file, _ string) error { return syscall.Mkfifo(file, 0o600) })},
		{name: "a directory", do: instead(func(file, _ string) error { return os.Mkdir(file, 0o700) })},
		{name: "its folder removed", do: func(file, _ string) error { return os.RemoveAll(filepath.Dir(file)) }},
		{name: "its folder a link to the same content", do: func(file, outside string) error {
			dir := filepath.Dir(file)
			moved := filepath.Dir(outside) + "/moved"
			if err := os.Rename(dir, moved); err != nil {
				return err
			}
			return os.Symlink(moved, dir)
		}, stays: true},
		{name: "its folder a file", do: func(file, _ string) error {
			if err := os.RemoveAll(filepath.Dir(file)); err != nil {
				return err
			}
			return os.WriteFile(filepath.Dir(file), nil, 0o600)
		}, stays: true},
	}
}

// TestDamagedBlobs shows that a file that is not what was stored is never served,
// keeps nobody waiting, and is replaced when the blob is pushed again.
func TestDamagedBlobs(t *testing.T) {
	reg := realtest.Start(t, realtest.Options{Env: quiet()})
	c := newClient(t, reg.URL)
	for i, d := range damages() {
		t.Run(d.name, func(t *testing.T) { damaged(t, reg, c, d, uint64(i)) })
	}
}

func damaged(t *testing.T, reg *realtest.Registry, c *client, d damage, n uint64) {
	repo := fmt.Sprint("damage/app", n)
	ctx := t.Context()
	f := &filler{c: c, l: newLedger(), acked: map[string]bool{}, n: 1000 * (n + 1)}
	if err := f.push(ctx, repo, 50_000); err != nil {
		t.Fatal(err)
	}
	var manifest string
	for k := range f.l.facts {
		if k.kind == aManifest {
			manifest = k.name
		}
	}
	blob := thing{f.l.parts[manifest][0], content(50_000, 77, f.n)}
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, blob.data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.do(storedFile(t, reg.Dir, blob.digest), outside); err != nil {
		t.Fatal(err)
	}
	a, err := c.get(ctx, manifestPath(repo, manifest), 200)
	if err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{"HEAD", "GET", "GET", "HEAD"} {
		a, err := c.do(ctx, request{method: method, path: blobPath(repo, blob.digest), header: map[string]string{"Range": "bytes=0-9"}}, 404)
		if err != nil || method == "GET" && !strings.Contains(string(a.body), "BLOB_UNKNOWN") {
			t.Errorf("%s: %v %s, want 404 BLOB_UNKNOWN", method, err, a.body)
		}
	}
	if _, err := c.do(ctx, request{method: "POST", path: uploadsPath("damage/other") + "?from=" + repo + "&mount=" + blob.digest}, 202); err != nil {
		t.Errorf("mount: %v, want 202: upload it", err)
	}
	_, err = c.do(ctx, request{method: "PUT", path: manifestPath(repo, "again"), body: bytes.NewReader(a.body), length: int64(len(a.body)),
		header: map[string]string{"Content-Type": manifestType}}, http.StatusBadRequest)
	if err != nil {
		t.Errorf("a manifest that needs it: %v, want 400: push it again", err)
	}
	if d.stays {
		err := c.push(ctx, repo, blob)
		explained := reg.Log.Await(func(l *realtest.Log) bool { return l.Contains(blob.digest[7:] + " must be a directory and is a ") })
		if err == nil || !explained {
			t.Errorf("push it again: %v, want an error, and the log to say why", err)
		}
	} else {
		if err := c.push(ctx, repo, blob); err != nil {
			t.Fatalf("push it again: %v", err)
		}
		if err := inspect(ctx, c, f.l, everything, uploadsStay).amongOthers(); err != nil {
			t.Errorf("after it was pushed again: %v", err)
		}
	}
	if got, err := os.ReadFile(outside); err != nil || !bytes.Equal(got, blob.data) {
		t.Errorf("the file outside of the data directory was changed: %v", err)
	}
}

// TestDamagedManifest shows that a manifest whose bytes have changed in the
// database is never served, and is replaced when it is pushed again.
func TestDamagedManifest(t *testing.T) {
	const repo = "damage/app"
	ctx := t.Context()
	reg := realtest.Start(t, realtest.Options{Env: quiet()})
	c := newClient(t, reg.URL)
	f := &filler{c: c, l: newLedger(), acked: map[string]bool{}}
	for range 3 {
		if err := f.push(ctx, repo, 5000); err != nil {
			t.Fatal(err)
		}
	}
	var bodies [][]byte
	for k := range f.l.facts {
		if k.kind == aManifest {
			a, err := c.get(ctx, manifestPath(repo, k.name), 200)
			if err != nil {
				t.Fatal(err)
			}
			bodies = append(bodies, a.body)
		}
	}
	reg.Stop() // now everything is in the one file
	change(t, filepath.Join(reg.Dir, "berth", "berth.db"), bodies[0])
	reg.Restart()
	for _, ref := range append(tagsOf(f.l, digestOf(bodies[0])), digestOf(bodies[0])) {
		for _, method := range []string{"GET", "HEAD"} {
			if _, err := c.do(ctx, request{method: method, path: manifestPath(repo, ref)}, 404); err != nil {
				t.Errorf("%s %s: %v, want 404", method, ref, err)
			}
		}
	}
	if err := c.putManifest(ctx, repo, digestOf(bodies[0]), manifestType, bodies[0]); err != nil {
		t.Errorf("push it again: %v", err)
	}
	if err := inspect(ctx, c, f.l, everything, uploadsStay).err(); err != nil {
		t.Errorf("after it was pushed again: %v", err)
	}
}

func tagsOf(l *ledger, d string) []string {
	var tags []string
	for k, v := range l.facts {
		if k.kind == aTag && v == d {
			tags = append(tags, k.name)
		}
	}
	slices.Sort(tags)
	return tags
}

// change flips a bit in the middle of wherever a file holds body.
func change(t *testing.T, file string, body []byte) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	n := bytes.Count(data, body)
	if n == 0 {
		t.Fatalf("%s does not hold the manifest in one piece", file)
	}
	flipped := slices.Clone(body)
	flipped[len(body)/2] ^= 1
	if err := os.WriteFile(file, bytes.ReplaceAll(data, body, flipped), 0o600); err != nil {
		t.Fatal(fmt.Errorf("flip a bit: %w", err))
	}
}
