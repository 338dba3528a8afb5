// Package model_test compares a whole registry with a small model of one, over
// long random sequences of everything that can happen: pushes whole, cut and
// interleaved, mounts, tags, deletions, collections, crashes between any two
// calls, failing disks and databases, and damage behind the registry's back.
//
// It uses the real records and the real stores. It looks into the tables, so
// that a difference is found at the step that made it.
package model_test

import (
	"os"
	"strconv"
	"testing"
	"time"

	"berth/internal/blob"
	"berth/internal/meta"
	"berth/internal/oci"
)

// TestModel runs a number of seeds. BERTH_TEST_SEED runs that seed alone.
func TestModel(t *testing.T) {
	seeds := 30
	if testing.Short() {
		seeds = 4
	}
	if s := os.Getenv("BERTH_TEST_SEED"); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		runSeeds(t, seed, 1)
		return
	}
	runSeeds(t, 1, seeds)
}

// TestSoakModel runs thousands of seeds, other ones each time.
func TestSoakModel(t *testing.T) {
	if os.Getenv("BERTH_SOAK") == "" {
		t.Skip("set BERTH_SOAK=1 to run it")
	}
	runSeeds(t, uint64(time.Now().Unix()), 3000)
}

func runSeeds(t *testing.T, first uint64, seeds int) {
	for i := range seeds {
		seed := first + uint64(i)
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			newWorld(t, seed).run(400)
		})
	}
}

// run takes random steps.
func (w *world) run(steps int) {
	for range steps {
		if w.chance(15) {
			err := pick(w, []error{errInjected, errInjected, blob.ErrNoSpace, meta.ErrNoSpace, blob.ErrBusy})
			w.faults.plan(1+w.rnd.IntN(8), w.chance(50), w.chance(30), err)
		}
		w.any()
		w.faults.plan(0, false, false, nil)
		if w.chance(8) {
			w.check()
		}
	}
	w.settle()
	w.check()
	w.restart()
	w.comeBack()
	w.settle()
	w.check()
}

// any takes one random step.
func (w *world) any() {
	var s *session
	if len(w.sessions) > 0 {
		s = pick(w, w.sessions)
	}
	switch n := w.rnd.IntN(164); {
	case n < 8 || s == nil && n < 30:
		w.start()
	case n < 22:
		w.push(s, false)
	case n < 26:
		w.push(s, true)
	case n < 33 && s != nil:
		w.commit(s)
	case n < 35 && s != nil:
		w.cancel(s)
	case n < 55:
		w.whole()
	case n < 63:
		w.mount()
	case n < 83:
		w.put()
	case n < 89:
		w.deleteManifest()
	case n < 93:
		w.deleteTag()
	case n < 97:
		w.deleteBlob()
	case n < 104:
		w.read()
	case n < 107:
		w.haunt()
	case n < 119:
		w.passTime()
	case n < 123:
		w.collect()
	case n < 125:
		w.damageBlob()
	case n < 130:
		w.rare(n)
	case n < 137:
		w.setTag()
	case n < 138:
		w.trimHistory()
	case n < 142:
		w.deleteRepo()
	case n < 153:
		w.restore()
	case n < 155:
		w.dropTrash()
	case n < 161:
		w.discard()
	default:
		w.expireTrash()
	}
}

// rare takes one of the steps that would not leave much to the others.
func (w *world) rare(n int) {
	switch n {
	case 125:
		w.damageManifest()
	case 126:
		w.faults.plan(0, false, false, nil)
		w.settle()
	case 127:
		w.step("crash")
		w.crash()
		w.comeBack()
	case 128:
		w.recover()
	case 129:
		w.step("restart")
		w.restart()
		w.comeBack()
	}
}

// whole uploads a blob in one go, which other steps may come between.
func (w *world) whole() {
	s := w.start()
	if s == nil {
		return
	}
	w.push(s, true)
	for _, other := range w.sessions {
		if other == s {
			w.commit(s)
			return
		}
	}
}

func (w *world) passTime() {
	d := pick(w, []time.Duration{time.Second, delay, 31 * time.Minute, time.Hour, 3 * time.Hour})
	if w.chance(3) {
		d = tombstones + time.Hour
	}
	w.step("%v pass", d)
	w.running += d
	if w.chance(10) {
		d = pick(w, []time.Duration{time.Hour, 24 * time.Hour, 10 * 365 * 24 * time.Hour}) * time.Duration(1-2*w.rnd.IntN(2))
		w.step("somebody sets the wall clock by %v", d)
		w.wall = w.wall.Add(d)
	}
	if w.chance(30) {
		w.step("save the clock")
		if err := w.db.SaveClock(w.t.Context()); err != nil {
			w.fatalf("save the clock: %v", err)
		}
		w.saved = w.now()
	}
	w.outcome(nil, []oci.Code{success})
}
