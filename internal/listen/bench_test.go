package listen

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// BenchmarkLarge sends a file of 32 MiB over each protocol, both ends in one
// process.
func BenchmarkLarge(b *testing.B) {
	const size = 32 << 20
	name := filepath.Join(b.TempDir(), "blob")
	if err := os.WriteFile(name, make([]byte, size), 0o600); err != nil {
		b.Fatal(err)
	}
	send := func(w http.ResponseWriter, _ *http.Request) {
		f, err := os.Open(name)
		if err != nil {
			b.Error(err)
			return
		}
		defer f.Close()
		w.Header().Set("Content-Length", strconv.Itoa(size))
		w.Header().Set("Content-Type", "application/octet-stream")
		io.Copy(w, io.LimitReader(f, size))
	}
	certs, tc := selfSigned(b)
	for _, bb := range []struct {
		name, scheme string
		o            ServerOptions
		http1        bool
	}{
		{"http1", "http://", ServerOptions{}, true},
		{"tls-http1", "https://", ServerOptions{TLS: tlsConfig(b, certs), HTTP1: true}, true},
		{"tls-http2", "https://", ServerOptions{TLS: tlsConfig(b, certs)}, false},
	} {
		b.Run(bb.name, func(b *testing.B) {
			s := serve(b, bb.o, send)
			c := client(b, tc)
			if bb.http1 {
				c.Transport.(*http.Transport).ForceAttemptHTTP2 = false
			}
			buf := make([]byte, 256<<10)
			b.SetBytes(size)
			b.ReportAllocs()
			before := cpuTime()
			for b.Loop() {
				a, err := c.Get(bb.scheme + s.addr)
				if err != nil {
					b.Fatal(err)
				}
				n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, a.Body, buf)
				if err != nil || n != size {
					b.Fatalf("got %d bytes and error %v", n, err)
				}
				a.Body.Close()
				if bb.http1 != (a.ProtoMajor == 1) {
					b.Fatalf("got %s", a.Proto)
				}
			}
			b.ReportMetric(float64(cpuTime()-before)/float64(b.N), "cpu-ns/op")
		})
	}
}
