package operate

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/test/realtest"
)

// A notice is an event as it was received: JSON, with what differs between two
// registries that do the same replaced by what kind of thing it is.
type notice map[string]any

// A listener receives notifications.
type listener struct {
	*httptest.Server
	came chan []byte
}

// mediaType is the type of an envelope of one version or the other.
func mediaType(version int) string {
	return fmt.Sprintf("application/vnd.docker.distribution.events.v%d+json", version)
}

func newListener(t *testing.T, version int) *listener {
	l := &listener{came: make(chan []byte, 1000)}
	l.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Header.Get("Content-Type") != mediaType(version) || r.Header.Get("X-Token") != "t" {
			t.Errorf("received %v, %v", r.Header, err)
		}
		l.came <- body
	}))
	t.Cleanup(l.Close)
	return l
}

// until returns what has come up to the push of the tag "end", which is left
// out. addr is where the registry is.
func (l *listener) until(t *testing.T, addr string) []notice {
	t.Helper()
	var list []notice
	for {
		select {
		case body := <-l.came:
			var env map[string][]notice
			if err := json.Unmarshal(body, &env); err != nil || len(env) != 1 || len(env["events"]) != 1 {
				t.Fatalf("received %s: %v", body, err)
			}
			n := env["events"][0]
			if strings.Contains(string(body), `"tag": "end"`) {
				return list
			}
			normalize(t, n, addr)
			list = append(list, n)
		case <-time.After(time.Minute):
			t.Fatalf("no more events behind %v", list)
		}
	}
}

// normalize replaces what is another thing every time, if it has the right form.
func normalize(t *testing.T, n notice, addr string) {
	t.Helper()
	part := func(name string) map[string]any { m, _ := n[name].(map[string]any); return m }
	replace := func(m map[string]any, key string, ok func(string) bool) {
		t.Helper()
		s, _ := m[key].(string)
		if !ok(s) {
			t.Errorf("%s is %q in %v", key, s, n)
		}
		m[key] = "…"
	}
	uuid := regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`).MatchString
	_, port, _ := net.SplitHostPort(addr)
	host, _ := os.Hostname()
	replace(n, "id", uuid)
	replace(n, "timestamp", func(s string) bool { _, err := time.Parse(time.RFC3339Nano, s); return err == nil })
	replace(part("request"), "id", func(s string) bool { return len(s) >= 20 })
	replace(part("request"), "addr", func(s string) bool { h, _, err := net.SplitHostPort(s); return err == nil && h == "127.0.0.1" })
	replace(part("request"), "host", func(s string) bool { return s == addr })
	replace(part("source"), "addr", func(s string) bool { return s == net.JoinHostPort(host, port) })
	replace(part("source"), "instanceID", uuid)
	if url, ok := part("target")["url"].(string); ok {
		part("target")["url"] = strings.Replace(url, "http://"+addr+"/", "http://…/", 1)
	}
}

// A client does the same to every registry.
type client struct {
	*testing.T
	url string
}

// do sends a request and returns the answer's Location. It fails the test if the
// status is none of those allowed.
func (c client) do(method, path, mediaType, body string, allowed ...int) string {
	c.Helper()
	if !strings.HasPrefix(path, "http") {
		path = c.url + path
	}
	r, err := http.NewRequestWithContext(c.Context(), method, path, strings.NewReader(body))
	if err != nil {
		c.Fatal(err)
	}
	r.Header.Set("User-Agent", "test/1")
	if mediaType != "" {
		r.Header.Set("Content-Type", mediaType)
	}
	r.Header.Set("Accept", "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json")
	if strings.HasPrefix(body, "if-none-match ") {
		r.Header.Set("If-None-Match", `"`+strings.TrimPrefix(body, "if-none-match ")+`"`)
		r.Body, r.ContentLength = http.NoBody, 0
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		c.Fatal(err)
	}
	defer resp.Body.Close()
	var text bytes.Buffer
	io.Copy(&text, resp.Body)
	for _, status := range allowed {
		if resp.StatusCode == status {
			return resp.Header.Get("Location")
		}
	}
	c.Fatalf("%s %s: %s %s", method, path, resp.Status, text.String())
	return ""
}

func sha(s string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(s))) }

// push pushes a blob in one go.
func (c client) push(repo, content string) {
	c.Helper()
	location := c.do("POST", "/v2/"+repo+"/blobs/uploads/", "", "", 202)
	sep := "?"
	if strings.Contains(location, "?") {
		sep = "&"
	}
	c.do("PUT", location+sep+"digest="+sha(content), "application/octet-stream", content, 201)
}

// The media types of the manifests.
const (
	imageType = "application/vnd.oci.image.manifest.v1+json"
	indexType = "application/vnd.oci.image.index.v1+json"
)

// contents returns what is pushed.
func contents() (config, layer, image, index string) {
	config, layer = `{"architecture":"amd64","os":"linux"}`, "some layer"
	image = fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":%d},`+
		`"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":%q,"size":%d,"annotations":{"k":"v"}}]}`,
		imageType, sha(config), len(config), sha(layer), len(layer))
	index = fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[{"mediaType":%q,"digest":%q,"size":%d,"platform":{"architecture":"amd64","os":"linux"}}]}`,
		indexType, imageType, sha(image), len(image))
	return config, layer, image, index
}

func manifest(repo, ref string) string { return "/v2/" + repo + "/manifests/" + ref }

// mark pushes the tag at which until ends.
func (c client) mark() {
	c.Helper()
	config, _, _, _ := contents()
	c.push("mark", config)
	c.do("PUT", manifest("mark", "end"), imageType, fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"layers":[],`+
		`"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":%d}}`, imageType, sha(config), len(config)), 201)
}

// pushAndPull does one of each that causes events, but for deletions.
func (c client) pushAndPull() {
	c.Helper()
	config, layer, image, index := contents()
	c.push("a/b", config)
	c.push("a/b", layer)
	c.push("a/b", layer) // again
	c.do("PUT", manifest("a/b", "v1"), imageType, image, 201)
	c.do("PUT", manifest("a/b", "v1"), imageType, image, 201)
	c.do("PUT", manifest("a/b", sha(image)), imageType, image, 201)
	c.do("PUT", manifest("a/b", "all"), indexType, index, 201)
	c.do("POST", "/v2/c/blobs/uploads/?from=a/b&mount="+sha(layer), "", "", 201)
	c.do("GET", manifest("a/b", "v1"), "", "", 200)
	c.do("HEAD", manifest("a/b", "v1"), "", "", 200)
	c.do("GET", manifest("a/b", sha(index)), "", "", 200)
	c.do("GET", manifest("a/b", "v1"), "", "if-none-match "+sha(image), 304)
	c.do("GET", "/v2/a/b/blobs/"+sha(layer), "", "", 200)
	c.do("HEAD", "/v2/a/b/blobs/"+sha(layer), "", "", 200)
	c.do("GET", "/v2/a/b/blobs/"+sha(layer), "", "if-none-match "+sha(layer), 304)
	c.do("GET", manifest("a/b", "nowhere"), "", "", 404)
	c.mark()
}

// remove deletes one of each. A tag is only deleted if the registry can.
func (c client) remove(tags bool) {
	c.Helper()
	_, layer, image, index := contents()
	if tags {
		c.do("DELETE", manifest("a/b", "all"), "", "", 202)
	}
	c.do("DELETE", manifest("a/b", sha(index)), "", "", 202)
	c.do("DELETE", manifest("a/b", sha(image)), "", "", 202)
	c.do("DELETE", "/v2/a/b/blobs/"+sha(layer), "", "", 202)
	c.mark()
}

// compare returns the events in which two lists differ.
func compare(got, want []notice) string {
	var b strings.Builder
	for i := range max(len(got), len(want)) {
		var g, w []byte
		if i < len(got) {
			g, _ = json.MarshalIndent(got[i], "", " ")
		}
		if i < len(want) {
			w, _ = json.MarshalIndent(want[i], "", " ")
		}
		if !bytes.Equal(g, w) {
			fmt.Fprintf(&b, "event %d:\n%s\nregistry:2 sends\n%s\n", i, g, w)
		}
	}
	return b.String()
}

// numbers returns the metrics of notifications, but for counters that say that
// something never happened: registry:2 has none before it did.
func numbers(t *testing.T, url string) string {
	t.Helper()
	_, _, text := get(t, url)
	list := regexp.MustCompile(`(?m)^registry_notifications_.*$`).FindAllString(text, -1)
	list = slices.DeleteFunc(list, func(s string) bool { return strings.Contains(s, "events_total") && strings.HasSuffix(s, " 0") })
	slices.Sort(list)
	return strings.Join(list, "\n")
}

// TestNotifications has the same done to registry:2 and to Berth, and compares
// what they tell, field by field, and what they count.
func TestNotifications(t *testing.T) {
	for _, tt := range []struct {
		program string
		version int  // of its envelope
		tags    bool // it can delete tags

		// allow takes the differences out that there may be.
		allow func(ours, theirs []notice)
	}{
		{"registry", 2, true, func(_, _ []notice) {}},
		// 2.8 calls the envelope version 1. It leaves out fields of the descriptor that
		// are empty; its successor and Berth write them, which is the same to whoever
		// reads JSON into fields. Nor does it tell the platforms of an index.
		{"docker-registry", 1, false, func(ours, _ []notice) {
			for _, n := range ours {
				target, _ := n["target"].(map[string]any)
				for _, field := range []string{"mediaType", "digest"} {
					if target[field] == "" {
						delete(target, field)
					}
				}
				if target["size"] == 0.0 {
					delete(target, "size")
				}
				list, _ := target["references"].([]any)
				for _, reference := range list {
					delete(reference.(map[string]any), "platform")
				}
			}
		}},
	} {
		t.Run(tt.program, func(t *testing.T) {
			theirs, ours := newListener(t, tt.version), newListener(t, 2)
			real := startReal(t, tt.program, t.TempDir(), fmt.Sprintf(
				"notifications: {events: {includereferences: true}, endpoints: [{name: e, url: %q, headers: {X-Token: [t]}, timeout: 5s, threshold: 5, backoff: 1s}]}\n", theirs.URL))
			config := write(t, t.TempDir(), "berth.yml", fmt.Sprintf(
				"delete: {enabled: true}\nnotifications: {include_references: true, endpoints: [{name: e, url: %q, headers: {X-Token: [t]}}]}\n", ours.URL))
			metrics := fmt.Sprintf("127.0.0.1:%d", realtest.FreePort(t))
			reg := realtest.Start(t, realtest.Options{Args: []string{"--config", config, "--metrics", metrics}})
			var got, want []notice
			for _, do := range []func(client){client.pushAndPull, func(c client) { c.remove(tt.tags) }} {
				do(client{t, real.url})
				do(client{t, reg.URL})
				// What a manifest refers to is told if it is still there.
				got, want = append(got, ours.until(t, reg.Addr)...), append(want, theirs.until(t, real.addr)...)
			}
			tt.allow(got, want)
			if diff := compare(got, want); diff != "" {
				t.Error(diff)
			}
			if tt.version == 2 {
				soon(t, func() error {
					theirs := numbers(t, "http://"+real.debug+"/metrics")
					if ours := numbers(t, "http://"+metrics+"/metrics"); ours != theirs {
						return fmt.Errorf("the numbers are\n%s\nand registry:2 counts\n%s", ours, theirs)
					}
					return nil
				})
			}
		})
	}
}
