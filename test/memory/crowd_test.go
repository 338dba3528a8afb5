package memory

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/test/realtest"
)

// How much resident memory the server may have with a thousand clients, whatever
// they do. docs/ARCHITECTURE.md says what it is made of.
const (
	crowdLimit    = 256 << 20
	crowdLimitTLS = 448 << 20
)

// A crowd is many clients, each with connections of its own.
type crowd struct {
	load
	clients []load
	limit   int64
	tags    int   // of the repository whose tags are listed
	indexes int   // of 4 MiB that are pushed at the same time
	bytes   int64 // of the blob that each of them pushes
}

// newCrowd makes a crowd of a thousand. What they do is more with BERTH_SOAK=1.
func newCrowd(t *testing.T, l load, limit int64) *crowd {
	c := &crowd{load: l, limit: limit, tags: 10_000, indexes: 6, bytes: 96 << 10}
	if os.Getenv("BERTH_SOAK") != "" {
		c.tags, c.indexes, c.bytes = 100_000, 1000, 4<<20
	}
	for range 1000 {
		reg, transport := *l.reg, l.reg.Client.Transport.(*http.Transport).Clone()
		transport.ForceAttemptHTTP2 = false // or their connections would be the same
		transport.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
		if c := transport.TLSClientConfig; c != nil {
			c.NextProtos = nil
		}
		transport.ReadBufferSize, transport.WriteBufferSize = 1<<10, 1<<10
		t.Cleanup(transport.CloseIdleConnections)
		reg.Client = &http.Client{Transport: transport, CheckRedirect: l.reg.Client.CheckRedirect}
		c.clients = append(c.clients, load{&reg})
	}
	return c
}

// do has n clients do something at the same time, and holds the server to its
// limit.
func (c *crowd) do(t *testing.T, what string, n int, f func(l load, i int) error) {
	t.Helper()
	all(t, n, func(i int) error { return f(c.clients[i%len(c.clients)], i) })
	now, peak := c.reg.Memory()
	t.Logf("%s: %.1f MiB, at most %.1f", what, mib(now), mib(peak))
	if peak >= c.limit {
		t.Errorf("%s: the server had %.1f MiB, want less than %.1f", what, mib(peak), mib(c.limit))
	}
	if t.Failed() {
		t.FailNow()
	}
}

// A meeting lets nobody go on before all have come.
type meeting struct {
	left chan struct{} // holds one for each that has not come
	all  chan struct{}
}

func newMeeting(n int) *meeting {
	m := &meeting{left: make(chan struct{}, n), all: make(chan struct{})}
	for range n - 1 {
		m.left <- struct{}{}
	}
	return m
}

func (m *meeting) wait() {
	m.excuse()
	<-m.all
}

// excuse counts somebody who does not come, or who has and does not wait.
func (m *meeting) excuse() {
	select {
	case <-m.left:
	default:
		close(m.all)
	}
}

// halting is content of which the second half comes when everybody has sent the
// first one: a thousand that are all in the middle.
type halting struct {
	*pattern
	at   int64
	meet *meeting
	met  bool
}

// Read implements io.Reader.
func (h *halting) Read(b []byte) (int, error) {
	if h.read == h.at && !h.met {
		h.met = true
		h.meet.wait()
	}
	if left := h.at - h.read; left > 0 {
		b = b[:min(int64(len(b)), left)]
	}
	return h.pattern.Read(b)
}

// get asks for something and reads the answer slowly: everybody has the first part
// of it before anybody reads on.
func (l load) get(path string, meet *meeting) (int64, error) {
	resp, err := l.reg.Client.Get(l.reg.URL + path)
	if err != nil {
		meet.excuse()
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		meet.excuse()
		return 0, fmt.Errorf("GET %s: %s", path, resp.Status)
	}
	n, err := io.CopyN(io.Discard, resp.Body, 1)
	meet.wait()
	if err != nil {
		return n, err
	}
	rest, err := io.Copy(io.Discard, resp.Body)
	return n + rest, err
}

// push pushes what halts in the middle, in one PUT or as docker does. Nobody begins
// before all are ready: the server cuts who says nothing for a minute.
func (l load) push(whole pattern, ready, meet *meeting, monolithic bool) error {
	h := sha256.New()
	again := whole
	if _, err := io.Copy(h, &again); err != nil {
		return err
	}
	content := &halting{pattern: &whole, at: whole.size / 2, meet: meet}
	to, err := l.start()
	if err != nil { // the others are not to wait for ever
		ready.excuse()
		meet.excuse()
		return err
	}
	ready.wait()
	defer func() {
		if !content.met {
			meet.excuse()
		}
	}()
	if monolithic {
		_, err = l.send(http.MethodPut, withDigest(to, digest(h)), content, whole.size, http.StatusCreated)
		return err
	}
	if to, err = l.send(http.MethodPatch, to, content, -1, http.StatusAccepted); err != nil {
		return err
	}
	_, err = l.send(http.MethodPut, withDigest(to, digest(h)), http.NoBody, 0, http.StatusCreated)
	return err
}

const indexType = "application/vnd.oci.image.index.v1+json"

// index returns the beginning of an image index of nearly 4 MiB with as many parts
// as it may have, each with an annotation.
func index() []byte {
	var b bytes.Buffer
	b.WriteString(`{"schemaVersion":2,"mediaType":"` + indexType + `","manifests":[`)
	for i := range 10_000 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":7,"digest":"sha256:%064x","annotations":{"n":"%0220x"}}`, i, i)
	}
	b.WriteString(`],"annotations":{"n":"`)
	return b.Bytes()
}

func (l load) putManifest(path string, parts ...[]byte) error {
	var readers []io.Reader
	var size int64
	for _, p := range parts {
		readers, size = append(readers, bytes.NewReader(p)), size+int64(len(p))
	}
	req, err := http.NewRequest(http.MethodPut, l.reg.URL+path, io.MultiReader(readers...))
	if err != nil {
		return err
	}
	req.ContentLength = size
	req.Header.Set("Content-Type", indexType)
	resp, err := l.reg.Client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		text, _ := io.ReadAll(resp.Body)
		return fmt.Errorf("PUT %s: %s %s", path, resp.Status, text)
	}
	return nil
}

// tag gives the repository of lists its tags, a hundred at a time.
func (c *crowd) tag() error {
	body := []byte(`{"schemaVersion":2,"mediaType":"` + indexType + `","manifests":[]}`)
	for n := 0; n < c.tags; {
		var path strings.Builder
		fmt.Fprintf(&path, "/v2/large/tags/manifests/t%06d", n)
		for n++; n%100 > 0 && n < c.tags; n++ {
			sep := "&"
			if n%100 == 1 {
				sep = "?"
			}
			fmt.Fprintf(&path, "%stag=t%06d", sep, n)
		}
		if err := c.putManifest(path.String(), body); err != nil {
			return err
		}
	}
	return nil
}

func (c *crowd) list(l load) error {
	resp, err := l.reg.Client.Get(l.reg.URL + "/v2/large/tags/tags/list")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var list struct{ Tags []string }
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil || len(list.Tags) != c.tags {
		return fmt.Errorf("listed %d tags of %d: %w", len(list.Tags), c.tags, err)
	}
	return nil
}

// TestCrowd has a thousand clients do the same at the same time, thing after
// thing, over HTTP and with TLS.
func TestCrowd(t *testing.T) {
	if testing.Short() {
		t.Skip("a thousand clients")
	}
	t.Run("HTTP", func(t *testing.T) { testCrowd(t, newCrowd(t, load{realtest.Start(t, realtest.Options{})}, crowdLimit)) })
	t.Run("TLS", func(t *testing.T) {
		if os.Getenv("BERTH_SOAK") == "" {
			t.Skip("set BERTH_SOAK=1 to run it: it takes as long again")
		}
		dir := filepath.Join(t.TempDir(), "tls")
		realtest.NewCLI(t, realtest.Berth(t)).Run("tls", "self-signed", "--dir", dir, "127.0.0.1")
		l := load{realtest.Start(t, realtest.Options{
			CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem"), CAFile: filepath.Join(dir, "ca.crt"),
		})}
		testCrowd(t, newCrowd(t, l, crowdLimitTLS))
	})
}

func testCrowd(t *testing.T, c *crowd) {
	n := len(c.clients)
	meet, turns := newMeeting(n), make(chan struct{}, 16) // a handshake that has to wait for 999 others takes too long
	c.do(t, "connected", n, func(l load, _ int) error {
		turns <- struct{}{}
		resp, err := l.reg.Client.Get(l.reg.URL + "/v2/")
		if err == nil {
			err = resp.Body.Close()
		}
		<-turns
		meet.wait()
		return err
	})
	ready, meet := newMeeting(n), newMeeting(n)
	c.do(t, "pushing", n, func(l load, i int) error {
		return l.push(pattern{seed: int64(i), size: c.bytes}, ready, meet, i%2 == 0)
	})
	large, err := c.put(&pattern{seed: -1, size: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	small, err := c.put(&pattern{seed: -2, size: 16 << 10})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{large, small} {
		meet = newMeeting(n)
		c.do(t, "pulling", n, func(l load, _ int) error {
			_, err := l.get("/v2/large/app/blobs/"+d, meet)
			return err
		})
	}
	head := index()
	c.do(t, "putting indexes of 4 MiB", c.indexes, func(l load, i int) error {
		return l.putManifest(fmt.Sprintf("/v2/large/app/manifests/i%d", i), head, fmt.Appendf(nil, `%d"}}`, i))
	})
	meet = newMeeting(n)
	c.do(t, "getting an index of 4 MiB", n, func(l load, _ int) error {
		_, err := l.get("/v2/large/app/manifests/i0", meet)
		return err
	})
	if err := c.tag(); err != nil {
		t.Fatal(err)
	}
	c.do(t, "listing tags", n, func(l load, _ int) error { return c.list(l) })
}
