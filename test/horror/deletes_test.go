package horror

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/test/realtest"
)

// TestDistribution1859: deleting one tag took all tags of the same image along;
// the only way to delete anything was by digest.
// https://github.com/distribution/distribution/issues/1859,
// https://github.com/distribution/distribution/issues/1811
func TestDistribution1859(t *testing.T) {
	t.Parallel()
	r := start(t, "")
	d := r.image("app", "v1", "a", "layer")
	r.image("app", "same", "a", "layer")
	r.image("app", "other", "b", "layer")
	r.remove("app", "v1")
	if got := r.tags("app"); got != "other same" {
		t.Errorf("tags: %s, want the two that nobody deleted", got)
	}
	r.rest()
	untagged(r)
	r.rest()
	r.gone("app", "v1")
	r.whole("app", "same")
	r.whole("app", "other")
	r.whole("app", d.Digest)
}

// TestDistribution2317: whoever wanted to delete one of two tags by docker's own
// means lost both, and pushed a dummy image over the tag to delete that one.
// https://github.com/distribution/distribution/issues/2317,
// https://github.com/distribution/distribution/issues/3021
func TestDistribution2317(t *testing.T) {
	t.Parallel()
	r := start(t, "")
	crane, layout := realtest.Crane(t), realtest.NewLayout(t, realtest.Image{Layers: []int64{1000}})
	ref := r.Addr + "/my-ubuntu:"
	for _, tag := range []string{"latest", "test1"} {
		crane.Run("push", layout.Dir, ref+tag)
	}
	crane.Run("delete", ref+"test1")
	if got := r.tags("my-ubuntu"); got != "latest" {
		t.Errorf("tags: %q, want latest", got)
	}
	r.rest()
	crane.Run("pull", ref+"latest", t.TempDir()+"/image.tar")

	// The way around it works, too: the dummy goes, and only the dummy.
	crane.Run("push", layout.Dir, ref+"test2")
	dummy := r.image("my-ubuntu", "test2", "dummy")
	r.remove("my-ubuntu", dummy.Digest)
	if got := r.tags("my-ubuntu"); got != "latest" {
		t.Errorf("tags: %q, want latest", got)
	}
	r.rest()
	r.whole("my-ubuntu", "latest")
}

// TestDistribution956: layers were deleted that images of another repository, or
// of the same one, still had.
// https://github.com/distribution/distribution/issues/956
func TestDistribution956(t *testing.T) {
	t.Parallel()
	r := start(t, "")
	a := r.image("one/app", "v1", "a", "shared", "of a")
	r.image("one/app", "v2", "b", "shared")
	r.image("two/app", "v1", "c", "shared")
	shared := "/v2/one/app/blobs/" + digestOf([]byte("shared"))
	said := r.do(http.StatusMethodNotAllowed, http.MethodDelete, shared, "", nil)
	if !strings.Contains(string(said.body), "sha256:") {
		t.Errorf("got %s, want it to say who needs the layer", said.body)
	}
	r.remove("one/app", a.Digest)
	r.remove("one/app", "v2") // the tag; the image stays
	r.rest()
	r.whole("two/app", "v1")
	r.get(http.StatusOK, shared)
	untagged(r)
	r.only("the image of two/app", r.blobsOf("two/app", r.whole("two/app", "v1")))
}

// TestDistribution2434: repositories of which everything had been deleted were
// listed for ever, and nothing but rm -r on the server got rid of them.
// https://github.com/distribution/distribution/issues/2434,
// https://github.com/distribution/distribution/issues/2314,
// https://github.com/distribution/distribution/issues/1585,
// https://github.com/distribution/distribution/issues/4324
func TestDistribution2434(t *testing.T) {
	t.Parallel()
	r := start(t, "")
	d := r.image("ghost/app", "v1", "a", "layer")
	tagged := r.image("ghost/tag", "v1", "b", "layer")
	r.image("kept", "v1", "c", "layer")
	r.blob("ghost/blob", []byte("never used")) // a push that was given up
	r.do(http.StatusAccepted, http.MethodPost, "/v2/ghost/upload/blobs/uploads/", "", nil)
	r.remove("ghost/app", d.Digest)
	r.remove("ghost/tag", "v1")
	r.remove("ghost/tag", tagged.Digest)
	for range 2 {
		if got := r.catalog(); got != "kept" {
			t.Errorf("the catalog lists %q, want kept alone", got)
		}
		if got := r.tags("ghost/app"); got != "" {
			t.Errorf("the empty repository lists the tags %q", got)
		}
		r.rest()
	}
	r.Restart()
	if got := r.catalog(); got != "kept" {
		t.Errorf("the catalog lists %q after a restart, want kept alone", got)
	}
	r.image("ghost/app", "v2", "a", "layer") // and it is none the worse for it
	if got := r.catalog() + ": " + r.tags("ghost/app"); got != "ghost/app kept: v2" {
		t.Errorf("got %q", got)
	}
	r.whole("ghost/app", "v2")
}

// TestDistribution3743: after a collection a push found "layer already exists",
// for layers that only the registry's memory had: the image could not be pulled,
// and not be pushed again, until the registry was restarted.
// https://github.com/distribution/distribution/issues/3743,
// https://github.com/distribution/distribution/issues/4569,
// https://github.com/distribution/distribution/issues/1939
func TestDistribution3743(t *testing.T) {
	t.Parallel()
	r := start(t, "")
	crane, layout := realtest.Crane(t), realtest.NewLayout(t, realtest.Image{Layers: []int64{1000, 2000}})
	ref := r.Addr + "/i:latest"
	for range 2 {
		crane.Run("push", layout.Dir, ref)
		r.whole("i", "latest") // now all of it is in whatever memory there is
		crane.Run("delete", r.Addr+"/i@"+layout.Digest)
		r.garbageCollect()
		r.only("nothing")
		for _, d := range layout.Blobs {
			r.do(http.StatusNotFound, http.MethodHead, "/v2/i/blobs/"+d, "", nil)
			r.get(http.StatusNotFound, "/v2/i/blobs/"+d)
		}
	}
	mark := r.Log.Mark()
	crane.Run("push", layout.Dir, ref)
	if n := len(r.Log.Since(mark).Requests(http.MethodPatch, "")); n < len(layout.Blobs) {
		t.Errorf("%d blobs were uploaded again, want %d", n, len(layout.Blobs))
	}
	r.whole("i", "latest")
	r.rest()
	r.whole("i", "latest")
}

// TestDistribution3045: a registry had to be stopped, or be read-only, while it
// was being collected; who pushed meanwhile lost layers. Here it collects without
// a pause, and the operator's command runs beside it, again and again.
// https://github.com/distribution/distribution/issues/3045,
// https://github.com/distribution/distribution/issues/2881,
// https://github.com/distribution/distribution/issues/2962,
// https://github.com/distribution/distribution/issues/3899
func TestDistribution3045(t *testing.T) {
	t.Parallel()
	r := start(t, "")
	done := make(chan error, 1)
	go func() {
		var err error
		for range 5 {
			err = errors.Join(err, r.tryGarbageCollect("--delete-untagged"))
		}
		done <- err
	}()
	pushes := 0
	for collecting := true; collecting; pushes++ {
		select {
		case err := <-done:
			if collecting = false; err != nil {
				t.Fatal(err)
			}
		default:
		}
		name := []string{"a", "b", "c", "d"}[pushes%4]
		r.image("app", "latest", name, "base", "layer of "+name)
		r.whole("app", "latest")
	}
	r.rest()
	r.whole("app", "latest")
	t.Logf("%d pushes beside 5 collections", pushes)
}

// TestQuay6318: in three hours of pushes beside collections 40 pushes failed with
// "manifest blob unknown": a blob was collected between its upload and its
// manifest. Clients share layers, which come and go.
// https://github.com/quay/quay/pull/6318
func TestQuay6318(t *testing.T) {
	t.Parallel()
	rounds := 60
	if soaking() {
		rounds = 20_000
	}
	const grace = 2 * time.Second
	r := start(t, "", "BERTH_GC_GRACE="+grace.String())
	results := make(chan result)
	const clients = 4
	for c := range clients {
		go func() {
			var sum result
			for i := range rounds {
				sum.add(r.share(c, i, grace/2))
			}
			results <- sum
		}()
	}
	var sum result
	for range clients {
		sum.add(<-results)
	}
	r.rest()
	for _, tag := range strings.Fields(r.tags("shared")) {
		r.whole("shared", tag)
	}
	t.Logf("%d pushes, %d of them refused, %d slower than the grace allows", sum.pushes, len(sum.refused), sum.slow)
	if len(sum.refused) > 0 {
		t.Errorf("refused: %v", sum.refused[:min(5, len(sum.refused))])
	}
	if sum.pushes == sum.slow {
		t.Error("no push was fast enough to be told anything by")
	}
	if !slices.ContainsFunc(r.Log.Entries(), func(e realtest.Entry) bool {
		return e.Text("msg") == "collected garbage" && e.Number("objects") > 0
	}) {
		t.Error("nothing was collected meanwhile")
	}
}
