package horror

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// uploads lists the files of uploads that are not finished.
func (r *registry) uploads() []string {
	r.t.Helper()
	files, err := filepath.Glob(filepath.Join(r.Dir, "berth", "uploads", "*"))
	if err != nil {
		r.t.Fatal(err)
	}
	return files
}

// TestDistribution1948: uploads that their clients had given up stayed on the
// storage, and were paid for, for ever.
// https://github.com/distribution/distribution/issues/1948
func TestDistribution1948(t *testing.T) {
	t.Parallel()
	r := start(t, "")
	r.image("app", "v1", "a", "layer")
	a := r.do(http.StatusAccepted, http.MethodPost, "/v2/app/blobs/uploads/", "", nil)
	r.do(http.StatusAccepted, http.MethodPatch, a.header.Get("Location"), "application/octet-stream", []byte("half of a la"))
	if got := r.uploads(); len(got) != 1 {
		t.Fatalf("uploads: %v, want one", got)
	}
	r.do(http.StatusNoContent, http.MethodDelete, a.header.Get("Location"), "", nil)
	r.until("a cancelled upload leaves nothing", func() bool { return len(r.uploads()) == 0 })
}

// TestZot2598: what a crash left behind was there for ever, and a scrub did not
// see it. Here the process ends in the middle of uploads, and there are files of
// which nothing knows.
// https://github.com/project-zot/zot/issues/2598
func TestZot2598(t *testing.T) {
	t.Parallel()
	r := start(t, "")
	r.image("app", "v1", "a", "layer")
	keep := r.stored()
	a := r.do(http.StatusAccepted, http.MethodPost, "/v2/app/blobs/uploads/", "", nil)
	r.do(http.StatusAccepted, http.MethodPatch, a.header.Get("Location"), "application/octet-stream", []byte("half of a la"))
	r.blob("app", []byte("loose"))
	r.Kill()
	stray := filepath.Join(r.Dir, "berth", "uploads", "0123456789abcdef0123456789abcdef")
	if err := os.WriteFile(stray, []byte("a file that the crash had not recorded"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.Restart()
	r.until("the stray file is gone", func() bool { _, err := os.Stat(stray); return os.IsNotExist(err) })
	if got := r.uploads(); len(got) != 1 {
		t.Errorf("uploads: %v, want the one that its client may go on with", got)
	}
	r.do(http.StatusCreated, http.MethodPut, a.header.Get("Location")+"?digest="+digestOf([]byte("half of a layer")), "", []byte("yer"))
	r.only("the image", keep)
	if got := r.uploads(); len(got) != 0 {
		t.Errorf("uploads: %v, want none", got)
	}
	r.whole("app", "v1")
}

// emptied is a data directory of registry:2 whose power was cut: a link and a
// manifest are empty files.
func emptied(t *testing.T) (dir string, sound, broken []byte) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "data")
	root := filepath.Join(dir, "docker/registry/v2")
	write := func(name string, content []byte) {
		t.Helper()
		p := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	blob := func(b, content []byte) {
		hex := strings.TrimPrefix(digestOf(b), "sha256:")
		write("blobs/sha256/"+hex[:2]+"/"+hex+"/data", content)
	}
	revision := func(b []byte) string {
		return "repositories/app/_manifests/revisions/sha256/" + strings.TrimPrefix(digestOf(b), "sha256:") + "/link"
	}
	m, parts := imageOf("sound", "layer")
	sound = encode(m)
	n, more := imageOf("broken", "layer")
	broken = encode(n)
	for _, b := range append(parts, more...) {
		blob(b, b)
		write("repositories/app/_layers/sha256/"+strings.TrimPrefix(digestOf(b), "sha256:")+"/link", []byte(digestOf(b)))
	}
	blob(sound, sound)
	blob(broken, nil) // the manifest is there, and has no bytes
	write(revision(sound), []byte(digestOf(sound)))
	write(revision(broken), []byte(digestOf(broken)))
	write("repositories/app/_manifests/tags/sound/current/link", []byte(digestOf(sound)))
	write("repositories/app/_manifests/tags/broken/current/link", []byte(digestOf(broken)))
	write("repositories/app/_manifests/tags/empty/current/link", nil)
	return dir, sound, broken
}

// TestDistribution1116: a power cut left empty link files, and empty manifests.
// Their repository could not be listed, their tag not be pulled, and pushing it
// again did not mend it.
// https://github.com/distribution/distribution/issues/1116,
// https://github.com/distribution/distribution/issues/971
func TestDistribution1116(t *testing.T) {
	t.Parallel()
	dir, sound, broken := emptied(t)
	r := start(t, dir)
	r.until("the repository is taken over", func() bool { return r.tags("app") == "sound" })
	r.whole("app", "sound")
	for _, ref := range []string{"broken", "empty", digestOf(broken)} {
		r.gone("app", ref)
	}
	for ref, body := range map[string][]byte{"broken": broken, "empty": sound} {
		r.do(http.StatusCreated, http.MethodPut, "/v2/app/manifests/"+ref, typeImage, body)
	}
	if got := r.tags("app"); got != "broken empty sound" {
		t.Errorf("tags: %s, want all three", got)
	}
	for _, ref := range []string{"broken", "empty", "sound"} {
		r.whole("app", ref)
	}
	r.Restart()
	for _, ref := range []string{"broken", "empty", "sound"} {
		r.whole("app", ref)
	}
}
