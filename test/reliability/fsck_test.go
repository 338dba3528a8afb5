package reliability

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/test/realtest"
)

// fsck runs berth fsck on a data directory and returns what it says and its exit
// code.
func fsck(t *testing.T, dir string, args ...string) (string, int) {
	t.Helper()
	cmd := exec.Command(realtest.Berth(t), append([]string{"fsck", "--data", dir}, args...)...)
	out, err := cmd.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return string(out), exit.ExitCode()
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(out), 0
}

// wantFsck runs berth fsck and wants an exit code and texts in what it says.
func wantFsck(t *testing.T, dir string, code int, texts []string, args ...string) string {
	t.Helper()
	out, got := fsck(t, dir, args...)
	if got != code {
		t.Errorf("berth fsck %s: exit code %d, want %d\n%s", strings.Join(args, " "), got, code, out)
	}
	for _, text := range texts {
		if !strings.Contains(out, text) {
			t.Errorf("berth fsck %s: %q is not in\n%s", strings.Join(args, " "), text, out)
		}
	}
	return out
}

// TestFlippedBit shows that a byte that has changed on the disk is found by berth
// fsck on a running server, is told by it, is not served after a repair, and heals
// when skopeo pushes the image again, or crane under another tag; the rest is
// served all the time.
func TestFlippedBit(t *testing.T) {
	skopeo, crane := realtest.Skopeo(t), realtest.Crane(t)
	t.Run("skopeo", func(t *testing.T) {
		flippedBit(t, crane, func(l realtest.Layout, ref string) {
			skopeo.Run("copy", "--dest-tls-verify=false", "oci:"+l.Ref(), "docker://"+ref)
		})
	})
	t.Run("crane", func(t *testing.T) {
		flippedBit(t, crane, func(l realtest.Layout, ref string) { crane.Run("push", l.Dir, ref+"-again") })
	})
}

func flippedBit(t *testing.T, crane *realtest.CLI, heal func(l realtest.Layout, ref string)) {
	metrics := fmt.Sprint("127.0.0.1:", realtest.FreePort(t))
	reg := realtest.Start(t, realtest.Options{Args: []string{"--metrics", metrics}})
	layout := realtest.NewLayout(t, realtest.Image{})
	ref := reg.Addr + "/team/app:v1"
	crane.Run("push", layout.Dir, ref)
	wantFsck(t, reg.Dir, 0, []string{"nothing is wrong"}, "--read-data")
	var layer string
	for file, digest := range blobFiles(t, reg.Dir) {
		layer = digest
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/2] ^= 1
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		break
	}
	wantFsck(t, reg.Dir, 0, []string{"compared the sizes"})
	wantFsck(t, reg.Dir, 1, []string{"blob-bytes: " + layer, "team/app", "push the image again"}, "--read-data")
	wantFsck(t, reg.Dir, 1, []string{"in the quarantine"}, "--read-data", "--repair")
	wantFsck(t, reg.Dir, 1, []string{"blob-damaged: " + layer, "team/app"}, "team/app", "--read-data")
	c := newClient(t, reg.URL)
	if a, err := c.do(t.Context(), request{method: "GET", path: blobPath("team/app", layer)}, 404); err != nil || !bytes.Contains(a.body, []byte("BLOB_UNKNOWN")) {
		t.Errorf("got %v %s, want BLOB_UNKNOWN", err, a.body)
	}
	told := func(path string, texts ...string) bool {
		resp, err := reg.Client.Get("http://" + metrics + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return err == nil && resp.StatusCode == 200 && !slices.ContainsFunc(texts, func(s string) bool { return !bytes.Contains(body, []byte(s)) })
	}
	for _, path := range []string{"/readyz", "/debug/health"} {
		if !await(func() bool { return told(path, "1 blobs and 0 manifests are damaged") }) {
			t.Errorf("%s does not tell", path)
		}
	}
	if !told("/metrics", "berth_damaged_blobs 1\n", "berth_scrub_bytes_total ") {
		t.Error("the metrics do not tell")
	}
	crane.Run("push", layout.Dir, ref) // it finds the manifest there and looks no further
	wantFsck(t, reg.Dir, 1, []string{"blob-damaged: " + layer})
	heal(layout, ref)
	crane.Run("validate", "--remote", ref)
	wantFsck(t, reg.Dir, 0, []string{"quarantined: " + layer, "nothing is wrong"}, "--read-data")
	if !await(func() bool { return told("/debug/health", "{}") }) {
		t.Error("health does not tell that it is healed")
	}
	wantFsck(t, reg.Dir, 0, []string{"nothing is wrong"}, "--repair", "--empty-quarantine")
	if left := files(t, filepath.Join(reg.Dir, "berth/quarantine")); len(left) > 0 {
		t.Errorf("in the quarantine: %v", left)
	}
}

// A loss says what is lost besides the database, and what was there to bring it
// back from.
type loss struct {
	name                      string
	shadow, snapshot, damaged bool
	early, late               bool // what comes back: what was pushed before the snapshot, and after it
	code                      int
}

// TestRebuild shows what comes back of a registry whose database is gone: with a
// snapshot all that was there when it was taken, with the tree of registry:2 all
// that was pushed, and of the rest no name, but every byte; pushing again is
// enough.
func TestRebuild(t *testing.T) {
	for _, l := range []loss{
		{name: "snapshot", snapshot: true, early: true, code: 1},
		{name: "snapshot and a damaged database", snapshot: true, damaged: true, early: true, code: 1},
		{name: "snapshot and tree", snapshot: true, shadow: true, early: true, late: true},
		{name: "tree", shadow: true, early: true, late: true},
		{name: "nothing", code: 1},
	} {
		t.Run(l.name, func(t *testing.T) { rebuild(t, l) })
	}
}

func rebuild(t *testing.T, l loss) {
	env := quiet()
	if l.shadow {
		env = append(env, "BERTH_REGISTRY2_SHADOW=on")
		t.Setenv("BERTH_REGISTRY2_SHADOW", "on") // for berth fsck
	}
	reg := realtest.Start(t, realtest.Options{Env: env})
	c := newClient(t, reg.URL)
	early := &filler{c: c, l: newLedger(), acked: map[string]bool{}, n: 100}
	late := &filler{c: c, l: newLedger(), acked: map[string]bool{}, n: 200}
	push := func(f *filler, repo string) {
		t.Helper()
		first := f.n
		for range 3 {
			if err := f.push(t.Context(), repo, 20_000); err != nil {
				t.Fatal(err)
			}
		}
		f.n = first
	}
	push(early, "app/early")
	reg.Stop() // takes a snapshot
	snapshots := filepath.Join(reg.Dir, "berth/snapshots")
	first := files(t, snapshots)
	reg.Restart()
	push(late, "app/late")
	wantFsckRefused(t, reg.Dir, "stop the server first")
	reg.Stop()
	wantFsckRefused(t, reg.Dir, "is there and good")
	lose(t, reg.Dir, l, first)
	contents := len(blobFiles(t, reg.Dir))
	out, code := fsck(t, reg.Dir, "--rebuild")
	if code != l.code {
		t.Errorf("exit code %d, want %d\n%s", code, l.code, out)
	}
	if got := len(blobFiles(t, reg.Dir)); got != contents {
		t.Errorf("%d files of blobs are left of %d", got, contents)
	}
	reg.Restart()
	for _, f := range []struct {
		*filler
		repo string
		back bool
	}{{early, "app/early", l.early}, {late, "app/late", l.late}} {
		if f.back {
			there(t, f.filler, "after the rebuild")
		}
		push(f.filler, f.repo)
		there(t, f.filler, "after it was pushed again")
	}
	if _, code := fsck(t, reg.Dir, "--read-data", "--repair"); code != 0 && code != 3 {
		t.Errorf("repair after all: exit code %d", code)
	}
	wantFsck(t, reg.Dir, 0, []string{"nothing is wrong"}, "--read-data")
	there(t, early, "after the repair")
	there(t, late, "after the repair")
}

// there wants all that a filler pushed to be served.
func there(t *testing.T, f *filler, when string) {
	t.Helper()
	if err := inspect(t.Context(), f.c, f.l, everything, uploadsMayGo).amongOthers(); err != nil {
		t.Errorf("%s: %v", when, err)
	}
}

func wantFsckRefused(t *testing.T, dir, why string) {
	t.Helper()
	if out, code := fsck(t, dir, "--rebuild"); code != 1 || !strings.Contains(out, why) {
		t.Errorf("got %d %s, want a refusal: %s", code, out, why)
	}
}

// lose takes the database away, and what the loss takes besides.
func lose(t *testing.T, dir string, l loss, first []string) {
	t.Helper()
	db := filepath.Join(dir, "berth/berth.db")
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(db + suffix); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	if l.damaged {
		if err := os.WriteFile(db, bytes.Repeat([]byte("damaged "), 1000), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range files(t, filepath.Join(dir, "berth/snapshots")) {
		if l.snapshot && slices.Contains(first, file) {
			continue
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
}
