package clients

import (
	"strings"
	"testing"

	"berth/test/realtest"
)

// TestImmutableTags has each client push an immutable tag, push the same again,
// and try to move and to delete it. It must say why that fails.
func TestImmutableTags(t *testing.T) {
	reg := start(t, realtest.Options{Env: []string{`BERTH_TAGS_IMMUTABLE=[{repositories: ["fixed/**"], tags: ["1.*"]}]`}})
	r := readerOf(reg)
	for name, maker := range makers() {
		t.Run(name, func(t *testing.T) {
			p := maker(t, plainHTTP, nil, realtest.NewLayout(t, realtest.Image{Seed: seed("immutable " + name)}))
			repo := "fixed/" + name
			ref := reg.Addr + "/" + repo + ":1.0.0"
			must(t)(p.push(ref))
			must(t)(p.push(ref)) // nothing moves
			before := r.digest(t, repo, "1.0.0")

			t.Run("other", func(t *testing.T) { // whose name makes docker's image another one
				other := maker(t, plainHTTP, nil, realtest.NewLayout(t, realtest.Image{Seed: seed("immutable, moved " + name)}))
				wantText(t, refused(t)(other.push(ref)), "immutable")
				must(t)(other.push(strings.TrimSuffix(ref, "1.0.0") + "1.0.1"))
			})
			if got := r.digest(t, repo, "1.0.0"); got != before {
				t.Errorf("the tag was moved from %s to %s", before, got)
			}
			must(t)(p.pull(ref))
		})
	}
	digest := r.digest(t, "fixed/crane", "1.0.0")
	tag, manifest := reg.Addr+"/fixed/crane:1.0.0", reg.Addr+"/fixed/crane@"+digest
	crane, regctl := realtest.Crane(t), realtest.Regctl(t, reg.Addr)
	wantText(t, crane.Fails("delete", tag), "immutable")
	wantText(t, crane.Fails("delete", manifest), "immutable")
	wantText(t, crane.Fails("tag", reg.Addr+"/fixed/crane:1.0.1", "1.0.0"), "immutable")
	wantText(t, realtest.Skopeo(t).Fails("delete", "--tls-verify=false", "docker://"+tag), "403") // it shows no more than half of the answer
	wantText(t, realtest.Oras(t).Fails("manifest", "delete", "--plain-http", "--force", manifest), "immutable")
	regctl.Fails("manifest", "delete", manifest)
	regctl.Fails("tag", "delete", tag)
	for _, args := range [][]string{
		{"rm", "fixed/crane:1.0.0"}, {"rm", "fixed/crane@" + digest}, {"tag", "set", "fixed/crane:1.0.0", "1.0.1"},
	} {
		wantText(t, berth(t).Fails(append(args, "--data", reg.Dir)...), "immutable")
	}
	if got := r.digest(t, "fixed/crane", "1.0.0"); got != digest {
		t.Errorf("the tag was moved from %s to %s", digest, got)
	}
	r.mustBeWhole(t, "fixed/crane", "1.0.0")
}
