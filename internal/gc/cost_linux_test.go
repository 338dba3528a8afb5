package gc_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"berth/internal/blob"
	"berth/internal/event"
	"berth/internal/gc"
	"berth/internal/meta"
	"berth/internal/oci"
)

// cpu returns how much time of processors this process has used.
func cpu(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// fill records n manifests, each with a blob of its own and two that many share,
// in a hundred repositories.
func (e *env) fill(n int) {
	e.t.Helper()
	shared := make([]oci.Descriptor, 50)
	for i := range shared {
		shared[i] = oci.Descriptor{Digest: oci.SHA256.FromBytes(fmt.Append(nil, "shared ", i)), Size: 10}
	}
	var next atomic.Int64
	var group sync.WaitGroup
	for range 32 { // so that they share transactions
		group.Go(func() {
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				own := oci.Descriptor{Digest: oci.SHA256.FromBytes(fmt.Append(nil, "own ", i)), Size: 10}
				parts := []oci.Descriptor{own, shared[i%50], shared[(i+1)%50]}
				if err := e.record(fmt.Sprintf("team%d/app", i%100), i, parts); err != nil {
					e.t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
}

// record records a manifest and its parts, as a push does, without their bytes.
func (e *env) record(name string, i int64, parts []oci.Descriptor) error {
	ctx := e.t.Context()
	repo, err := oci.ParseRepo(name)
	if err != nil {
		return err
	}
	for _, p := range parts {
		if _, err := e.db.FindBlob(ctx, repo, p.Digest); err == nil {
			continue
		}
		u := meta.Upload{ID: meta.UploadID(blob.NewKey()), Repo: repo, Key: blob.NewKey(), Algorithm: oci.SHA256, Started: time.Now()}
		if err := e.db.CreateUpload(ctx, u); err != nil {
			return err
		}
		if _, err := e.db.CommitUpload(ctx, u, meta.Blob{Digest: p.Digest, Key: u.Key, Size: p.Size}, event.Actor{}); err != nil {
			return err
		}
	}
	tag, err := oci.ParseTag(fmt.Sprint("v", i))
	if err != nil {
		return err
	}
	body := fmt.Appendf(nil, "manifest %d%0600d", i, 0)
	_, err = e.db.PutManifest(ctx, meta.ManifestPut{
		Repo: repo, Digest: oci.SHA256.FromBytes(body), Tags: []oci.Tag{tag},
		Manifest: oci.Manifest{MediaType: "application/x.test", Blobs: parts, Body: body},
	})
	return err
}

// A counter counts what a collector asks of the records, and how long the longest
// batch took that others had to wait for.
type counter struct {
	meta.Garbage
	calls, looked int
	longest       time.Duration
}

func (c *counter) CollectBlobs(ctx context.Context, grace time.Duration, limit int) (int, int, error) {
	begin := time.Now()
	looked, ended, err := c.Garbage.CollectBlobs(ctx, grace, limit)
	c.longest = max(c.longest, time.Since(begin))
	c.calls++
	c.looked += looked
	return looked, ended, err
}

func (c *counter) Forget(ctx context.Context, keys []blob.Key) error {
	begin := time.Now()
	err := c.Garbage.Forget(ctx, keys)
	c.longest = max(c.longest, time.Since(begin))
	c.calls++
	return err
}

// A cost is what the collection of 100 blobs took.
type cost struct {
	cpu           time.Duration
	calls, looked int
}

// collecting measures it, in a registry of n manifests.
func collecting(t *testing.T, n int) cost {
	t.Helper()
	e := newEnv(t)
	e.fill(n)
	records := &counter{Garbage: e.db}
	e.gc.Records = records
	e.running += grace
	begin := cpu(t)
	if _, err := e.gc.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := cpu(t) - begin
	const garbage = 100
	for i := range garbage {
		e.push(fmt.Sprint("garbage ", i))
	}
	e.running += grace
	records.calls, records.looked, records.longest = 0, 0, 0
	begin = cpu(t)
	a, err := e.gc.Collect(t.Context())
	e.running += delay
	b, err2 := e.gc.Collect(t.Context())
	c := cost{cpu(t) - begin, records.calls, records.looked}
	if err := errors.Join(err, err2); err != nil || a.Blobs != garbage || b.Objects != garbage {
		t.Fatalf("collected %+v and %+v, error %v", a, b, err)
	}
	idle := cpu(t)
	for range 100 {
		e.collect(gc.Report{})
	}
	t.Logf("%d manifests: 100 blobs collected with %v of CPU in %d batches, %d memberships looked at, the longest batch %v; with nothing to do %v; the first look at all that was pushed took %v",
		n, c.cpu.Round(10*time.Microsecond), c.calls, c.looked, records.longest.Round(10*time.Microsecond), ((cpu(t) - idle) / 100).Round(time.Microsecond), first.Round(time.Millisecond))
	return c
}

// TestCost shows that what a collection costs follows the garbage, and not the
// registry: exactly the same is looked at, and it takes about the same. With
// BERTH_SOAK=1 the larger registry has 100,000 manifests.
func TestCost(t *testing.T) {
	small, large := 100, 2000
	if os.Getenv("BERTH_SOAK") != "" {
		small, large = 1000, 100_000
	}
	a, b := collecting(t, small), collecting(t, large)
	if a.calls != b.calls || a.looked != b.looked || b.looked != 100 {
		t.Errorf("%d and %d batches, %d and %d memberships looked at, want the same, and 100", a.calls, b.calls, a.looked, b.looked)
	}
	// Pages of a larger tree are deeper, and a machine has other things to do.
	if most := 5*a.cpu + 100*time.Millisecond; b.cpu > most {
		t.Errorf("%d manifests: %v of CPU; %d manifests: %v, want no more than %v", small, a.cpu, large, b.cpu, most)
	}
}
