package adopt

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"berth/test/realtest"
)

// run runs berth adopt on dir, and kills it after a while if it is not done by
// then. It returns the time of the processor that it took.
func run(t testing.TB, dir string, after time.Duration, flags ...string) (killed bool, cpu time.Duration) {
	t.Helper()
	cmd := exec.Command(realtest.Berth(t), append([]string{"adopt", "--data", dir}, flags...)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(after, func() { cmd.Process.Kill() })
	defer timer.Stop()
	err := cmd.Wait()
	cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if e, ok := errors.AsType[*exec.ExitError](err); ok && e.Sys().(syscall.WaitStatus).Signaled() {
		return true, cpu
	}
	if err != nil {
		t.Fatal(err)
	}
	return false, cpu
}

// kills takes over a tree with many kills at any moment, and holds that what comes
// of it is the same as without one.
func kills(t *testing.T, repos, tags, times int) {
	whole, cut := t.TempDir(), t.TempDir()
	maker{t, whole}.many(repos, tags)
	maker{t, cut}.many(repos, tags)
	began := time.Now()
	run(t, whole, time.Minute)
	took := time.Since(began)
	_, b := startBerth(t, whole)
	want := b.contents()

	seed := rand.Uint64()
	t.Logf("seed %d; it takes %s undisturbed", seed, took)
	r := rand.New(rand.NewPCG(seed, 0))
	n := 0
	for range times {
		if killed, _ := run(t, cut, time.Duration(r.Int64N(int64(took)/int64(times)*2))); killed {
			n++
		}
	}
	if n == 0 {
		t.Error("it was never killed in time")
	}
	t.Logf("killed %d times", n)
	_, b = startBerth(t, cut)
	same(t, fmt.Sprintf("after %d kills", n), b.contents(), want)
	if _, own := blobFiles(t, cut); own != 0 {
		t.Errorf("%d blobs were copied", own)
	}
}

func TestKill(t *testing.T) { kills(t, 60, 4, 5) }

func TestKillSoak(t *testing.T) {
	realtest.Soak(t)
	kills(t, 500, 10, 20)
}

// TestKilledShadow kills the server while it writes links, and holds that the next
// start knows which of them were its own: nothing that was pushed goes back to
// what a link said before.
func TestKilledShadow(t *testing.T) {
	dir := t.TempDir()
	maker{t, dir}.many(2, 2)
	berth, b := startBerth(t, dir)
	times := 5
	if os.Getenv("BERTH_SOAK") != "" {
		times = 50
	}
	for round := range times {
		for i := range 5 {
			b.push("team0/app0", "v0", newImage(t, fmt.Sprint(round, i), imageType))
			b.push("team1/app1", fmt.Sprintf("r%d-%d", round, i), newImage(t, fmt.Sprint(round, i), imageType))
		}
		want := b.contents()
		berth.Kill()
		berth.Restart()
		same(t, fmt.Sprint("round ", round), b.contents(), want)
	}
	want := b.contents()
	berth.Stop()
	_, r := startRival(t, "registry", dir)
	same(t, "registry after the kills", r.contents(), want)
}

// TestKilledFinish kills the end of living together, and holds that the next run
// comes to it, and that nothing is lost on the way.
func TestKilledFinish(t *testing.T) {
	repos, times := 40, 5
	if os.Getenv("BERTH_SOAK") != "" {
		repos, times = 400, 20
	}
	whole, cut := t.TempDir(), t.TempDir()
	var want map[string]string
	for _, dir := range []string{whole, cut} {
		maker{t, dir}.many(repos, 4)
		berth, b := startBerth(t, dir)
		b.push("team0/app0", "new", newImage(t, "new", imageType))
		want = b.contents()
		berth.Stop()
	}
	began := time.Now()
	run(t, whole, time.Minute, "--finish", "--yes")
	took := time.Since(began)

	seed := rand.Uint64()
	t.Logf("seed %d; it takes %s undisturbed", seed, took)
	r := rand.New(rand.NewPCG(seed, 0))
	n := 0
	for range times {
		if killed, _ := run(t, cut, time.Duration(r.Int64N(int64(took)/int64(times)*2)), "--finish", "--yes"); killed {
			n++
		}
	}
	if n == 0 {
		t.Error("it was never killed in time")
	}
	t.Logf("killed %d times", n)
	run(t, cut, time.Minute, "--finish", "--yes")
	if data, own := blobFiles(t, cut); data != 0 || own == 0 {
		t.Errorf("%d files are registry:2's still, and %d Berth's own", data, own)
	}
	_, b := startBerth(t, cut)
	same(t, fmt.Sprintf("after %d kills", n), b.contents(), want)
}

// TestScale takes over a tree of 1,000 repositories and 10,000 tags. It prints
// what that costs.
func TestScale(t *testing.T) {
	realtest.Soak(t)
	dir := t.TempDir()
	maker{t, dir}.many(1000, 10)
	_, cpu := run(t, dir, time.Hour)
	t.Logf("1,000 repositories, 10,000 tags: %s of CPU", cpu)
	_, cpu = run(t, dir, time.Hour)
	t.Logf("the same again: %s of CPU", cpu)
	if _, own := blobFiles(t, dir); own != 0 {
		t.Errorf("%d blobs were copied", own)
	}
}
