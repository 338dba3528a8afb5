package horror

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/test/realtest"
)

func TestMain(m *testing.M) { realtest.Main(m) }

const (
	typeImage  = "application/vnd.oci.image.manifest.v1+json"
	typeIndex  = "application/vnd.oci.image.index.v1+json"
	typeConfig = "application/vnd.oci.image.config.v1+json"
	typeLayer  = "application/vnd.oci.image.layer.v1.tar"
)

// A registry is a running Berth that collects as fast as it may, and what its
// clients and its operator do.
type registry struct {
	*realtest.Registry
	t      *testing.T
	decoys int
}

// start starts a registry with what is in dir; empty is a new one. No request may
// be answered with a server error.
func start(t *testing.T, dir string, env ...string) *registry {
	t.Helper()
	env = append([]string{
		"BERTH_GC_EVERY=1s", "BERTH_GC_GRACE=1s", "BERTH_GC_DELAY=0s", "BERTH_STORAGE_RESERVE=1MiB", "BERTH_TRASH_KEEP=0s",
	}, env...)
	r := &registry{Registry: realtest.Start(t, realtest.Options{Dir: dir, Env: env}), t: t}
	t.Cleanup(func() {
		for _, q := range r.Log.Requests("", "") {
			if q.Status >= 500 {
				t.Errorf("%s %s was answered with %d", q.Method, q.Path, q.Status)
			}
		}
	})
	return r
}

// An answer is a response that has been read whole.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// send sends a request. An error says that it isn't known what became of it.
func (r *registry) send(method, path, mediaType string, body []byte) (answer, error) {
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.URL+path, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if mediaType != "" {
		req.Header.Set("Content-Type", mediaType)
	}
	resp, err := r.Client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, got}, err
}

// do sends a request that must be answered with want.
func (r *registry) do(want int, method, path, mediaType string, body []byte) answer {
	r.t.Helper()
	a, err := r.send(method, path, mediaType, body)
	if err != nil {
		r.t.Fatal(err)
	}
	if a.status != want {
		r.t.Fatalf("%s %s: got %d %s, want %d", method, path, a.status, a.body, want)
	}
	return a
}

func (r *registry) get(want int, path string) answer {
	r.t.Helper()
	return r.do(want, http.MethodGet, path, "", nil)
}

// remove deletes a tag or a digest.
func (r *registry) remove(repo, ref string) {
	r.t.Helper()
	r.do(http.StatusAccepted, http.MethodDelete, "/v2/"+repo+"/manifests/"+ref, "", nil)
}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// A descriptor is as much of an OCI descriptor as is needed here.
type descriptor struct {
	MediaType    string            `json:"mediaType"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Digest       string            `json:"digest"`
	Size         int64             `json:"size"`
	Platform     map[string]string `json:"platform,omitempty"`
}

func describe(mediaType string, b []byte) descriptor {
	return descriptor{MediaType: mediaType, Digest: digestOf(b), Size: int64(len(b))}
}

// A manifest is as much of one as is needed here.
type manifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	ArtifactType  string       `json:"artifactType,omitempty"`
	Config        *descriptor  `json:"config,omitempty"`
	Layers        []descriptor `json:"layers,omitempty"`
	Manifests     []descriptor `json:"manifests,omitempty"`
	Subject       *descriptor  `json:"subject,omitempty"`
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // there is nothing in it that could not be encoded
	}
	return b
}

// blob uploads content.
func (r *registry) blob(repo string, content []byte) {
	r.t.Helper()
	r.do(http.StatusCreated, http.MethodPost, "/v2/"+repo+"/blobs/uploads/?digest="+digestOf(content), "application/octet-stream", content)
}

// put pushes a manifest under a tag, or its digest if the tag is empty.
func (r *registry) put(repo, tag string, m manifest) descriptor {
	r.t.Helper()
	body := encode(m)
	d := describe(m.MediaType, body)
	ref := tag
	if ref == "" {
		ref = d.Digest
	}
	r.do(http.StatusCreated, http.MethodPut, "/v2/"+repo+"/manifests/"+ref, m.MediaType, body)
	return d
}

// imageOf is an image's manifest; its config is made of its name.
func imageOf(name string, layers ...string) (m manifest, parts [][]byte) {
	config := []byte(fmt.Sprintf(`{"name":%q}`, name))
	m = manifest{SchemaVersion: 2, MediaType: typeImage}
	c := describe(typeConfig, config)
	m.Config, parts = &c, [][]byte{config}
	for _, l := range layers {
		m.Layers, parts = append(m.Layers, describe(typeLayer, []byte(l))), append(parts, []byte(l))
	}
	return m, parts
}

// image pushes an image whole, parts first.
func (r *registry) image(repo, tag, name string, layers ...string) descriptor {
	r.t.Helper()
	m, parts := imageOf(name, layers...)
	for _, b := range parts {
		r.blob(repo, b)
	}
	return r.put(repo, tag, m)
}

// platforms pushes an image for several platforms as buildx does: the image of
// each without a tag, and an index of them with one. They share a layer.
func (r *registry) platforms(repo, tag, name string) (index descriptor, images []descriptor) {
	r.t.Helper()
	for _, arch := range []string{"amd64", "arm64", "riscv64"} {
		d := r.image(repo, "", name+arch, "shared by "+name, "only on "+arch+name)
		d.Platform = map[string]string{"os": "linux", "architecture": arch}
		images = append(images, d)
	}
	return r.put(repo, tag, manifest{SchemaVersion: 2, MediaType: typeIndex, Manifests: images}), images
}

// attach pushes something whose subject is d: a signature, an SBOM.
func (r *registry) attach(repo, kind string, d descriptor) descriptor {
	r.t.Helper()
	m, parts := imageOf(kind+d.Digest, kind+" of "+d.Digest)
	for _, b := range parts {
		r.blob(repo, b)
	}
	m.Subject, m.ArtifactType = &descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}, kind
	return r.put(repo, "", m)
}

// whole pulls everything that ref leads to, wants all of it to be what its digest
// says, and returns the digests.
func (r *registry) whole(repo, ref string) []string {
	r.t.Helper()
	found := map[string]bool{}
	r.walk(repo, ref, found)
	return slices.Sorted(maps.Keys(found))
}

func (r *registry) walk(repo, ref string, found map[string]bool) {
	r.t.Helper()
	a := r.get(http.StatusOK, "/v2/"+repo+"/manifests/"+ref)
	d := a.header.Get("Docker-Content-Digest")
	if digestOf(a.body) != d {
		r.t.Fatalf("%s:%s came as other bytes than %s", repo, ref, d)
	}
	found[d] = true
	var m manifest
	if err := json.Unmarshal(a.body, &m); err != nil {
		r.t.Fatalf("%s:%s: %v", repo, ref, err)
	}
	for _, child := range m.Manifests {
		r.walk(repo, child.Digest, found)
	}
	blobs := m.Layers
	if m.Config != nil {
		blobs = append(blobs, *m.Config)
	}
	for _, b := range blobs {
		if got := r.get(http.StatusOK, "/v2/"+repo+"/blobs/"+b.Digest); digestOf(got.body) != b.Digest {
			r.t.Fatalf("blob %s of %s:%s came as other bytes", b.Digest, repo, ref)
		}
		found[b.Digest] = true
	}
}

// gone wants something to be there no more.
func (r *registry) gone(repo, ref string) {
	r.t.Helper()
	r.get(http.StatusNotFound, "/v2/"+repo+"/manifests/"+ref)
}

func (r *registry) list(path, key string) []string {
	r.t.Helper()
	a, err := r.send(http.MethodGet, path, "", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if a.status == http.StatusNotFound {
		return nil
	}
	all := map[string]json.RawMessage{}
	var list []string
	if err := json.Unmarshal(a.body, &all); err == nil {
		err = json.Unmarshal(all[key], &list)
		if err != nil {
			r.t.Fatalf("%s: %v in %s", path, err, a.body)
		}
	}
	return list
}

func (r *registry) tags(repo string) string {
	r.t.Helper()
	return strings.Join(r.list("/v2/"+repo+"/tags/list", "tags"), " ")
}

func (r *registry) catalog() string {
	r.t.Helper()
	return strings.Join(r.list("/v2/_catalog", "repositories"), " ")
}

func (r *registry) referrers(repo, digest string) []string {
	r.t.Helper()
	var index manifest
	if err := json.Unmarshal(r.get(http.StatusOK, "/v2/"+repo+"/referrers/"+digest).body, &index); err != nil {
		r.t.Fatal(err)
	}
	var kinds []string
	for _, d := range index.Manifests {
		kinds = append(kinds, d.ArtifactType)
		r.whole(repo, d.Digest)
	}
	slices.Sort(kinds)
	return kinds
}

// stored lists the digests of the blobs whose files are on disk.
func (r *registry) stored() []string {
	r.t.Helper()
	found := map[string]bool{}
	err := filepath.WalkDir(filepath.Join(r.Dir, "docker/registry/v2/blobs"), func(p string, d fs.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil
		}
		if err == nil && !d.IsDir() {
			found["sha256:"+filepath.Base(filepath.Dir(p))] = true
		}
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return slices.Sorted(maps.Keys(found))
}

// rest lets the collector look at everything that has happened so far: when a
// blob that nothing needs and that came after all of it is gone from the disk,
// what was to go before it has gone.
func (r *registry) rest() {
	r.t.Helper()
	r.decoys++
	decoy := []byte(fmt.Sprint("decoy ", r.decoys))
	r.blob("decoys", decoy)
	r.until("the collector takes what nothing needs", func() bool { return !slices.Contains(r.stored(), digestOf(decoy)) })
}

// until waits for something that must happen.
func (r *registry) until(what string, ok func() bool) {
	r.t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("not within a minute: %s\nstored: %v", what, r.stored())
		}
	}
}

// only wants that after a while nothing is stored but these.
func (r *registry) only(what string, digests ...[]string) {
	r.t.Helper()
	want := slices.Compact(slices.Sorted(slices.Values(slices.Concat(digests...))))
	r.until(fmt.Sprintf("%s: only %v are stored", what, want), func() bool { return slices.Equal(r.stored(), want) })
}

// blobsOf leaves out manifests, which are not files.
func (r *registry) blobsOf(repo string, digests []string) []string {
	r.t.Helper()
	return slices.DeleteFunc(digests, func(d string) bool {
		a, err := r.send(http.MethodHead, "/v2/"+repo+"/manifests/"+d, "", nil)
		if err != nil {
			r.t.Fatal(err)
		}
		return a.status == http.StatusOK
	})
}

// garbageCollect runs what everybody has in a cron job, while the registry runs.
func (r *registry) garbageCollect(flags ...string) {
	r.t.Helper()
	if err := r.tryGarbageCollect(flags...); err != nil {
		r.t.Fatal(err)
	}
}

func (r *registry) tryGarbageCollect(flags ...string) error {
	file := filepath.Join(r.t.TempDir(), "config.yml")
	text := "version: 0.1\nstorage: {filesystem: {rootdirectory: " + r.Dir + "}}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, realtest.Berth(r.t))
	cmd.Args = append([]string{"registry", "garbage-collect"}, append(flags, file)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("registry garbage-collect %v: %w\n%s", flags, err, out)
	}
	return nil
}
