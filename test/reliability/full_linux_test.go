package reliability

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"berth/test/realtest"
)

// A volume is a small file system.
type volume struct {
	dir  string
	grow func() // makes it larger; nil if that can't be done
}

// smallTmpfs mounts a file system in memory until the test ends.
func smallTmpfs(t *testing.T, size string) volume {
	t.Helper()
	realtest.Root(t)
	dir := t.TempDir()
	run := func(args ...string) {
		t.Helper()
		if out, err := exec.Command(realtest.Tool(t, args[0]), args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	run("mount", "-t", "tmpfs", "-o", "size="+size, "berth-test", dir)
	t.Cleanup(func() { run("umount", dir) })
	return volume{dir, func() { run("mount", "-o", "remount,size=80m", dir) }}
}

// full wants err to say that the disk is full, in words for the person who pushes.
func full(err error) error {
	r, ok := errors.AsType[*refusal](err)
	if !ok || r.status != http.StatusInsufficientStorage || !strings.Contains(r.text, "no space left") {
		return fmt.Errorf("got %v, want a 507 that says that there is no space left", err)
	}
	return nil
}

// untilFull pushes until that is refused, and then in every other way.
func (f *filler) untilFull(t *testing.T, repo string) {
	t.Helper()
	ctx := t.Context()
	var err error
	for i := 0; err == nil; i++ {
		if i == 2000 {
			t.Fatal("the disk does not get full")
		}
		err = f.push(ctx, repo, 200_000)
	}
	if err := full(err); err != nil {
		t.Error(err)
	}
	for _, size := range []int{100_000, 3_000_000, 40_000_000} {
		data := content(size, uint64(size))
		d := digestOf(data)
		_, err := f.c.do(ctx, request{method: "POST", path: uploadsPath(repo) + "?digest=" + d, body: bytes.NewReader(data), length: int64(size)}, 201)
		if err == nil && size < 4_000_000 {
			f.acked[d] = true
		} else if err := full(err); err != nil {
			t.Errorf("one POST of %d bytes: %v", size, err)
		}
	}
	for range 3 { // docker's way: one PATCH, of which only the client knows the end
		a, err := f.c.do(ctx, request{method: "POST", path: uploadsPath(repo)}, 202)
		if err == nil {
			_, err = f.c.do(ctx, request{method: "PATCH", path: a.header.Get("Location"), length: -1,
				body: io.LimitReader(bytes.NewReader(content(40_000_000, 5)), 40_000_000)}, 202)
		}
		if err := full(err); err != nil {
			t.Errorf("one long PATCH: %v", err)
		}
	}
}

// kept returns how many bytes the data directory holds of blobs and uploads that
// nobody was told are there.
func (f *filler) kept(t *testing.T, dir string) int64 {
	t.Helper()
	var n int64
	size := func(p string) int64 {
		info, err := os.Stat(p)
		if err != nil {
			return 0
		}
		return info.Size()
	}
	known := maps.Clone(f.acked)
	for p, d := range blobFiles(t, dir) {
		if !known[d] {
			n += size(p)
		}
		known[d] = false // a second file of it is too much
	}
	for _, p := range files(t, filepath.Join(dir, "berth", "uploads")) {
		n += size(p)
	}
	return n
}

// clear deletes every second image, with its tag.
func (f *filler) clear(t *testing.T, repo string) {
	t.Helper()
	i := 0
	for k, v := range f.l.facts {
		if i++; k.kind != aManifest || v == "" || i%2 == 0 {
			continue
		}
		if err := f.c.remove(t.Context(), manifestPath(repo, k.name)); err != nil {
			t.Fatalf("delete on a full disk: %v", err)
		}
		f.l.set(k, "")
		for tag, d := range f.l.facts {
			if tag.kind == aTag && d == k.name {
				f.l.set(tag, "")
			}
		}
	}
}

// TestFullDisk shows what happens when the disk is full: pushes are refused with
// 507, nothing else breaks, and it is over as soon as there is space.
func TestFullDisk(t *testing.T) {
	volumes := map[string]func(*testing.T) volume{
		"tmpfs": func(t *testing.T) volume { return smallTmpfs(t, "32m") },
		"ext4":  func(t *testing.T) volume { return volume{dir: realtest.NewDisk(t, 56<<20).Dir} },
	} // the log of the database alone takes 4 MiB now and then
	for name, make := range volumes {
		for _, reserve := range []string{"10MiB", "0"} {
			t.Run(name+" with reserve "+reserve, func(t *testing.T) {
				t.Parallel() // they mostly wait for garbage to go
				fullDisk(t, make(t), reserve)
			})
		}
	}
}

// byOthers fills a disk to its last byte, until the function that it returns is
// called. Space that was just freed becomes so a moment later, hence the rounds.
func byOthers(t *testing.T, dir string) (remove func()) {
	t.Helper()
	path := filepath.Join(dir, "others")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for range 3 {
		for _, size := range []int{1 << 20, 4096} {
			for n := 1; n > 0; {
				n, _ = f.Write(make([]byte, size)) // an error is what this is for
			}
		}
		syscall.Sync()
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	}
}

func fullDisk(t *testing.T, v volume, reserve string) {
	const repo = "full/app"
	reg := realtest.Start(t, realtest.Options{Dir: filepath.Join(v.dir, "data"),
		Env: append(collecting(), "BERTH_LOG_ACCESS=false", "BERTH_GC_GRACE=5s", "BERTH_STORAGE_RESERVE="+reserve)})
	f := &filler{c: newClient(t, reg.URL), l: newLedger(), acked: map[string]bool{}}
	f.untilFull(t, repo)
	f.compare(t, "on a full disk")
	var extra int64
	if !await(func() bool { extra = f.kept(t, reg.Dir); return extra < 256<<10 }) {
		t.Errorf("failed pushes keep %d bytes", extra)
	}
	if reserve != "0" {
		f.clear(t, repo)
		again := func() bool { return f.push(t.Context(), repo, 200_000) == nil }
		if !await(again) {
			t.Fatalf("after deleting half of everything a push still fails\n%s", reg.Log.Tail(20))
		}
		f.compare(t, "after deleting")
		f.untilFull(t, repo)
	}
	if v.grow != nil {
		v.grow()
		if err := f.push(t.Context(), repo, 200_000); err != nil {
			t.Errorf("after the disk has grown: %v", err)
		}
	}
	f.compare(t, "at the end")
	remove := byOthers(t, v.dir)
	reg.Terminate() // with an error or not: not even a snapshot can be written
	reg.Restart()
	f.compare(t, "after a start on a disk that others have filled")
	var err error
	for i := 0; err == nil && i < 100; i++ { // some garbage may still be going
		err = f.push(t.Context(), repo, 500_000)
	}
	if err := full(err); err != nil {
		t.Errorf("push to a disk that others have filled: %v", err)
	}
	reg.Kill()
	reg.Restart()
	f.compare(t, "after a kill")
	remove()
	if v.grow != nil {
		if err := f.push(t.Context(), repo, 200_000); err != nil {
			t.Errorf("when there is space again: %v", err)
		}
	}
	f.compare(t, "when there is space again")
	reg.Terminate() // on a disk that is still full it says that it could not write
	if bad := badFiles(t, reg.Dir); len(bad) > 0 {
		t.Errorf("files that are not what their names say: %v", bad)
	}
}
