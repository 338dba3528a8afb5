package reliability

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"berth/test/realtest"
)

// TestKilledWhileCollecting kills the server at one system call of a collection
// after the other: what is needed is there and whole after each, and the next
// collection finishes what that one began. With BERTH_SOAK=1 it leaves none out.
func TestKilledWhileCollecting(t *testing.T) {
	realtest.Root(t)
	// One thread, as strace counts the calls of each.
	env := append(quiet(), "BERTH_GC_EVERY=1h", "BERTH_TRASH_KEEP=0s", "GOMAXPROCS=1")
	reg := realtest.Start(t, realtest.Options{Env: env})
	k := &collectKill{t: t, reg: reg, c: newClient(t, reg.URL), seed: seed(t)}
	k.keep()
	stride := 3
	if os.Getenv("BERTH_SOAK") != "" {
		stride = 1
	}
	for _, calls := range []struct {
		name         string
		first, every int
		least        int // kills
	}{
		{"unlinkat", 1, stride, 3},
		{"fsync,fdatasync", 1, 1, 1},
		{"pwrite64", 1, stride, 2}, // records, and later the log
	} {
		t.Run(calls.name, func(t *testing.T) {
			kills := 0
			for n := calls.first; k.killedAt(fmt.Sprintf("%s:signal=KILL:when=%d", calls.name, n)) && kills < 100; {
				// How many calls there are depends on which thread does what, so the
				// first ones are taken one by one.
				if kills++; kills < calls.least {
					n++
				} else {
					n += calls.every
				}
			}
			t.Logf("killed %d times", kills)
			if kills < calls.least {
				t.Errorf("killed %d times, want %d at least", kills, calls.least)
			}
		})
	}
}

// A collectKill kills collections.
type collectKill struct {
	t    *testing.T
	reg  *realtest.Registry
	c    *client
	seed uint64
	made uint64 // things made so far

	config thing
	layers []thing
	image  []byte
}

func (k *collectKill) thing() thing {
	k.made++
	return newThing(content(10_000, k.seed, k.made))
}

func (k *collectKill) ok(err error) {
	k.t.Helper()
	if err != nil {
		k.t.Fatal(err)
	}
}

// keep pushes an image that stays.
func (k *collectKill) keep() {
	k.config, k.layers = k.thing(), []thing{k.thing(), k.thing()}
	k.image = imageManifest(k.config, k.layers, "kept")
	for _, b := range append(k.layers, k.config) {
		k.ok(k.c.push(k.t.Context(), "app", b))
	}
	k.ok(k.c.putManifest(k.t.Context(), "app", "kept", manifestType, k.image))
}

// litter makes garbage of every kind: blobs that nothing needs, one of them in two
// repositories, an image that is deleted, which shares a layer with the one that
// stays.
func (k *collectKill) litter() {
	ctx := k.t.Context()
	loose, both, own := k.thing(), k.thing(), k.thing()
	for _, repo := range []string{"app", "other"} {
		k.ok(k.c.push(ctx, repo, both))
	}
	for _, b := range []thing{loose, own} {
		k.ok(k.c.push(ctx, "app", b))
	}
	body := imageManifest(k.config, []thing{own, k.layers[0]}, fmt.Sprint("deleted ", k.made))
	k.ok(k.c.putManifest(ctx, "app", "deleted", manifestType, body))
	k.ok(k.c.remove(ctx, manifestPath("app", digestOf(body))))
}

// collect is what an operator does whose disk is full.
func (k *collectKill) collect() error {
	out, err := exec.Command(realtest.Berth(k.t), "gc", "--grace", "0s", "--data", k.reg.Dir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("berth gc: %w\n%s", err, out)
	}
	return nil
}

// killedAt collects with a fault that kills the server, and checks what is left.
// It reports whether the server was killed.
func (k *collectKill) killedAt(fault string) bool {
	t := k.t
	t.Helper()
	k.litter()
	end := inject(t, k.reg, fault)
	err := k.collect()
	if err == nil { // what was answered is committed when the next one asks, at the latest
		err = k.collect()
	}
	gone := func() {
		if k.reg.Wait() == nil {
			t.Fatalf("%s: %v, but the server ended by itself", fault, err)
		}
	}
	if err != nil {
		gone()
	}
	end()
	if err == nil { // berth gc does without a server
		_, err = k.c.manifest(t.Context(), "app", "kept")
	}
	killed := err != nil
	if killed {
		gone()
		k.reg.Restart()
		k.c.http.CloseIdleConnections()
		k.whole(fault)
	}
	if err := k.collect(); err != nil {
		t.Fatalf("%s: %v", fault, err)
	}
	k.whole(fault)
	if left := blobFiles(t, k.reg.Dir); len(left) != 3 {
		t.Fatalf("%s: %d files are left, want 3", fault, len(left))
	}
	if left := files(t, filepath.Join(k.reg.Dir, "berth", "uploads")); len(left) != 0 {
		t.Errorf("%s: left of uploads: %v", fault, left)
	}
	return killed
}

// whole wants the image that stays to be there.
func (k *collectKill) whole(fault string) {
	k.t.Helper()
	d, err := k.c.manifest(k.t.Context(), "app", "kept")
	if err != nil || d != digestOf(k.image) {
		k.t.Errorf("%s: the manifest is %s, %v", fault, d, err)
	}
	for _, b := range append(k.layers, k.config) {
		if d, _, err := k.c.blob(k.t.Context(), "app", b.digest); err != nil || d != b.digest {
			k.t.Errorf("%s: blob %s came as %q, %v", fault, b.digest, d, err)
		}
	}
}
