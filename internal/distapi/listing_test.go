package distapi

import (
	"bytes"
	"fmt"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// TestListsAtOnce holds that answers which are written at the same time have
// nothing of each other, short ones and those that are longer than a buffer.
func TestListsAtOnce(t *testing.T) {
	b := newBench(t, "open")
	want := map[string]string{}
	for i, n := range []int{1, 3, 1000, 5000} {
		prefix := strings.Repeat(string(rune('a'+i)), 10*i+1)
		b.pushManifest(t, prefix, emptyIndex, longList(prefix, n)...)
		want["/v2/"+prefix+"/tags/list"] = `{"name":"` + prefix + `","tags":[` + quoteAll(longList(prefix, n)) + "]}\n"
	}
	var group sync.WaitGroup
	for target, body := range want {
		for range 4 {
			group.Go(func() {
				for range 10 {
					resp, got := b.send(t, "GET", target, nil, nil)
					if string(got) != body || resp.Header.Get("Content-Type") != "application/json" || resp.Header.Get("Cache-Control") != "no-cache" {
						t.Errorf("%s: got %d bytes, want %d, and header %v", target, len(got), len(body), resp.Header)
						return
					}
				}
			})
		}
	}
	group.Wait()
}

// TestListing holds that what is written comes out, whatever its parts are, with
// its length exactly where that was known before the first byte was sent.
func TestListing(t *testing.T) {
	h := &Handler{}
	for _, sizes := range [][]int{{}, {1}, {listBuffer}, {listBuffer + 1}, {listBuffer - 1, 1}, {listBuffer - 1, 2, 1}, {10, 3 * listBuffer, 10}, {1, listBuffer, listBuffer}} {
		for _, known := range []bool{false, true} {
			var want bytes.Buffer
			for i, n := range sizes {
				want.WriteString(strings.Repeat(string(rune('a'+i)), n))
			}
			w := httptest.NewRecorder()
			l := h.list(w, "a/b")
			if known {
				l.length = want.Len()
			}
			for i, n := range sizes {
				l.text(strings.Repeat(string(rune('a'+i)), n))
			}
			l.finish()
			l.end()
			length := ""
			if known && want.Len() > 0 || want.Len() > 0 && want.Len() <= listBuffer {
				length = strconv.Itoa(want.Len())
			}
			if got := w.Header().Get("Content-Length"); w.Body.String() != want.String() || got != length || w.Header().Get("Content-Type") != "a/b" {
				t.Errorf("%v, known %v: got %d bytes of length %q, want %d of %q", sizes, known, w.Body.Len(), got, want.Len(), length)
			}
		}
	}
	l := h.list(httptest.NewRecorder(), "a/b")
	for i := range listBuffer {
		l.name(",", fmt.Sprint(i))
	}
	if cap(*l.buf) != listBuffer {
		t.Errorf("the buffer has grown to %d", cap(*l.buf))
	}
}
