// Package usage reports what takes the space of a registry, and for whom: the
// figures behind `berth df` and the API.
//
// It reads records in pages and keeps no more of them than the answer holds. It
// knows neither who is asking nor how the figures are shown.
package usage

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"berth/internal/blob"
	"berth/internal/meta"
	"berth/internal/oci"
)

// IdleAfter is how long nobody must have gone on with an upload for its bytes to
// count as reclaimable.
const IdleAfter = time.Hour

// page is how many records are read at a time.
const page = 1000

// holders is how many repositories are named that have a layer.
const holders = 5

// A Meter finds out what takes the space.
type Meter struct {
	Records Records
	Objects blob.Inspector

	// Disk returns the space of the disks. It may leave out what it cannot find out.
	Disk func(context.Context) Disk

	// Retention returns what rules would let go of in repo, or in all repositories
	// if that is zero; nil if there are no rules.
	Retention func(ctx context.Context, repo oci.Repo) (*Retained, error)

	Now func() time.Time

	// Rest, if it is set, is called again and again while the whole registry is
	// measured, each time after a moment's work. It may wait; its error ends it all.
	Rest func(context.Context) error
}

// rest calls Rest.
func (m *Meter) rest(ctx context.Context) error {
	if m.Rest == nil {
		return nil
	}
	return m.Rest(ctx)
}

// Records are what a Meter reads.
type Records interface {
	meta.Usage
	meta.Blobs
	meta.Inventory
}

// An Amount is a number of things and what they take.
type Amount struct {
	Count int64 `json:"count"`
	Bytes int64 `json:"bytes"`
}

func (a *Amount) add(bytes int64) {
	a.Count++
	a.Bytes += bytes
}

// A Repository is what one repository takes.
type Repository struct {
	Name        string      `json:"name"`
	Tags        int64       `json:"tags"`
	Manifests   int64       `json:"manifests"`
	Blobs       int64       `json:"blobs"`
	Bytes       int64       `json:"bytes" doc:"of its blobs and manifests, the sum of unique and shared"`
	Unique      int64       `json:"unique" doc:"bytes that no other repository has"`
	Shared      int64       `json:"shared" doc:"bytes that other repositories have, too"`
	Reclaimable Reclaimable `json:"reclaimable"`
}

// Reclaimable are bytes that become free without anybody deleting anything more.
type Reclaimable struct {
	Waiting int64 `json:"waiting" doc:"bytes of blobs that no manifest needs and no other repository has; they go when gc.grace is over"`
	Trash   int64 `json:"trash" doc:"bytes that only the trash keeps; they go when trash.keep is over"`
	Uploads int64 `json:"uploads" doc:"bytes of uploads that nobody has gone on with for an hour; they go when uploads.expire is over"`
}

// Sum returns all of it.
func (r Reclaimable) Sum() int64 { return r.Waiting + r.Trash + r.Uploads }

// A Report is what the whole registry takes.
type Report struct {
	Measured     time.Time `json:"measured"`
	Repositories int64     `json:"repositories" doc:"that have a manifest or a blob"`
	Tags         int64     `json:"tags"`
	Manifests    Amount    `json:"manifests" doc:"their bytes are in the database"`
	Blobs        Amount    `json:"blobs" doc:"each counted once, however many repositories have it"`
	Waiting      Amount    `json:"waiting" doc:"of the blobs, those that no manifest needs; they go when gc.grace is over"`
	Trash        Amount    `json:"trash" doc:"of the blobs, those that only the trash has; they go when trash.keep is over"`
	Deleting     Amount    `json:"deleting" doc:"objects that are no longer any blob; their files go when gc.delay is over"`
	Quarantine   Amount    `json:"quarantine" doc:"what a check has found damaged and put aside; nobody but its operator deletes it"`
	Uploads      Amount    `json:"uploads" doc:"uploads that have begun and not ended"`
	Idle         Amount    `json:"idle" doc:"of the uploads, those that nobody has gone on with for an hour; they go when uploads.expire is over"`
	Retention    *Retained `json:"retention,omitempty" doc:"what the rules in force would let go of; missing without rules"`
	Disk         Disk      `json:"disk"`
	Layers       []Layer   `json:"layers" doc:"the largest blobs"`
}

// Reclaimable returns how many bytes become free without anybody deleting
// anything more.
func (r Report) Reclaimable() int64 {
	return r.Waiting.Bytes + r.Trash.Bytes + r.Deleting.Bytes + r.Idle.Bytes
}

// A Retained is what retention would let go of.
type Retained struct {
	Tags      int   `json:"tags"`
	Manifests int   `json:"manifests"`
	Bytes     int64 `json:"bytes" doc:"that come free once all that has left the trash"`
}

// A Disk tells of the file systems under the data directory and the database.
type Disk struct {
	Total    int64 `json:"total" doc:"bytes of the file system of the data directory"`
	Free     int64 `json:"free" doc:"bytes of it that are free"`
	Reserve  int64 `json:"reserve" doc:"storage.reserve: pushes are refused when fewer bytes are free"`
	Database int64 `json:"database" doc:"bytes of the database and its log"`
	Copies   int64 `json:"copies" doc:"bytes of the snapshots of the database"`
}

// A Layer is one blob.
type Layer struct {
	Digest       string   `json:"digest"`
	Bytes        int64    `json:"bytes"`
	Repositories int64    `json:"repositories" doc:"how many have it; of the layers of one repository, those beyond 1,000 are not counted"`
	Holders      []string `json:"holders" doc:"some of them"`
}

// Repository reports on one repository. The error wraps meta.ErrNotFound when
// there is none.
func (m *Meter) Repository(ctx context.Context, repo oci.Repo) (Repository, error) {
	idle, err := m.idle(ctx)
	if err != nil {
		return Repository{}, err
	}
	return m.repository(ctx, repo, idle)
}

func (m *Meter) repository(ctx context.Context, repo oci.Repo, idle map[oci.Repo]int64) (Repository, error) {
	u, err := m.Records.RepoUsage(ctx, repo)
	if err != nil {
		return Repository{}, err
	}
	return Repository{
		Name: repo.String(), Tags: u.Tags, Manifests: u.Manifests, Blobs: u.Blobs,
		Bytes: u.BlobBytes + u.ManifestBytes, Unique: u.UniqueBytes + u.ManifestBytes, Shared: u.BlobBytes - u.UniqueBytes,
		Reclaimable: Reclaimable{Waiting: u.WaitingBytes, Trash: u.TrashBytes, Uploads: idle[repo]},
	}, nil
}

// Repositories reports on at most limit repositories behind after, by name, of
// those that are visible. It looks at no more than a bounded number of names, so
// that there may be more behind next even if fewer were found; with an empty next
// there are none.
func (m *Meter) Repositories(ctx context.Context, after string, limit int, visible func(oci.Repo) bool) (list []Repository, next string, err error) {
	names, err := m.Records.Occupied(ctx, after, page)
	if err != nil {
		return nil, "", err
	}
	idle, err := m.idle(ctx)
	if err != nil {
		return nil, "", err
	}
	if len(names) == page {
		next = names[page-1].String()
	}
	for i, name := range names {
		if !visible(name) {
			continue
		}
		r, err := m.repository(ctx, name, idle)
		if err != nil {
			return nil, "", err
		}
		if list = append(list, r); len(list) == limit && i < len(names)-1 {
			return list, name.String(), nil
		}
	}
	return list, next, nil
}

// idle sums up the uploads that nobody has gone on with.
func (m *Meter) idle(ctx context.Context) (map[oci.Repo]int64, error) {
	idle := map[oci.Repo]int64{}
	return idle, m.eachUpload(ctx, func(u meta.UploadUsage) {
		if u.Idle >= IdleAfter {
			idle[u.Repo] += u.Size
		}
	})
}

func (m *Meter) eachUpload(ctx context.Context, do func(meta.UploadUsage)) error {
	for after := meta.UploadID(""); ; {
		list, err := m.Records.UploadUsages(ctx, after, page)
		for _, u := range list {
			do(u)
			after = u.ID
		}
		if err != nil || len(list) < page {
			return err
		}
	}
}

// Registry reports on the whole registry, with its largest layers.
func (m *Meter) Registry(ctx context.Context, layers int) (Report, error) {
	r := Report{Measured: m.Now().UTC().Truncate(time.Second), Layers: []Layer{}}
	for _, measure := range []func(context.Context, *Report, int) error{m.names, m.blobs, m.uploads, m.garbage, m.quarantine, m.retention} {
		if err := measure(ctx, &r, layers); err != nil {
			return Report{}, err
		}
	}
	r.Disk = m.Disk(ctx)
	return r, m.name(ctx, r.Layers)
}

func (m *Meter) names(ctx context.Context, r *Report, _ int) error {
	for after := ""; ; {
		names, err := m.Records.Occupied(ctx, after, page)
		for _, name := range names {
			u, err := m.Records.RepoCounts(ctx, name)
			if err != nil && !errors.Is(err, meta.ErrNotFound) {
				return err
			}
			r.Repositories++
			r.Tags += u.Tags
			r.Manifests.Count += u.Manifests
			r.Manifests.Bytes += u.ManifestBytes
			after = name.String()
			if err := m.rest(ctx); err != nil {
				return err
			}
		}
		if err != nil || len(names) < page {
			return err
		}
	}
}

func (m *Meter) blobs(ctx context.Context, r *Report, layers int) error {
	for after := ""; ; {
		list, err := m.Records.BlobUsages(ctx, after, page)
		for _, u := range list {
			after = u.Digest.String()
			r.Blobs.add(u.Size)
			switch u.Claim {
			case meta.Waiting:
				r.Waiting.add(u.Size)
			case meta.Trashed:
				r.Trash.add(u.Size)
			}
			r.Layers = largest(r.Layers, Layer{Digest: after, Bytes: u.Size, Repositories: int64(u.Repos)}, layers)
		}
		if err != nil || len(list) < page {
			return err
		}
		if err := m.rest(ctx); err != nil {
			return err
		}
	}
}

func (m *Meter) uploads(ctx context.Context, r *Report, _ int) error {
	return m.eachUpload(ctx, func(u meta.UploadUsage) {
		r.Uploads.add(u.Size)
		if u.Idle >= IdleAfter {
			r.Idle.add(u.Size)
		}
	})
}

// garbage asks the store how large the objects are that wait for their deletion:
// nothing else knows.
func (m *Meter) garbage(ctx context.Context, r *Report, _ int) error {
	for after := blob.Key(""); ; {
		list, err := m.Records.GarbageKeys(ctx, after, page)
		for _, g := range list {
			after = g.Key
			found, err := m.Objects.Inspect(ctx, g.Key)
			if err != nil {
				return err
			}
			if found.Shape == blob.File {
				r.Deleting.add(found.Size)
			}
			if err := m.rest(ctx); err != nil {
				return err
			}
		}
		if err != nil || len(list) < page {
			return err
		}
	}
}

func (m *Meter) quarantine(ctx context.Context, r *Report, _ int) error {
	for o, err := range m.Objects.Quarantined(ctx) {
		if err != nil {
			return err
		}
		r.Quarantine.add(o.Size)
	}
	return nil
}

func (m *Meter) retention(ctx context.Context, r *Report, _ int) (err error) {
	r.Retention, err = m.Retention(ctx, oci.Repo{})
	return err
}

// Layers returns the largest blobs of a repository.
func (m *Meter) Layers(ctx context.Context, repo oci.Repo, n int) ([]Layer, error) {
	list := []Layer{}
	for after := ""; ; {
		blobs, err := m.Records.RepoBlobs(ctx, repo, after, page)
		if err != nil {
			return nil, err
		}
		for _, b := range blobs {
			after = b.Digest.String()
			list = largest(list, Layer{Digest: after, Bytes: b.Size}, n)
		}
		if len(blobs) < page {
			return list, m.name(ctx, list)
		}
	}
}

// largest puts l into list, which holds the n largest so far, the largest first.
func largest(list []Layer, l Layer, n int) []Layer {
	bigger := func(a, b Layer) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Digest, b.Digest))
	}
	at, _ := slices.BinarySearchFunc(list, l, bigger)
	if at == n {
		return list
	}
	list = slices.Insert(list, at, l)
	return list[:min(len(list), n)]
}

// name finds out who has the layers of list.
func (m *Meter) name(ctx context.Context, list []Layer) error {
	for i := range list {
		l := &list[i]
		d, err := oci.ParseDigest(l.Digest)
		if err != nil {
			return err
		}
		repos, err := m.Records.Holders(ctx, d, page)
		if err != nil {
			return err
		}
		l.Holders = []string{}
		for _, repo := range repos[:min(len(repos), holders)] {
			l.Holders = append(l.Holders, repo.String())
		}
		l.Repositories = max(l.Repositories, int64(len(repos)))
	}
	return nil
}
