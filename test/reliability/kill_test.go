package reliability

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/test/realtest"
)

// pushers is how many clients push at the same time.
const pushers = 8

// A crash is a test that takes a server down under load, again and again.
type crash struct {
	t       *testing.T
	reg     *realtest.Registry
	c       *client
	load    *load
	rng     *rand.Rand
	uploads promise
	stats   *stats
}

// stats are what the tests of crashes are about.
type stats struct {
	crashes int
	also    int // kills besides: while the server was starting, or before a loss of power
	ready   []time.Duration
	tally   tally
	resumed int
	begun   int
	half    int
	none    int
	lost    int
	corrupt int
	back    int
	listed  int
}

func (s *stats) add(f *findings) {
	s.resumed += f.resumed
	s.begun += f.begun
	s.half += f.half
	s.none += f.none
	s.lost += len(f.lost)
	s.corrupt += len(f.corrupt)
	s.back += len(f.back)
	s.listed += len(f.listed)
}

// report writes the stats for people, and for docs/reliability.md.
func (s *stats) report(t *testing.T, what string) {
	t.Helper()
	slices.Sort(s.ready)
	var median, most time.Duration
	if n := len(s.ready); n > 0 {
		median, most = s.ready[n/2], s.ready[n-1]
	}
	t.Logf(`%s
  acknowledged: %d blobs, %d manifests, %d tags, %d deletions
  lost %d, corrupt %d, deleted but back %d, listed but not served %d
  unanswered when it happened: %d had happened, %d had not, none by half
  unfinished uploads: %d resumed and finished, %d had to begin anew
  from start to ready: median %v, longest %v`, what,
		s.tally.blobs, s.tally.manifests, s.tally.tags, s.tally.deletions, s.lost, s.corrupt, s.back, s.listed,
		s.half, s.none, s.resumed, s.begun, median.Round(time.Millisecond), most.Round(time.Millisecond))
}

// settings says under which settings the server runs, and how the load is.
type settings struct {
	env     []string
	collect bool
	largest int
}

// newCrash starts a server on dir, a new one if that is empty.
func newCrash(t *testing.T, dir string, seed uint64, uploads promise, s settings, st *stats) *crash {
	t.Helper()
	env := append(quiet(), s.env...)
	reg := realtest.Start(t, realtest.Options{Dir: dir, Env: env, Unready: true})
	reg.AwaitReady()
	c := newClient(t, reg.URL)
	ld := newLoad(c, newLedger(), seed, pushers, s.largest)
	ld.collect = s.collect
	return &crash{t: t, reg: reg, c: c, load: ld, rng: newRand(seed, 1000), uploads: uploads, stats: st}
}

// under pushes for some time up to most, and then lets it happen.
func (cr *crash) under(most time.Duration, happen func()) {
	cr.t.Helper()
	cr.load.down.Store(false)
	cr.c.deaf.Store(false)
	ctx, stop := context.WithCancel(cr.t.Context())
	defer stop()
	result := make(chan error, 1)
	go func() { result <- cr.load.run(ctx) }()
	select {
	case <-time.After(time.Duration(cr.rng.Int64N(int64(most)))):
	case err := <-result:
		cr.t.Fatalf("the server failed its clients before anything happened to it: %v\n%s", err, cr.reg.Log.Tail(30))
	}
	cr.load.down.Store(true)
	happen()
	stop()
	if err := <-result; err != nil {
		cr.t.Errorf("before it happened: %v", err)
	}
}

// again starts the server, measures how long it takes, and compares.
func (cr *crash) again(s scope) {
	cr.t.Helper()
	begin := time.Now()
	cr.reg.Restart()
	cr.reg.AwaitReady()
	cr.stats.ready = append(cr.stats.ready, time.Since(begin))
	cr.c.http.CloseIdleConnections()
	cr.c.deaf.Store(false)
	cr.compare(s)
}

func (cr *crash) compare(s scope) {
	cr.t.Helper()
	f := inspect(cr.t.Context(), cr.c, cr.load.ledger, s, cr.uploads)
	cr.stats.add(f)
	if err := f.err(); err != nil {
		cr.t.Fatalf("after %s: %v", plural(cr.stats.crashes, "crash"), err)
	}
}

// finish compares everything and looks at the data directory itself.
func (cr *crash) finish() {
	cr.t.Helper()
	cr.stats.tally = cr.stats.tally.plus(cr.load.ledger.tally)
	cr.compare(everything)
	cr.leftovers()
	if bad := badFiles(cr.t, cr.reg.Dir); len(bad) > 0 {
		cr.t.Errorf("files that are not what their names say: %v", bad)
	}
}

// leftovers wants nothing in the folder of uploads that no upload needs. All that
// are known have ended; a client may not have heard of some.
func (cr *crash) leftovers() {
	cr.t.Helper()
	dir := filepath.Join(cr.reg.Dir, "berth", "uploads")
	var names []string
	ok := await(func() bool {
		names = files(cr.t, dir)
		return len(names) <= cr.load.ledger.unknown
	})
	if !ok {
		cr.t.Errorf("%d files are left of uploads, at most %d of them may still be wanted: %v", len(names), cr.load.ledger.unknown, names)
	}
}

// await waits for at most ten seconds until ok.
func await(ok func() bool) bool {
	for range 200 {
		if ok() {
			return true
		}
		time.Sleep(50 * time.Millisecond)
	}
	return false
}

// files lists the files in a folder and below.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil
		}
		if err == nil && !d.IsDir() {
			list = append(list, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// blobFiles lists the files of stored blobs, with their digests.
func blobFiles(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, p := range files(t, filepath.Join(dir, "docker/registry/v2/blobs")) {
		digest := filepath.Dir(p)
		found[p] = filepath.Base(filepath.Dir(filepath.Dir(digest))) + ":" + filepath.Base(digest)
	}
	return found
}

// badFiles returns the files of stored blobs whose content is not what their
// digest says.
func badFiles(t *testing.T, dir string) []string {
	t.Helper()
	var bad []string
	for p, d := range blobFiles(t, dir) {
		data, err := os.ReadFile(p)
		if os.IsNotExist(err) {
			continue // collected just now
		}
		if err != nil || digestBy(hashed(hasher(d), data), d) != d {
			bad = append(bad, fmt.Sprintf("%s (%d bytes, %v)", strings.TrimPrefix(p, dir), len(data), err))
		}
	}
	return bad
}

// kills kills the server n times under load, now and then once more while it is
// starting.
func kills(cr *crash, n int, most time.Duration) {
	for i := range n {
		cr.under(most, cr.reg.Kill)
		cr.stats.crashes++
		if i%4 == 3 {
			cr.reg.Restart()
			time.Sleep(time.Duration(cr.rng.Int64N(int64(80 * time.Millisecond))))
			cr.reg.Kill()
			cr.stats.also++
		}
		s := sinceLast
		if i%20 == 19 {
			s = everything
		}
		cr.again(s)
	}
	cr.finish()
}

// collected waits until of all blobs only those are left that something needs, and
// of those uploads that began without anybody knowing.
func collected(cr *crash) {
	cr.t.Helper()
	if !cr.reg.Log.Contains("collected garbage") {
		cr.t.Error("nothing was collected while clients were pushing")
	}
	want := map[string]bool{}
	for k, v := range cr.load.ledger.facts {
		if k.kind == aManifest && v != "" {
			for _, d := range cr.load.ledger.parts[k.name] {
				want[d] = true
			}
		}
	}
	var left map[string]string
	unknown := cr.load.ledger.unknown
	ok := await(func() bool { left = blobFiles(cr.t, cr.reg.Dir); return len(left) <= len(want)+unknown })
	if !ok {
		cr.t.Errorf("%d files of blobs are left; %d blobs are needed, and of %d uploads nobody knows", len(left), len(want), unknown)
	}
}

// testKills is n kills: half of them while garbage goes as fast as it can.
func testKills(t *testing.T, n int, most time.Duration) {
	s := seed(t)
	st := new(stats)
	t.Run("pushing", func(t *testing.T) {
		kills(newCrash(t, "", s, uploadsStay, settings{largest: 4 << 20}, st), n-n/2, most)
	})
	t.Run("collecting", func(t *testing.T) {
		cr := newCrash(t, "", s+1, uploadsStay, settings{largest: 1 << 20, collect: true, env: collecting()}, st)
		kills(cr, n/2, 2*most)
		collected(cr)
	})
	st.report(t, fmt.Sprintf("kills: %d under load, and %d more while starting", st.crashes, st.also))
}

// TestKills shows that a kill costs nothing that was acknowledged.
func TestKills(t *testing.T) {
	testKills(t, count(t, "BERTH_TEST_KILLS", 20), 1200*time.Millisecond)
}
