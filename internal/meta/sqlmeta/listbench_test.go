package sqlmeta

import (
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"berth/internal/meta"
	"berth/internal/oci"
)

// BenchmarkTagsAll lists 10,000 tags by the thousand, as the API does.
func BenchmarkTagsAll(b *testing.B) {
	f := newBench(b)
	b.ReportAllocs()
	for b.Loop() {
		n, after := 0, ""
		for {
			list, err := f.TagNames(b.Context(), f.repo, after, 1001)
			if err != nil {
				b.Fatal(err)
			}
			if len(list) <= 1000 {
				n += len(list)
				break
			}
			n += 1000
			after = list[999].String()
		}
		if n != 10_000 {
			b.Fatal(n)
		}
	}
}

// BenchmarkReposPage reads the last page of repositories, from memory, and from the
// database as after each change. It costs the same however many there are.
func BenchmarkReposPage(b *testing.B) {
	for _, n := range []int{101, 1000, 10_000} {
		for cache, memory := range map[string]int64{"memory": 1 << 20, "database": 0} {
			b.Run(fmt.Sprintf("%d from the %s", n, cache), func(b *testing.B) {
				db := manyRepos(b, Options{Path: filepath.Join(b.TempDir(), "berth.db"), Memory: memory}, n)
				after := fmt.Sprintf("team/r%06d", n-101)
				b.ReportAllocs()
				for b.Loop() {
					if list, err := db.Repos(b.Context(), after, 101); err != nil || len(list) != 100 {
						b.Fatal(len(list), err)
					}
				}
			})
		}
	}
}

func manyRepos(b *testing.B, o Options, n int) *DB {
	b.Helper()
	db := mustOpen(b, o)
	b.Cleanup(func() { db.Close() })
	var next atomic.Int64
	var group sync.WaitGroup
	for range 32 {
		group.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				body := fmt.Appendf(nil, `{"note":"%d"}`, i)
				_, err := db.PutManifest(b.Context(), meta.ManifestPut{Repo: mustRepo(b, fmt.Sprintf("team/r%06d", i)), Digest: oci.SHA256.FromBytes(body),
					Manifest: oci.Manifest{MediaType: oci.MediaTypeImage, Body: body}, Tags: []oci.Tag{mustTag(b, "v1")}})
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	return db
}

// BenchmarkReferrers lists 1,000 signatures of one image.
func BenchmarkReferrers(b *testing.B) {
	f := newBenchOf(b, Options{}, 100)
	subject := oci.SHA256.FromBytes([]byte("subject"))
	var group sync.WaitGroup
	for i := range 1000 {
		group.Go(func() {
			body := fmt.Appendf(nil, `{"referrer":"%d"}`, i)
			_, err := f.PutManifest(b.Context(), meta.ManifestPut{Repo: f.repo, Digest: oci.SHA256.FromBytes(body), Manifest: oci.Manifest{MediaType: oci.MediaTypeImage,
				Body: body, Subject: &oci.Descriptor{MediaType: oci.MediaTypeImage, Digest: subject, Size: 1}, ArtifactType: "application/vnd.example.signature", Annotations: map[string]string{"org.example.number": fmt.Sprint(i)}}})
			if err != nil {
				b.Error(err)
			}
		})
	}
	group.Wait()
	b.ReportAllocs()
	for b.Loop() {
		if list, err := f.Referrers(b.Context(), meta.ReferrerQuery{Repo: f.repo, Subject: subject, Limit: 1001}); err != nil || len(list) != 1000 {
			b.Fatal(len(list), err)
		}
	}
}
