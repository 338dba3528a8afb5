package metatest

import (
	"fmt"
	"time"

	"berth/internal/blob"
	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

func garbageTests() []test {
	return []test{
		{name: "what nothing needs is collected when its grace is over", run: garbageGrace},
		{name: "work is done in bounded steps", run: garbageSteps},
		{name: "without grace everything unneeded goes at once", run: garbageZero, zero: true},
		{name: "a touch begins the grace anew", run: garbageTouch},
		{name: "a repository's garbage is another's layer", run: garbagePerRepo},
		{name: "tombstones are forgotten", run: garbageLosses},
		{name: "keys come in bounded steps", run: garbageKeys},
		{name: "whoever collects may be in more of a hurry", run: garbageHurry},
		{name: "a clock that a kill has set back does not keep garbage", run: garbageSetBack},
	}
}

func clockTests() []test {
	return []test{
		{name: "jumps of the wall clock mean nothing", run: clockJumps},
		{name: "time that was saved counts after a restart", run: clockRestart},
		{name: "a new grace holds for what is there already", run: clockNewGrace},
	}
}

func garbageGrace(f *fixture) {
	a := f.repo("a")
	x := f.push(a, "x")
	f.pass(grace - 1)
	f.equal("collected", f.collect(), 0)
	f.equal("there", f.has(a, "x"), true)
	f.pass(1)
	f.equal("collected", f.collect(), 1)
	f.equal("there", f.has(a, "x"), false)
	_, err := f.FindContent(f.ctx, x.Digest)
	f.is(err, meta.ErrNotFound)
	f.pass(delay - 1)
	f.equal("garbage", f.condemned(), []blob.Key(nil))
	f.pass(1)
	f.equal("garbage", f.condemned(), []blob.Key{x.Key})
	f.ok(f.Forget(f.ctx, f.condemned()))
	f.equal("garbage", f.condemned(), []blob.Key(nil))
	f.equal("collected", f.collect(), 0)
}

func garbageSteps(f *fixture) {
	a := f.repo("a")
	for i := range 10 {
		f.push(a, fmt.Sprint(i))
	}
	f.put(a, f.manifest(shape{parts: []string{"0", "4", "9"}}))
	f.pass(grace)
	total := 0
	for _, want := range []int{4, 4, 2, 0} {
		looked, ended, err := f.CollectBlobs(f.ctx, f.env.Grace, 4)
		f.ok(err)
		f.equal("looked", looked, want)
		total += ended
	}
	f.equal("ended", total, 7)
}

func garbageZero(f *fixture) {
	a := f.repo("a")
	x := f.push(a, "x")
	f.push(a, "y")
	m := f.manifest(shape{parts: []string{"y"}})
	f.put(a, m)
	f.equal("collected", f.collect(), 1)
	f.equal("garbage", f.condemned(), []blob.Key{x.Key})
	_, err := f.tryPut(a, f.manifest(shape{parts: []string{"x"}}))
	f.equal("missing", asMissing(err), []oci.Digest{x.Digest})
	f.ok(f.DeleteManifest(f.ctx, a, digest(m), event.Actor{}))
	f.equal("collected", f.collect(), 1)
	f.equal("there", f.has(a, "y"), false)
}

func garbageTouch(f *fixture) {
	a, b := f.repo("a"), f.repo("b")
	x := f.push(a, "x")
	for _, touch := range []func() error{
		func() error { return f.TouchBlob(f.ctx, a, x.Digest) },
		func() error { return f.LinkBlob(f.ctx, a, a, x.Digest, event.Actor{}) },
		func() error { f.push(a, "x"); return nil },
	} {
		f.pass(grace - 1)
		f.ok(touch())
	}
	f.pass(grace - 1)
	f.equal("collected", f.collect(), 0)
	f.ok(f.LinkBlob(f.ctx, a, b, x.Digest, event.Actor{}))
	f.pass(1)
	f.equal("collected", f.collect(), 1)
	f.equal("left", []bool{f.has(a, "x"), f.has(b, "x")}, []bool{false, true})
}

func garbagePerRepo(f *fixture) {
	a, b := f.repo("a"), f.repo("b")
	x := f.push(a, "x")
	f.ok(f.LinkBlob(f.ctx, a, b, x.Digest, event.Actor{}))
	f.put(b, f.manifest(shape{parts: []string{"x"}}))
	f.pass(grace)
	f.equal("collected", f.collect(), 1)
	f.equal("left", []bool{f.has(a, "x"), f.has(b, "x")}, []bool{false, true})
	f.pass(grace)
	f.equal("garbage", f.condemned(), []blob.Key(nil))
}

func garbageLosses(f *fixture) {
	a := f.repo("a")
	for i := range 5 {
		f.push(a, fmt.Sprint(i))
		f.ok(f.UnlinkBlob(f.ctx, a, digestOf(fmt.Sprint(i)), event.Actor{}))
		f.pass(time.Minute)
	}
	m := f.manifest(shape{parts: []string{"0", "1", "2", "3", "4"}})
	_, err := f.tryPut(a, m)
	f.equal("missing", len(asMissing(err)), 5)
	for _, want := range []int{2, 1, 0} { // the three that are older
		n, err := f.ForgetLosses(f.ctx, 3*time.Minute, 2)
		f.ok(err)
		f.equal("forgotten", n, want)
	}
	_, err = f.tryPut(a, m)
	f.equal("missing", asMissing(err), []oci.Digest{digestOf("3"), digestOf("4")})
	n, err := f.ForgetLosses(f.ctx, 0, 100)
	f.ok(err)
	f.equal("forgotten", n, 2)
	f.equal("dangling", len(f.put(a, m).Dangling), 5)
}

// garbageHurry holds that the grace of one collection is its own, and that what
// is on its way out already may go sooner.
func garbageHurry(f *fixture) {
	a := f.repo("a")
	x := f.push(a, "x")
	y := f.push(a, "y")
	f.put(a, f.manifest(shape{parts: []string{"y"}}))
	f.pass(time.Second)
	for _, step := range []struct {
		grace time.Duration
		ended int
	}{{2 * time.Second, 0}, {time.Second, 1}, {0, 0}} {
		list, _, err := f.Unneeded(f.ctx, step.grace, "", 10)
		f.ok(err)
		_, ended, err := f.CollectBlobs(f.ctx, step.grace, 10)
		f.ok(err)
		f.equal("listed and ended", []int{len(list), ended}, []int{step.ended, step.ended})
	}
	f.equal("there", []bool{f.has(a, "x"), f.has(a, "y")}, []bool{false, true})
	f.equal("garbage", f.condemned(), []blob.Key(nil))
	for _, ahead := range []time.Duration{delay - 1, delay} {
		keys, err := f.Condemned(f.ctx, ahead, 10)
		f.ok(err)
		f.equal("whether x may go", len(keys) == 1 && keys[0] == x.Key, ahead == delay)
	}
	_, err := f.FindContent(f.ctx, y.Digest)
	f.ok(err)
}

// garbageSetBack holds that without grace also goes what was touched at a tick
// that is yet to come: those after the last SaveClock are lost with the process.
func garbageSetBack(f *fixture) {
	a := f.repo("a")
	f.pass(time.Hour)
	f.push(a, "x")
	f.running.Store(0)
	_, ended, err := f.CollectBlobs(f.ctx, time.Nanosecond, 10)
	f.ok(err)
	f.equal("ended with grace", ended, 0)
	list, _, err := f.Unneeded(f.ctx, 0, "", 10)
	f.ok(err)
	_, ended, err = f.CollectBlobs(f.ctx, 0, 10)
	f.ok(err)
	f.equal("listed and ended without", []int{len(list), ended}, []int{1, 1})
}

func garbageKeys(f *fixture) {
	for range 5 {
		f.ok(f.DropUpload(f.ctx, f.upload(f.repo("a"))))
	}
	for _, want := range []int{2, 2, 1, 0} {
		keys, err := f.Condemned(f.ctx, 0, 2)
		f.ok(err)
		f.equal("keys", len(keys), want)
		f.ok(f.Forget(f.ctx, keys))
		f.ok(f.Forget(f.ctx, keys))
	}
}

func clockJumps(f *fixture) {
	a := f.repo("a")
	f.push(a, "x")
	u := f.upload(a)
	for _, jump := range []time.Duration{10 * 365 * 24 * time.Hour, -20 * 365 * 24 * time.Hour, 0} {
		f.jump.Store(int64(jump))
		f.equal("collected", f.collect(), 0)
		n, err := f.ExpireUploads(f.ctx, time.Hour, 10)
		f.ok(err)
		f.equal("expired", n, 0)
		f.ok(f.TouchBlob(f.ctx, a, digestOf("x")))
		f.reopen()
	}
	_, err := f.FindUpload(f.ctx, a, u.ID)
	f.ok(err)
	f.pass(grace)
	f.equal("collected", f.collect(), 1)
}

func clockRestart(f *fixture) {
	a := f.repo("a")
	f.push(a, "x")
	for range 3 {
		f.pass(grace / 4)
		f.ok(f.SaveClock(f.ctx))
		f.reopen() // and a year in a drawer
		f.jump.Add(int64(365 * 24 * time.Hour))
		f.equal("collected", f.collect(), 0)
	}
	b, err := f.FindBlob(f.ctx, a, digestOf("x"))
	f.ok(err)
	f.equal("left", b.Left, grace/4)
	f.pass(grace / 4)
	f.equal("collected", f.collect(), 1)
}

func clockNewGrace(f *fixture) {
	a := f.repo("a")
	f.push(a, "x")
	f.env.Grace = 3 * grace
	f.reopen()
	f.pass(grace)
	f.equal("collected", f.collect(), 0)
	f.env.Grace = grace
	f.reopen()
	f.equal("collected", f.collect(), 1)
}
