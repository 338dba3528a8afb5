package blobtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"

	"berth/internal/blob"
	"berth/internal/oci"
)

func testRoundTrip(t *testing.T, p *place) {
	want := bytesOf(1, 300_000)
	key := p.put(want)
	p.has(key, want)
	p.reopen()
	p.has(key, want)
}

func testSizes(t *testing.T, p *place) {
	const large = 16 << 20
	tests := []struct {
		size, step int
	}{
		{0, 1}, {1, 1}, {4095, 1000}, {4096, 4096}, {1 << 20, 7777}, {large, 1 << 20}, {large, large}, {large, 4099},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%d by %d", tt.size, tt.step), func(t *testing.T) {
			want := bytesOf(uint64(tt.size), tt.size)
			w := p.create(blob.NewKey())
			for rest := want; len(rest) > 0; rest = rest[min(tt.step, len(rest)):] {
				p.write(w, rest[:min(tt.step, len(rest))])
			}
			key := p.commit(w, digestOf(want))
			p.settle(w)
			p.close(w)
			p.has(key, want)
			p.del(key)
		})
	}
	p.empty()
}

func testKeys(t *testing.T, p *place) {
	good := string(blob.NewKey())
	final := string(p.put([]byte("x")))
	bad := []string{
		"", ".", "..", "/", "x", "../x", "../" + good, "/" + good, good + "/", good + "/..", "./" + good, good[:31], good + "0",
		strings.ToUpper(good[:31]) + "A", good[:31] + "G", good[:31] + "\x00", good[:31] + "\n", good + ".intent", `..\` + good[:29],
		"/etc/passwd", "sha256/../" + good, "md5/" + strings.Repeat("0", 32) + "/" + good, "/" + final, final + "/", final + "/..",
		"sha256/" + strings.Repeat("a", 64) + "/data", "sha256/" + strings.Repeat("A", 64) + "/" + good,
		"sha256/" + strings.Repeat("a", 64), "sha256/" + strings.Repeat("../", 21) + "a/" + good, "sha256/" + strings.Repeat("a", 64) + "/../" + good[:29],
	}
	for _, k := range bad {
		key := blob.Key(k)
		if w, err := p.Create(t.Context(), key); err == nil {
			w.Close()
			t.Errorf("Create(%q): no error", k)
		}
		if w, err := p.Resume(t.Context(), key, 0, nil); err == nil {
			w.Close()
			t.Errorf("Resume(%q): no error", k)
		}
		if r, err := p.Open(t.Context(), key); err == nil {
			r.Close()
			t.Errorf("Open(%q): no error", k)
		}
		if err := p.Delete(t.Context(), key); err == nil {
			t.Errorf("Delete(%q): no error", k)
		}
	}
	if n := len(p.list()); n != 1 {
		t.Errorf("got %d objects, want 1", n)
	}
}

func testCreateTwice(t *testing.T, p *place) {
	key := blob.NewKey()
	w := p.create(key)
	defer w.Close()
	if again, err := p.Create(t.Context(), key); !errors.Is(err, fs.ErrExist) {
		if err == nil {
			again.Close()
		}
		t.Errorf("got %v, want an error that wraps fs.ErrExist", err)
	}
}

func testMissing(t *testing.T, p *place) {
	p.hasNot(blob.NewKey())
	if w, err := p.Resume(t.Context(), blob.NewKey(), 0, nil); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			w.Close()
		}
		t.Errorf("Resume: got %v, want an error that wraps fs.ErrNotExist", err)
	}
	gone := p.put([]byte("gone"))
	p.del(gone)
	p.hasNot(gone)
	p.empty()
}

func testUnfinishedHidden(t *testing.T, p *place) {
	key := blob.NewKey()
	w := p.create(key)
	defer w.Close()
	p.write(w, []byte("not yet"))
	p.hasNot(key)
}

func testAlgorithms(t *testing.T, p *place) {
	want := []byte("the same bytes")
	var keys []blob.Key
	for _, a := range []oci.Algorithm{oci.SHA256, oci.SHA512} {
		w := p.create(blob.NewKey())
		p.write(w, want)
		keys = append(keys, p.commit(w, a.FromBytes(want)))
		p.settle(w)
		p.close(w)
	}
	p.del(keys[0])
	p.has(keys[1], want)
	if got := p.list()[keys[1]].Digest; got != oci.SHA512.FromBytes(want) {
		t.Errorf("got digest %s, want %s", got, oci.SHA512.FromBytes(want))
	}
	w := p.create(blob.NewKey())
	defer w.Close()
	if _, err := w.Commit(t.Context(), oci.Digest{}); err == nil {
		t.Error("Commit without a digest: no error")
	}
}

func testSeek(t *testing.T, p *place) {
	want := bytesOf(2, 100_000)
	r, err := p.Open(t.Context(), p.put(want))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, at := range []int64{99_999, 0, 50_000, 100_000} {
		if got, err := r.Seek(at, io.SeekStart); got != at || err != nil {
			t.Fatalf("Seek(%d): got %d, %v", at, got, err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want[at:]) {
			t.Errorf("from %d: got %d bytes, %v, want %d", at, len(got), err, len(want[at:]))
		}
	}
	if got, err := r.Seek(-1, io.SeekEnd); got != 99_999 || err != nil {
		t.Errorf("Seek from the end: got %d, %v, want 99999", got, err)
	}
}

func testReplay(t *testing.T, p *place) {
	want := bytesOf(3, 500_000)
	key := blob.NewKey()
	w := p.create(key)
	p.write(w, want[:200_000])
	state := p.checkpoint(w)
	p.close(w)
	p.reopen()
	w = p.resume(key, 200_000, state)
	defer w.Close()
	p.write(w, want[200_000:])
	h := oci.SHA512.New()
	if err := w.Replay(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	if got := oci.SHA512.Digest(h); got != oci.SHA512.FromBytes(want) {
		t.Errorf("got %s, want %s", got, oci.SHA512.FromBytes(want))
	}
	p.has(p.commit(w, digestOf(want)), want)
}

// testReplayMidway holds that Replay moves nothing that Write needs.
func testReplayMidway(t *testing.T, p *place) {
	want := bytesOf(4, 10_000)
	w := p.create(blob.NewKey())
	defer w.Close()
	for i := 0; i < len(want); i += 2000 {
		var got bytes.Buffer
		if err := w.Replay(t.Context(), &got); err != nil || !bytes.Equal(got.Bytes(), want[:i]) {
			t.Errorf("at %d: got %d bytes, %v", i, got.Len(), err)
		}
		p.write(w, want[i:i+2000])
	}
	failing := errors.New("the reader of the replay failed")
	if err := w.Replay(t.Context(), failingWriter{failing}); !errors.Is(err, failing) {
		t.Errorf("got %v, want the error of the writer", err)
	}
	p.has(p.commit(w, digestOf(want)), want)
}

type failingWriter struct{ err error }

func (f failingWriter) Write([]byte) (int, error) { return 0, f.err }

func testDeleteUnfinished(t *testing.T, p *place) {
	key := blob.NewKey()
	w := p.create(key)
	p.write(w, []byte("given up"))
	p.close(w)
	p.del(key)
	p.empty()
}

func testDeleteTwice(t *testing.T, p *place) {
	key := p.put([]byte("x"))
	p.del(key)
	p.del(key)
	p.del(blob.NewKey())
	p.empty()
}

func testDeleteWhileReading(t *testing.T, p *place) {
	want := bytesOf(5, 3<<20)
	key := p.put(want)
	r, err := p.Open(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r, got[:1000]); err != nil {
		t.Fatal(err)
	}
	p.del(key)
	p.hasNot(key)
	if _, err := io.ReadFull(r, got[1000:]); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the rest after Delete: %v, equal %v", err, bytes.Equal(got, want))
	}
}

func testList(t *testing.T, p *place) {
	want := make(map[blob.Key]int)
	for i := range 5 {
		want[p.put(bytesOf(uint64(i), 100+i))] = 100 + i
	}
	unfinished := blob.NewKey()
	w := p.create(unfinished)
	p.write(w, []byte("12345"))
	p.checkpoint(w)
	p.close(w)
	p.reopen()
	got := p.list()
	if len(got) != len(want)+1 {
		t.Errorf("got %d objects, want %d", len(got), len(want)+1)
	}
	for key, size := range want {
		o := got[key]
		if !o.Finished || o.Size != int64(size) || o.ModTime.IsZero() || o.Digest != digestOf(bytesOf(uint64(size-100), size)) {
			t.Errorf("got %+v, want %d bytes, finished", o, size)
		}
	}
	if o := got[unfinished]; o.Finished || o.Size != 5 || !o.Digest.IsZero() || o.ModTime.IsZero() {
		t.Errorf("got %+v, want 5 bytes, unfinished", o)
	}
}

func testListStops(t *testing.T, p *place) {
	for i := range 4 {
		p.put(bytesOf(uint64(i), 10))
	}
	n := 0
	for _, err := range p.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 2 {
			break
		}
	}
	if n != 2 {
		t.Errorf("got %d objects, want 2", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var last error
	for _, err := range p.List(ctx) {
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("canceled: got %v, want context.Canceled", last)
	}
}

func testFree(t *testing.T, p *place) {
	s, ok := p.Store.(blob.Spacer)
	if !ok {
		t.Skip("the store cannot tell its free space")
	}
	free, total, err := s.Free(t.Context())
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip("the store cannot tell its free space")
	}
	if err != nil || free < 0 || total <= 0 || free > total {
		t.Errorf("got %d of %d, %v", free, total, err)
	}
}

func testCanceled(t *testing.T, p *place) {
	key := blob.NewKey()
	p.close(p.create(key))
	final := p.put([]byte("x"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Create(ctx, blob.NewKey()); !errors.Is(err, context.Canceled) {
		t.Errorf("Create: got %v, want context.Canceled", err)
	}
	if _, err := p.Resume(ctx, key, 0, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Resume: got %v, want context.Canceled", err)
	}
	if _, err := p.Open(ctx, final); !errors.Is(err, context.Canceled) {
		t.Errorf("Open: got %v, want context.Canceled", err)
	}
}
