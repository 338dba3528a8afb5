package reliability

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"berth/test/realtest"
)

// perDisk is how many times the power of one disk is cut before the next one is
// made: what was pushed stays, so it fills up.
const perDisk = 10

// cutAndMount takes the power away from a disk and gives it back.
//
// With the power the machine goes, so nothing that it says from then on is heard.
// That matters: while the kernel shuts the file system down it ends some fsyncs
// with success that did not reach the disk.
func (cr *crash) cutAndMount(d *realtest.Disk) {
	cr.c.deaf.Store(true)
	d.Cut()
	cr.reg.Kill()
	d.Mount()
	wholeBlobs(cr.t, filepath.Join(d.Dir, "data"))
}

// wholeBlobs checks that what has the name of a blob is that blob, whether anybody
// was told of it or not.
func wholeBlobs(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "docker", "registry", "v2", "blobs", "sha256", "*", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Error(err)
		} else if want := "sha256:" + filepath.Base(filepath.Dir(file)); digestOf(b) != want {
			t.Errorf("%s has %d bytes that are %s after the loss of power", file, len(b), digestOf(b))
		}
	}
}

// testPowerLosses is n losses of power: every second disk has a server that
// collects garbage as fast as it can.
func testPowerLosses(t *testing.T, n int, most time.Duration) {
	realtest.Root(t)
	s := seed(t)
	st := new(stats)
	per := min(perDisk, (n+1)/2)
	for i := 0; i*per < n; i++ {
		name, set := "pushing", settings{largest: 2 << 20}
		if i%2 == 1 {
			name, set = "collecting", settings{largest: 1 << 20, collect: true, env: collecting()}
		}
		t.Run(fmt.Sprint(name, i), func(t *testing.T) {
			disk := realtest.NewDisk(t, 2<<30)
			cr := newCrash(t, filepath.Join(disk.Dir, "data"), s+uint64(i), uploadsMayGo, set, st)
			for j := range min(per, n-i*per) {
				if j%3 == 1 { // what the next process finds must be durable before anybody sees it
					cr.under(most, cr.reg.Kill)
					cr.again(sinceLast)
					cr.stats.also++
				}
				cr.under(most, func() { cr.cutAndMount(disk) })
				cr.stats.crashes++
				cr.again(everything)
			}
			cr.finish()
		})
	}
	st.report(t, fmt.Sprintf("power losses: %d under load, %d of them soon after a kill", st.crashes, st.also))
}

// TestPowerLosses shows that the loss of power costs nothing that was
// acknowledged.
func TestPowerLosses(t *testing.T) {
	testPowerLosses(t, count(t, "BERTH_TEST_POWERLOSSES", 5), 1500*time.Millisecond)
}

// TestMissingSyncIsSeen shows that the test above can fail: with a server whose
// syncs do nothing, all or those of the database alone, things are lost.
func TestMissingSyncIsSeen(t *testing.T) {
	realtest.Root(t)
	strace := realtest.Tool(t, "strace")
	for _, of := range []string{"everything", "the database"} {
		t.Run(of, func(t *testing.T) {
			// Whoever syncs something else makes durable what came before, so that a
			// cut may find nothing that is lost: then it is made again.
			for range 5 {
				if lostWithout(t, strace, of) > 0 {
					return
				}
			}
			t.Error("what was acknowledged without a sync is there after each of the losses")
		})
	}
}

// lostWithout cuts the power of a server whose syncs do nothing, of everything or of
// the database, and returns how much of what it acknowledged is lost.
func lostWithout(t *testing.T, strace, of string) int {
	t.Helper()
	disk := realtest.NewDisk(t, 1<<30)
	dir := filepath.Join(disk.Dir, "data")
	under := []string{strace, "-D", "-f", "-q", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:retval=0"}
	if of == "the database" {
		under = append(under, "-P", filepath.Join(dir, "berth", "berth.db-wal"), "-P", filepath.Join(dir, "berth", "berth.db-redo"))
	}
	reg := realtest.Start(t, realtest.Options{Dir: dir, Env: quiet(), Under: under})
	c := newClient(t, reg.URL)
	ld := newLoad(c, newLedger(), seed(t), pushers, 1<<20)
	cr := &crash{t: t, reg: reg, c: c, load: ld, rng: newRand(1, 1), uploads: uploadsMayGo, stats: new(stats)}
	cr.under(2*time.Second, func() {
		if !await(func() bool { ld.ledger.Lock(); defer ld.ledger.Unlock(); return ld.ledger.tally.manifests > 20 }) {
			t.Error("nothing was pushed in ten seconds")
		}
		cr.cutAndMount(disk)
	})
	honest := realtest.Start(t, realtest.Options{Dir: dir, Env: quiet()})
	f := inspect(t.Context(), newClient(t, honest.URL), ld.ledger, everything, uploadsMayGo)
	t.Logf("%d manifests acknowledged, %d lost, %d corrupt", ld.ledger.tally.manifests, len(f.lost), len(f.corrupt))
	return len(f.lost)
}
