package tree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"berth/internal/blob"
	"berth/internal/meta"
	"berth/internal/oci"
)

// Data are registry:2's files of content.
type Data interface {
	// Data finds the file of d, else the error wraps fs.ErrNotExist.
	Data(ctx context.Context, d oci.Digest) (blob.Object, error)

	// Open opens what Data has found.
	Open(ctx context.Context, key blob.Key) (blob.Reader, error)
}

// maxManifest is the largest manifest that is read, in bytes. registry:2 accepts
// a fourth of it.
const maxManifest = 16 << 20

// A taker finds out what there is to take from one repository.
type taker struct {
	tree  *Tree
	data  Data
	count *counter
	repo  oci.Repo
	root  *os.Root
	was   map[meta.LinkName]meta.Link
	take  meta.RepoTake

	seen      map[meta.LinkName]bool
	layers    map[oci.Digest]entry // that have to be looked at
	tags      []entry              // the same
	linked    map[oci.Digest]bool  // layers that are there
	manifests map[oci.Digest]bool  // that are there
	sizes     map[oci.Digest]int64 // as the manifests say that are taken
}

// read fills take. root may be nil: the repository is gone.
func (k *taker) read(ctx context.Context) error {
	k.take.Repo = k.repo
	k.seen = map[meta.LinkName]bool{}
	k.layers, k.linked = map[oci.Digest]entry{}, map[oci.Digest]bool{}
	k.manifests, k.sizes = map[oci.Digest]bool{}, map[oci.Digest]int64{}
	if k.root != nil {
		var revisions []entry
		err := links(ctx, k.root, k.was, func(e entry) { k.sort(e, &revisions) })
		if err != nil {
			return err
		}
		for _, e := range revisions {
			if err := k.takeManifest(ctx, e); err != nil {
				return err
			}
		}
		for _, e := range k.tags {
			if err := k.takeTag(ctx, e); err != nil {
				return err
			}
		}
		for _, d := range slices.SortedFunc(maps.Keys(k.layers), compareDigests) {
			if err := k.takeLayer(ctx, d, k.layers[d]); err != nil {
				return err
			}
		}
		k.missing()
		k.countUploads(ctx)
	}
	k.takeLosses()
	return nil
}

func compareDigests(a, b oci.Digest) int { return strings.Compare(a.String(), b.String()) }

// problem lists what is wrong with a link.
func (k *taker) problem(l meta.LinkName, what string) {
	k.count.problem(Problem{Path: path.Join(k.repo.String(), linkPath(l)), What: what})
}

// sort puts a link where it belongs. What is remembered of it is not touched if
// it can't be read: nothing is known of it now.
func (k *taker) sort(e entry, revisions *[]entry) {
	k.seen[e.LinkName] = true
	if e.err != nil {
		k.problem(e.LinkName, reason(e.err))
		return
	}
	d, err := oci.ParseDigest(e.Name)
	if e.Kind == meta.TagLink {
		_, err = oci.ParseTag(e.Name)
	}
	if err != nil {
		k.problem(e.LinkName, err.(*oci.Error).Message)
		return
	}
	was := k.was[e.LinkName]
	ours := e.known || e.target == was.Target || was.Changing && e.target == was.Next
	if !ours {
		k.count.add(func(r *Report) { r.Read++ })
	}
	switch {
	case ours && !e.known:
		k.take.Seen = append(k.take.Seen, e.link())
		fallthrough
	case ours:
		k.count.add(func(r *Report) { r.count(e.Kind) })
		if e.Kind == meta.LayerLink {
			k.linked[d] = true
		} else if e.Kind == meta.RevisionLink {
			k.manifests[d] = true
		}
	case e.Kind == meta.LayerLink:
		k.layers[d] = e
	case e.Kind == meta.RevisionLink:
		*revisions = append(*revisions, e)
	default:
		k.tags = append(k.tags, e)
	}
}

// link is e as it is to be remembered.
func (e entry) link() meta.Link {
	return meta.Link{LinkName: e.LinkName, Target: e.target, ModTime: e.modTime}
}

// takeManifest reads the manifest that a revision link stands for.
func (k *taker) takeManifest(ctx context.Context, e entry) error {
	d, err := oci.ParseDigest(e.Name)
	if err != nil {
		return err
	}
	m, what, err := k.readManifest(ctx, d, e.target)
	if what != "" {
		k.problem(e.LinkName, what)
	}
	if err != nil || what != "" {
		return err
	}
	k.addManifest(meta.TakenManifest{Digest: d, Manifest: m, Pushed: e.modTime, Link: e.link()})
	return nil
}

func (k *taker) addManifest(m meta.TakenManifest) {
	k.take.Manifests = append(k.take.Manifests, m)
	k.manifests[m.Digest] = true
	for _, p := range m.Manifest.Blobs {
		k.sizes[p.Digest] = p.Size
	}
	k.count.add(func(r *Report) { r.count(meta.RevisionLink) })
	k.count.content(m.Digest, int64(len(m.Manifest.Body)))
}

// readManifest reads manifest d from the file of target. what says why it can't
// be taken.
func (k *taker) readManifest(ctx context.Context, d, target oci.Digest) (m oci.Manifest, what string, err error) {
	body, what, err := k.readBody(ctx, target)
	if what != "" || err != nil {
		return m, what, err
	}
	if d.Algorithm().FromBytes(body) != d {
		return m, "the manifest is damaged: its file has another content than its digest says", nil
	}
	m, err = oci.ParseStored(body)
	switch {
	case errors.Is(err, oci.ErrSchema1):
		return m, "a manifest of Docker's schema 1, which Berth does not serve: convert it with `skopeo copy --format v2s2`", nil
	case err != nil:
		return m, "what is there is no manifest", nil
	}
	return m, "", nil
}

func (k *taker) readBody(ctx context.Context, target oci.Digest) (body []byte, what string, err error) {
	o, err := k.data.Data(ctx, target)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "the content is missing", nil
	}
	if err == nil && o.Size > maxManifest {
		return nil, fmt.Sprintf("the manifest has %d bytes, which none has", o.Size), nil
	}
	var r blob.Reader
	if err == nil {
		r, err = k.data.Open(ctx, o.Key)
	}
	if err == nil {
		defer r.Close()
		body, err = io.ReadAll(io.LimitReader(r, maxManifest))
	}
	if err != nil && ctx.Err() == nil {
		return nil, "the content cannot be read: " + reason(err), nil
	}
	return body, "", err
}

// takeTag takes a tag that points to a manifest of the repository. Versions of
// registry:2 before 2.1.1 have linked manifests as layers, and later ones have
// served them.
func (k *taker) takeTag(ctx context.Context, e entry) error {
	if layer, ok := k.layers[e.target]; ok && !k.manifests[e.target] {
		m, what, err := k.readManifest(ctx, e.target, layer.target)
		if err != nil {
			return err
		}
		if what == "" {
			k.addManifest(meta.TakenManifest{Digest: e.target, Manifest: m, Pushed: layer.modTime})
		}
	}
	if !k.manifests[e.target] {
		k.problem(e.LinkName, "the tag points to "+e.target.String()+", which the repository does not have")
		return nil
	}
	tag, err := oci.ParseTag(e.Name)
	if err != nil {
		return err
	}
	k.take.Tags = append(k.take.Tags, meta.TakenTag{Tag: meta.Tag{Name: tag, Digest: e.target}, Moved: e.modTime, Link: e.link()})
	k.count.add(func(r *Report) { r.count(meta.TagLink) })
	return nil
}

// takeLayer takes a blob. Nothing in the tree says how large it ought to be but
// the manifests; where its file disagrees with one, its content decides.
func (k *taker) takeLayer(ctx context.Context, d oci.Digest, e entry) error {
	o, err := k.data.Data(ctx, e.target)
	size, said := k.sizes[d]
	switch {
	case errors.Is(err, fs.ErrNotExist) && said:
		return nil // missing names the manifest that needs it
	case errors.Is(err, fs.ErrNotExist):
		k.count.add(func(r *Report) { r.Stale++ })
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		k.problem(e.LinkName, "the content cannot be read: "+reason(err))
		return nil
	}
	b := meta.TakenBlob{Blob: meta.Blob{Digest: d, Key: o.Key, Size: o.Size}, Link: e.link(), Held: !isOwn(o)}
	if said && size != oci.UnknownSize && size != o.Size || o.Size == 0 {
		good, err := k.verify(ctx, d, o.Key)
		if err != nil {
			return err
		}
		if !good {
			b.Damaged = true
			k.problem(e.LinkName, fmt.Sprintf("the content is damaged: its file has %d bytes; push it again to heal it", o.Size))
		}
	}
	k.linked[d] = true
	k.take.Blobs = append(k.take.Blobs, b)
	k.count.add(func(r *Report) { r.count(meta.LayerLink) })
	k.count.content(e.target, o.Size)
	return nil
}

// isOwn reports whether the object is one that Berth has written.
func isOwn(o blob.Object) bool {
	return strings.HasPrefix(string(o.Key), string(o.Digest.Algorithm())+"/")
}

// verify reports whether the content is d's. What cannot be read is not.
func (k *taker) verify(ctx context.Context, d oci.Digest, key blob.Key) (bool, error) {
	r, err := k.data.Open(ctx, key)
	if err != nil {
		return false, ctx.Err()
	}
	defer r.Close()
	h := d.Algorithm().New()
	buf := make([]byte, 128<<10)
	for {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		n, err := r.Read(buf)
		h.Write(buf[:n])
		if err == io.EOF {
			return d.Algorithm().Digest(h) == d, nil
		}
		if err != nil {
			return false, nil
		}
	}
}

// missing lists the parts of taken manifests that are not there. Layers that are
// to be fetched from elsewhere never are.
func (k *taker) missing() {
	for _, m := range k.take.Manifests {
		for _, p := range m.Manifest.Blobs {
			elsewhere := strings.Contains(p.MediaType, "foreign") || strings.Contains(p.MediaType, "nondistributable")
			if !k.linked[p.Digest] && !elsewhere {
				k.problem(revision(m.Digest), "the manifest needs "+p.Digest.String()+", which the repository does not have")
			}
		}
		for _, p := range m.Manifest.Children {
			if !k.manifests[p.Digest] {
				k.problem(revision(m.Digest), "the index names "+p.Digest.String()+", which the repository does not have")
			}
		}
	}
}

func revision(d oci.Digest) meta.LinkName {
	return meta.LinkName{Kind: meta.RevisionLink, Name: d.String()}
}

// takeLosses finds remembered links that are gone. Those that were never written,
// or were to be removed, were not there by our own doing.
func (k *taker) takeLosses() {
	for name, l := range k.was {
		if k.seen[name] || l.Target.IsZero() || l.Changing && l.Next.IsZero() {
			continue
		}
		k.take.Gone = append(k.take.Gone, l)
	}
	k.count.add(func(r *Report) { r.Gone += len(k.take.Gone) })
}

// countUploads counts uploads that registry:2 has not finished. They cannot go
// on here: their clients have got another address for that.
func (k *taker) countUploads(ctx context.Context) {
	n := 0
	_ = entries(ctx, k.root, uploadsDir, func(e fs.DirEntry) error { // only a number in a report
		if e.IsDir() {
			n++
		}
		return nil
	})
	k.count.add(func(r *Report) { r.Uploads += n })
}

// empty reports whether there is nothing to record.
func (k *taker) empty() bool {
	return len(k.take.Blobs)+len(k.take.Manifests)+len(k.take.Tags)+len(k.take.Seen)+len(k.take.Gone) == 0
}
