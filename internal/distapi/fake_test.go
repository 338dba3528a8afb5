package distapi

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"berth/internal/meta"
	"berth/internal/oci"
	"berth/internal/registry"
)

// A fake is a registry in memory. It knows no concurrency beyond a lock, no
// garbage and no disk, so that tests of the API are tests of the API.
type fake struct {
	mu      sync.Mutex
	repos   map[oci.Repo]*fakeRepo
	uploads map[meta.UploadID]*fakeUpload
	started int                   // uploads
	fail    func(op string) error // what an operation returns instead
}

type fakeRepo struct {
	blobs     map[oci.Digest][]byte
	manifests map[oci.Digest]oci.Manifest
	tags      map[string]oci.Digest
}

func newFake() *fake {
	return &fake{repos: map[oci.Repo]*fakeRepo{}, uploads: map[meta.UploadID]*fakeUpload{}}
}

// repo returns the repository, which is made by the first push to it.
func (f *fake) repo(name oci.Repo) *fakeRepo {
	r, ok := f.repos[name]
	if !ok {
		r = &fakeRepo{map[oci.Digest][]byte{}, map[oci.Digest]oci.Manifest{}, map[string]oci.Digest{}}
		f.repos[name] = r
	}
	return r
}

// A fakeUser is a fake as one user sees it.
type fakeUser struct {
	*fake
	name string
}

var _ registry.Service = fakeUser{}

// begin locks f and returns how to unlock it and what op is to return instead.
func (f *fake) begin(op string) (end func(), err error) {
	f.mu.Lock()
	if f.fail != nil {
		err = f.fail(op)
	}
	return f.mu.Unlock, err
}

func unknown(code oci.Code, what any) error {
	return &oci.Error{Code: code, Message: fmt.Sprintf("there is no %v", what)}
}

type memory struct{ *bytes.Reader }

func (memory) Close() error { return nil }

func (f fakeUser) Blob(_ context.Context, repo oci.Repo, d oci.Digest) (*registry.Blob, error) {
	end, err := f.begin("blob")
	defer end()
	if err != nil {
		return nil, err
	}
	if r, ok := f.repos[repo]; ok {
		if b, ok := r.blobs[d]; ok {
			return &registry.Blob{Reader: memory{bytes.NewReader(b)}, Digest: d}, nil
		}
	}
	return nil, unknown(oci.BlobUnknown, d)
}

func (f fakeUser) Manifest(_ context.Context, repo oci.Repo, ref oci.Ref) (meta.Manifest, error) {
	end, err := f.begin("manifest")
	defer end()
	if err != nil {
		return meta.Manifest{}, err
	}
	r, ok := f.repos[repo]
	if !ok {
		return meta.Manifest{}, unknown(oci.NameUnknown, repo)
	}
	d := ref.Digest
	if d.IsZero() {
		d = r.tags[ref.Tag.String()]
	}
	m, ok := r.manifests[d]
	if !ok {
		return meta.Manifest{}, unknown(oci.ManifestUnknown, ref)
	}
	return meta.Manifest{Digest: d, MediaType: m.MediaType, Body: m.Body}, nil
}

func (f fakeUser) BlobSize(ctx context.Context, repo oci.Repo, d oci.Digest) (int64, error) {
	b, err := f.Blob(ctx, repo, d)
	if err != nil {
		return 0, err
	}
	return b.Size(), b.Close()
}

func (f fakeUser) MountBlob(_ context.Context, m registry.Mount) error {
	end, err := f.begin("mount")
	defer end()
	if err != nil {
		return err
	}
	for name, r := range f.repos {
		b, ok := r.blobs[m.Digest]
		if ok && (m.From.IsZero() || m.From == name) && (m.Readable == nil || m.Readable(name)) {
			f.repo(m.To).blobs[m.Digest] = b
			return nil
		}
	}
	return unknown(oci.BlobUnknown, m.Digest)
}

func (f fakeUser) StartUpload(_ context.Context, repo oci.Repo, a oci.Algorithm) (registry.Upload, error) {
	end, err := f.begin("start")
	defer end()
	if err != nil {
		return nil, err
	}
	f.started++
	u := &fakeUpload{f: f, repo: repo, id: meta.UploadID(fmt.Sprintf("upload-%d", f.started)), algorithm: a}
	f.uploads[u.id] = u
	return u, nil
}

func (f fakeUser) ResumeUpload(_ context.Context, repo oci.Repo, id meta.UploadID) (registry.Upload, error) {
	end, err := f.begin("resume")
	defer end()
	if err != nil {
		return nil, err
	}
	u, ok := f.uploads[id]
	if !ok || u.repo != repo || u.f.name != f.name {
		return nil, unknown(oci.BlobUploadUnknown, id)
	}
	return u, nil
}

func (f fakeUser) PutManifest(_ context.Context, p registry.Put) (registry.PutResult, error) {
	end, err := f.begin("put")
	defer end()
	if err != nil {
		return registry.PutResult{}, err
	}
	d := p.Digest
	if d.IsZero() {
		d = oci.SHA256.FromBytes(p.Manifest.Body)
	}
	if d.Algorithm().FromBytes(p.Manifest.Body) != d {
		return registry.PutResult{}, &oci.Error{Code: oci.DigestInvalid, Message: "the manifest has another digest"}
	}
	r := f.repo(p.Repo)
	res := registry.PutResult{Digest: d}
	for _, b := range p.Manifest.Blobs {
		if _, ok := r.blobs[b.Digest]; !ok {
			res.Dangling = append(res.Dangling, b.Digest)
		}
	}
	r.manifests[d] = p.Manifest
	for _, t := range p.Tags {
		r.tags[t.String()] = d
	}
	return res, nil
}

func (f fakeUser) DeleteBlob(_ context.Context, repo oci.Repo, d oci.Digest) error {
	end, err := f.begin("delete")
	defer end()
	if err != nil {
		return err
	}
	r, ok := f.repos[repo]
	if !ok || r.blobs[d] == nil {
		return unknown(oci.BlobUnknown, d)
	}
	for _, m := range r.manifests {
		if slices.ContainsFunc(m.Blobs, func(b oci.Descriptor) bool { return b.Digest == d }) {
			return &oci.Error{Code: oci.Unsupported, Message: "a manifest needs it"}
		}
	}
	delete(r.blobs, d)
	return nil
}

func (f fakeUser) DeleteManifest(_ context.Context, repo oci.Repo, d oci.Digest) error {
	end, err := f.begin("delete")
	defer end()
	if err != nil {
		return err
	}
	r, ok := f.repos[repo]
	if !ok {
		return unknown(oci.NameUnknown, repo)
	}
	if _, ok := r.manifests[d]; !ok {
		return unknown(oci.ManifestUnknown, d)
	}
	delete(r.manifests, d)
	maps.DeleteFunc(r.tags, func(_ string, to oci.Digest) bool { return to == d })
	return nil
}

func (f fakeUser) DeleteTag(_ context.Context, repo oci.Repo, tag oci.Tag) error {
	end, err := f.begin("delete")
	defer end()
	if err != nil {
		return err
	}
	r, ok := f.repos[repo]
	if !ok {
		return unknown(oci.NameUnknown, repo)
	}
	if _, ok := r.tags[tag.String()]; !ok {
		return unknown(oci.ManifestUnknown, tag)
	}
	delete(r.tags, tag.String())
	return nil
}

func (f fakeUser) DeleteRepo(_ context.Context, repo oci.Repo) (int64, error) {
	end, err := f.begin("delete")
	defer end()
	if err != nil {
		return 0, err
	}
	if _, ok := f.repos[repo]; !ok {
		return 0, unknown(oci.NameUnknown, repo)
	}
	delete(f.repos, repo)
	return 1, nil
}

// page cuts sorted names to what p asks for and makes items of them.
func page[T any](names []string, p registry.Page, item func(string) T) registry.List[T] {
	var list registry.List[T]
	slices.Sort(names)
	last := ""
	for _, s := range names {
		if s <= p.After {
			continue
		}
		if len(list.Items) == p.Limit {
			list.Next = last
			break
		}
		list.Items = append(list.Items, item(s))
		last = s
	}
	return list
}

func (f fakeUser) Repos(_ context.Context, p registry.Page, readable func(oci.Repo) bool) (registry.List[oci.Repo], error) {
	end, err := f.begin("repos")
	defer end()
	if err != nil {
		return registry.List[oci.Repo]{}, err
	}
	var names []string
	for r, has := range f.repos {
		if len(has.manifests) > 0 && (readable == nil || readable(r)) {
			names = append(names, r.String())
		}
	}
	return page(names, p, mustRepo), nil
}

func (f fakeUser) Tags(_ context.Context, repo oci.Repo, p registry.Page) (registry.List[oci.Tag], error) {
	end, err := f.begin("tags")
	defer end()
	if err != nil {
		return registry.List[oci.Tag]{}, err
	}
	r, ok := f.repos[repo]
	if !ok {
		return registry.List[oci.Tag]{}, unknown(oci.NameUnknown, repo)
	}
	return page(slices.Collect(maps.Keys(r.tags)), p, mustTag), nil
}

func (f fakeUser) Referrers(_ context.Context, repo oci.Repo, subject oci.Digest, artifactType string, p registry.Page) (registry.List[oci.Entry], error) {
	end, err := f.begin("referrers")
	defer end()
	if err != nil {
		return registry.List[oci.Entry]{}, err
	}
	found := map[string]oci.Entry{}
	if r, ok := f.repos[repo]; ok {
		for d, m := range r.manifests {
			if m.Subject != nil && m.Subject.Digest == subject && (artifactType == "" || m.ArtifactType == artifactType) {
				found[d.String()], err = m.Descriptor(d).Entry()
				if err != nil {
					return registry.List[oci.Entry]{}, err
				}
			}
		}
	}
	list := page(slices.Collect(maps.Keys(found)), p, func(s string) oci.Entry { return found[s] })
	size := 0
	for i, e := range list.Items {
		if size += len(e.JSON) + 1; size > p.Bytes && i > 0 {
			return registry.List[oci.Entry]{Items: list.Items[:i], Next: list.Items[i-1].Digest.String()}, nil
		}
	}
	return list, nil
}

// A fakeUpload is an upload session of a fake.
type fakeUpload struct {
	f         fakeUser
	repo      oci.Repo
	id        meta.UploadID
	algorithm oci.Algorithm
	data      []byte
}

func (u *fakeUpload) ID() meta.UploadID { return u.id }
func (u *fakeUpload) Size() int64       { return int64(len(u.data)) }

func (u *fakeUpload) Append(_ context.Context, offset int64, r io.Reader) error {
	end, err := u.f.begin("append")
	end()
	if err != nil {
		return err
	}
	if offset != registry.Anywhere && offset != u.Size() {
		return &registry.RangeError{ID: u.id, Size: u.Size()}
	}
	b, err := io.ReadAll(r)
	u.data = append(u.data, b...)
	return err
}

func (u *fakeUpload) Commit(_ context.Context, d oci.Digest) error {
	end, err := u.f.begin("commit")
	defer end()
	if err != nil {
		return err
	}
	delete(u.f.uploads, u.id)
	if d.Algorithm().FromBytes(u.data) != d {
		return &oci.Error{Code: oci.DigestInvalid, Message: "the blob has another digest"}
	}
	u.f.repo(u.repo).blobs[d] = u.data
	return nil
}

func (u *fakeUpload) Finish(ctx context.Context, offset int64, r io.Reader, d oci.Digest) error {
	if err := u.Append(ctx, offset, r); err != nil {
		return err
	}
	return u.Commit(ctx, d)
}

func (u *fakeUpload) Cancel(context.Context) error {
	end, err := u.f.begin("cancel")
	defer end()
	delete(u.f.uploads, u.id)
	return err
}

func mustRepo(s string) oci.Repo { return must(oci.ParseRepo(s)) }
func mustTag(s string) oci.Tag   { return must(oci.ParseTag(s)) }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// longList returns n names in byte order.
func longList(prefix string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("%s%06d", prefix, i)
	}
	return list
}

// quote joins list as the items of a JSON array.
func quoteAll(list []string) string { return `"` + strings.Join(list, `","`) + `"` }
