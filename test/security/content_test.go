package security

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"berth/test/realtest"
)

// TestAwkwardNames is rows C4 and C5: tags that differ in case only are two
// tags, and names that some systems reserve are names.
func TestAwkwardNames(t *testing.T) {
	reg := realtest.Start(t, realtest.Options{})
	tags := []string{"V1", "v1", "aux", "AUX", "con.txt", "nul", "COM1", "a.", "_", "__", "CLOCK_", "desktop.ini", "a...b", "Thumbs.db"}
	repos := []string{"con", "nul", "aux/prn", "lpt1/com1.txt", "tags", "blobs/uploads", "manifests", "_catalog/x", "berth", "tmp", "x/tags/list/y"}
	contents := map[string][]byte{}
	for _, repo := range repos {
		if repo == "_catalog/x" { // no name may begin so
			want(t, reg, 400, "GET", "/v2/"+repo+"/tags/list", nil)
			continue
		}
		for i, tag := range tags {
			if i > 1 && repo != "con" {
				break // two are enough
			}
			name := repo + "/manifests/" + tag
			contents[name] = push(t, reg, repo, tag, []byte(name))
		}
	}
	reg.Restart()
	for name, content := range contents {
		if got := want(t, reg, 200, "GET", "/v2/"+name, nil); !bytes.Equal(got.body, content) {
			t.Errorf("%s holds %s, want %s", name, got.body, content)
		}
	}
	want(t, reg, 202, "DELETE", "/v2/con/manifests/V1", nil)
	want(t, reg, 404, "GET", "/v2/con/manifests/V1", nil)
	want(t, reg, 200, "GET", "/v2/con/manifests/v1", nil)
}

// TestPartsOfOthers is row D6: a manifest cannot use what only other
// repositories have, and whoever pushes one does not learn that they have it.
func TestPartsOfOthers(t *testing.T) {
	content, nowhere := []byte("of others"), []byte("nowhere..") // of one size
	pushes := func(reg *realtest.Registry) (there, missing answer) {
		push(t, reg, "other", "v1", content)
		there = ask(t, reg, "PUT", "/v2/app/manifests/v1", manifestOf(content, ""), "Content-Type: "+oci)
		missing = ask(t, reg, "PUT", "/v2/app/manifests/v2", manifestOf(nowhere, ""), "Content-Type: "+oci)
		want(t, reg, 404, "GET", "/v2/app/blobs/"+digestOf(content), nil)
		return there, missing
	}
	t.Run("warn", func(t *testing.T) {
		there, missing := pushes(realtest.Start(t, realtest.Options{}))
		one, two := there.header.Get("Warning"), missing.header.Get("Warning")
		if there.status != 201 || missing.status != 201 || !strings.Contains(one, digestOf(content)) || strings.ReplaceAll(one, digestOf(content), digestOf(nowhere)) != two {
			t.Errorf("got %d %q and %d %q, want two warnings that tell nothing apart", there.status, one, missing.status, two)
		}
	})
	t.Run("refuse", func(t *testing.T) {
		there, missing := pushes(realtest.Start(t, realtest.Options{Env: []string{"BERTH_MANIFESTS_MISSING=refuse"}}))
		one, two := string(there.body), string(missing.body)
		if there.status != missing.status || !strings.Contains(one, "MANIFEST_BLOB_UNKNOWN") || strings.ReplaceAll(one, digestOf(content), digestOf(nowhere)) != two {
			t.Errorf("got %d %s and %d %s, want two refusals that tell nothing apart", there.status, one, missing.status, two)
		}
	})
}

// TestEndlessUpload is row D10: an upload that is larger than the registry
// takes is refused while it is still coming.
func TestEndlessUpload(t *testing.T) {
	reg := realtest.Start(t, realtest.Options{Env: []string{"BERTH_UPLOADS_MAX_SIZE=1MiB"}})
	location := want(t, reg, 202, "POST", "/v2/app/blobs/uploads/", nil).header.Get("Location")
	body, more := io.Pipe()
	defer more.Close() // only now does it end
	// More than net/http reads before it sends the answer.
	go more.Write(make([]byte, 2<<20))
	req, err := http.NewRequestWithContext(t.Context(), "PATCH", reg.URL+location, body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := reg.Client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 413 {
		t.Errorf("got %d, want 413", resp.StatusCode)
	}
}

// TestBytesAreKept is row D14: what is compressed stays so, and nothing is
// compressed or unpacked on the way.
func TestBytesAreKept(t *testing.T) {
	reg := realtest.Start(t, realtest.Options{})
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write(make([]byte, 64<<20)); err != nil { // 64 KiB of it
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	target := "/v2/app/blobs/uploads/?digest=" + digestOf(packed.Bytes())
	for _, encoding := range []string{"gzip", "deflate", "br", "zstd", "identity, gzip", "x"} {
		want(t, reg, 415, "POST", target, packed.Bytes(), "Content-Encoding: "+encoding)
	}
	want(t, reg, 201, "POST", target, packed.Bytes(), "Content-Type: application/gzip")
	plain := bytes.Repeat([]byte("text "), 1000)
	want(t, reg, 201, "POST", "/v2/app/blobs/uploads/?digest="+digestOf(plain), plain)
	for _, content := range [][]byte{packed.Bytes(), plain} {
		got := want(t, reg, 200, "GET", "/v2/app/blobs/"+digestOf(content), nil, "Accept-Encoding: gzip, deflate, br, zstd")
		if !bytes.Equal(got.body, content) || got.header.Get("Content-Encoding") != "" {
			t.Errorf("got %d bytes with encoding %q, want the %d that were pushed", len(got.body), got.header.Get("Content-Encoding"), len(content))
		}
	}
}

// TestMetricsTellNoNames is rows A11 and E17: metrics are not where clients
// come in, and know nobody's names.
func TestMetricsTellNoNames(t *testing.T) {
	addr := fmt.Sprintf("127.0.0.1:%d", realtest.FreePort(t))
	reg, _ := withUsers(t, "--metrics", addr)
	content := []byte("for the metrics")
	push(t, reg, "merger/of-two", "secret-tag", content, as(ada))
	want(t, reg, 200, "GET", "/v2/merger/of-two/tags/list", nil, as(ada))
	want(t, reg, 404, "GET", "/v2/merger/nonsense", nil, as(ada))
	for _, p := range []string{"/metrics", "/debug/pprof/", "/debug/vars", "/admin"} {
		want(t, reg, 404, "GET", p, nil)
		want(t, reg, 404, "GET", p, nil, as(ada))
	}
	front := reg.URL
	defer func() { reg.URL = front }()
	reg.URL = "http://" + addr
	text := string(want(t, reg, 200, "GET", "/metrics", nil).body)
	if !strings.Contains(text, "berth_build_info") || !strings.Contains(text, `route="manifest-put"`) {
		t.Errorf("these are not the metrics: %s", text)
	}
	for _, name := range []string{"merger", "of-two", "secret-tag", `"ada"`, digestOf(content)[7:20], "nonsense"} {
		if strings.Contains(text, name) {
			t.Errorf("the metrics tell of %q", name)
		}
	}
	want(t, reg, 404, "GET", "/v2/merger/of-two/tags/list", nil)
}
