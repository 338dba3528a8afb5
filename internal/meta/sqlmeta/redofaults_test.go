package sqlmeta

import (
	"database/sql/driver"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
)

// A faultyRun makes the changes of TestPowerCuts with something failing once, with
// what is not a change in between.
type faultyRun struct {
	ops      []operation
	template string
	states   []string // what there is when nothing fails: at first, and after each change
	several  []bool   // which changes are more than one transaction
}

func newFaultyRun(t *testing.T) *faultyRun {
	t.Helper()
	f := &faultyRun{ops: cutOps(t), template: frozenTemplate(t)}
	db := (&trial{template: f.template}).open(t, nil)
	defer db.Close()
	f.states = append(f.states, dump(t, db))
	for _, op := range f.ops {
		was := db.Stats()
		_ = op.do(t.Context(), db)
		f.several = append(f.several, db.Stats().Commits > was.Commits+1)
		f.states = append(f.states, dump(t, db))
	}
	return f
}

// run makes the changes.
func (f *faultyRun) run(t *testing.T, db *DB) {
	for i, op := range f.ops {
		_ = op.do(t.Context(), db)
		_ = interlude(t.Context(), db, i)
	}
}

// check holds that the database is right, that a kill would leave the same, and that
// it is still recorded what is changed.
func (f *faultyRun) check(t *testing.T, db *DB, what string) {
	t.Helper()
	killed := filepath.Join(t.TempDir(), "berth.db")
	copyFiles(t, db.path, killed, "", "-wal", ledgerExt, redoExt)
	got := dump(t, db)
	if err := db.Check(t.Context()); err != nil {
		t.Errorf("%s: %v", what, err)
	}
	next := mustOpen(t, frozen(killed, nil))
	defer next.Close()
	if again := dump(t, next); again != got {
		t.Errorf("%s: whoever opens it anew sees\n%s\nwant\n%s", what, again, got)
	}
}

// TestFaultsOfRecords makes every use of the file of records fail, one after the
// other, before and after it was done: nobody notices, and all changes happen.
func TestFaultsOfRecords(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes many starts")
	}
	f, step := newFaultyRun(t), 9
	if os.Getenv("BERTH_SOAK") != "" {
		step = 1
	}
	for n := 1; ; n += step {
		for _, late := range []bool{false, true} {
			db := (&trial{template: f.template}).open(t, nil)
			touchClock(t, db)
			var left atomic.Int64
			left.Store(int64(n))
			db.writer.redo.file = brokenFile{db.writer.redo.file, &left, late}
			f.run(t, db)
			what := fmt.Sprintf("use %d of the file fails (late: %v)", n, late)
			if got := dump(t, db); got != f.states[len(f.ops)] {
				t.Errorf("%s: there is\n%s\nwant\n%s", what, got, f.states[len(f.ops)])
			}
			f.check(t, db, what)
			db.Close()
			if left.Load() > 0 {
				if n < 50 {
					t.Errorf("the file was used %d times: this tests little", n)
				}
				return
			}
		}
	}
}

// TestFaultsAmongRecords makes calls to the driver fail, among them those that commit
// what was recorded and those that repeat it, once or from then on for a
// while: what was answered stays, and nothing is half there.
func TestFaultsAmongRecords(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes many starts")
	}
	f, step := newFaultyRun(t), 97
	if os.Getenv("BERTH_SOAK") != "" {
		step = 1
	}
	for n := 1; ; n += step {
		for mode := range dead + 1 {
			s := newSpy()
			db := (&trial{template: f.template}).open(t, func(c driver.Connector) driver.Connector { return spiedConnector{c, s} })
			touchClock(t, db)
			s.arm(n, mode)
			what := f.until(t, db, s, fmt.Sprintf("call %d failing %d", n, mode))
			f.check(t, db, what)
			db.Close()
			if what == "" {
				if n < 500 {
					t.Errorf("%d calls: this tests little", n)
				}
				return
			}
		}
	}
}

// until makes the changes until a call has failed, holds that what was answered is
// there, makes the others, and returns what has failed.
func (f *faultyRun) until(t *testing.T, db *DB, s *spy, what string) (failed string) {
	t.Helper()
	for i, op := range f.ops {
		err := op.do(t.Context(), db)
		text, is := s.disarmed()
		if !is {
			_ = interlude(t.Context(), db, i)
			text, is = s.disarmed()
			err = nil
		}
		if !is || failed != "" {
			continue
		}
		s.disarm()
		failed = fmt.Sprintf("%s (%s) in change %d", what, text, i)
		got := dump(t, db)
		if got != f.states[i+1] && !f.several[i] && (err == nil || got != f.states[i]) {
			t.Errorf("%s, which returned %v: there is\n%s\nwant\n%s", failed, err, got, f.states[i+1])
		}
	}
	s.disarm() // or what comes now would be the call that fails
	return failed
}

// disarmed reports whether a call has failed, and leaves the spy as it is.
func (s *spy) disarmed() (text string, failed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed, s.failAt > 0 && s.calls >= s.failAt
}
