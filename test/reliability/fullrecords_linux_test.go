package reliability

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"berth/test/realtest"
)

// leave fills a disk but for so many bytes, until the function that it returns is
// called.
func leave(t *testing.T, dir string, free int64) (remove func()) {
	t.Helper()
	path := filepath.Join(dir, "others")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zeros := make([]byte, 4096)
	for {
		var s syscall.Statfs_t
		if err := syscall.Statfs(dir, &s); err != nil {
			t.Fatal(err)
		}
		n := int64(s.Bavail)*s.Bsize - free
		for ; n >= int64(len(zeros)); n -= int64(len(zeros)) {
			if _, err = f.Write(zeros); err != nil { // which is what this is for
				break
			}
		}
		if err != nil || n < int64(len(zeros)) {
			break
		}
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	}
}

// TestRecordsOnFullDisk fills the disk up to many places behind a change that was
// answered, goes on changing records, until there is no room at all if that happens, kills
// the server right behind an answer and starts it on the full disk: it serves what
// it acknowledged all the time.
func TestRecordsOnFullDisk(t *testing.T) {
	for name, make := range map[string]func(*testing.T) string{
		"tmpfs": func(t *testing.T) string { return smallTmpfs(t, "40m").dir },
		"ext4":  func(t *testing.T) string { return realtest.NewDisk(t, 64<<20).Dir },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			recordsOnFullDisk(t, make(t))
		})
	}
}

func recordsOnFullDisk(t *testing.T, dir string) {
	const repo = "full/records"
	reg := realtest.Start(t, realtest.Options{Dir: filepath.Join(dir, "data"),
		Env: append(quiet(), "BERTH_STORAGE_RESERVE=0", "BERTH_CACHE_MEMORY=0")})
	f := &filler{c: newClient(t, reg.URL), l: newLedger(), acked: map[string]bool{}}
	if err := f.push(t.Context(), repo, 1000); err != nil {
		t.Fatal(err)
	}
	config := newThing([]byte(`{"n":1}`))
	body := imageManifest(config, nil, "of all tags")
	if err := f.c.push(t.Context(), repo, config); err != nil {
		t.Fatal(err)
	}
	tags := 0
	tag := func() error { // changes nothing but records
		tags++
		name, d := fmt.Sprint("tag", tags), digestOf(body)
		op := f.l.begin(map[key]string{{aManifest, repo, d}: d, {aTag, repo, name}: d})
		err := f.c.putManifest(t.Context(), repo, name, manifestType, body)
		if err == nil {
			f.l.done(op)
		} // else it may have been done
		return err
	}
	for _, free := range []int64{0, 8 << 10, 40 << 10, 100 << 10, 700 << 10, 3 << 20, 6 << 20} {
		for range 3 {
			if err := tag(); err != nil {
				t.Fatalf("with %d left: before the disk is full: %v", free, err)
			}
		}
		remove := leave(t, dir, free)
		f.compare(t, fmt.Sprintf("with %d left", free))
		var err error
		for i := 0; err == nil && i < 200; i++ { // or the log is folded again and again
			err = tag()
			if i%4 == 3 {
				if _, err := f.c.manifest(t.Context(), repo, fmt.Sprint("tag", tags-1)); err != nil {
					t.Errorf("with %d left: after %d changes: %v", free, i, err)
				}
			}
		}
		if err != nil {
			if err := full(err); err != nil {
				t.Errorf("with %d left: a change on a full disk: %v", free, err)
			}
			f.compare(t, fmt.Sprintf("with %d left, when nothing more is taken", free))
		}
		reg.Kill()
		reg.Restart()
		f.compare(t, fmt.Sprintf("with %d left, after a start", free))
		remove()
		if !await(func() bool { return tag() == nil }) { // what others gave back is free a moment later
			t.Errorf("with %d left: when there is space again a change fails", free)
		}
		reg.Kill()
		reg.Restart() // so that the room is made again
		f.compare(t, "when there is space again")
	}
}

// TestKilledOnFullDisk kills the server right behind an answer, fills the disk, and
// starts it.
func TestKilledOnFullDisk(t *testing.T) {
	const repo = "full/killed"
	dir := realtest.NewDisk(t, 64<<20).Dir
	reg := realtest.Start(t, realtest.Options{Dir: filepath.Join(dir, "data"), Env: append(quiet(), "BERTH_STORAGE_RESERVE=0")})
	f := &filler{c: newClient(t, reg.URL), l: newLedger(), acked: map[string]bool{}}
	for range 8 {
		for range 5 {
			if err := f.push(t.Context(), repo, 1000); err != nil {
				t.Fatal(err)
			}
		}
		reg.Kill()
		remove := byOthers(t, dir)
		reg.Restart()
		f.compare(t, "after a kill, and a start on a full disk")
		remove()
		if !await(func() bool { return f.push(t.Context(), repo, 1000) == nil }) {
			t.Error("when there is space again a push fails")
		}
		reg.Kill()
		reg.Restart() // so that the room is made again
	}
}
