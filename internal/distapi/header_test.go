package distapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"berth/internal/meta"
	"berth/internal/oci"
	"berth/internal/registry"
)

func FuzzReadRange(f *testing.F) {
	for _, s := range []string{"", "bytes=0-0", "bytes=5-", "bytes=-5", "bytes=5-0", "bytes=0-1,2-3", "bytes=99999999999999999999-", "x=1-2", "bytes=--1", "bytes= 1-2 "} {
		f.Add(s, int64(10))
		f.Add(s, int64(0))
	}
	f.Fuzz(func(t *testing.T, header string, size int64) {
		if size < 0 {
			return
		}
		switch got := readRange(header, size); got.kind {
		case spanOne:
			if got.first < 0 || got.first > got.last || got.last >= size {
				t.Errorf("%q of %d bytes: got %+v", header, size, got)
			}
		case spanAll, spanNone:
			if got.first != 0 || got.last != 0 {
				t.Errorf("%q of %d bytes: got %+v", header, size, got)
			}
		}
	})
}

// TestSharedValues holds that what all answers share is never changed by one, nor by
// who adds to the headers of one.
func TestSharedValues(t *testing.T) {
	shared := func() [][]string {
		return [][]string{apiVersion, noSniffing, sandboxed, varies, notStored, askedAgain, keptByOne, keptByAll, ofJSON, ofBytes, attached, rangesOfIt, twoBytes}
	}
	before := fmt.Sprint(shared(), string(emptyObject))
	b := newBench(t, "open")
	b.Log = slog.New(slog.DiscardHandler)
	d := b.pushBlob("app", "hello")
	b.pushManifest(t, "app", emptyIndex, "v1")
	for _, target := range []string{"/v2/", "/v2/app/manifests/v1", "/v2/app/blobs/" + d.String(), "/v2/app/blobs/sha256:" + strings.Repeat("0", 64), "/v2/app/tags/list", "/v2/?x=%zz", "/"} {
		for _, method := range []string{"GET", "HEAD", "POST", "DELETE"} {
			r := httptest.NewRequest(method, target, nil)
			w := httptest.NewRecorder()
			b.ServeHTTP(w, r)
			for key := range w.Header() {
				if key != http.CanonicalHeaderKey(key) {
					t.Errorf("%s %s: header %s is not found under that name", method, target, key)
				}
				w.Header().Add(key, "more")
				w.Header()[key][0] = w.Header()[key][0] + "!" // of the copy that Add has made
			}
		}
	}
	if after := fmt.Sprint(shared(), string(emptyObject)); after != before {
		t.Errorf("got %s\nwant %s", after, before)
	}
}

// FuzzErrorBody holds that errors are encoded as encoding/json does it.
func FuzzErrorBody(f *testing.F) {
	for _, s := range []string{"", "plain", `"`, "<a&b>", "é", "\x00", "\u2028", `\`, "\x7f", "\xff"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, code, message string) {
		item := map[string]any{"code": code}
		if message != "" {
			item["message"] = message
		}
		want, err := json.Marshal(map[string]any{"errors": []any{item}})
		if got := errorBody(oci.Error{Code: oci.Code(code), Message: message}); err != nil || string(got) != string(want) {
			t.Errorf("got %s, want %s (%v)", got, want, err)
		}
	})
}

// sized is an upload that has a size and nothing else.
type sized struct {
	registry.Upload
	size int64
}

func (u sized) Size() int64       { return u.size }
func (u sized) ID() meta.UploadID { return "u" }

func FuzzContentRange(f *testing.F) {
	for _, s := range []string{"0-0", "5-9", "5-5", "bytes 5-9/*", "5-", "-5", "9223372036854775807-9223372036854775807", "5-9223372036854775807", "05-09", "5-9-1", " 5-9"} {
		f.Add(s, int64(5), int64(5))
	}
	f.Fuzz(func(t *testing.T, header string, size, length int64) {
		if size < 0 || length < -1 {
			return
		}
		r := &http.Request{Header: http.Header{"Content-Range": {header}}, ContentLength: length, Body: http.NoBody}
		at, err := contentRange(r, sized{size: size})
		if err == nil {
			var first, last int64
			if n, scanErr := fmt.Sscanf(header, "%d-%d", &first, &last); n != 2 || at != size || first != size || last < first || length >= 0 && last-first+1 != length {
				t.Errorf("%q at %d with %d bytes: got %d (%v)", header, size, length, at, scanErr)
			}
			return
		}
		_, isRange := errors.AsType[*registry.RangeError](err)
		if code := oci.CodeOf(err); !isRange && code != oci.BlobUploadInvalid && code != oci.SizeInvalid {
			t.Errorf("%q: got %v", header, err)
		}
	})
}

func FuzzAuthorization(f *testing.F) {
	for _, s := range []string{"", "Basic YWxpY2U6c2VjcmV0", "Bearer x", "Basic", " ", "Basic  YQ==", "\x00"} {
		f.Add(s)
	}
	b := newBench(f, "anonymous")
	f.Fuzz(func(t *testing.T, s string) {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/v2/app/tags/list", nil)
		r.Header["Authorization"] = []string{s}
		w := httptest.NewRecorder()
		b.ServeHTTP(w, r)
		user, password, basic := r.BasicAuth()
		known := basic && somebody()[user] != "" && somebody()[user] == password
		if ok := w.Code == 404; ok != known && w.Code != 429 && w.Code != 503 {
			t.Errorf("%q: got %d %s", s, w.Code, w.Body)
		}
	})
}

func TestQuoted(t *testing.T) {
	tests := map[string]string{
		"":               `""`,
		"Berth":          `"Berth"`,
		`a "b" \c`:       `"a \"b\" \\c"`,
		"a\r\nX: y":      `"a??X: y"`,
		"Hafen Köln 港":   `"Hafen K?ln ?"`,
		"\x00\x7f\xff~ ": `"???~ "`,
	}
	for s, want := range tests {
		if got := quoted(s); got != want {
			t.Errorf("%q: got %s, want %s", s, got, want)
		}
	}
}

func TestValidHost(t *testing.T) {
	for _, s := range []string{"localhost", "registry.example:5000", "[::1]:5000", "10.0.0.1", "EXAMPLE.org", "a-b_c"} {
		if !validHost(s) {
			t.Errorf("%q is refused", s)
		}
	}
	for _, s := range []string{"", "a b", `a"b`, "a/b", "a@b", "a\nb", "a?b", "a#b", "a,b", "[fe80::1%25eth0]", "ü", strings.Repeat("a", 256)} {
		if validHost(s) {
			t.Errorf("%q is accepted", s)
		}
	}
}

func TestMatches(t *testing.T) {
	tag := `"sha256:x"`
	for list, want := range map[string]bool{
		`"sha256:x"`: true, `W/"sha256:x"`: true, `"a", "sha256:x"`: true, `*`: true, `sha256:x`: true,
		`"sha256:y"`: false, `"sha256:x`: false, ``: false, `"a","b"`: false, `"sha256:xx"`: false,
	} {
		if got := matches(list, tag); got != want {
			t.Errorf("%q: got %v, want %v", list, got, want)
		}
	}
}

func TestExactly(t *testing.T) {
	for _, tt := range []struct {
		body string
		left int64
		want string
		err  error
	}{
		{"", 0, "", nil}, {"abc", 3, "abc", nil}, {"abc", 2, "ab", errLength}, {"abc", 4, "abc", errLength}, {"abc", 0, "", errLength}, {"", 1, "", errLength},
	} {
		for _, r := range []io.Reader{strings.NewReader(tt.body), oneByte{strings.NewReader(tt.body)}} {
			got, err := io.ReadAll(&exactly{ReadCloser: io.NopCloser(r), left: tt.left})
			if string(got) != tt.want || err != tt.err {
				t.Errorf("%q, %d: got %q, %v; want %q, %v", tt.body, tt.left, got, err, tt.want, tt.err)
			}
		}
	}
}

type oneByte struct{ r io.Reader }

func (o oneByte) Read(p []byte) (int, error) { return o.r.Read(p[:min(1, len(p))]) }

// TestInterrupt holds that a Read which waits for a client that may be gone can
// be ended, so that another connection can take its upload over.
func TestInterrupt(t *testing.T) {
	failed := make(chan bool)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b := newBody(w, r)
		time.AfterFunc(10*time.Millisecond, b.Interrupt)
		io.Copy(io.Discard, b)
		failed <- b.failed()
	}))
	defer srv.Close()
	pr, pw := io.Pipe()
	defer pw.Close()
	go func() {
		if resp, err := http.Post(srv.URL, "", pr); err == nil {
			resp.Body.Close()
		}
	}()
	select {
	case got := <-failed:
		if !got {
			t.Error("the body ended well")
		}
	case <-time.After(20 * time.Second):
		t.Error("the Read goes on")
	}
	pw.Close()
}
