package model_test

import (
	"context"
	"errors"
	"sync"
	"time"

	"berth/internal/blob"
	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/meta/sqlmeta"
	"berth/internal/oci"
)

var (
	errInjected = errors.New("injected fault")
	errDead     = errors.New("the process has ended")
)

// faults decide the fate of every call that a registry makes to its store and
// its records. One fault is planned at a time: the call that it comes at is done
// or not, and fails. If it is a crash, no call after it is done any more.
type faults struct {
	mu        sync.Mutex
	countdown int // calls until the planned fault; 0 means none is planned
	apply     bool
	crash     bool
	err       error

	fired bool // since plan
	dead  bool // until the next process
}

// plan plans a fault for the n-th call from now; 0 plans none.
func (f *faults) plan(n int, apply, crash bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.countdown, f.apply, f.crash, f.err, f.fired = n, apply, crash, err, false
}

func (f *faults) next() (apply bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dead {
		return false, errDead
	}
	if f.countdown == 0 {
		return true, nil
	}
	if f.countdown--; f.countdown > 0 {
		return true, nil
	}
	f.fired, f.dead = true, f.crash
	return f.apply, f.err
}

// inject is next for blobtest.Faulty.
func (f *faults) inject(string, int) (bool, error) { return f.next() }

// records are the records of a registry with faults put in.
type records struct {
	*sqlmeta.DB
	f *faults
}

func (r *records) do(call func() error) error {
	apply, err := r.f.next()
	if apply {
		if rerr := call(); err == nil {
			err = rerr
		}
	}
	return err
}

// get makes a call that returns something.
func get[T any](r *records, call func() (T, error)) (T, error) {
	var got, none T
	err := r.do(func() (err error) { got, err = call(); return err })
	if err != nil {
		return none, err
	}
	return got, nil
}

func (r *records) CreateUpload(ctx context.Context, u meta.Upload) error {
	return r.do(func() error { return r.DB.CreateUpload(ctx, u) })
}

func (r *records) FindUpload(ctx context.Context, repo oci.Repo, id meta.UploadID) (meta.Upload, error) {
	return get(r, func() (meta.Upload, error) { return r.DB.FindUpload(ctx, repo, id) })
}

func (r *records) SaveUpload(ctx context.Context, u meta.Upload) error {
	return r.do(func() error { return r.DB.SaveUpload(ctx, u) })
}

func (r *records) CommitUpload(ctx context.Context, u meta.Upload, b meta.Blob, by event.Actor) (meta.Blob, error) {
	return get(r, func() (meta.Blob, error) { return r.DB.CommitUpload(ctx, u, b, by) })
}

func (r *records) DropUpload(ctx context.Context, u meta.Upload) error {
	return r.do(func() error { return r.DB.DropUpload(ctx, u) })
}

func (r *records) FindBlob(ctx context.Context, repo oci.Repo, d oci.Digest) (meta.Blob, error) {
	return get(r, func() (meta.Blob, error) { return r.DB.FindBlob(ctx, repo, d) })
}

func (r *records) FindContent(ctx context.Context, d oci.Digest) (meta.Blob, error) {
	return get(r, func() (meta.Blob, error) { return r.DB.FindContent(ctx, d) })
}

func (r *records) LinkBlob(ctx context.Context, from, to oci.Repo, d oci.Digest, by event.Actor) error {
	return r.do(func() error { return r.DB.LinkBlob(ctx, from, to, d, by) })
}

func (r *records) UnlinkBlob(ctx context.Context, repo oci.Repo, d oci.Digest, by event.Actor) error {
	return r.do(func() error { return r.DB.UnlinkBlob(ctx, repo, d, by) })
}

func (r *records) TouchBlob(ctx context.Context, repo oci.Repo, d oci.Digest) error {
	return r.do(func() error { return r.DB.TouchBlob(ctx, repo, d) })
}

func (r *records) MarkDamaged(ctx context.Context, d oci.Digest, key blob.Key) error {
	return r.do(func() error { return r.DB.MarkDamaged(ctx, d, key) })
}

func (r *records) PutManifest(ctx context.Context, p meta.ManifestPut) (meta.ManifestResult, error) {
	return get(r, func() (meta.ManifestResult, error) { return r.DB.PutManifest(ctx, p) })
}

func (r *records) FindManifest(ctx context.Context, repo oci.Repo, ref oci.Ref) (meta.Manifest, error) {
	return get(r, func() (meta.Manifest, error) { return r.DB.FindManifest(ctx, repo, ref) })
}

func (r *records) DeleteManifest(ctx context.Context, repo oci.Repo, d oci.Digest, by event.Actor) error {
	return r.do(func() error { return r.DB.DeleteManifest(ctx, repo, d, by) })
}

func (r *records) DeleteTag(ctx context.Context, repo oci.Repo, tag oci.Tag, by event.Actor) error {
	return r.do(func() error { return r.DB.DeleteTag(ctx, repo, tag, by) })
}

func (r *records) SetTag(ctx context.Context, p meta.TagSet) (meta.TagMove, error) {
	return get(r, func() (meta.TagMove, error) { return r.DB.SetTag(ctx, p) })
}

func (r *records) TrimHistory(ctx context.Context, age time.Duration, limit int) (int, error) {
	return get(r, func() (int, error) { return r.DB.TrimHistory(ctx, age, limit) })
}

func (r *records) Discard(ctx context.Context, d meta.Discard) (meta.Discarded, error) {
	return get(r, func() (meta.Discarded, error) { return r.DB.Discard(ctx, d) })
}

func (r *records) DeleteRepo(ctx context.Context, repo oci.Repo, by event.Actor) (int64, error) {
	return get(r, func() (int64, error) { return r.DB.DeleteRepo(ctx, repo, by) })
}

func (r *records) Restore(ctx context.Context, p meta.Restore) (meta.Restored, error) {
	return get(r, func() (meta.Restored, error) { return r.DB.Restore(ctx, p) })
}

func (r *records) DropTrash(ctx context.Context, ids ...int64) error {
	return r.do(func() error { return r.DB.DropTrash(ctx, ids...) })
}

func (r *records) ExpireTrash(ctx context.Context, limit int) (int, error) {
	return get(r, func() (int, error) { return r.DB.ExpireTrash(ctx, limit) })
}

func (r *records) HasRepo(ctx context.Context, repo oci.Repo) (bool, error) {
	return get(r, func() (bool, error) { return r.DB.HasRepo(ctx, repo) })
}

func (r *records) ExpireUploads(ctx context.Context, idle time.Duration, limit int) (int, error) {
	return get(r, func() (int, error) { return r.DB.ExpireUploads(ctx, idle, limit) })
}

func (r *records) CollectBlobs(ctx context.Context, grace time.Duration, limit int) (looked, ended int, err error) {
	err = r.do(func() (err error) { looked, ended, err = r.DB.CollectBlobs(ctx, grace, limit); return err })
	if err != nil {
		return 0, 0, err
	}
	return looked, ended, nil
}

func (r *records) Condemned(ctx context.Context, ahead time.Duration, limit int) ([]blob.Key, error) {
	return get(r, func() ([]blob.Key, error) { return r.DB.Condemned(ctx, ahead, limit) })
}

func (r *records) Forget(ctx context.Context, keys []blob.Key) error {
	return r.do(func() error { return r.DB.Forget(ctx, keys) })
}

func (r *records) ForgetLosses(ctx context.Context, age time.Duration, limit int) (int, error) {
	return get(r, func() (int, error) { return r.DB.ForgetLosses(ctx, age, limit) })
}
