package sqlmeta

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"berth/internal/blob"
	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

// together runs do b.N times by n callers at once, who share transactions, and
// reports how many did.
func (f *bench) together(b *testing.B, n int, do func(i int) error) {
	b.Helper()
	before := f.Stats()
	b.ReportAllocs()
	b.ResetTimer()
	began := usedCPU()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for i := int(next.Add(1)); i <= b.N; i = int(next.Add(1)) {
				if err := do(i); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64((usedCPU()-began).Microseconds())/float64(b.N), "µs-CPU/op")
	after := f.Stats()
	b.ReportMetric(float64(after.Mutations-before.Mutations)/float64(after.Commits-before.Commits), "changes/commit")
}

// BenchmarkTags puts the same manifest under new tags.
func BenchmarkTags(b *testing.B) {
	for _, callers := range []int{1, 16} {
		b.Run(fmt.Sprint("callers=", callers), func(b *testing.B) {
			f := newBenchOf(b, Options{Trash: time.Hour, Memory: 32 << 20}, 100)
			p := f.manifest(b, 1)
			f.together(b, callers, func(i int) error {
				again := p
				again.Tags = []oci.Tag{mustTag(b, fmt.Sprint("n", i))}
				_, err := f.PutManifest(b.Context(), again)
				return err
			})
		})
	}
}

// BenchmarkMount links a blob to a hundred other repositories.
func BenchmarkMount(b *testing.B) {
	f := newBenchOf(b, Options{Trash: time.Hour, Memory: 32 << 20}, 100)
	var to []oci.Repo
	for i := range 100 {
		to = append(to, mustRepo(b, fmt.Sprint("mount/", i)))
	}
	f.together(b, 8, func(i int) error {
		return f.LinkBlob(b.Context(), f.repo, to[i%100], f.blobs[i/100%len(f.blobs)], event.Actor{})
	})
}

// BenchmarkDeletes deletes manifests with a tag each.
func BenchmarkDeletes(b *testing.B) {
	for _, callers := range []int{1, 8} {
		b.Run(fmt.Sprint("callers=", callers), func(b *testing.B) {
			f := newBenchOf(b, Options{Trash: time.Hour, Memory: 32 << 20}, 100)
			doomed := make([]oci.Digest, b.N+1)
			for i := range doomed {
				p := f.manifest(b, 1000+i)
				doomed[i] = p.Digest
				if _, err := f.PutManifest(b.Context(), p); err != nil {
					b.Fatal(err)
				}
			}
			f.together(b, callers, func(i int) error { return f.DeleteManifest(b.Context(), f.repo, doomed[i], event.Actor{}) })
		})
	}
}

// BenchmarkUploads begins uploads of new blobs and ends them.
func BenchmarkUploads(b *testing.B) {
	f := newBenchOf(b, Options{Trash: time.Hour, Memory: 32 << 20}, 100)
	f.together(b, 8, func(i int) error {
		u := meta.Upload{ID: meta.UploadID(fmt.Sprint("bench", i)), Repo: f.repo, Key: blob.NewKey(), Algorithm: oci.SHA256}
		if err := f.CreateUpload(b.Context(), u); err != nil {
			return err
		}
		_, err := f.CommitUpload(b.Context(), u, meta.Blob{Digest: oci.SHA256.FromBytes(fmt.Append(nil, "blob", i)), Key: u.Key, Size: 10}, event.Actor{})
		return err
	})
}
