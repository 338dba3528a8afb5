package sqlmeta

import (
	"fmt"
	"testing"

	"berth/internal/event"
	"berth/internal/oci"
)

// BenchmarkHot asks for what is in memory, and for the same when there is none.
func BenchmarkHot(b *testing.B) {
	for name, memory := range map[string]int64{"memory": 32 << 20, "database": 0} {
		f := newBenchOf(b, Options{Memory: memory}, 1000)
		p := f.manifest(b, 7)
		if _, err := f.PutManifest(b.Context(), p); err != nil {
			b.Fatal(err)
		}
		tag, digest := oci.Ref{Tag: p.Tags[0]}, oci.Ref{Digest: p.Digest}
		for what, ask := range map[string]func() error{
			"tag":    func() error { _, err := f.FindManifest(b.Context(), f.repo, tag); return err },
			"digest": func() error { _, err := f.FindManifest(b.Context(), f.repo, digest); return err },
			"blob":   func() error { _, err := f.FindBlob(b.Context(), f.repo, f.blobs[0]); return err },
			"repush": func() error { _, err := f.PutManifest(b.Context(), p); return err },
		} {
			b.Run(name+"/"+what, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := ask(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkHotBesideWrites asks for one tag while others are moved, by 16 at once.
func BenchmarkHotBesideWrites(b *testing.B) {
	f := newBenchOf(b, Options{Memory: 32 << 20}, 1000)
	p := f.manifest(b, 7)
	if _, err := f.PutManifest(b.Context(), p); err != nil {
		b.Fatal(err)
	}
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				_ = f.put(b)
				_ = f.DeleteTag(b.Context(), f.repo, mustTag(b, fmt.Sprint("v", 100+i)), event.Actor{})
			}
		}
	}()
	b.ResetTimer()
	before := f.Hot()
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := f.FindManifest(b.Context(), f.repo, oci.Ref{Tag: p.Tags[0]}); err != nil {
				b.Fatal(err)
			}
		}
	})
	after := f.Hot()
	b.ReportMetric(float64(after.Misses-before.Misses)/float64(b.N), "misses/op")
}

// TestHotCosts holds that what is in memory costs no query and no allocation.
func TestHotCosts(t *testing.T) {
	db := mustOpen(t, Options{Path: t.TempDir() + "/berth.db", Memory: 1 << 20})
	defer db.Close()
	a := mustRepo(t, "a")
	blob := pushBlob(t, db, a, "layer")
	p := imageOf(t, a, "x", "layer")
	mustPut(t, db, p)
	ctx, queries := t.Context(), db.Stats().Queries
	for what, ask := range map[string]func() error{
		"by tag":    func() error { _, err := db.FindManifest(ctx, a, oci.Ref{Tag: p.Tags[0]}); return err },
		"by digest": func() error { _, err := db.FindManifest(ctx, a, oci.Ref{Digest: p.Digest}); return err },
		"blob":      func() error { _, err := db.FindBlob(ctx, a, blob.Digest); return err },
		"content":   func() error { _, err := db.FindContent(ctx, blob.Digest); return err },
	} {
		n := testing.AllocsPerRun(100, func() {
			if err := ask(); err != nil {
				t.Error(what, err)
			}
		})
		if n != 0 || db.Stats().Queries != queries {
			t.Errorf("%s: %v allocations and %d queries", what, n, db.Stats().Queries-queries)
		}
	}
}
