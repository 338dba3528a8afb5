package memory

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"berth/test/realtest"
)

func TestMain(m *testing.M) { realtest.Main(m) }

const (
	limit = 64 << 20 // bytes of resident memory that the server may have
	giant = 1 << 30
)

// A pattern is content of a length, different for each seed, that costs next to
// nothing to make: a block repeated, with its number in front.
type pattern struct {
	seed, size, read int64
}

const block = 4096

// Read implements io.Reader.
func (p *pattern) Read(b []byte) (int, error) {
	n := 0
	for n < len(b) && p.read < p.size {
		at := p.read % block
		var head [16]byte
		binary.LittleEndian.PutUint64(head[:], uint64(p.seed))
		binary.LittleEndian.PutUint64(head[8:], uint64(p.read/block))
		k := min(int64(len(b)-n), p.size-p.read, block-at)
		part := b[n : n+int(k)]
		clear(part)
		if at < int64(len(head)) {
			copy(part, head[at:])
		}
		n += int(k)
		p.read += k
	}
	if n == 0 && len(b) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// A load is a server with little memory, and who pushes to it and pulls.
type load struct {
	reg *realtest.Registry
}

func startLoad(t *testing.T, o realtest.Options) load {
	t.Helper()
	o.Env = append(o.Env, "GOMEMLIMIT=64MiB")
	return load{realtest.Start(t, o)}
}

// check ends a test: the server never had more than limit.
func (l load) check(t *testing.T) {
	t.Helper()
	now, peak := l.reg.Memory()
	t.Logf("the server's resident memory: %.1f MiB now, %.1f MiB at most", mib(now), mib(peak))
	if peak >= limit {
		t.Errorf("the server had %.1f MiB, want less than %.1f", mib(peak), mib(limit))
	}
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

// start opens an upload and returns its address.
func (l load) start() (string, error) {
	resp, err := l.reg.Client.Post(l.reg.URL+"/v2/large/app/blobs/uploads/", "", nil)
	if err != nil {
		return "", err
	}
	resp.Body.Close()
	return location(resp, http.StatusAccepted)
}

func location(resp *http.Response, want int) (string, error) {
	if resp.StatusCode != want {
		return "", fmt.Errorf("%s %s: %s, want %d", resp.Request.Method, resp.Request.URL.Path, resp.Status, want)
	}
	to, err := url.Parse(resp.Header.Get("Location"))
	if err != nil {
		return "", err
	}
	return resp.Request.URL.ResolveReference(to).String(), nil
}

// send sends content, in chunks if its length is not to be said.
func (l load) send(method, to string, content io.Reader, length int64, want int) (string, error) {
	req, err := http.NewRequest(method, to, content)
	if err != nil {
		return "", err
	}
	req.ContentLength = length
	req.Header.Set("Content-Type", "application/octet-stream")
	resp, err := l.reg.Client.Do(req)
	if err != nil {
		return "", err
	}
	resp.Body.Close()
	return location(resp, want)
}

func withDigest(to, digest string) string {
	sep := "?"
	if strings.Contains(to, "?") {
		sep = "&"
	}
	return to + sep + "digest=" + digest
}

// patch pushes as docker does: one PATCH of unknown length, then the digest.
func (l load) patch(content *pattern) (string, error) {
	to, err := l.start()
	if err != nil {
		return "", err
	}
	h := sha256.New()
	to, err = l.send(http.MethodPatch, to, io.TeeReader(content, h), -1, http.StatusAccepted)
	if err != nil {
		return "", err
	}
	d := digest(h)
	_, err = l.send(http.MethodPut, withDigest(to, d), http.NoBody, 0, http.StatusCreated)
	return d, err
}

// put pushes with one PUT of known length.
func (l load) put(content *pattern) (string, error) {
	h := sha256.New()
	again := *content
	if _, err := io.Copy(h, &again); err != nil {
		return "", err
	}
	to, err := l.start()
	if err != nil {
		return "", err
	}
	_, err = l.send(http.MethodPut, withDigest(to, digest(h)), content, content.size, http.StatusCreated)
	return digest(h), err
}

func digest(h hash.Hash) string { return "sha256:" + hex.EncodeToString(h.Sum(nil)) }

// pull fetches a blob and checks it.
func (l load) pull(d string, size int64) error {
	h := sha256.New()
	n, err := l.fetch(d, "", http.StatusOK, h)
	if err == nil && (n != size || digest(h) != d) {
		err = fmt.Errorf("pulled %d bytes as %s, want %d as %s", n, digest(h), size, d)
	}
	return err
}

// ranges fetches a blob in so many parts and checks it.
func (l load) ranges(d string, size, parts int64) error {
	h := sha256.New()
	for i := range parts {
		from, to := size*i/parts, size*(i+1)/parts
		n, err := l.fetch(d, fmt.Sprintf("bytes=%d-%d", from, to-1), http.StatusPartialContent, h)
		if err != nil || n != to-from {
			return fmt.Errorf("range from %d to %d: %d bytes, %w", from, to, n, err)
		}
	}
	if digest(h) != d {
		return fmt.Errorf("the ranges are %s together, want %s", digest(h), d)
	}
	return nil
}

func (l load) fetch(d, part string, want int, w io.Writer) (int64, error) {
	req, err := http.NewRequest(http.MethodGet, l.reg.URL+"/v2/large/app/blobs/"+d, nil)
	if err != nil {
		return 0, err
	}
	if part != "" {
		req.Header.Set("Range", part)
	}
	resp, err := l.reg.Client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != want {
		return 0, fmt.Errorf("GET %s %s: %s", d, part, resp.Status)
	}
	return io.Copy(w, resp.Body)
}

// TestGigabyte pushes a blob of 1 GiB in both ways and pulls it in both.
func TestGigabyte(t *testing.T) {
	if testing.Short() {
		t.Skip("1 GiB of disk at a time, twice")
	}
	for name, push := range map[string]func(load, *pattern) (string, error){"one PATCH in chunks": load.patch, "one PUT": load.put} {
		t.Run(name, func(t *testing.T) {
			l := startLoad(t, realtest.Options{})
			d, err := push(l, &pattern{seed: 1, size: giant})
			if err != nil {
				t.Fatal(err)
			}
			_, pushed := l.reg.Memory()
			t.Logf("after the push: %.1f MiB at most", mib(pushed))
			if err := l.pull(d, giant); err != nil {
				t.Error(err)
			}
			if err := l.ranges(d, giant, 16); err != nil {
				t.Error(err)
			}
			l.check(t)
		})
	}
}

// TestResumedGigabyte finishes an upload after a restart, for which the server
// has to read again what it has.
func TestResumedGigabyte(t *testing.T) {
	if testing.Short() {
		t.Skip("1 GiB of disk")
	}
	l := startLoad(t, realtest.Options{})
	to, err := l.start()
	if err != nil {
		t.Fatal(err)
	}
	whole := &pattern{seed: 2, size: giant}
	h := sha256.New()
	first := io.TeeReader(io.LimitReader(whole, giant/2), h)
	if to, err = l.send(http.MethodPatch, to, first, -1, http.StatusAccepted); err != nil {
		t.Fatal(err)
	}
	l.reg.Kill()
	l.reg.Restart()
	if to, err = l.send(http.MethodPatch, to, io.TeeReader(whole, h), -1, http.StatusAccepted); err != nil {
		t.Fatal(err)
	}
	if _, err = l.send(http.MethodPut, withDigest(to, digest(h)), http.NoBody, 0, http.StatusCreated); err != nil {
		t.Fatal(err)
	}
	if err := l.pull(digest(h), giant); err != nil {
		t.Error(err)
	}
	l.check(t)
}

// TestMany has 32 clients push 32 MiB each at the same time, half of them in
// each way, and then pull them. With TLS they share a connection of HTTP/2.
func TestMany(t *testing.T) {
	if testing.Short() {
		t.Skip("1 GiB of disk at a time, twice")
	}
	t.Run("HTTP", func(t *testing.T) { many(t, startLoad(t, realtest.Options{})) })
	t.Run("HTTP/2 with TLS", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "tls")
		realtest.NewCLI(t, realtest.Berth(t)).Run("tls", "self-signed", "--dir", dir, "127.0.0.1")
		l := startLoad(t, realtest.Options{
			CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem"), CAFile: filepath.Join(dir, "ca.crt"),
		})
		resp, err := l.reg.Client.Get(l.reg.URL + "/v2/")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.ProtoMajor != 2 {
			t.Fatalf("the client uses %s", resp.Proto)
		}
		many(t, l)
	})
}

func many(t *testing.T, l load) {
	t.Helper()
	const clients, size = 32, 32 << 20
	digests := make([]string, clients)
	all(t, clients, func(i int) (err error) {
		push := l.patch
		if i%2 == 1 {
			push = l.put
		}
		digests[i], err = push(&pattern{seed: int64(100 + i), size: size})
		return err
	})
	_, pushed := l.reg.Memory()
	t.Logf("after the pushes: %.1f MiB at most", mib(pushed))
	all(t, clients, func(i int) error { return l.pull(digests[i], size) })
	all(t, clients, func(i int) error { return l.ranges(digests[i], size, 4) })
	l.check(t)
}

// all runs f for each of n clients at the same time.
func all(t *testing.T, n int, f func(i int) error) {
	t.Helper()
	var running sync.WaitGroup
	for i := range n {
		running.Go(func() {
			if err := f(i); err != nil {
				t.Error(strconv.Itoa(i), err)
			}
		})
	}
	running.Wait()
}

// TestPattern shows that what is read does not depend on how.
func TestPattern(t *testing.T) {
	whole, err := io.ReadAll(&pattern{seed: 3, size: 3*block + 5})
	if err != nil {
		t.Fatal(err)
	}
	if len(whole) != 3*block+5 || whole[block+8] != 1 || whole[2*block+8] != 2 || whole[0] != 3 {
		t.Errorf("got %d bytes, or wrong ones", len(whole))
	}
	var parts []byte
	for p, buf := (&pattern{seed: 3, size: 3*block + 5}), make([]byte, 7); ; {
		n, err := p.Read(buf)
		parts = append(parts, buf[:n]...)
		if err == io.EOF {
			break
		}
	}
	if string(parts) != string(whole) {
		t.Error("in small reads it is something else")
	}
}
