package sqlmeta

import (
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

	"berth/internal/blob"
	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

// A bench is a database with one repository of 10,000 tags, each on a manifest
// of its own with three blobs.
type bench struct {
	*DB
	repo   oci.Repo
	blobs  []oci.Digest
	serial atomic.Int64
}

func newBench(b *testing.B) *bench {
	b.Helper()
	return newBenchOf(b, Options{}, 10_000)
}

// newBenchOf makes one of another number of tags, by the hundred.
func newBenchOf(b *testing.B, o Options, tags int) *bench {
	b.Helper()
	o.Path = filepath.Join(b.TempDir(), "berth.db")
	db, err := Open(b.Context(), o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	f := &bench{DB: db, repo: mustRepo(b, "library/app")}
	for i := range 3 {
		d := oci.SHA256.FromBytes(fmt.Append(nil, i))
		u := meta.Upload{ID: meta.UploadID(fmt.Sprint(i)), Repo: f.repo, Key: blob.NewKey(), Algorithm: oci.SHA256}
		if err := db.CreateUpload(b.Context(), u); err != nil {
			b.Fatal(err)
		}
		if _, err := db.CommitUpload(b.Context(), u, meta.Blob{Digest: d, Key: u.Key, Size: 10}, event.Actor{}); err != nil {
			b.Fatal(err)
		}
		f.blobs = append(f.blobs, d)
	}
	for range tags / 100 {
		b.Helper()
		done := make(chan error, 100)
		for range 100 {
			go func() { done <- f.put(b) }()
		}
		for range 100 {
			if err := <-done; err != nil {
				b.Fatal(err)
			}
		}
	}
	return f
}

// put stores a new manifest under a new tag.
func (f *bench) put(tb testing.TB) error {
	_, err := f.PutManifest(tb.Context(), f.manifest(tb, int(f.serial.Add(1))))
	return err
}

// manifest makes the n-th manifest, of 1.3 KB and with a tag.
func (f *bench) manifest(tb testing.TB, n int) meta.ManifestPut {
	body := fmt.Appendf(nil, `{"note":%q}`, fmt.Sprintf("%01300d", n))
	m := oci.Manifest{MediaType: oci.MediaTypeImage, Body: body}
	for _, d := range f.blobs {
		m.Blobs = append(m.Blobs, oci.Descriptor{Digest: d, Size: 10})
	}
	return meta.ManifestPut{Repo: f.repo, Digest: oci.SHA256.FromBytes(body), Manifest: m, Tags: []oci.Tag{mustTag(tb, fmt.Sprint("v", n))}}
}

func mustRepo(tb testing.TB, s string) oci.Repo {
	tb.Helper()
	r, err := oci.ParseRepo(s)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

func mustTag(tb testing.TB, s string) oci.Tag {
	tb.Helper()
	t, err := oci.ParseTag(s)
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

func BenchmarkFindBlob(b *testing.B) {
	f := newBench(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.FindBlob(b.Context(), f.repo, f.blobs[0]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFindManifestByTag(b *testing.B) {
	f := newBench(b)
	ref := oci.Ref{Tag: mustTag(b, "v5000")}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.FindManifest(b.Context(), f.repo, ref); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkNoteUse is what a pull costs more because it is noted.
func BenchmarkNoteUse(b *testing.B) {
	db, err := Open(b.Context(), Options{Path: filepath.Join(b.TempDir(), "berth.db")})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	repo := mustRepo(b, "library/app")
	var digests []oci.Digest
	for i := range 1000 {
		digests = append(digests, oci.SHA256.FromBytes(fmt.Append(nil, i)))
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		db.NoteUse(repo, digests[i%len(digests)], meta.Pulled)
		i++
	}
}

// BenchmarkRepoState reads what retention asks of 10,000 tags.
func BenchmarkRepoState(b *testing.B) {
	f := newBench(b)
	b.ReportAllocs()
	for b.Loop() {
		if s, err := f.RepoState(b.Context(), f.repo); err != nil || len(s.Tags) != 10_000 || len(s.Manifests) != 10_000 {
			b.Fatal(len(s.Tags), err)
		}
	}
}

func BenchmarkTagsPage(b *testing.B) {
	f := newBench(b)
	b.ReportAllocs()
	for b.Loop() {
		if list, err := f.TagNames(b.Context(), f.repo, "v5000", 100); err != nil || len(list) != 100 {
			b.Fatal(len(list), err)
		}
	}
}

func BenchmarkPutManifest(b *testing.B) {
	f := newBench(b)
	b.ReportAllocs()
	for b.Loop() {
		if err := f.put(b); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPutManifestNoChange(b *testing.B) {
	f := newBench(b)
	b.ReportAllocs()
	for b.Loop() {
		f.serial.Store(99)
		if err := f.put(b); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPutManifest16 is 16 callers at once, who share transactions.
func BenchmarkPutManifest16(b *testing.B) {
	f := newBench(b)
	before := f.Stats()
	b.SetParallelism(8) // times the two cores of a small machine
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := f.put(b); err != nil {
				b.Error(err)
			}
		}
	})
	after := f.Stats()
	b.ReportMetric(float64(after.Mutations-before.Mutations)/float64(after.Commits-before.Commits), "puts/commit")
}
