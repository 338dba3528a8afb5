package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"berth"
	"berth/config"
)

// put sends content to a server's operator side, and returns its digest.
func put(t *testing.T, s *berth.Server, path, mediaType, body string) string {
	t.Helper()
	digest := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(body)))
	method, target := http.MethodPut, strings.ReplaceAll(path, "DIGEST", digest)
	if strings.Contains(path, "uploads") {
		method = http.MethodPost
	}
	r := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	r.Header.Set("Content-Type", mediaType)
	w := httptest.NewRecorder()
	s.Admin().ServeHTTP(w, r)
	if w.Code != http.StatusCreated {
		t.Fatalf("%s %s: %d %s", method, target, w.Code, w.Body)
	}
	return digest
}

// collectGarbage runs the command as registry:2's users do, and returns what it
// prints.
func collectGarbage(t *testing.T, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	args = append([]string{"/bin/registry", "garbage-collect"}, args...)
	if code := run(t.Context(), args, strings.NewReader(""), &stdout, &stderr); code != 0 {
		t.Fatalf("%q: code %d, %s", args, code, stderr.String())
	}
	return stdout.String()
}

// TestGarbageCollect prunes a manifest that no tag leads to, through the server
// that runs and without one. A dry run changes nothing, a signature of something
// tagged stays, and what is young stays.
func TestGarbageCollect(t *testing.T) {
	for _, serving := range []string{"served", "idle"} {
		t.Run(serving, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "config.yml")
			data := filepath.Join(dir, "data")
			text := "version: 0.1\nstorage: {filesystem: {rootdirectory: " + data + "}}\nhttp: {addr: '127.0.0.1:0'}\nauth: {htpasswd: {realm: r, path: " + dir + "/not-there}}\n"
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			var now atomic.Int64 // what a server that runs takes for the time
			now.Store(time.Now().Add(-48 * time.Hour).UnixNano())
			cfg := config.Default()
			cfg.Data, cfg.HTTP.Listen = data, []string{"127.0.0.1:0"}
			s, err := berth.Open(t.Context(), berth.Options{Config: cfg, Now: func() time.Time { return time.Unix(0, now.Load()) }})
			if err != nil {
				t.Fatal(err)
			}
			const image, manifests = "application/vnd.oci.image.manifest.v1+json", "/v2/app/manifests/"
			layer := put(t, s, "/v2/app/blobs/uploads/?digest=DIGEST", "application/octet-stream", "layer")
			old := put(t, s, manifests+"v1", image, manifestOf(layer, "old", ""))
			kept := put(t, s, manifests+"v1", image, manifestOf(layer, "new", ""))
			signature := put(t, s, manifests+"DIGEST", image, manifestOf(layer, "signature", kept))
			now.Store(time.Now().UnixNano())
			young := put(t, s, manifests+"DIGEST", image, manifestOf(layer, "young", ""))

			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error, 1)
			if serving == "served" {
				ready := make(chan struct{})
				go func() { done <- s.ListenAndServe(ctx, func(string) { close(ready) }) }()
				<-ready
			} else {
				done <- s.Close()
			}
			out := collectGarbage(t, "-d", "-m", file)
			if !strings.Contains(out, "app: manifest eligible for deletion: "+old) || !strings.Contains(out, "0 blobs and 1 manifest: would be deleted") {
				t.Errorf("dry run: got %q", out)
			}
			if again := collectGarbage(t, "--dry-run", "--delete-untagged", file); again != out {
				t.Errorf("the dry run changed something: got %q, then %q", out, again)
			}
			if out := collectGarbage(t, "-q", "--dry-run", "-m", file); out != "" {
				t.Errorf("quiet: got %q", out)
			}
			if out := collectGarbage(t, file); out != "0 blobs and 0 manifests: deleted, 0 B\n" {
				t.Errorf("without -m: got %q", out)
			}
			if out := collectGarbage(t, file, "-m"); !strings.Contains(out, "0 blobs and 1 manifest: deleted") {
				t.Errorf("got %q", out)
			}
			stop()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if serving == "served" {
				s.Close()
			}
			for ref, want := range map[string]bool{old: false, "v1": true, kept: true, signature: true, young: true} {
				if got := hasManifest(t, cfg, ref); got != want {
					t.Errorf("%s is there: %v, want %v", ref, got, want)
				}
			}
		})
	}
}

// manifestOf returns the manifest of an image with one layer of 5 bytes.
func manifestOf(layer, note, subject string) string {
	if subject != "" {
		subject = fmt.Sprintf(`,"subject":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":%q,"size":1}`, subject)
	}
	part := fmt.Sprintf(`{"mediaType":"application/octet-stream","digest":%q,"size":5}`, layer)
	return fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":%s,"layers":[%s],"annotations":{"note":%q}%s}`,
		part, part, note, subject)
}

// hasManifest opens the registry and looks for a manifest in app.
func hasManifest(t *testing.T, cfg config.Config, ref string) bool {
	t.Helper()
	s, err := berth.Open(t.Context(), berth.Options{Config: cfg})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	w := httptest.NewRecorder()
	s.Admin().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodHead, "/v2/app/manifests/"+ref, nil))
	return w.Code == http.StatusOK
}
