package hostile

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"berth/test/realtest"
)

func TestMain(m *testing.M) { realtest.Main(m) }

// fewest is how many requests there are at least.
const fewest = 400

// slowest is how long the server may keep a hostile client waiting before the
// test calls that hanging.
const slowest = 30 // seconds

// TestHostile sends every request of the table to a registry that holds an
// image, and looks at the answer, and at the image, after each group.
func TestHostile(t *testing.T) {
	reg := realtest.Start(t, realtest.Options{})
	good := pushGood(t, reg)
	sent := 0
	for _, g := range groups(good) {
		t.Run(g.name, func(t *testing.T) {
			for _, a := range g.attacks {
				sent++
				check(t, reg, a)
			}
			good.intact(t, reg)
		})
	}
	if sent < fewest {
		t.Errorf("only %d requests were sent, want at least %d", sent, fewest)
	}
	if !reg.Running() {
		t.Fatalf("the server ended:\n%s", reg.Log.Tail(40))
	}
	for _, r := range reg.Log.Requests("", "") {
		if r.Status >= 500 {
			t.Errorf("%s %s was answered %d", r.Method, r.Path, r.Status)
		}
	}
	t.Logf("%d requests", sent)
}

// check sends one attack and judges the answer.
func check(t *testing.T, reg *realtest.Registry, a attack) {
	t.Helper()
	resp, err := send(reg.Addr, a.request)
	if err != nil {
		t.Errorf("%s: no answer: %v", a, err)
		return
	}
	if !a.allows(resp.status) {
		t.Errorf("%s: answered %d %.200s, want %v", a, resp.status, resp.body, a.want)
	}
	if resp.status >= 400 && a.json() && !isOCIError(resp) {
		t.Errorf("%s: %d without an OCI error: %s %q", a, resp.status, resp.header.Get("Content-Type"), resp.body)
	}
	for name, values := range resp.header {
		for _, v := range values {
			if strings.ContainsAny(v, "\r\n") || strings.Contains(strings.ToLower(v), "evil") && name != "X-Request-Id" {
				t.Errorf("%s: the header %s: %q repeats what the client sent", a, name, v)
			}
		}
	}
}

// isOCIError reports whether an answer is what the spec wants of an error.
func isOCIError(r answer) bool {
	var e struct {
		Errors []struct{ Code, Message string }
	}
	if err := json.Unmarshal(r.body, &e); err != nil || len(e.Errors) == 0 {
		return false
	}
	return e.Errors[0].Code != "" && e.Errors[0].Message != "" && strings.HasPrefix(r.header.Get("Content-Type"), "application/json")
}

// An image is what must still be there in the end.
type image struct {
	layer    []byte
	digest   string // of layer
	manifest []byte
	ref      string // digest of manifest
}

const mediaType = "application/vnd.oci.image.manifest.v1+json"

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func pushGood(t *testing.T, reg *realtest.Registry) image {
	t.Helper()
	i := image{layer: bytes.Repeat([]byte("berth"), 2000)}
	i.digest = digestOf(i.layer)
	i.manifest = fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/x","digest":%q,"size":%d},"layers":[]}`,
		mediaType, i.digest, len(i.layer))
	i.ref = digestOf(i.manifest)
	do(t, reg, "POST", "/v2/good/blobs/uploads/?digest="+i.digest, "application/octet-stream", i.layer, http.StatusCreated)
	do(t, reg, "PUT", "/v2/good/manifests/v1", mediaType, i.manifest, http.StatusCreated)
	return i
}

// intact checks that the image is served as it was pushed, under one tag.
func (i image) intact(t *testing.T, reg *realtest.Registry) {
	t.Helper()
	if got := do(t, reg, "GET", "/v2/good/manifests/v1", "", nil, http.StatusOK); !bytes.Equal(got, i.manifest) {
		t.Errorf("the manifest is now %q", got)
	}
	if got := do(t, reg, "GET", "/v2/good/blobs/"+i.digest, "", nil, http.StatusOK); !bytes.Equal(got, i.layer) {
		t.Errorf("the layer is now %d other bytes", len(got))
	}
	if got := do(t, reg, "GET", "/v2/good/tags/list", "", nil, http.StatusOK); !strings.Contains(string(got), `["v1"]`) {
		t.Errorf("the tags are now %s", got)
	}
	if got := do(t, reg, "GET", "/v2/_catalog", "", nil, http.StatusOK); !strings.Contains(string(got), `["good"]`) {
		t.Errorf("the catalog is now %s", got)
	}
}

func do(t *testing.T, reg *realtest.Registry, method, path, contentType string, body []byte, want int) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, reg.URL+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	resp, err := reg.Client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != want {
		t.Fatalf("%s %s: %d %s (error %v), want %d", method, path, resp.StatusCode, got, err, want)
	}
	return got
}
