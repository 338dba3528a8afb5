package adopt

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
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

	"berth/test/realtest"
)

func TestMain(m *testing.M) { realtest.Main(m) }

// rivals are the real registries that a directory goes to and fro with.
func rivals() []string { return []string{"docker-registry", "registry"} }

const (
	imageType = "application/vnd.oci.image.manifest.v1+json"
	indexType = "application/vnd.oci.image.index.v1+json"
	oldType   = "application/vnd.docker.distribution.manifest.v2+json"
)

// A client talks to one registry.
type client struct {
	t   testing.TB
	url string
}

// startRival runs a real registry on dir.
func startRival(t testing.TB, name, dir string) (*realtest.Program, client) {
	t.Helper()
	addr := fmt.Sprintf("127.0.0.1:%d", realtest.FreePort(t))
	config := filepath.Join(t.TempDir(), "config.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage:\n  filesystem: {rootdirectory: %q}\n  delete: {enabled: true}\nhttp: {addr: %q}\n", dir, addr)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := realtest.StartProgram(t, realtest.ProgramOptions{
		Name: name, Args: []string{"serve", config}, Env: []string{"OTEL_TRACES_EXPORTER=none"},
		Ready: func() error {
			resp, err := http.Get("http://" + addr + "/v2/")
			if err == nil {
				resp.Body.Close()
			}
			return err
		},
	})
	return p, client{t, "http://" + addr}
}

func startBerth(t testing.TB, dir string, args ...string) (*realtest.Registry, client) {
	t.Helper()
	r := realtest.Start(t, realtest.Options{Dir: dir, Args: args})
	return r, client{t, r.URL}
}

// adopt runs berth adopt on dir and returns what it says.
func adopt(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command(realtest.Berth(t), append([]string{"adopt", "--data", dir}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("berth adopt %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// do sends a request and returns the answer with its whole body.
func (c client) do(method, path, contentType string, body []byte) (*http.Response, []byte) {
	c.t.Helper()
	if strings.HasPrefix(path, "/") {
		path = c.url + path
	}
	req, err := http.NewRequest(method, path, bytes.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for _, accept := range []string{imageType, indexType, oldType, "application/vnd.docker.distribution.manifest.list.v2+json", "*/*"} {
		req.Header.Add("Accept", accept)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp, b
}

// want is do with a status that must come.
func (c client) want(status int, method, path, contentType string, body []byte) (*http.Response, []byte) {
	c.t.Helper()
	resp, b := c.do(method, path, contentType, body)
	if resp.StatusCode != status {
		c.t.Fatalf("%s %s: got %s, want %d\n%.500s", method, path, resp.Status, status, b)
	}
	return resp, b
}

func sum256(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }
func sum512(b []byte) string { return fmt.Sprintf("sha512:%x", sha512.Sum512(b)) }

// blob pushes a blob under the digest.
func (c client) blob(repo, digest string, content []byte) {
	c.t.Helper()
	resp, _ := c.want(http.StatusAccepted, "POST", "/v2/"+repo+"/blobs/uploads/", "", nil)
	at, err := resp.Location()
	if err != nil {
		c.t.Fatal(err)
	}
	q := at.Query()
	q.Set("digest", digest)
	at.RawQuery = q.Encode()
	c.want(http.StatusCreated, "PUT", at.String(), "application/octet-stream", content)
}

func descriptor(mediaType string, content []byte) map[string]any {
	return map[string]any{"mediaType": mediaType, "digest": sum256(content), "size": len(content)}
}

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// image is a manifest and its parts, made of a text.
type image struct {
	manifest []byte
	parts    [][]byte
	kind     string
}

func newImage(t testing.TB, text, kind string) image {
	t.Helper()
	i := image{kind: kind, parts: [][]byte{fmt.Appendf(nil, `{"architecture":"amd64","os":"linux","comment":%q}`, text), []byte("layer of " + text), []byte("a layer that all have")}}
	var layers []any
	for _, l := range i.parts[1:] {
		layers = append(layers, descriptor("application/vnd.oci.image.layer.v1.tar", l))
	}
	i.manifest = marshal(t, map[string]any{"schemaVersion": 2, "mediaType": kind,
		"config": descriptor("application/vnd.oci.image.config.v1+json", i.parts[0]), "layers": layers})
	return i
}

// push pushes an image, under a tag or, without one, its digest.
func (c client) push(repo, ref string, i image) {
	c.t.Helper()
	for _, p := range i.parts {
		c.blob(repo, sum256(p), p)
	}
	if ref == "" {
		ref = sum256(i.manifest)
	}
	c.want(http.StatusCreated, "PUT", "/v2/"+repo+"/manifests/"+ref, i.kind, i.manifest)
}

// pushIndex pushes an index of two images, and returns it.
func (c client) pushIndex(repo, tag, text string) []byte {
	c.t.Helper()
	var list []any
	for _, arch := range []string{"amd64", "arm64"} {
		i := newImage(c.t, text+arch, imageType)
		c.push(repo, "", i)
		d := descriptor(imageType, i.manifest)
		d["platform"] = map[string]string{"architecture": arch, "os": "linux"}
		list = append(list, d)
	}
	index := marshal(c.t, map[string]any{"schemaVersion": 2, "mediaType": indexType, "manifests": list})
	c.want(http.StatusCreated, "PUT", "/v2/"+repo+"/manifests/"+tag, indexType, index)
	return index
}

// contents is everything that a registry serves: tags with the digest and type of
// their manifest, and each manifest and blob that these lead to, with its digest.
func (c client) contents() map[string]string {
	c.t.Helper()
	all := map[string]string{}
	var catalog struct{ Repositories []string }
	_, b := c.want(http.StatusOK, "GET", "/v2/_catalog?n=1000", "", nil)
	if err := json.Unmarshal(b, &catalog); err != nil {
		c.t.Fatal(err)
	}
	for _, repo := range catalog.Repositories {
		var list struct{ Tags []string }
		resp, b := c.do("GET", "/v2/"+repo+"/tags/list", "", nil)
		if resp.StatusCode == http.StatusNotFound { // a repository whose tags were deleted
			continue
		}
		if err := json.Unmarshal(b, &list); err != nil {
			c.t.Fatal(err)
		}
		for _, tag := range list.Tags {
			c.manifest(all, repo, tag)
		}
	}
	return all
}

func (c client) manifest(all map[string]string, repo, ref string) {
	c.t.Helper()
	resp, b := c.do("GET", "/v2/"+repo+"/manifests/"+ref, "", nil)
	all[repo+":"+ref] = fmt.Sprint(resp.StatusCode)
	if resp.StatusCode != http.StatusOK {
		return
	}
	all[repo+":"+ref] = sum256(b) + " " + resp.Header.Get("Content-Type")
	type part struct{ Digest string }
	var m struct {
		Config            *part
		Layers, Manifests []part
	}
	if err := json.Unmarshal(b, &m); err != nil {
		c.t.Fatal(err)
	}
	if m.Config != nil {
		m.Layers = append(m.Layers, *m.Config)
	}
	for _, p := range m.Layers {
		resp, b := c.do("GET", "/v2/"+repo+"/blobs/"+p.Digest, "", nil)
		all[repo+"@"+p.Digest] = fmt.Sprint(resp.StatusCode, " ", sum256(b))
		if resp.StatusCode != http.StatusOK {
			all[repo+"@"+p.Digest] = fmt.Sprint(resp.StatusCode)
		}
	}
	for _, p := range m.Manifests {
		c.manifest(all, repo, p.Digest)
	}
}

// same fails the test unless two contents are.
func same(t testing.TB, what string, got, want map[string]string) {
	t.Helper()
	if len(want) == 0 {
		t.Fatalf("%s: nothing to compare", what)
	}
	keys := map[string]bool{}
	for _, m := range []map[string]string{got, want} {
		for k := range m {
			keys[k] = true
		}
	}
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if got[k] != want[k] {
			t.Errorf("%s: %s: got %q, want %q", what, k, got[k], want[k])
		}
	}
}

// blobFiles lists the files below blobs, by their name beside the digest: data,
// or the id of one that Berth has written.
func blobFiles(t testing.TB, dir string) (data, own int) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(dir, "docker/registry/v2/blobs"), func(_ string, e fs.DirEntry, err error) error {
		switch {
		case err != nil || e.IsDir():
		case e.Name() == "data":
			data++
		default:
			own++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return data, own
}
