package clients

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"berth/test/realtest"
)

// TestHTTP10 asks as nginx before 1.29 does: HTTP/1.0 has no chunks, so an
// answer ends where its length says, or with the connection.
func TestHTTP10(t *testing.T) {
	reg := start(t, realtest.Options{})
	layout := realtest.NewLayout(t, realtest.Image{Layers: []int64{700_000}})
	realtest.Crane(t).Run("push", layout.Dir, reg.Addr+"/old/app:v1")

	head, manifest := http10(t, reg.Addr, "GET", "/v2/old/app/manifests/v1", "")
	wantText(t, head, " 200 ")
	if sum(manifest) != layout.Digest {
		t.Errorf("the manifest is %s, want %s", sum(manifest), layout.Digest)
	}
	head, blob := http10(t, reg.Addr, "GET", "/v2/old/app/blobs/"+layout.Blobs[0], "")
	wantText(t, head, " 200 ")
	if sum(blob) != layout.Blobs[0] {
		t.Errorf("the blob is %s, want %s", sum(blob), layout.Blobs[0])
	}
	for path, want := range map[string]string{
		"/v2/old/app/tags/list":                  `{"name":"old/app","tags":["v1"]}`,
		"/v2/_catalog":                           `{"repositories":["old/app"]}`,
		"/v2/":                                   `{}`,
		"/v2/old/app/referrers/" + layout.Digest: `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`,
	} {
		head, body := http10(t, reg.Addr, "GET", path, "")
		wantText(t, head, " 200 ")
		sameJSON(t, path, body, want)
	}
	head, body := http10(t, reg.Addr, "GET", "/v2/old/app/manifests/none", "")
	wantText(t, head, " 404 ")
	wantText(t, string(body), "MANIFEST_UNKNOWN")

	// A push over HTTP/1.0, which nginx makes of docker's.
	head, _ = http10(t, reg.Addr, "POST", "/v2/old/app/blobs/uploads/?digest="+sum([]byte("old")), "old")
	wantText(t, head, " 201 ")
}

// http10 sends a request and reads until the connection ends.
func http10(t *testing.T, addr, method, path, body string) (head string, content []byte) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second)) // a connection that stays open is a failure
	fmt.Fprintf(conn, "%s %s HTTP/1.0\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s", method, path, addr, len(body), body)
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	h, content, ok := bytes.Cut(answer, []byte("\r\n\r\n"))
	head = string(h)
	if !ok || !strings.HasPrefix(head, "HTTP/1.") {
		t.Fatalf("%s %s: not an answer: %q", method, path, answer)
	}
	if strings.Contains(strings.ToLower(head), "transfer-encoding") {
		t.Errorf("%s %s: the answer comes in chunks:\n%s", method, path, head)
	}
	return head, content
}

func sameJSON(t *testing.T, what string, got []byte, want string) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal(got, &g); err != nil {
		t.Errorf("%s: %v in %q", what, err, got)
		return
	}
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(g) != fmt.Sprint(w) {
		t.Errorf("%s: got %s, want %s", what, got, want)
	}
}
