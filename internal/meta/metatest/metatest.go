// Package metatest holds what every implementation of the interfaces in package
// meta must do, as tests. It knows nothing of how one is made.
//
// An implementation's own test is a few lines:
//
//	metatest.Run(t, func(t *testing.T, e metatest.Env) metatest.DB { … })
package metatest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"berth/internal/blob"
	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

// An Env is what an implementation is opened with.
type Env struct {
	Dir   string        // an existing folder; opening the same one again gives the same records
	Grace time.Duration // before what nothing refers to may be collected
	Delay time.Duration // before a key that nothing names may be deleted
	Trash time.Duration // how long what is deleted can be had back; 0: not at all

	Immutable func(oci.Repo, oci.Tag) bool // tags that can neither be moved nor removed

	Now     func() time.Time     // the wall clock, which may jump
	Running func() time.Duration // the monotonic clock of the process
}

// A DB is everything that the tests need.
type DB interface {
	meta.Uploads
	meta.Blobs
	meta.Manifests
	meta.History
	meta.Listings
	meta.Inventory
	meta.Garbage
	meta.Pruning
	meta.Trash
	meta.Discarder
	meta.Outbox
	meta.EventNotes
	meta.Uses
	meta.Retaining
	meta.Adoption
	meta.Shadow
	meta.Finish
	meta.Usage

	// SaveClock makes the ticks so far survive the end of the process.
	SaveClock(ctx context.Context) error

	// Check returns an error if the records contradict each other.
	Check(ctx context.Context) error

	Close() error
}

// An Opener opens the implementation. It fails the test if it cannot.
type Opener func(t *testing.T, e Env) DB

// Run runs all tests, each on a database of its own.
func Run(t *testing.T, open Opener) {
	for _, group := range []struct {
		name  string
		tests []test
	}{
		{"Uploads", uploadTests()},
		{"Blobs", blobTests()},
		{"Manifests", manifestTests()},
		{"Put", putTests()},
		{"History", historyTests()},
		{"Immutable", immutableTests()},
		{"Lists", listTests()},
		{"Garbage", garbageTests()},
		{"Prune", pruneTests()},
		{"Usage", usageTests()},
		{"Uses", useTests()},
		{"Trash", trashTests()},
		{"TrashRepo", trashRepoTests()},
		{"Events", eventTests()},
		{"Take", takeTests()},
		{"Shadow", shadowTests()},
		{"Clock", clockTests()},
		{"Races", raceTests()},
	} {
		t.Run(group.name, func(t *testing.T) {
			for _, tt := range group.tests {
				t.Run(tt.name, func(t *testing.T) { tt.run(newFixture(t, open, tt)) })
			}
		})
	}
}

// A test is one of them.
type test struct {
	name string
	run  func(*fixture)

	// zero makes grace and delay zero; otherwise they are an hour and a minute.
	zero bool

	// trash keeps what is deleted for keep; otherwise it is gone at once.
	trash bool
}

// The grace and delay of tests that don't ask for none.
const (
	grace = time.Hour
	delay = time.Minute
	keep  = 24 * time.Hour // of tests with a trash
)

// A fixture is an open database with clocks that the test sets, and shorthands
// that fail the test.
type fixture struct {
	*testing.T
	DB
	ctx  context.Context // the test's: it lives exactly as long as this
	env  Env
	open Opener

	running atomic.Int64 // nanoseconds
	jump    atomic.Int64 // of the wall clock, nanoseconds
	serial  atomic.Int64
}

func newFixture(t *testing.T, open Opener, tt test) *fixture {
	t.Helper()
	f := &fixture{T: t, ctx: t.Context(), open: open}
	f.env = Env{
		Dir: t.TempDir(), Grace: grace, Delay: delay,
		Immutable: func(repo oci.Repo, tag oci.Tag) bool {
			return strings.HasPrefix(repo.String(), "fixed") && strings.HasPrefix(tag.String(), "v")
		},
		Now: func() time.Time {
			return time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC).Add(time.Duration(f.running.Load() + f.jump.Load()))
		},
		Running: func() time.Duration { return time.Duration(f.running.Load()) },
	}
	if tt.zero {
		f.env.Grace, f.env.Delay = 0, 0
	}
	if tt.trash {
		f.env.Trash = keep
	}
	f.DB = open(t, f.env)
	t.Cleanup(func() {
		if err := f.Check(context.Background()); err != nil {
			t.Errorf("check: %v", err)
		}
		if err := f.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return f
}

// pass lets time go by.
func (f *fixture) pass(d time.Duration) { f.running.Add(int64(d)) }

// reopen closes the database and opens it again, as another process with the
// grace and delay of f.env.
func (f *fixture) reopen() {
	f.Helper()
	f.ok(f.Close())
	f.running.Store(0)
	f.DB = f.open(f.T, f.env)
}

// ok fails the test if there is an error.
func (f *fixture) ok(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// is fails the test if err is not of kind want.
func (f *fixture) is(err, want error) {
	f.Helper()
	if !errors.Is(err, want) {
		f.Fatalf("got error %v, want %v", err, want)
	}
}

// equal fails the test if two values print differently.
func (f *fixture) equal(what string, got, want any) {
	f.Helper()
	if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); g != w {
		f.Errorf("%s: got %s, want %s", what, g, w)
	}
}

func (f *fixture) repo(s string) oci.Repo {
	f.Helper()
	r, err := oci.ParseRepo(s)
	f.ok(err)
	return r
}

func (f *fixture) tag(s string) oci.Tag {
	f.Helper()
	t, err := oci.ParseTag(s)
	f.ok(err)
	return t
}

func (f *fixture) tags(names ...string) []oci.Tag {
	f.Helper()
	var list []oci.Tag
	for _, s := range names {
		list = append(list, f.tag(s))
	}
	return list
}

// digestOf is the digest of a blob whose content is s.
func digestOf(s string) oci.Digest { return oci.SHA256.FromBytes([]byte(s)) }

// upload makes a new upload of repo.
func (f *fixture) upload(repo oci.Repo) meta.Upload {
	f.Helper()
	u := meta.Upload{
		ID: meta.UploadID(fmt.Sprintf("u%d-%s", f.serial.Add(1), repo)), Repo: repo, By: "alice", Key: blob.NewKey(),
		Algorithm: oci.SHA256, Started: f.env.Now(),
	}
	f.ok(f.CreateUpload(f.ctx, u))
	return u
}

// push uploads the content s to repo, and returns its record.
func (f *fixture) push(repo oci.Repo, s string) meta.Blob {
	f.Helper()
	u := f.upload(repo)
	b, err := f.CommitUpload(f.ctx, u, meta.Blob{Digest: digestOf(s), Key: u.Key, Size: int64(len(s))}, event.Actor{})
	f.ok(err)
	return b
}

// A shape is what a manifest is made from.
type shape struct {
	parts    []string         // contents of blobs: the config and the layers
	sizes    map[string]int64 // of parts, when it is not their length
	children []oci.Manifest   // makes it an index
	subject  *oci.Manifest
	kind     string // artifact type
	note     string // an annotation, to make it different from others
}

// manifest builds the manifest of shape s.
func (f *fixture) manifest(s shape) oci.Manifest {
	f.Helper()
	type descriptor map[string]any
	describe := func(m oci.Manifest) descriptor {
		return descriptor{"mediaType": m.MediaType, "digest": digest(m), "size": len(m.Body)}
	}
	body := map[string]any{"schemaVersion": 2, "mediaType": oci.MediaTypeImage, "annotations": map[string]string{"note": s.note}}
	var list []descriptor
	for _, p := range s.parts {
		size, ok := s.sizes[p]
		if !ok {
			size = int64(len(p))
		}
		list = append(list, descriptor{"mediaType": "application/octet-stream", "digest": digestOf(p), "size": size})
	}
	switch {
	case s.children != nil:
		for _, c := range s.children {
			list = append(list, describe(c))
		}
		body["mediaType"], body["manifests"] = oci.MediaTypeIndex, list
	case len(list) > 0:
		body["config"], body["layers"] = list[0], list[1:]
	}
	if s.subject != nil {
		body["subject"] = describe(*s.subject)
	}
	if s.kind != "" {
		body["artifactType"] = s.kind
	}
	b, err := json.Marshal(body)
	f.ok(err)
	m, err := oci.ParseManifest("", b)
	f.ok(err)
	return m
}

// digest is the digest of a manifest.
func digest(m oci.Manifest) oci.Digest { return oci.SHA256.FromBytes(m.Body) }

// put stores m in repo under tags.
func (f *fixture) put(repo oci.Repo, m oci.Manifest, tags ...string) meta.ManifestResult {
	f.Helper()
	res, err := f.tryPut(repo, m, tags...)
	f.ok(err)
	return res
}

func (f *fixture) tryPut(repo oci.Repo, m oci.Manifest, tags ...string) (meta.ManifestResult, error) {
	f.Helper()
	return f.PutManifest(f.ctx, meta.ManifestPut{Repo: repo, Digest: digest(m), Manifest: m, Tags: f.tags(tags...), By: event.Actor{Name: "alice"}})
}

// has reports whether blob s is a member of repo.
func (f *fixture) has(repo oci.Repo, s string) bool {
	f.Helper()
	_, err := f.FindBlob(f.ctx, repo, digestOf(s))
	if err != nil && !errors.Is(err, meta.ErrNotFound) {
		f.Fatal(err)
	}
	return err == nil
}

// hasManifest reports whether m is in repo.
func (f *fixture) hasManifest(repo oci.Repo, ref string) bool {
	f.Helper()
	r, err := oci.ParseRef(ref)
	f.ok(err)
	_, err = f.FindManifest(f.ctx, repo, r)
	if err != nil && !errors.Is(err, meta.ErrNotFound) {
		f.Fatal(err)
	}
	return err == nil
}

// condemned returns the garbage keys that are due.
func (f *fixture) condemned() []blob.Key {
	f.Helper()
	keys, err := f.Condemned(f.ctx, 0, 1000)
	f.ok(err)
	return keys
}

// collect collects everything that is due and returns how many memberships it
// ended.
func (f *fixture) collect() int {
	f.Helper()
	total := 0
	for {
		looked, ended, err := f.CollectBlobs(f.ctx, f.env.Grace, 3)
		f.ok(err)
		total += ended
		if looked < 3 {
			return total
		}
	}
}
