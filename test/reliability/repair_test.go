package reliability

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"berth/test/realtest"
)

// TestRepairKilled shows that a repair that is killed, by itself or with the server
// that does it, leaves nothing that the next one can't go on with: no blob is served
// with other bytes, and pushing again heals everything.
func TestRepairKilled(t *testing.T) {
	for _, running := range []bool{false, true} {
		t.Run(map[bool]string{false: "idle", true: "server"}[running], func(t *testing.T) { repairKilled(t, running) })
	}
}

func repairKilled(t *testing.T, running bool) {
	reg := realtest.Start(t, realtest.Options{Env: quiet()})
	c := newClient(t, reg.URL)
	f := &filler{c: c, l: newLedger(), acked: map[string]bool{}, n: 500}
	push := func() {
		t.Helper()
		f.n = 500
		for range 8 {
			if err := f.push(t.Context(), "app/killed", 20_000); err != nil {
				t.Fatal(err)
			}
		}
	}
	push()
	rng := newRand(seed(t), 1)
	for range count(t, "BERTH_TEST_REPAIR_KILLS", 2) {
		spoil(t, rng, reg.Dir)
		if !running {
			reg.Stop()
		}
		cmd := exec.Command(realtest.Berth(t), "fsck", "--data", reg.Dir, "--read-data", "--repair")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rng.Int64N(int64(150 * time.Millisecond)))) // anywhere is as good as elsewhere
		if running {
			reg.Kill()
		} else if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed, or its server was
		reg.Restart()
		if _, code := fsck(t, reg.Dir, "--read-data", "--repair"); code == 2 {
			t.Fatal("the next repair could not be made")
		}
		if bad := badFiles(t, reg.Dir); len(bad) > 0 {
			t.Errorf("after the repair there still is %v", bad)
		}
		push()
		wantFsck(t, reg.Dir, 0, []string{"nothing is wrong"}, "--read-data")
		there(t, f, "after it was pushed again")
	}
}

// spoil damages about a third of the files of blobs.
func spoil(t *testing.T, rng *rand.Rand, dir string) {
	t.Helper()
	for file := range blobFiles(t, dir) {
		var err error
		switch rng.IntN(9) {
		case 0:
			err = os.Remove(file)
		case 1:
			err = os.Truncate(file, 1)
		case 2:
			var b []byte
			if b, err = os.ReadFile(file); err == nil {
				b[len(b)/2] ^= 1
				err = os.WriteFile(file, b, 0o600)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
