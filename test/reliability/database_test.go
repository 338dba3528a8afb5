package reliability

import (
	"context"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/test/realtest"
)

// restored is what the log says, before how old it is, when a snapshot took the
// place of the database.
const restored = "the database was lost and was restored from a snapshot that is "

// ageOf returns the age that the log of a server names when it has restored a
// snapshot.
func ageOf(t *testing.T, l *realtest.Log) (time.Duration, bool) {
	t.Helper()
	_, text, ok := strings.Cut(l.String(), restored)
	if !ok {
		return 0, false
	}
	text, _, _ = strings.Cut(text, " old")
	age, err := time.ParseDuration(text)
	if err != nil {
		t.Errorf("the log says that the snapshot is %q old", text)
	}
	return age, true
}

// steady returns what of l has neither changed since it was cloned nor been
// asked to: what must be in a copy that was taken in between.
func (l *ledger) steady(now *ledger) *ledger {
	s := l.clone()
	for k := range now.fresh {
		delete(s.facts, k)
	}
	for op := range now.open {
		for k := range op.changes {
			delete(s.facts, k)
		}
	}
	for op := range l.open {
		for k := range op.changes {
			delete(s.facts, k)
		}
	}
	clear(s.open)
	return s
}

// TestCopyWhileRunning shows that a plain copy of the folder, taken while clients
// push, starts and has what was acknowledged before the copying began; or, where
// the copy tore the database, what was there at the last snapshot, and says so.
func TestCopyWhileRunning(t *testing.T) {
	testCopies(t, count(t, "BERTH_TEST_COPIES", 3))
}

func testCopies(t *testing.T, n int) {
	t.Run("at once", func(t *testing.T) {
		copies(t, n, func(*rand.Rand, string, string) {})
	})
	t.Run("slowly", func(t *testing.T) { copies(t, n, copySlowly(t)) })
}

// copySlowly copies the database, its log and the file of records once more, at
// different times, as it is when there is much to copy in between.
func copySlowly(t *testing.T) func(rng *rand.Rand, from, to string) {
	return func(rng *rand.Rand, from, to string) {
		t.Helper()
		list := []string{"berth.db", "berth.db-wal", "berth.db-redo"}
		rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		for _, name := range list {
			data, err := os.ReadFile(filepath.Join(from, "berth", name))
			if err == nil {
				err = os.WriteFile(filepath.Join(to, "berth", name), data, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Duration(rng.Int64N(int64(600 * time.Millisecond))))
		}
	}
}

func copies(t *testing.T, n int, more func(rng *rand.Rand, from, to string)) {
	s := seed(t)
	cr := newCrash(t, "", s, uploadsStay, settings{largest: 1 << 12}, new(stats))
	cr.load.workers = cr.load.workers[:3]
	cr.pushFor(300 * time.Millisecond)
	cr.reg.Stop() // takes a snapshot
	atSnapshot := cr.load.ledger.clone()
	var changed = map[key]bool{} // since that snapshot
	cr.again(sinceLast)
	torn := 0
	for i := range n {
		ctx, stop := context.WithCancel(t.Context())
		result := make(chan error, 1)
		go func() { result <- cr.load.run(ctx) }()
		time.Sleep(time.Duration(cr.rng.Int64N(int64(400 * time.Millisecond))))
		before := cr.load.ledger.clone()
		maps.Copy(changed, before.fresh)
		cr.load.ledger.forgetFresh()
		dir := filepath.Join(t.TempDir(), "copy")
		if out, err := exec.Command("cp", "-r", cr.reg.Dir, dir).CombinedOutput(); err != nil && !vanished(string(out)) {
			t.Errorf("cp: %v\n%s", err, out)
		}
		more(cr.rng, cr.reg.Dir, dir)
		after := cr.load.ledger.clone()
		stop()
		if err := <-result; err != nil {
			t.Fatal(err)
		}
		maps.Copy(changed, after.fresh)
		if cr.copied(i, dir, before.steady(after), atSnapshot, changed) {
			torn++
		}
		os.RemoveAll(dir)
		maps.Copy(changed, cr.load.ledger.fresh)
	}
	t.Logf("%d copies of a running server, of which %d were torn and went back to the snapshot", n, torn)
}

// pushFor pushes for some time.
func (cr *crash) pushFor(d time.Duration) {
	cr.t.Helper()
	ctx, stop := context.WithTimeout(cr.t.Context(), d)
	defer stop()
	if err := cr.load.run(ctx); err != nil {
		cr.t.Fatal(err)
	}
}

// forgetFresh begins anew to note what changes.
func (l *ledger) forgetFresh() {
	l.Lock()
	defer l.Unlock()
	l.fresh = map[key]bool{}
}

// vanished reports whether cp complains of nothing but files that went while it
// was at work.
func vanished(out string) bool {
	for line := range strings.Lines(out) {
		if !strings.Contains(line, "No such file or directory") && !strings.Contains(line, "cannot open") && !strings.Contains(line, "admin.sock") {
			return false
		}
	}
	return true
}

// copied starts a server on a copy, and reports whether it went back to the
// snapshot.
func (cr *crash) copied(i int, dir string, want, atSnapshot *ledger, changed map[key]bool) (torn bool) {
	t := cr.t
	t.Helper()
	reg := realtest.Start(t, realtest.Options{Dir: dir, Env: quiet()})
	defer reg.Stop()
	age, torn := ageOf(t, reg.Log)
	if torn {
		want = atSnapshot.clone()
		for k := range changed { // may have lost its bytes since
			delete(want.facts, k)
		}
		if age > time.Hour {
			t.Errorf("the snapshot is said to be %v old", age)
		}
	} else if !reg.Log.Contains("was copied or moved here; its database was checked and is good") {
		t.Errorf("copy %d: the log does not say that the copy was checked:\n%s", i, reg.Log.Tail(5))
	}
	in := &inspection{c: newClient(t, reg.URL), l: want, uploads: uploadsMayGo, partial: true}
	if err := in.run(t.Context(), everything).err(); err != nil {
		t.Errorf("copy %d (torn: %v): %v", i, torn, err)
	}
	if len(want.facts) == 0 {
		t.Error("nothing was there to be compared")
	}
	return torn
}

// TestLostDatabase shows that the names come back from the snapshot when the
// database is gone, and that the log says how old they are.
func TestLostDatabase(t *testing.T) {
	cr := newCrash(t, "", seed(t), uploadsMayGo, settings{largest: 1 << 16}, new(stats))
	cr.pushFor(400 * time.Millisecond)
	cr.compare(everything)
	cr.reg.Stop() // takes a snapshot
	cr.loseDatabase()
	cr.again(everything)
	if _, ok := ageOf(t, cr.reg.Log); !ok {
		t.Errorf("the log does not say how old the names are:\n%s", cr.reg.Log.Tail(10))
	}
	atSnapshot := cr.load.ledger.clone()
	cr.pushFor(300 * time.Millisecond) // what the snapshot does not know
	changed := maps.Clone(cr.load.ledger.fresh)
	cr.reg.Kill()
	cr.loseDatabase()
	mark := cr.reg.Log.Mark()
	cr.reg.Restart()
	cr.reg.AwaitReady()
	if _, ok := ageOf(t, cr.reg.Log.Since(mark)); !ok {
		t.Errorf("the log does not say how old the names are:\n%s", cr.reg.Log.Tail(10))
	}
	for k := range changed {
		delete(atSnapshot.facts, k)
	}
	in := &inspection{c: cr.c, l: atSnapshot, uploads: uploadsMayGo, partial: true}
	if err := in.run(t.Context(), everything).err(); err != nil {
		t.Errorf("as of the snapshot: %v", err)
	}
	f := &filler{c: cr.c, l: newLedger(), acked: map[string]bool{}}
	if err := f.push(t.Context(), "after/all", 1000); err != nil {
		t.Errorf("push after the loss: %v", err)
	}
}

// loseDatabase removes the database, with everything beside it but the snapshots.
func (cr *crash) loseDatabase() {
	cr.t.Helper()
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(filepath.Join(cr.reg.Dir, "berth", "berth.db"+suffix)); err != nil && !os.IsNotExist(err) {
			cr.t.Fatal(err)
		}
	}
}

// TestSecondProcess shows that two servers never share a data directory.
func TestSecondProcess(t *testing.T) {
	reg := realtest.Start(t, realtest.Options{})
	second := realtest.Start(t, realtest.Options{Dir: reg.Dir, Unready: true})
	if err := second.Wait(); err == nil {
		t.Error("the second server ended as if nothing was wrong")
	}
	for _, want := range []string{"is in use by process", "one process at a time may use it"} {
		if !second.Log.Contains(want) {
			t.Errorf("the second server says %q, want %q in it", second.Log.String(), want)
		}
	}
	f := &filler{c: newClient(t, reg.URL), l: newLedger(), acked: map[string]bool{}}
	if err := f.push(t.Context(), "first/app", 1000); err != nil {
		t.Errorf("push to the first: %v", err)
	}
	reg.Kill() // the lock ends with the process
	reg.Restart()
	f.compare(t, "after a kill")
}
