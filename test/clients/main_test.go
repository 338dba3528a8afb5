package clients

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/test/realtest"
)

func TestMain(m *testing.M) { realtest.Main(m) }

// start starts a registry, and wants it never to answer with a server error.
func start(t *testing.T, o realtest.Options) *realtest.Registry {
	t.Helper()
	reg := realtest.Start(t, o)
	t.Cleanup(func() {
		for _, r := range reg.Log.Requests("", "") {
			if r.Status >= 500 {
				t.Errorf("%s %s was answered with %d", r.Method, r.Path, r.Status)
			}
		}
	})
	return reg
}

// berth returns the built program as one more client.
func berth(t *testing.T) *realtest.CLI {
	t.Helper()
	return realtest.NewCLI(t, realtest.Berth(t))
}

// A reader fetches from a registry, and believes nothing that it has not
// checked.
type reader struct {
	client         *http.Client
	url            string // http://host:port
	user, password string // both empty: not logged in
}

func readerOf(reg *realtest.Registry) reader { return reader{client: reg.Client, url: reg.URL} }

func (r reader) do(method, path string) (*http.Response, error) {
	req, err := http.NewRequest(method, r.url+path, nil)
	if err != nil {
		return nil, err
	}
	if r.user != "" {
		req.SetBasicAuth(r.user, r.password)
	}
	return r.client.Do(req)
}

// status returns with which status a request was answered.
func (r reader) status(t *testing.T, method, path string) int {
	t.Helper()
	resp, err := r.do(method, path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode
}

// json fetches path into v.
func (r reader) json(t *testing.T, path string, v any) {
	t.Helper()
	resp, err := r.do(http.MethodGet, path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s", path, resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
		t.Fatalf("GET %s: %v", path, err)
	}
}

// tags returns the tags of a repository.
func (r reader) tags(t *testing.T, repo string) []string {
	t.Helper()
	var list struct{ Tags []string }
	r.json(t, "/v2/"+repo+"/tags/list", &list)
	return list.Tags
}

// digest returns the digest of a tag.
func (r reader) digest(t *testing.T, repo, tag string) string {
	t.Helper()
	resp, err := r.do(http.MethodHead, "/v2/"+repo+"/manifests/"+tag)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	d := resp.Header.Get("Docker-Content-Digest")
	if resp.StatusCode != http.StatusOK || d == "" {
		t.Fatalf("HEAD of %s:%s: %s, digest %q", repo, tag, resp.Status, d)
	}
	return d
}

// A descriptor is as much of an OCI descriptor as is needed here.
type descriptor struct {
	MediaType    string `json:"mediaType"`
	ArtifactType string `json:"artifactType"`
	Digest       string `json:"digest"`
	Size         int64  `json:"size"`
	Platform     struct {
		OS           string `json:"os"`
		Architecture string `json:"architecture"`
	} `json:"platform"`
}

// A manifest is an image or an index.
type manifest struct {
	MediaType string       `json:"mediaType"`
	Config    *descriptor  `json:"config"`
	Layers    []descriptor `json:"layers"`
	Manifests []descriptor `json:"manifests"`
	Subject   *descriptor  `json:"subject"`
}

// whole fetches an image with everything that it needs, checks each digest and
// size, and returns the digests: the manifest, then whatever it names.
func (r reader) whole(repo, ref string) ([]string, error) {
	resp, err := r.do(http.MethodGet, "/v2/"+repo+"/manifests/"+ref)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	digest := resp.Header.Get("Docker-Content-Digest")
	if resp.StatusCode != http.StatusOK || sum(body) != digest {
		return nil, fmt.Errorf("manifest %s:%s: %s, its digest is %s and should be %s\n%s", repo, ref, resp.Status, sum(body), digest, body)
	}
	var m manifest
	if err := json.Unmarshal(body, &m); err != nil {
		return nil, err
	}
	found := []string{digest}
	for _, child := range m.Manifests {
		below, err := r.whole(repo, child.Digest)
		if err != nil {
			return nil, err
		}
		found = append(found, below...)
	}
	blobs := m.Layers
	if m.Config != nil {
		blobs = append(slices.Clone(blobs), *m.Config)
	}
	for _, blob := range blobs {
		if err := r.blob(repo, blob); err != nil {
			return nil, err
		}
		found = append(found, blob.Digest)
	}
	return found, nil
}

// blob fetches a blob and checks it.
func (r reader) blob(repo string, d descriptor) error {
	resp, err := r.do(http.MethodGet, "/v2/"+repo+"/blobs/"+d.Digest)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	h := sha256.New()
	n, err := io.Copy(h, resp.Body)
	if err != nil {
		return err
	}
	if got := "sha256:" + hex.EncodeToString(h.Sum(nil)); resp.StatusCode != http.StatusOK || got != d.Digest || n != d.Size {
		return fmt.Errorf("blob of %s: %s, %s with %d bytes, want %s with %d", repo, resp.Status, got, n, d.Digest, d.Size)
	}
	return nil
}

// mustBeWhole is whole for what must be there.
func (r reader) mustBeWhole(t *testing.T, repo, ref string) []string {
	t.Helper()
	found, err := r.whole(repo, ref)
	if err != nil {
		t.Error(err)
	}
	return found
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(h[:])
}

// holds checks that the layout at dir has all of an image, undamaged.
func holds(dir string, l realtest.Layout) error {
	for _, d := range append([]string{l.Digest}, l.Blobs...) {
		f, err := os.Open(filepath.Join(dir, "blobs", "sha256", strings.TrimPrefix(d, "sha256:")))
		if err != nil {
			return err
		}
		h := sha256.New()
		_, err = io.Copy(h, f)
		f.Close()
		if err != nil {
			return err
		}
		if got := "sha256:" + hex.EncodeToString(h.Sum(nil)); got != d {
			return fmt.Errorf("what was pulled as %s is %s", d, got)
		}
	}
	return nil
}

// wantText checks that text has part in it.
func wantText(t *testing.T, text, part string) {
	t.Helper()
	if !strings.Contains(text, part) {
		t.Errorf("got %q, want %q in it", text, part)
	}
}

// emptyDir returns a folder that is not there yet, with no upper case in its
// path.
func emptyDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "berth-pull-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "image")
}
