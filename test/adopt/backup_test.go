package adopt

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"berth/test/realtest"
)

// TestBackupOfAdopted takes a backup of a directory that a real registry has left
// and that is kept in step for it. What is restored serves the same, is Berth's
// own, and goes on being so: nothing in it names the files of the original, and
// the backup that is taken after adopt --finish copies nothing again.
func TestBackupOfAdopted(t *testing.T) {
	dir, out := t.TempDir(), t.TempDir()
	p, r := startRival(t, rivals()[0], dir)
	r.push("team/app", "v1", newImage(t, "first", imageType))
	both := []byte("content under two digests, as one file never is in a registry:2")
	r.blob("team/app", sum256(both), both)
	r.pushIndex("multi", "latest", "multi")
	p.Stop()
	berth, b := startBerth(t, dir)
	b.push("team/app", "v2", newImage(t, "second", imageType))
	want := b.contents()
	run := func(args ...string) string {
		t.Helper()
		text, err := exec.Command(realtest.Berth(t), args...).CombinedOutput()
		if err != nil {
			t.Fatalf("berth %q: %v\n%s", args, err, text)
		}
		return string(text)
	}
	for _, name := range []string{"backup", "backup.tar"} {
		from, to := filepath.Join(out, name), filepath.Join(out, "of-"+name)
		run("backup", from, "--data", dir)
		run("backup", "--verify", from)
		run("restore", from, "--data", to)
		if data, own := blobFiles(t, to); data != 0 || own == 0 {
			t.Errorf("%s: restored %d files of registry:2's and %d of Berth's own", name, data, own)
		}
		again, c := startBerth(t, to)
		same(t, "restored from "+name, c.contents(), want)
		c.push("team/app", "v3", newImage(t, "third", imageType))
		if text := adopt(t, to); !strings.Contains(text, "there is nothing of a registry:2") {
			t.Errorf("adopt says of what was restored from %s: %s", name, text)
		}
		again.Stop()
		if _, err := os.Stat(filepath.Join(to, "docker/registry/v2/repositories")); err == nil {
			t.Errorf("%s: links of registry:2 were restored or made", name)
		}
	}
	adopt(t, dir, "--finish", "--yes")
	if text := run("backup", filepath.Join(out, "backup"), "--data", dir); !strings.Contains(text, "\n0 blobs with 0 B were copied, 0 were removed") {
		t.Errorf("after adopt --finish: %s", text)
	}
	same(t, "the original", b.contents(), want)
	berth.Stop()
}
