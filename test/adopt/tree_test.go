package adopt

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const v2 = "docker/registry/v2/"

// A maker writes a data directory as registry:2 would.
type maker struct {
	t   testing.TB
	dir string
}

func (m maker) file(name, content string) {
	m.t.Helper()
	name = filepath.Join(m.dir, v2, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

// dataName is where the content of a digest is.
func dataName(digest string) string {
	alg, hex, _ := strings.Cut(digest, ":")
	return "blobs/" + alg + "/" + hex[:2] + "/" + hex + "/data"
}

func (m maker) data(content []byte) string {
	m.t.Helper()
	d := sum256(content)
	m.file(dataName(d), string(content))
	return d
}

// link writes a link of a repository: "_layers" or "_manifests/revisions".
func (m maker) link(repo, kind, digest, target string) {
	m.t.Helper()
	m.file("repositories/"+repo+"/"+kind+"/"+strings.Replace(digest, ":", "/", 1)+"/link", target)
}

func (m maker) tag(repo, tag, digest string) {
	m.t.Helper()
	m.file("repositories/"+repo+"/_manifests/tags/"+tag+"/index/"+strings.Replace(digest, ":", "/", 1)+"/link", digest)
	m.file("repositories/"+repo+"/_manifests/tags/"+tag+"/current/link", digest)
}

// image writes an image, and returns its digest.
func (m maker) image(repo string, i image, tags ...string) string {
	m.t.Helper()
	for _, p := range i.parts {
		d := m.data(p)
		m.link(repo, "_layers", d, d)
	}
	d := m.data(i.manifest)
	m.link(repo, "_manifests/revisions", d, d)
	for _, tag := range tags {
		m.tag(repo, tag, d)
	}
	return d
}

// many writes repositories with tags, an image each.
func (m maker) many(repos, tags int) {
	m.t.Helper()
	for r := range repos {
		for tag := range tags {
			m.image(fmt.Sprintf("team%d/app%d", r%10, r), newImage(m.t, fmt.Sprintf("%d/%d", r, tag), imageType), fmt.Sprintf("v%d", tag))
		}
	}
}
