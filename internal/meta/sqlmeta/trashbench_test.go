package sqlmeta

import (
	"fmt"
	"testing"
	"time"

	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

// BenchmarkDeleteManifest deletes manifests with a tag each, from a repository of
// few and of many, with a trash and without: it must cost about the same.
func BenchmarkDeleteManifest(b *testing.B) {
	for _, keep := range []time.Duration{0, time.Hour} {
		for _, tags := range []int{100, 10_000} {
			b.Run(fmt.Sprintf("keep=%s/tags=%d", keep, tags), func(b *testing.B) {
				f := newBenchOf(b, Options{Trash: keep}, tags)
				b.ReportAllocs()
				for b.Loop() {
					b.StopTimer()
					if err := f.put(b); err != nil {
						b.Fatal(err)
					}
					m, err := f.FindManifest(b.Context(), f.repo, oci.Ref{Tag: mustTag(b, fmt.Sprint("v", f.serial.Load()))})
					if err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
					if err := f.DeleteManifest(b.Context(), f.repo, m.Digest, event.Actor{}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkDeleteRepo deletes a repository of few and of many manifests, and
// brings it back: it must cost about the same.
func BenchmarkDeleteRepo(b *testing.B) {
	for _, tags := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("tags=%d", tags), func(b *testing.B) {
			f := newBenchOf(b, Options{Trash: time.Hour}, tags)
			b.ReportAllocs()
			for b.Loop() {
				id, err := f.DeleteRepo(b.Context(), f.repo, event.Actor{})
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if _, err := f.Restore(b.Context(), meta.Restore{ID: id}); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}
