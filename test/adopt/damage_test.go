package adopt

import (
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// listing is every file below dir with its size, mode and time.
func listing(t testing.TB, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil {
			all = append(all, fmt.Sprint(p, info.Mode(), info.Size(), info.ModTime().UnixNano()))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// damaged writes a tree with everything that can be wrong, and returns what a
// report says of each, and the image that is whole.
func damaged(t testing.TB, dir string) (problems map[string]string, good image) {
	m := maker{t, dir}
	good = newImage(t, "good", imageType)
	m.image("good", good, "v1")
	d := sum256(good.manifest)
	m.file("repositories/good/_manifests/tags/newline/current/link", d+"\n")
	m.file("repositories/good/_manifests/tags/v1/current/link.0d5e.tmp", "half")

	m.file("repositories/good/_manifests/tags/empty/current/link", "")
	m.file("repositories/good/_manifests/tags/nonsense/current/link", "../../../etc/passwd")
	m.tag("good", "dangling", sum256([]byte("no such manifest")))
	m.tag("good", "-bad", d)
	m.link("Upper/Case", "_layers", d, d)
	m.link("ghost", "_layers", sum256(good.parts[0]), sum256(good.parts[0]))
	m.link("ghost", "_layers", sum256([]byte("collected")), sum256([]byte("collected")))
	m.link("ghost", "_layers", "md5:00", "md5:00")
	m.file("repositories/uploading/_uploads/0d5e/startedat", "2026-01-01T00:00:00Z")

	short := newImage(t, "short", imageType)
	m.image("short", short, "v1")
	m.file(dataName(sum256(short.parts[1])), "lay")
	lost := newImage(t, "lost", imageType)
	m.image("lost", lost, "v1")
	if err := os.Remove(filepath.Join(dir, v2, dataName(sum256(lost.parts[1])))); err != nil {
		t.Fatal(err)
	}
	flipped := newImage(t, "flipped", imageType)
	m.image("flipped", flipped, "v1")
	m.file(dataName(sum256(flipped.manifest)), strings.Replace(string(flipped.manifest), "2", "3", 1))
	schema1 := []byte(`{"schemaVersion":1,"name":"ancient","fsLayers":[]}`)
	sd := m.data(schema1)
	m.link("ancient", "_manifests/revisions", sd, sd)
	m.tag("ancient", "v1", sd)
	if err := os.Symlink("/etc", filepath.Join(dir, v2, "repositories/elsewhere")); err != nil {
		t.Fatal(err)
	}
	sha512 := []byte("pushed as sha512")
	m.link("good", "_layers", sum512(sha512), m.data(sha512))

	return map[string]string{
		"good/_manifests/tags/empty/current/link":    "empty",
		"good/_manifests/tags/nonsense/current/link": "no digest",
		"good/_manifests/tags/dangling/current/link": "does not have",
		"good/_manifests/tags/-bad/current/link":     "not valid",
		"Upper/Case":                                 "not valid",
		"ghost/_layers/md5/00/link":                  "no digest",
		"short/_layers/":                             "3 bytes",
		"lost/_manifests/revisions/":                 "needs " + sum256(lost.parts[1]),
		"flipped/_manifests/revisions/":              "another content",
		"flipped/_manifests/tags/v1/current/link":    "does not have",
		"ancient/_manifests/revisions/":              "schema 1",
		"ancient/_manifests/tags/v1/current/link":    "does not have",
		"elsewhere": "symbolic link",
	}, good
}

// checkReport holds that each problem is listed, once, and nothing else.
func checkReport(t testing.TB, out string, problems map[string]string) {
	t.Helper()
	lines := strings.Split(out, "\n")
	for where, what := range problems {
		n := 0
		for _, l := range lines {
			if strings.HasPrefix(l, where) && strings.Contains(l, what) {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%s (%s) is listed %d times", where, what, n)
		}
	}
	if want := fmt.Sprintf("%d not as they should be", len(problems)); !strings.Contains(out, want) {
		t.Errorf("not there: %s", want)
	}
	if t.Failed() {
		t.Log(out)
	}
}

// TestDamage holds that damage is listed and stops nothing, that a dry run
// changes nothing, that what is damaged is not served and can be healed by a push,
// and that what cannot be taken over stays for registry:2.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	problems, good := damaged(t, dir)
	before := listing(t, dir)
	out := adopt(t, dir, "--dry-run")
	checkReport(t, out, problems)
	if !slices.Equal(listing(t, dir), before) {
		t.Error("the dry run has changed something")
	}
	checkReport(t, adopt(t, dir), problems)

	berth, b := startBerth(t, dir)
	d := sum256(good.manifest)
	for _, ref := range []string{"v1", "newline", d} {
		if _, body := b.want(http.StatusOK, "GET", "/v2/good/manifests/"+ref, "", nil); sum256(body) != d {
			t.Errorf("%s: got %s", ref, body)
		}
	}
	if _, body := b.want(http.StatusOK, "GET", "/v2/good/blobs/"+sum512([]byte("pushed as sha512")), "", nil); string(body) != "pushed as sha512" {
		t.Errorf("sha512: got %q", body)
	}
	b.want(http.StatusOK, "GET", "/v2/ghost/blobs/"+sum256(good.parts[0]), "", nil)
	short := newImage(t, "short", imageType)
	b.want(http.StatusNotFound, "GET", "/v2/short/blobs/"+sum256(short.parts[1]), "", nil)
	b.push("short", "v1", short)
	b.push("lost", "v1", newImage(t, "lost", imageType))
	for _, text := range []string{"short", "lost"} {
		if _, body := b.want(http.StatusOK, "GET", "/v2/"+text+"/blobs/"+sum256(newImage(t, text, imageType).parts[1]), "", nil); string(body) != "layer of "+text {
			t.Errorf("healed: got %q", body)
		}
	}
	healed := b.contents()
	berth.Stop()
	for _, name := range []string{"ancient/_manifests/tags/v1/current/link", "good/_manifests/tags/nonsense/current/link", "uploading/_uploads/0d5e/startedat"} {
		if _, err := os.Stat(filepath.Join(dir, v2, "repositories", name)); err != nil {
			t.Errorf("what could not be taken over: %v", err)
		}
	}
	// What it cannot read itself is in the way of registry:2's catalog, so only
	// what Berth serves is looked at.
	_, r := startRival(t, "docker-registry", dir)
	got := map[string]string{}
	for _, ref := range []string{"good:v1", "short:v1", "lost:v1"} {
		repo, tag, _ := strings.Cut(ref, ":")
		r.manifest(got, repo, tag)
	}
	for k, v := range got {
		if healed[k] != v {
			t.Errorf("registry:2 after Berth: %s: got %q, want %q", k, v, healed[k])
		}
	}
}

// TestReadOnly holds that a dry run needs no right to write.
func TestReadOnly(t *testing.T) {
	dir := t.TempDir()
	problems, _ := damaged(t, dir)
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			err = os.Chmod(p, 0o555)
			t.Cleanup(func() { os.Chmod(p, 0o755) })
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	checkReport(t, adopt(t, dir, "--dry-run"), problems)
}

// TestDatabaseLost holds that the tree alone brings back everything.
func TestDatabaseLost(t *testing.T) {
	dir := t.TempDir()
	m := maker{t, dir}
	m.image("old", newImage(t, "old", imageType), "v1")
	berth, b := startBerth(t, dir)
	b.push("new", "v1", newImage(t, "new", imageType))
	b.push("old", "v2", newImage(t, "newer", imageType))
	want := b.contents()
	berth.Stop()
	_, own := blobFiles(t, dir)
	if err := os.RemoveAll(filepath.Join(dir, "berth")); err != nil {
		t.Fatal(err)
	}
	_, b = startBerth(t, dir)
	same(t, "without a database", b.contents(), want)
	if _, now := blobFiles(t, dir); now != own {
		t.Errorf("there are %d files of Berth, and were %d", now, own)
	}
}

// TestTreeLost holds that a tree that is gone as a whole is no deletion: the
// database writes it again.
func TestTreeLost(t *testing.T) {
	dir := t.TempDir()
	maker{t, dir}.many(3, 2)
	berth, b := startBerth(t, dir)
	b.push("new", "v1", newImage(t, "new", imageType))
	want := b.contents()
	berth.Stop()
	if err := os.RemoveAll(filepath.Join(dir, v2, "repositories")); err != nil {
		t.Fatal(err)
	}
	berth, b = startBerth(t, dir)
	same(t, "without a tree", b.contents(), want)
	berth.Stop()
	_, r := startRival(t, "registry", dir)
	same(t, "the tree that Berth has written", r.contents(), want)
}
