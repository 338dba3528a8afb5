package horror

import (
	"slices"
	"strings"
	"testing"
)

// untagged says how people got rid of what no tag leads to.
func untagged(r *registry) { r.garbageCollect("--delete-untagged") }

// TestDistribution3178: who collected with -m found that the images of all
// platforms were gone, since only their index has a tag.
// https://github.com/distribution/distribution/issues/3178
func TestDistribution3178(t *testing.T) {
	t.Parallel()
	r := start(t, "")
	r.platforms("app", "v1", "a")
	before := r.whole("app", "v1")
	for range 2 {
		r.rest()
		untagged(r)
	}
	r.rest()
	if got := r.whole("app", "v1"); !slices.Equal(got, before) {
		t.Errorf("left of the image: %v, want %v", got, before)
	}
}

// TestDistribution3822: the mend of the story above, which was not merged,
// broke what people had tagged by platform beside the index.
// https://github.com/distribution/distribution/pull/3822
func TestDistribution3822(t *testing.T) {
	t.Parallel()
	r := start(t, "")
	_, images := r.platforms("app", "v1", "a")
	r.image("app", "v1-amd64", "aamd64", "shared by a", "only on amd64a") // the same image, by tag
	r.image("elsewhere", "v1-arm64", "aarm64", "shared by a", "only on arm64a")
	before := r.whole("app", "v1")
	r.remove("app", "v1-amd64")
	r.rest()
	untagged(r)
	r.rest()
	if got := r.whole("app", "v1"); !slices.Equal(got, before) {
		t.Errorf("left of the image: %v, want %v", got, before)
	}
	r.whole("elsewhere", images[1].Digest)
}

// TestDistribution4461: a collection with -m left 4 GB of 445 GB, and next to
// nothing could be pulled any more: `latest` had been moved often, and its old
// indexes were untagged, as were the images of all the new ones.
// https://github.com/distribution/distribution/issues/4461
func TestDistribution4461(t *testing.T) {
	t.Parallel()
	r := start(t, "")
	var keep []string
	whole := map[string][]string{}
	for _, repo := range []string{"team/app", "team/db"} {
		for _, version := range []string{"1", "2", "3", "4"} {
			r.platforms(repo, "latest", repo+version)
			if version == "2" {
				r.platforms(repo, "v2", repo+version)
			}
		}
		for _, tag := range []string{"latest", "v2"} {
			whole[repo+":"+tag] = r.whole(repo, tag)
			keep = append(keep, r.blobsOf(repo, slices.Clone(whole[repo+":"+tag]))...)
		}
	}
	all := len(r.stored())
	r.rest()
	untagged(r)
	r.only("what the tags lead to", keep)
	for name, want := range whole {
		repo, tag, _ := strings.Cut(name, ":")
		if got := r.whole(repo, tag); !slices.Equal(got, want) {
			t.Errorf("left of %s: %v, want %v", name, got, want)
		}
	}
	if len(keep) >= all {
		t.Errorf("%d of %d blobs are kept; the test has nothing to collect", len(keep), all)
	}
}

// TestDistribution3004: an index in an index, and a pull of it that ended with
// 404 after a collection, since only the direct parts had been marked.
// https://github.com/distribution/distribution/issues/3004
func TestDistribution3004(t *testing.T) {
	t.Parallel()
	r := start(t, "")
	inner, _ := r.platforms("app", "", "a")
	outer := r.put("app", "", manifest{SchemaVersion: 2, MediaType: typeIndex, Manifests: []descriptor{inner}})
	r.put("app", "v1", manifest{SchemaVersion: 2, MediaType: typeIndex, Manifests: []descriptor{outer}})
	signed := r.attach("app", "example/signature", inner) // of something that has no tag itself
	r.attach("app", "example/signature-of-signature", signed)
	before := r.whole("app", "v1")
	r.rest()
	untagged(r)
	r.rest()
	if got := r.whole("app", "v1"); !slices.Equal(got, before) {
		t.Errorf("left of the image: %v, want %v", got, before)
	}
	if got := r.referrers("app", inner.Digest); !slices.Equal(got, []string{"example/signature"}) {
		t.Errorf("signatures: %v", got)
	}
	if got := r.referrers("app", signed.Digest); !slices.Equal(got, []string{"example/signature-of-signature"}) {
		t.Errorf("signatures of the signature: %v", got)
	}
}

// TestDistribution2914: the other way round. The index of an image for several
// platforms was deleted, and its images stayed for ever.
// https://github.com/distribution/distribution/issues/2914
func TestDistribution2914(t *testing.T) {
	t.Parallel()
	r := start(t, "")
	index, images := r.platforms("app", "v1", "a")
	other, _ := r.platforms("app", "v2", "b")
	keep := r.blobsOf("app", r.whole("app", "v2"))
	r.remove("app", index.Digest)
	r.rest()
	untagged(r)
	r.only("the other image", keep)
	for _, d := range images {
		r.gone("app", d.Digest)
	}
	r.whole("app", other.Digest)
}

// TestJoxit405: the same from a web UI, which deletes the digest that the tag has.
// What was signed and attached goes along, too.
// https://github.com/Joxit/docker-registry-ui/issues/405
func TestJoxit405(t *testing.T) {
	t.Parallel()
	r := start(t, "")
	index, images := r.platforms("app", "v1", "a")
	r.attach("app", "example/sbom", images[0])
	r.attach("app", "example/signature", index)
	a := r.get(200, "/v2/app/manifests/v1")
	r.remove("app", a.header.Get("Docker-Content-Digest"))
	r.rest()
	untagged(r)
	r.only("nothing")
	if got := r.catalog(); got != "" {
		t.Errorf("the catalog lists %s, which has nothing", got)
	}
}
