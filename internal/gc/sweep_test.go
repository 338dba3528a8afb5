package gc_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"berth/internal/event"
	"berth/internal/gc"
	"berth/internal/oci"
	"berth/internal/registry"
)

// sweep runs one sweep and returns its sum with a line for everything it told.
func (e *env) sweep(o gc.SweepOptions) (gc.Swept, []string) {
	e.t.Helper()
	var told []string
	if o.Grace == 0 {
		o.Grace = grace
	}
	o.Tell = func(i gc.Item) error {
		told = append(told, fmt.Sprintf("%s %s %s", i.Kind, i.Repo, i.Digest))
		return nil
	}
	s := &gc.Sweeper{Collector: e.gc, Records: e.db, Now: func() time.Time { return time.Now().Add(2 * grace) }}
	sum, err := s.Sweep(e.t.Context(), o)
	if err != nil {
		e.t.Fatal(err)
	}
	slices.Sort(told)
	return sum, told
}

// TestSweep follows an untagged manifest and a loose blob: named by the dry run,
// which changes nothing, and gone after the real one.
func TestSweep(t *testing.T) {
	e := newEnv(t)
	loose, layer := e.push("loose"), e.push("layer")
	m := e.put(layer)
	e.running += grace

	dry := gc.SweepOptions{DryRun: true, Untagged: true}
	want := []string{"blob a " + loose.String(), "later a " + layer.String(), "manifest a " + m.String()}
	wantSum := gc.Swept{Manifests: gc.Sum{Count: 1, Bytes: 71}, Blobs: gc.Sum{Count: 1, Bytes: 5}, Later: gc.Sum{Count: 1, Bytes: 5}}
	for range 2 {
		sum, told := e.sweep(dry)
		if sum != wantSum || !slices.Equal(told, want) {
			t.Fatalf("dry run: got %+v, %q, want %+v, %q", sum, told, wantSum, want)
		}
	}
	if sum, told := e.sweep(gc.SweepOptions{DryRun: true}); sum != (gc.Swept{Blobs: wantSum.Blobs}) {
		t.Errorf("without untagged manifests: got %+v, %q", sum, told)
	}
	e.want(2)

	wantSum.Waiting = wantSum.Blobs // its object stays for the delay
	if sum, told := e.sweep(gc.SweepOptions{Untagged: true}); sum != wantSum || !slices.Equal(told, want) {
		t.Errorf("got %+v, %q, want %+v, %q", sum, told, wantSum, want)
	}
	if _, err := e.core.Manifest(t.Context(), e.repo, oci.Ref{Digest: m}); oci.CodeOf(err) != oci.ManifestUnknown {
		t.Errorf("the manifest: %v, want %s", err, oci.ManifestUnknown)
	}
	e.running += delay
	if sum, _ := e.sweep(gc.SweepOptions{}); sum != (gc.Swept{Objects: 1, Freed: 5}) {
		t.Errorf("after the delay: got %+v", sum)
	}
	e.running += grace
	if sum, told := e.sweep(gc.SweepOptions{}); sum.Blobs != wantSum.Later {
		t.Errorf("after the grace: got %+v, %q", sum, told)
	}
	e.running += delay
	e.sweep(gc.SweepOptions{})
	e.want(0)
}

// TestSweepUploads names uploads that nobody goes on with, and says why.
func TestSweepUploads(t *testing.T) {
	e := newEnv(t)
	e.upload("given up")
	e.running += idle
	e.upload("going on")
	want := []string{"upload a "}
	wantSum := gc.Sum{Count: 1, Bytes: 8}
	if sum, told := e.sweep(gc.SweepOptions{DryRun: true}); sum.Uploads != wantSum || !slices.Equal(told, want) {
		t.Errorf("dry run: got %+v, %q", sum, told)
	}
	sum, told := e.sweep(gc.SweepOptions{})
	if sum.Uploads != wantSum || sum.Objects != 1 || !slices.Equal(told, want) {
		t.Errorf("got %+v, %q", sum, told)
	}
	e.want(1)
}

// TestSweepHurry holds that a grace of 0 is for untagged manifests, too, and that
// what they needed follows at the next time.
func TestSweepHurry(t *testing.T) {
	e := newEnv(t)
	e.put(e.push("layer"))
	s := &gc.Sweeper{Collector: e.gc, Records: e.db, Now: time.Now}
	o := gc.SweepOptions{Untagged: true, Tell: func(i gc.Item) error {
		if i.Why == "" {
			t.Errorf("%+v without a reason", i)
		}
		return nil
	}}
	if sum, err := s.Sweep(t.Context(), o); err != nil || sum.Manifests.Count != 1 || sum.Blobs.Count != 1 || sum.Objects != 1 {
		t.Errorf("got %+v, %v", sum, err)
	}
	e.want(0)
}

// TestSweepShared holds that bytes which several repositories have count once,
// and only if all of them let go.
func TestSweepShared(t *testing.T) {
	e := newEnv(t)
	other, err := oci.ParseRepo("b")
	if err != nil {
		t.Fatal(err)
	}
	both, one := e.push("both let go"), e.push("one keeps it")
	for _, d := range []oci.Digest{both, one} {
		if err := e.db.LinkBlob(t.Context(), e.repo, other, d, event.Actor{}); err != nil {
			t.Fatal(err)
		}
	}
	m := oci.Manifest{MediaType: "application/x.test", Body: []byte("{}"), Blobs: []oci.Descriptor{{Digest: one, Size: oci.UnknownSize}}}
	if _, err := e.core.PutManifest(t.Context(), registry.Put{Repo: other, Manifest: m}); err != nil {
		t.Fatal(err)
	}
	e.running += grace
	want := gc.Sum{Count: 3, Bytes: int64(len("both let go"))}
	if sum, _ := e.sweep(gc.SweepOptions{DryRun: true}); sum.Blobs != want {
		t.Errorf("got %+v, want %+v", sum.Blobs, want)
	}
}

// TestSweepStops holds that an operator who has gone ends it.
func TestSweepStops(t *testing.T) {
	e := newEnv(t)
	e.push("loose")
	e.running += grace
	gone := errors.New("gone")
	s := &gc.Sweeper{Collector: e.gc, Records: e.db, Now: time.Now}
	if _, err := s.Sweep(t.Context(), gc.SweepOptions{Grace: grace, Tell: func(gc.Item) error { return gone }}); !errors.Is(err, gone) {
		t.Errorf("got %v, want %v", err, gone)
	}
	if _, ended, err := e.db.CollectBlobs(t.Context(), grace, 10); err != nil || ended != 1 {
		t.Errorf("the blob was collected: %d, %v", ended, err)
	}
}
