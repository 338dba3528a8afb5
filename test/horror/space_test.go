package horror

import (
	"fmt"
	"net/http"
	"slices"
	"testing"

	"berth/test/realtest"
)

// operate runs berth beside the server, as its operator does.
func (r *registry) operate(args ...string) {
	r.t.Helper()
	realtest.NewCLI(r.t, realtest.Berth(r.t)).Run(append(args, "--data", r.Dir)...)
}

// TestDistribution2747: there was no way to delete a repository. Whoever had
// deleted all of its images still had its name in the catalog, and people removed
// folders by hand.
// https://github.com/distribution/distribution/issues/2747
func TestDistribution2747(t *testing.T) {
	t.Parallel()
	r := start(t, "")
	ways := map[string]func(repo string){
		"by/command": func(repo string) { r.operate("rm", repo, "--yes") },
		"by/api":     func(repo string) { r.do(http.StatusOK, http.MethodDelete, "/api/v1/repositories/"+repo, "", nil) },
	}
	r.image("stays", "v1", "a", "shared", "of stays")
	stays := r.whole("stays", "v1")
	for repo, remove := range ways {
		index, _ := r.platforms(repo, "v1", repo)
		r.attach(repo, "example/sbom", index)
		r.image(repo, "v2", "b"+repo, "shared")
		remove(repo)
		r.gone(repo, "v1")
		r.gone(repo, index.Digest)
		r.get(http.StatusNotFound, "/v2/"+repo+"/tags/list")
		if got := r.catalog(); got != "stays" {
			t.Errorf("the catalog has %q, want nothing but what nobody deleted", got)
		}
		r.only("what was not deleted", r.blobsOf("stays", slices.Clone(stays)))
		r.image(repo, "v3", "c", "of another time") // the name is free
		if got := r.tags(repo); got != "v3" {
			t.Errorf("tags of the new repository: %q, want v3", got)
		}
		remove(repo)
	}
	r.only("what was not deleted", r.blobsOf("stays", slices.Clone(stays)))
	r.whole("stays", "v1")
}

// TestMybinder3676: a registry into which every build is pushed grew for ever,
// since nothing could tell what was still used. Pulls are noted here, and a rule
// keeps by them: what is pulled stays, however old it is, and the space of the rest
// comes back.
// https://github.com/jupyterhub/mybinder.org-deploy/issues/3676
func TestMybinder3676(t *testing.T) {
	t.Parallel()
	r := start(t, "", `BERTH_RETENTION_RULES=[{repositories: ["builds/**"], keep_pulled_within: 15s}]`)
	used, _ := r.platforms("builds/used", "v1", "used")
	r.attach("builds/used", "example/signature", used)
	for i := range 5 {
		r.image("builds/used", fmt.Sprint("old", i), fmt.Sprint("old", i), fmt.Sprint("only in old ", i))
		r.image(fmt.Sprint("builds/unused", i), "v1", fmt.Sprint("unused", i), "shared by used", fmt.Sprint("only in unused ", i))
	}
	r.image("base", "v1", "base", "a repository that no rule is about")
	before, all := r.whole("builds/used", "v1"), len(r.stored())
	polls := 0
	pulled := func() bool {
		r.get(http.StatusOK, "/v2/builds/used/manifests/"+used.Digest)
		if polls++; polls%50 == 0 { // retention.every is a minute at least
			r.operate("retention", "run")
		}
		return r.tags("builds/used") == "v1" && r.tags("builds/unused0")+r.tags("builds/unused4") == ""
	}
	r.until("what nobody pulls goes", pulled)
	if got := r.whole("builds/used", "v1"); !slices.Equal(got, before) {
		t.Errorf("left of what is pulled: %v, want %v", got, before)
	}
	if got := r.referrers("builds/used", used.Digest); !slices.Equal(got, []string{"example/signature"}) {
		t.Errorf("referrers of what is pulled: %v", got)
	}
	r.until("the space comes back", func() bool { return pulled() && len(r.stored()) == all-2*10 })
	r.whole("base", "v1")
}
