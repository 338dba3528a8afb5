package blobtest

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"berth/internal/blob"
)

// Benchmark measures the Store that newPlace makes.
func Benchmark(b *testing.B, newPlace func(b *testing.B) Place) {
	for _, size := range []int{4 << 10, 1 << 20, 64 << 20} {
		b.Run(fmt.Sprintf("put/%d", size), func(b *testing.B) { benchPut(b, newPlace(b)(), size) })
	}
	b.Run("put/parallel", func(b *testing.B) { benchPutParallel(b, newPlace(b)()) })
	b.Run("open", func(b *testing.B) { benchOpen(b, newPlace(b)()) })
	b.Run("read/1048576", func(b *testing.B) { benchRead(b, newPlace(b)(), 1<<20) })
}

func benchPut(b *testing.B, s blob.Store, size int) {
	content := bytesOf(1, size)
	d := digestOf(content)
	b.SetBytes(int64(size))
	for b.Loop() {
		w, err := s.Create(b.Context(), blob.NewKey())
		if err != nil {
			b.Fatal(err)
		}
		for rest := content; len(rest) > 0; rest = rest[min(64<<10, len(rest)):] {
			if _, err := w.Write(rest[:min(64<<10, len(rest))]); err != nil {
				b.Fatal(err)
			}
		}
		key, err := w.Commit(b.Context(), d)
		if err != nil {
			b.Fatal(err)
		}
		if err := w.Settle(b.Context()); err != nil {
			b.Fatal(err)
		}
		w.Close()
		if err := s.Delete(b.Context(), key); err != nil {
			b.Fatal(err)
		}
	}
}

func benchPutParallel(b *testing.B, s blob.Store) {
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		for i := uint64(0); pb.Next(); i++ {
			if _, err := store(b, s, blob.NewKey(), bytesOf(i, 4<<10)); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func benchOpen(b *testing.B, s blob.Store) {
	key, err := store(b, s, blob.NewKey(), bytesOf(1, 100))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		r, err := s.Open(b.Context(), key)
		if err != nil {
			b.Fatal(err)
		}
		r.Close()
	}
}

func benchRead(b *testing.B, s blob.Store, size int) {
	content := bytesOf(1, size)
	key, err := store(b, s, blob.NewKey(), content)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(size))
	buf := bytes.NewBuffer(make([]byte, 0, size+bytes.MinRead))
	for b.Loop() {
		r, err := s.Open(b.Context(), key)
		if err != nil {
			b.Fatal(err)
		}
		buf.Reset()
		if _, err := io.Copy(buf, r); err != nil {
			b.Fatal(err)
		}
		r.Close()
	}
}
