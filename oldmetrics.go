package berth

import (
	"context"
	"time"

	"berth/internal/blob"
	"berth/internal/blob/fsblob"
	"berth/internal/distapi/route"
	"berth/internal/oci"
)

// oldHandlers says what registry:2 calls the handler of each kind of request in
// its metrics. What it doesn't have, referrers and tokens, has no name.
func oldHandlers() map[string]string {
	names := map[string]string{}
	for kind, name := range map[route.Kind]string{
		route.Ping:           "base",
		route.Catalog:        "catalog",
		route.Tags:           "tags",
		route.ManifestGet:    "manifest",
		route.ManifestPut:    "manifest",
		route.ManifestDelete: "manifest",
		route.BlobGet:        "blob",
		route.BlobDelete:     "blob",
		route.UploadStart:    "blob_upload",
		route.UploadStatus:   "blob_upload_chunk",
		route.UploadAppend:   "blob_upload_chunk",
		route.UploadFinish:   "blob_upload_chunk",
		route.UploadCancel:   "blob_upload_chunk",
	} {
		names[kind.String()] = name
	}
	return names
}

// A timedStore is the store with a clock: registry:2 tells how long its storage
// takes, by names of its own. It looks at a file before it reads it, and moves it
// to its place when it is whole. What it writes into and reads from small files
// besides, Berth has in the database.
type timedStore struct {
	*fsblob.Remembering
	stat, move, remove func(time.Duration)
}

// openStorageTimes makes the clock, and the memory that pulls have.
func (s *Server) openStorageTimes() (blob.Store, error) {
	actions, err := s.metrics.Actions("registry_storage_action_seconds", "Time that the storage took, by registry:2's name of what it did.",
		"driver", "action")
	if err != nil {
		return nil, err
	}
	action := func(name string) func(time.Duration) { return actions("filesystem", name) }
	return &timedStore{Remembering: s.blobs.Remember(int64(s.cfg.Cache.Memory) / 2), stat: action("Stat"), move: action("Move"), remove: action("Delete")}, nil
}

// Open implements blob.Store.
func (t *timedStore) Open(ctx context.Context, key blob.Key) (blob.Reader, error) {
	defer took(time.Now(), t.stat)
	return t.Remembering.Open(ctx, key)
}

// Look implements blob.Looker.
func (t *timedStore) Look(ctx context.Context, key blob.Key) (int64, error) {
	defer took(time.Now(), t.stat)
	return t.Remembering.Look(ctx, key)
}

// Delete implements blob.Store.
func (t *timedStore) Delete(ctx context.Context, key blob.Key) error {
	defer took(time.Now(), t.remove)
	return t.Remembering.Delete(ctx, key)
}

// Create implements blob.Store.
func (t *timedStore) Create(ctx context.Context, key blob.Key) (blob.Writer, error) {
	return t.timed(t.Remembering.Create(ctx, key))
}

// Resume implements blob.Store.
func (t *timedStore) Resume(ctx context.Context, key blob.Key, size int64, state []byte) (blob.Writer, error) {
	return t.timed(t.Remembering.Resume(ctx, key, size, state))
}

func (t *timedStore) timed(w blob.Writer, err error) (blob.Writer, error) {
	if err != nil {
		return nil, err
	}
	return &timedWriter{w, t.move}, nil
}

// A timedWriter times when an object is finished.
type timedWriter struct {
	blob.Writer
	move func(time.Duration)
}

// Commit implements blob.Writer.
func (w *timedWriter) Commit(ctx context.Context, d oci.Digest) (blob.Key, error) {
	defer took(time.Now(), w.move)
	return w.Writer.Commit(ctx, d)
}

func took(begin time.Time, note func(time.Duration)) { note(time.Since(begin)) }

var _ blob.Recoverer = (*timedStore)(nil)
