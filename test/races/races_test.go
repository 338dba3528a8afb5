package races

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/test/realtest"
)

func TestMain(m *testing.M) { realtest.Main(m) }

// workers is how many clients there are at the same time.
const workers = 12

// TestRaces lets clients and collections without grace loose for a few seconds.
func TestRaces(t *testing.T) { race(t, 12*time.Second) }

// TestSoakRaces is TestRaces for ten minutes, or for as long as BERTH_TEST_RACES
// says.
func TestSoakRaces(t *testing.T) {
	realtest.Soak(t)
	d := 10 * time.Minute
	if text := os.Getenv("BERTH_TEST_RACES"); text != "" {
		var err error
		if d, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	race(t, d)
}

func seed(t *testing.T) uint64 {
	t.Helper()
	n := rand.Uint64N(1 << 32)
	if s := os.Getenv("BERTH_TEST_SEED"); s != "" {
		var err error
		if n, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("BERTH_TEST_SEED=%d", n)
	return n
}

func race(t *testing.T, d time.Duration) {
	reg := realtest.Start(t, realtest.Options{Env: []string{
		"BERTH_LOG_ACCESS=false", "BERTH_GC_EVERY=1s", "BERTH_GC_GRACE=1s", "BERTH_GC_DELAY=0s", "BERTH_TRASH_KEEP=1m",
	}})
	s := seed(t)
	w, n := newWorld(s), new(counts)
	c, operator := newClient(t, reg.URL), newOperator(t, reg.Dir)
	ctx, stop := context.WithTimeout(t.Context(), d)
	defer stop()
	work(t, ctx, stop, w, n, c, operator, s)
	last := &worker{client: c, w: w, operator: operator, rng: rand.New(rand.NewPCG(s, 999)), n: n}
	last.inspect(t)
	wrong(t, reg.Dir)
	last.clear(t)
	empty(t, reg)
	for _, e := range reg.Log.Entries() {
		if e.Text("level") == "ERROR" {
			t.Errorf("the server logs %v", e)
			break
		}
	}
	t.Logf(`races of %d clients for %v
  %d manifests pushed, %d times all of one was sent again because something had gone; %d blobs mounted, %d not sent because they were there
  %d images pulled whole (%d parts), %d not because they were being deleted
  %d deletions, %d refused; %d tags moved; %d collections without grace
  %d repositories deleted, %d deletions undone`, workers, d,
		n.pushes.Load(), n.again.Load(), n.mounts.Load(), n.skips.Load(), n.whole.Load(), n.parts.Load(), n.excused.Load(),
		n.deleted.Load(), n.refused.Load(), n.moves.Load(), n.collections.Load(), n.dropped.Load(), n.restored.Load())
	if n.whole.Load() == 0 || n.again.Load() == 0 || n.collections.Load() == 0 {
		t.Error("nothing has raced with anything")
	}
}

// work lets the clients work until ctx ends, or one of them sees what must not be.
func work(t *testing.T, ctx context.Context, stop func(), w *world, n *counts, c, operator *client, s uint64) {
	t.Helper()
	var group sync.WaitGroup
	run := func(what string, step func(context.Context) error) {
		group.Go(func() {
			defer stop()
			for ctx.Err() == nil {
				if err := step(context.WithoutCancel(ctx)); err != nil {
					t.Errorf("%s: %v", what, err)
					return
				}
			}
		})
	}
	for i := range workers {
		k := &worker{client: c, w: w, operator: operator, rng: rand.New(rand.NewPCG(s, uint64(i+1))), n: n}
		run(fmt.Sprint("client ", i), k.step)
	}
	turn := 0
	run("the operator", func(free context.Context) error {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
		name := "collect?grace=0s"
		if turn++; turn%10 == 0 {
			name += "&untagged=1"
			defer w.deleting(everything)()
		}
		n.collections.Add(1)
		_, err := operator.act(free, name)
		return err
	})
	group.Wait()
}

// inspect pulls everything that there is, while nobody changes anything.
func (k *worker) inspect(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	for _, repo := range repos() {
		for d, it := range k.w.byDigest {
			if it.mediaType == layerType {
				continue
			}
			v := k.w.look(manifestOf(repo, d), allOf(repo))
			there, err := k.read(ctx, manifestPath(repo, d), d)
			if err == nil && there {
				err = k.pull(ctx, v, repo, it)
			}
			if err != nil {
				t.Error("at the end: ", err)
			}
		}
		a, err := k.do(ctx, http.MethodGet, "/v2/"+repo+"/tags/list", "", nil, 200, 404)
		if err != nil {
			t.Fatal(err)
		}
		tags, err := a.strings("tags")
		for i := 0; err == nil && i < len(tags); i++ {
			err = k.pullTag(ctx, k.w.look(tagsOf(repo), allOf(repo)), repo, tags[i])
		}
		if err != nil {
			t.Error("at the end: ", err)
		}
	}
}

// clear deletes everything, and collects it.
func (k *worker) clear(t *testing.T) {
	t.Helper()
	for _, repo := range repos() {
		if err := k.deleteAll(t.Context(), repo); err != nil {
			t.Error("clear: ", err)
		}
	}
	a, err := k.do(t.Context(), http.MethodGet, "/v2/_catalog", "", nil, 200)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("repositories left in the catalog: %s", a.body)
	for _, action := range []string{"trash-empty?all=1", "collect?grace=0s"} {
		if _, err := k.operator.act(t.Context(), action); err != nil {
			t.Error("clear: ", err)
		}
	}
}

// each calls f for every file below a folder.
func each(t *testing.T, dir string, f func(path string)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && !d.IsDir() {
			f(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

const blobsDir = "docker/registry/v2/blobs"

// wrong looks for files that are not what their names say.
func wrong(t *testing.T, dir string) {
	t.Helper()
	each(t, filepath.Join(dir, blobsDir), func(path string) {
		body, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return // collected just now
		}
		if err != nil || newItem("", body).digest != "sha256:"+filepath.Base(filepath.Dir(path)) {
			t.Errorf("%s is not what its name says (%d bytes, %v)", strings.TrimPrefix(path, dir), len(body), err)
		}
	})
}

// empty wants nothing to be left when everything has been deleted and collected,
// and the check of the idle directory to agree.
func empty(t *testing.T, reg *realtest.Registry) {
	t.Helper()
	for _, sub := range []string{blobsDir, "berth/uploads"} {
		each(t, filepath.Join(reg.Dir, sub), func(path string) {
			t.Errorf("%s is left", strings.TrimPrefix(path, reg.Dir))
		})
	}
	reg.Stop()
	out, err := exec.Command(realtest.Berth(t), "fsck", "--data", reg.Dir).CombinedOutput()
	if err != nil {
		t.Errorf("fsck: %v\n%s", err, out)
	}
}
