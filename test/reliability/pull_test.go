package reliability

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
)

// readingCalls are the system calls that pulls are made of.
const readingCalls = "openat,openat2,newfstatat,fstat,statx,readlinkat,lseek,fcntl,epoll_ctl,read,pread64,sendfile,write,writev,sendto,sendmsg"

// TestCallsOfPulls counts what the built server asks the kernel for when blobs are
// pulled. What is small is read once; from then on a look at its file, which holds for a
// moment, tells that it is still there, and the answer is one write. What is large is
// opened, and sent by the kernel. Asking whether a blob is there opens it once, and looks
// each time.
func TestCallsOfPulls(t *testing.T) {
	tr := startTraced(t, "", readingCalls)
	small, large := newThing(content(4<<10, 1)), newThing(content(1<<20, 2))
	const repo, times = "pulls/app", 10
	for _, b := range []thing{small, large} {
		if err := tr.c.push(t.Context(), repo, b); err != nil {
			t.Fatal(err)
		}
		for _, method := range []string{http.MethodHead, http.MethodGet} {
			for range times {
				if err := pull(t.Context(), tr.reg.URL+"/v2/"+repo+"/blobs/"+b.digest, method, b); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	calls := tr.trace()
	for _, tt := range []struct {
		name string
		b    thing
		want map[string]int
	}{
		// How often a GET looks depends on how long they take: once at least.
		{"4 KiB", small, map[string]int{"openat2": 2, "fstat": 2, "pread64": 1, "newfstatat": times}},
		// How often sendfile is called depends on the socket.
		{"1 MiB", large, map[string]int{"openat2": 1 + times, "fstat": 1 + times, "newfstatat": times - 1, "sendfile": 0}},
	} {
		got := callsOf(calls, tt.b)
		if _, ok := tt.want["sendfile"]; ok && got["sendfile"] >= times {
			got["sendfile"] = 0
		}
		if n := got["newfstatat"]; tt.want["newfstatat"] == times && n > times && n <= 2*(times-1) {
			got["newfstatat"] = times
		}
		if !maps.Equal(got, tt.want) {
			t.Errorf("%d times HEAD and GET of %s: got calls %v, want %v", times, tt.name, got, tt.want)
		}
	}
	whole := 0
	for _, c := range calls {
		toSocket := strings.HasPrefix(c.name, "write") || strings.HasPrefix(c.name, "send") && c.name != "sendfile"
		if !toSocket || !strings.HasPrefix(c.file(), "socket:") {
			continue
		}
		if !c.answers() {
			t.Errorf("a part of an answer is written by itself: %s(%s)", c.name, c.args)
		}
		var n int
		if fmt.Sscan(c.result, &n); n > len(small.data) {
			whole++
		}
	}
	if whole != times {
		t.Errorf("got %d answers that were written with a small blob, want %d", whole, times)
	}
}

// callsOf counts the calls about the finished object of b, by name.
func callsOf(calls []call, b thing) map[string]int {
	inFolder := strings.TrimPrefix(b.digest, "sha256:") + "/"
	counts := map[string]int{}
	for _, c := range calls {
		if strings.Contains(c.args, inFolder) && !strings.Contains(c.args, "O_PATH") { // which the push does
			counts[c.name]++
		}
	}
	return counts
}

// pull asks for a blob and reads it.
func pull(ctx context.Context, url, method string, b thing) error {
	q, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return err
	}
	a, err := http.DefaultClient.Do(q)
	if err != nil {
		return err
	}
	defer a.Body.Close()
	got, err := io.ReadAll(a.Body)
	if err == nil && (a.StatusCode != http.StatusOK || a.ContentLength != int64(len(b.data)) || method == http.MethodGet && digestOf(got) != b.digest) {
		err = fmt.Errorf("%s %s: got status %d and %d of %d bytes", method, url, a.StatusCode, len(got), a.ContentLength)
	}
	return err
}
