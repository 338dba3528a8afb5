package doctor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// accept is what docker asks for.
const accept = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, " +
	"application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json"

// A descriptor is as much of one as is needed here.
type descriptor struct {
	Digest string
	Size   int64
}

// A manifest is an image or an index.
type manifest struct {
	Config    descriptor
	Layers    []descriptor
	Manifests []descriptor
}

// pull looks at how content comes through, with whatever is there.
func (e *exam) pull(ctx context.Context) {
	const name = "pull"
	repo, tag := e.anything(ctx)
	if tag == "" {
		e.skip(name, "no image to pull was found: push one, or name its repository with --repository, and run this again")
		return
	}
	m, ok := e.pullManifest(ctx, repo, tag)
	if !ok {
		return
	}
	if len(m.Manifests) > 0 {
		if m, ok = e.pullManifest(ctx, repo, m.Manifests[0].Digest); !ok {
			return
		}
	}
	blob := m.Config
	for _, l := range m.Layers {
		if l.Size > blob.Size && l.Size <= maxAnswer {
			blob = l
		}
	}
	if blob.Size < 2 {
		e.skip(name, "the image is too small to test with")
		return
	}
	e.pullBlob(ctx, repo, blob)
}

// anything finds a repository with a tag.
func (e *exam) anything(ctx context.Context) (repo, tag string) {
	repos := []string{e.o.Repo}
	if e.o.Repo == "" {
		var catalog struct{ Repositories []string }
		e.json(ctx, "/v2/_catalog?n=20", &catalog)
		repos = catalog.Repositories
	}
	for _, r := range repos {
		var list struct{ Tags []string }
		e.json(ctx, "/v2/"+r+"/tags/list?n=5", &list)
		if len(list.Tags) > 0 {
			return r, list.Tags[0]
		}
	}
	return "", ""
}

// json reads an answer into v, and leaves v as it is if there is none.
func (e *exam) json(ctx context.Context, path string, v any) {
	a, err := e.ask(ctx, question{method: http.MethodGet, path: path})
	if err == nil && a.status == http.StatusOK {
		json.Unmarshal(a.body, v) // what isn't there isn't pulled
	}
}

// pullManifest fetches a manifest and holds it against what its headers say.
func (e *exam) pullManifest(ctx context.Context, repo, ref string) (m manifest, ok bool) {
	const name = "manifests"
	path := "/v2/" + repo + "/manifests/" + ref
	header := http.Header{"Accept": {accept}, "Accept-Encoding": {"gzip"}}
	a, err := e.ask(ctx, question{method: http.MethodGet, path: path, header: header})
	if err != nil || a.status != 200 {
		e.skip(name, fmt.Sprintf("GET %s is answered %s", printable(path, 120), a))
		return m, false
	}
	head, err := e.ask(ctx, question{method: http.MethodHead, path: path, header: header})
	digest := a.header.Get("Docker-Content-Digest")
	switch {
	case err != nil:
		e.found(name, unreachable, cause(err).Error())
	case encoded(a):
		e.found(name, contentEncoded, "a manifest comes with Content-Encoding: "+printable(a.header.Get("Content-Encoding"), 20))
		return m, false
	case digest == "" || head.header.Get("Docker-Content-Digest") == "":
		e.found(name, noDigest, "a manifest comes without Docker-Content-Digest")
	case strings.HasPrefix(digest, "sha256:") && digest != sum(a.body):
		e.found(name, contentChanged, fmt.Sprintf("the manifest %s has other bytes than its digest says", printable(digest, 80)))
	case head.status == 200 && head.length != int64(len(a.body)):
		e.found(name, headLength, fmt.Sprintf("HEAD of a manifest of %d bytes says Content-Length %s", len(a.body), lengthOf(head)))
	default:
		e.fine(name, "")
	}
	return m, json.Unmarshal(a.body, &m) == nil
}

func encoded(a answer) bool {
	enc := a.header.Get("Content-Encoding")
	return enc != "" && enc != "identity"
}

func lengthOf(a answer) string {
	if a.length < 0 {
		return "nothing"
	}
	return fmt.Sprint(a.length)
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(h[:])
}

// pullBlob fetches a blob, a part of it, and what is said about it.
func (e *exam) pullBlob(ctx context.Context, repo string, d descriptor) {
	const name = "blobs"
	path := "/v2/" + repo + "/blobs/" + d.Digest
	head, err := e.ask(ctx, question{method: http.MethodHead, path: path})
	if err != nil {
		e.found(name, unreachable, cause(err).Error())
		return
	}
	if head.status/100 == 3 {
		e.skip(name, "they are elsewhere: "+printable(head.header.Get("Location"), 80))
		return
	}
	if head.length != d.Size {
		e.found(name, headLength, fmt.Sprintf("HEAD of a blob of %d bytes says Content-Length %s", d.Size, lengthOf(head)))
	}
	e.part(ctx, path)
	if d.Size > maxAnswer {
		return
	}
	a, err := e.ask(ctx, question{method: http.MethodGet, path: path, header: http.Header{"Accept-Encoding": {"gzip"}}})
	switch {
	case err != nil:
		e.found(name, contentChanged, fmt.Sprintf("a blob of %d bytes breaks off: %v", d.Size, cause(err)))
	case a.status != 200:
		e.skip(name, fmt.Sprintf("GET of a blob is answered %s", a))
	case encoded(a):
		e.found(name, contentEncoded, "a blob comes with Content-Encoding: "+printable(a.header.Get("Content-Encoding"), 20))
	case strings.HasPrefix(d.Digest, "sha256:") && sum(a.body) != d.Digest:
		e.found(name, contentChanged, fmt.Sprintf("the blob %s has other bytes than its digest says", printable(d.Digest, 80)))
	default:
		e.fine(name, "")
	}
}

// part asks for the second byte of a blob.
func (e *exam) part(ctx context.Context, path string) {
	const name = "parts of blobs"
	a, err := e.ask(ctx, question{method: http.MethodGet, path: path, header: http.Header{"Range": {"bytes=1-1"}}})
	switch {
	case err != nil:
		e.found(name, unreachable, cause(err).Error())
	case a.status != 206 || len(a.body) != 1:
		e.found(name, noRange, fmt.Sprintf("one byte of a blob was asked for; the answer is %d with %d bytes", a.status, len(a.body)))
	default:
		e.fine(name, "Range works")
	}
}
