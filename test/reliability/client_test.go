package reliability

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const (
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	indexType    = "application/vnd.oci.image.index.v1+json"
	configType   = "application/vnd.oci.image.config.v1+json"
	layerType    = "application/vnd.oci.image.layer.v1.tar"
)

// A client speaks to one registry.
type client struct {
	url  string
	http *http.Client
	deaf atomic.Bool // answers that come from now on are not heard
}

var errDeaf = errors.New("the answer came too late to be heard")

// newClient returns a client that waits no longer than a minute for anything:
// a server that hangs is a failure.
func newClient(t testing.TB, url string) *client {
	t.Helper()
	tr := &http.Transport{MaxIdleConnsPerHost: 16}
	t.Cleanup(tr.CloseIdleConnections)
	return &client{url: url, http: &http.Client{Transport: tr, Timeout: time.Minute}}
}

// An answer is a response that has been read whole.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// A refusal is an answer that says no.
type refusal struct {
	what   string
	status int
	text   string
}

func (e *refusal) Error() string { return fmt.Sprintf("%s: %d %s", e.what, e.status, e.text) }

// A request is what do sends.
type request struct {
	method, path string
	body         io.Reader // nil for none
	length       int64     // of body; -1 sends it chunked
	header       map[string]string
}

func (c *client) send(ctx context.Context, r request) (*http.Response, error) {
	url := r.path
	if strings.HasPrefix(url, "/") {
		url = c.url + url
	}
	req, err := http.NewRequestWithContext(ctx, r.method, url, r.body)
	if err != nil {
		return nil, err
	}
	if r.body != nil {
		req.ContentLength = r.length
	}
	if r.body != nil && r.length == 0 {
		req.Body = http.NoBody
	}
	for k, v := range r.header {
		req.Header.Set(k, v)
	}
	return c.http.Do(req)
}

// do sends r and wants one of the statuses; any other is a *refusal. Errors of
// another kind say that it isn't known what the server did.
func (c *client) do(ctx context.Context, r request, want ...int) (answer, error) {
	resp, err := c.send(ctx, r)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, err
	}
	if c.deaf.Load() {
		return answer{}, errDeaf
	}
	a := answer{resp.StatusCode, resp.Header, body}
	for _, w := range want {
		if a.status == w {
			return a, nil
		}
	}
	what := r.method + " " + r.path
	if a.status >= 400 && r.method != http.MethodHead {
		if err := ociError(a); err != nil {
			return a, fmt.Errorf("%s: %w", what, err)
		}
	}
	return a, &refusal{what: what, status: a.status, text: string(body)}
}

// ociError says what is wrong with an error answer: all of them are OCI JSON
// with a code and a message.
func ociError(a answer) error {
	var e struct {
		Errors []struct{ Code, Message string }
	}
	if err := json.Unmarshal(a.body, &e); err != nil || len(e.Errors) == 0 || e.Errors[0].Code == "" || e.Errors[0].Message == "" {
		return fmt.Errorf("answer %d is not OCI JSON: %q", a.status, a.body)
	}
	return nil
}

// get is do for a GET of path.
func (c *client) get(ctx context.Context, path string, want ...int) (answer, error) {
	return c.do(ctx, request{method: http.MethodGet, path: path}, want...)
}

// blob reads a blob and returns the digest of what came, of d's kind, and its
// length. A digest of "" says that the registry doesn't have it.
func (c *client) blob(ctx context.Context, repo, d string) (string, int64, error) {
	resp, err := c.send(ctx, request{method: http.MethodGet, path: blobPath(repo, d)})
	if err != nil {
		return "", 0, err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusNotFound:
		return "", 0, nil
	case http.StatusOK:
	default:
		return "", 0, fmt.Errorf("GET blob %s of %s: %d", d, repo, resp.StatusCode)
	}
	h := hasher(d)
	n, err := io.Copy(h, resp.Body)
	if err != nil {
		return "", n, fmt.Errorf("GET blob %s of %s: %w", d, repo, err)
	}
	return digestBy(h, d), n, nil
}

// manifest reads a manifest by tag or digest and returns its digest as computed
// from the bytes, of the kind of ref if that is a digest. A digest of "" says
// that the registry doesn't have it.
func (c *client) manifest(ctx context.Context, repo, ref string) (string, error) {
	a, err := c.get(ctx, manifestPath(repo, ref), 200, 404)
	if err != nil || a.status == 404 {
		return "", err
	}
	said := a.header.Get("Docker-Content-Digest")
	got := digestBy(hashed(hasher(said), a.body), said)
	if said != got {
		return "", fmt.Errorf("manifest %s of %s has the bytes of %s and says that it is %s", ref, repo, got, said)
	}
	var m struct{ MediaType string }
	if err := json.Unmarshal(a.body, &m); err != nil || m.MediaType != a.header.Get("Content-Type") {
		return "", fmt.Errorf("manifest %s of %s came as %s: %w", ref, repo, a.header.Get("Content-Type"), err)
	}
	return got, nil
}

// has reports whether HEAD says that something is there.
func (c *client) has(ctx context.Context, path string) (bool, error) {
	a, err := c.do(ctx, request{method: http.MethodHead, path: path}, 200, 404)
	return a.status == 200, err
}

// list returns the names of a list, as the last one of its keys, over all pages.
func (c *client) list(ctx context.Context, path, key string) ([]string, error) {
	var all []string
	for path != "" {
		a, err := c.get(ctx, path, 200, 404)
		if err != nil || a.status == 404 {
			return nil, err
		}
		page := map[string]json.RawMessage{}
		var names []string
		if err := json.Unmarshal(a.body, &page); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if err := json.Unmarshal(page[key], &names); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, names...)
		path, _, _ = strings.Cut(strings.TrimPrefix(a.header.Get("Link"), "<"), ">")
	}
	return all, nil
}

func blobPath(repo, d string) string       { return "/v2/" + repo + "/blobs/" + d }
func manifestPath(repo, ref string) string { return "/v2/" + repo + "/manifests/" + ref }
func uploadsPath(repo string) string       { return "/v2/" + repo + "/blobs/uploads/" }

// hasher returns the hash that the digest d was made with.
func hasher(d string) hash.Hash {
	if strings.HasPrefix(d, "sha512:") {
		return sha512.New()
	}
	return sha256.New()
}

func hashed(h hash.Hash, p []byte) hash.Hash {
	h.Write(p)
	return h
}

// digestBy writes the sum of h in the way of like.
func digestBy(h hash.Hash, like string) string {
	kind := "sha256:"
	if strings.HasPrefix(like, "sha512:") {
		kind = "sha512:"
	}
	return kind + hex.EncodeToString(h.Sum(nil))
}

func digestOf(p []byte) string { return digestBy(hashed(sha256.New(), p), "sha256:") }

// A thing is content to be pushed as a blob.
type thing struct {
	digest string
	data   []byte
}

// content returns size bytes that follow from the numbers.
func content(size int, numbers ...uint64) []byte {
	var s [32]byte
	for i, n := range numbers {
		for j := range 8 {
			s[(8*i+j)%32] ^= byte(n >> (8 * j))
		}
	}
	p := make([]byte, size)
	rand.NewChaCha8(s).Read(p)
	return p
}

func newThing(data []byte) thing { return thing{digestOf(data), data} }

func (b thing) descriptor(mediaType string) map[string]any {
	return map[string]any{"mediaType": mediaType, "digest": b.digest, "size": len(b.data)}
}

// push uploads a blob in the simplest way.
func (c *client) push(ctx context.Context, repo string, b thing) error {
	a, err := c.do(ctx, request{method: http.MethodPost, path: uploadsPath(repo)}, 202)
	if err != nil {
		return err
	}
	return c.finish(ctx, a.header.Get("Location"), b.digest, b.data)
}

// finish ends an upload with its last bytes.
func (c *client) finish(ctx context.Context, location, d string, p []byte) error {
	glue := "?"
	if strings.Contains(location, "?") {
		glue = "&"
	}
	_, err := c.do(ctx, request{method: http.MethodPut, path: location + glue + "digest=" + d, body: bytes.NewReader(p), length: int64(len(p))}, 201)
	return err
}

// append sends p as the next bytes of an upload, which has offset of them. It
// returns how many the server has then.
func (c *client) append(ctx context.Context, location string, offset int, p []byte) (int, error) {
	a, err := c.do(ctx, request{method: http.MethodPatch, path: location, body: bytes.NewReader(p), length: int64(len(p)),
		header: map[string]string{"Content-Range": fmt.Sprintf("%d-%d", offset, offset+len(p)-1)}}, 202)
	if err != nil {
		return 0, err
	}
	return uploaded(a)
}

// uploaded reads how many bytes of an upload the server says it has. None and
// one look the same; nothing here uploads a single byte first.
func uploaded(a answer) (int, error) {
	_, last, ok := strings.Cut(a.header.Get("Range"), "-")
	n, err := strconv.Atoi(last)
	if !ok || err != nil {
		return 0, fmt.Errorf("range %q of an upload: %v", a.header.Get("Range"), err)
	}
	if n == 0 {
		return 0, nil
	}
	return n + 1, nil
}

// putManifest puts a manifest under a tag or its digest, perhaps with more tags.
func (c *client) putManifest(ctx context.Context, repo, ref, mediaType string, body []byte) error {
	_, err := c.do(ctx, request{method: http.MethodPut, path: manifestPath(repo, ref), body: bytes.NewReader(body), length: int64(len(body)),
		header: map[string]string{"Content-Type": mediaType}}, 201)
	return err
}

// remove deletes what is at path.
func (c *client) remove(ctx context.Context, path string) error {
	_, err := c.do(ctx, request{method: http.MethodDelete, path: path}, 202)
	return err
}

// imageManifest writes the manifest of an image.
func imageManifest(config thing, layers []thing, note string) []byte {
	list := make([]map[string]any, len(layers))
	for i, l := range layers {
		list[i] = l.descriptor(layerType)
	}
	return marshal(map[string]any{"schemaVersion": 2, "mediaType": manifestType, "config": config.descriptor(configType),
		"layers": list, "annotations": map[string]string{"note": note}})
}

func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // only of maps and strings of our own
	}
	return b
}
