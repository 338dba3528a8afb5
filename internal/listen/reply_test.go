package listen

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// answering are handlers whose answers must be what net/http alone makes of them.
func answering(t *testing.T) map[string]http.HandlerFunc {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, bytes.Repeat([]byte("file"), 10_000), 0o600); err != nil {
		t.Fatal(err)
	}
	body := func(n int) []byte { return bytes.Repeat([]byte("b"), n) }
	common := func(w http.ResponseWriter) {
		w.Header().Set("Etag", `"sha256:1"`)
		w.Header().Set("X-Request-Id", "id")
		w.Header().Set("Date", "then") // and no other
		w.Header().Add("Vary", "Accept")
		w.Header().Add("Vary", "Origin")
		w.Header()["Cache-Control"] = []string{"no-store"}
	}
	list := map[string]http.HandlerFunc{
		"nothing": func(w http.ResponseWriter, _ *http.Request) { common(w) },
		"status":  func(w http.ResponseWriter, _ *http.Request) { common(w); w.WriteHeader(http.StatusNotFound) },
		"304":     func(w http.ResponseWriter, _ *http.Request) { common(w); w.WriteHeader(http.StatusNotModified) },
		"204":     func(w http.ResponseWriter, _ *http.Request) { common(w); w.WriteHeader(http.StatusNoContent) },
		"odd values": func(w http.ResponseWriter, _ *http.Request) {
			common(w)
			for key, v := range map[string][]string{"Etag": {"a\r\nb"}, "Link": {" a"}, "Location": {""}, "X-Request-Id": nil, "Content-Disposition": {"é"}, "bad key": {"x"}, "lower": {"x"}} {
				w.Header()[key] = v
			}
		},
		"many values": func(w http.ResponseWriter, _ *http.Request) {
			common(w)
			for i := range 400 {
				w.Header().Add("Link", fmt.Sprintf("<%030d>", i))
			}
			w.Write(body(100))
		},
		"sniffed": func(w http.ResponseWriter, _ *http.Request) { common(w); io.WriteString(w, "<html>") },
		"flushed": func(w http.ResponseWriter, _ *http.Request) {
			common(w)
			w.(http.Flusher).Flush()
			w.Header().Set("Etag", "too late")
			w.Write(body(10))
		},
		"flushed by its controller": func(w http.ResponseWriter, _ *http.Request) {
			common(w)
			w.Write(body(10))
			_ = http.NewResponseController(w).Flush()
			w.Write(body(10))
		},
		"file": func(w http.ResponseWriter, r *http.Request) { common(w); http.ServeFile(w, r, file) },
		"a status twice": func(w http.ResponseWriter, _ *http.Request) {
			common(w)
			w.WriteHeader(http.StatusAccepted)
			w.WriteHeader(http.StatusOK)
		},
		"taken back": func(w http.ResponseWriter, _ *http.Request) {
			common(w)
			w.Header().Del("Etag")
			delete(w.Header(), "Vary")
			w.Write(body(3))
		},
		"the end of the connection": func(w http.ResponseWriter, _ *http.Request) {
			common(w)
			w.Header().Set("Connection", "close")
			w.Write(body(5))
		},
	}
	for _, n := range []int{0, 1, 1000, 2047, 2048, 2049, 4095, 4096, 5000, 7500, 8192, 20_000, 100_000} {
		list[fmt.Sprint(n, " bytes")] = func(w http.ResponseWriter, _ *http.Request) {
			common(w)
			w.Header().Set("Content-Length", fmt.Sprint(n))
			w.Write(body(n))
		}
		list[fmt.Sprint(n, " bytes of no length")] = func(w http.ResponseWriter, _ *http.Request) {
			common(w)
			for p := body(n); len(p) > 0; {
				k := min(len(p), 700)
				w.Write(p[:k])
				p = p[k:]
			}
		}
	}
	return list
}

// An asker asks over one connection, as long as there is one.
type asker struct {
	t    *testing.T
	addr string
	conn net.Conn
	r    *bufio.Reader
}

func newAsker(t *testing.T, addr string) *asker { return &asker{t: t, addr: addr} }

// ask returns an answer as text, its headers in order.
func (a *asker) ask(method, version string) string {
	a.t.Helper()
	if a.conn == nil {
		a.conn = dial(a.t, a.addr)
		a.r = bufio.NewReader(a.conn)
	}
	fmt.Fprintf(a.conn, "%s / HTTP/%s\r\nHost: x\r\n\r\n", method, version)
	resp, err := http.ReadResponse(a.r, &http.Request{Method: method})
	if err != nil {
		a.t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	if resp.Close {
		a.conn = nil
	}
	var lines []string
	for key, values := range resp.Header {
		for _, v := range values {
			lines = append(lines, key+": "+v)
		}
	}
	slices.Sort(lines)
	return fmt.Sprintf("%s %s %d %v %v\n%s\n%d bytes: %.40s", resp.Proto, resp.Status, resp.ContentLength, resp.TransferEncoding, resp.Close,
		strings.Join(lines, "\n"), len(body), body)
}

// TestReply compares answers with those of net/http alone, several over one
// connection.
func TestReply(t *testing.T) {
	for name, h := range answering(t) {
		t.Run(name, func(t *testing.T) {
			plain := httptest.NewServer(h)
			defer plain.Close()
			ours := serve(t, ServerOptions{}, h)
			for _, version := range []string{"1.1", "1.0"} {
				a, b := newAsker(t, plain.Listener.Addr().String()), newAsker(t, ours.addr)
				for _, method := range []string{"GET", "HEAD", "GET", "GET"} {
					want := a.ask(method, version)
					if got := b.ask(method, version); got != want {
						t.Errorf("%s, HTTP/%s: got\n%s\nwant\n%s", method, version, got, want)
					}
				}
			}
		})
	}
}

// TestRepliesDontMix has many ask at once for what differs for each.
func TestRepliesDontMix(t *testing.T) {
	s := serve(t, ServerOptions{}, func(w http.ResponseWriter, r *http.Request) {
		of := r.URL.Query().Get("of")
		w.Header()["Etag"] = []string{of}
		if strings.HasSuffix(of, "3") {
			w.Header().Set("Location", of)
		}
		if strings.HasSuffix(of, "7") {
			panic(http.ErrAbortHandler)
		}
		io.WriteString(w, strings.Repeat(of, len(of)*100))
	})
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for n := range 200 {
				of := fmt.Sprintf("%d-%d", i, n)
				resp, err := http.Get("http://" + s.addr + "/?of=" + of)
				if n%10 == 7 {
					if err == nil {
						t.Errorf("%s: got %v, want no answer", of, resp.Header)
					}
					continue
				}
				if err != nil {
					t.Errorf("%s: %v", of, err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				location := ""
				if n%10 == 3 {
					location = of
				}
				if err != nil || resp.Header.Get("Etag") != of || resp.Header.Get("Location") != location || string(body) != strings.Repeat(of, len(of)*100) {
					t.Errorf("%s: got %v and %d bytes (%v)", of, resp.Header, len(body), err)
				}
			}
		})
	}
	group.Wait()
}
