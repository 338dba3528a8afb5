package model_test

import (
	"bytes"
	"context"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"berth/internal/blob"
	"berth/internal/fsck"
	"berth/internal/meta"
	"berth/internal/oci"
	"berth/internal/registry"
)

// check compares everything that clients can see with what is recorded, which
// the model has agreed to.
func (w *world) check() {
	w.t.Helper()
	for _, repo := range w.pool.repos {
		for _, d := range w.pool.digests {
			w.checkBlob(repo, d)
		}
		for _, m := range w.pool.manifests {
			w.checkManifest(repo, oci.Ref{Digest: m.digest}, m)
		}
		w.checkTags(repo)
		w.checkHistory(repo)
		for _, m := range w.pool.manifests {
			w.checkReferrers(repo, m.digest)
		}
	}
	w.checkCatalog()
	w.checkTrash()
	w.s = w.peek() // what was found damaged has been marked
}

func (w *world) checkBlob(repo oci.Repo, d oci.Digest) {
	w.t.Helper()
	want := w.readable(repo, d.String())
	b, err := w.quiet.Blob(w.t.Context(), repo, d)
	if !want {
		if codeOf(err) != oci.BlobUnknown {
			w.fatalf("blob %s of %s: got %v, want %s", w.pool.name(d), repo, err, oci.BlobUnknown)
		}
		return
	}
	if err != nil {
		w.fatalf("blob %s of %s: %v", w.pool.name(d), repo, err)
	}
	defer b.Close()
	if got, err := io.ReadAll(b); err != nil || !bytes.Equal(got, w.pool.blobs[d]) {
		w.fatalf("blob %s of %s: got %d other bytes, error %v", w.pool.name(d), repo, len(got), err)
	}
}

// checkManifest checks that m is what ref leads to, if m is recorded and sound.
func (w *world) checkManifest(repo oci.Repo, ref oci.Ref, m *manifest) {
	w.t.Helper()
	got, err := w.quiet.Manifest(w.t.Context(), repo, ref)
	if !w.s.manifests[at{repo, m.digest.String()}] {
		if code := codeOf(err); code != oci.ManifestUnknown && code != oci.NameUnknown {
			w.fatalf("%s of %s under %s: got %v, want %s", m.name, repo, ref, err, oci.ManifestUnknown)
		}
		return
	}
	if err != nil || !bytes.Equal(got.Body, m.Body) || got.MediaType != m.MediaType || got.Digest != m.digest {
		w.fatalf("%s of %s under %s: got %s %s, error %v", m.name, repo, ref, got.MediaType, got.Body, err)
	}
}

// checkTags checks that the tags that are listed are those that lead somewhere.
func (w *world) checkTags(repo oci.Repo) {
	w.t.Helper()
	var want []string
	for _, t := range w.pool.tags {
		d, ok := w.s.tags[at{repo, t.String()}]
		if !ok {
			if _, err := w.quiet.Manifest(w.t.Context(), repo, oci.Ref{Tag: t}); err == nil {
				w.fatalf("tag %s of %s leads to a manifest, and has none", t, repo)
			}
			continue
		}
		want = append(want, t.String())
		if _, ok := w.s.manifests[at{repo, d}]; !ok {
			w.fatalf("tag %s of %s points to a manifest that is not there", t, repo)
		}
		w.checkManifest(repo, oci.Ref{Tag: t}, w.pool.byDigest[mustDigest(d)])
	}
	slices.Sort(want)
	got := pages(w, func(p registry.Page) (registry.List[oci.Tag], error) {
		list, err := w.quiet.Tags(w.t.Context(), repo, p)
		if codeOf(err) == oci.NameUnknown {
			err = nil
		}
		return list, err
	}, oci.Tag.String)
	if !slices.Equal(got, want) {
		w.fatalf("tags of %s: got %v, want %v", repo, got, want)
	}
}

func (w *world) checkCatalog() {
	w.t.Helper()
	var want []string
	for _, r := range w.pool.repos {
		for k := range w.s.manifests {
			if k.repo == r {
				want = append(want, r.String())
				break
			}
		}
	}
	slices.Sort(want)
	got := pages(w, func(p registry.Page) (registry.List[oci.Repo], error) { return w.quiet.Repos(w.t.Context(), p, nil) }, oci.Repo.String)
	if !slices.Equal(got, want) {
		w.fatalf("catalog: got %v, want %v", got, want)
	}
}

func (w *world) checkReferrers(repo oci.Repo, subject oci.Digest) {
	w.t.Helper()
	var want []string
	for k := range w.s.manifests {
		if m := w.pool.byDigest[mustDigest(k.name)]; k.repo == repo && m.Subject != nil && m.Subject.Digest == subject {
			want = append(want, k.name)
		}
	}
	if d, ok := w.s.tags[at{repo, subject.FallbackTag().String()}]; ok && w.s.manifests[at{repo, d}] {
		if index := w.pool.byDigest[mustDigest(d)]; index.MediaType == oci.MediaTypeIndex {
			for _, c := range index.Children {
				if w.s.manifests[at{repo, c.Digest.String()}] {
					want = append(want, c.Digest.String())
				}
			}
		}
	}
	slices.Sort(want)
	want = slices.Compact(want)
	got := pages(w, func(p registry.Page) (registry.List[oci.Entry], error) {
		return w.quiet.Referrers(w.t.Context(), repo, subject, "", p)
	}, func(e oci.Entry) string { return e.Digest.String() })
	if !slices.Equal(got, want) {
		w.fatalf("referrers of %s in %s: got %v, want %v", w.pool.name(subject), repo, got, want)
	}
}

// pages reads a whole list in pages of some size.
func pages[T any](w *world, page func(registry.Page) (registry.List[T], error), name func(T) string) []string {
	w.t.Helper()
	var all []string
	for p := (registry.Page{Limit: 1 + w.rnd.IntN(4)}); ; {
		list, err := page(p)
		if err != nil {
			w.fatalf("list behind %q: %v", p.After, err)
		}
		for _, item := range list.Items {
			all = append(all, name(item))
		}
		if list.Next == "" {
			return all
		}
		p.After = list.Next
	}
}

// fsck wants that a check finds nothing but what was damaged behind the
// registry's back.
func (w *world) fsck() {
	w.t.Helper()
	store, ok := w.raw.(fsck.Store)
	if !ok {
		return // it is in memory
	}
	var found []fsck.Finding
	checker := &fsck.Checker{Records: w.db, Blobs: store, Now: time.Now}
	_, err := checker.Run(w.t.Context(), fsck.Options{ReadData: 100, Tell: func(f fsck.Finding) error {
		explained := f.Weight == fsck.Info
		switch f.Kind {
		case fsck.BlobMissing, fsck.BlobSize, fsck.BlobMarked, fsck.BlobGood, fsck.ManifestBytes, fsck.Kind(meta.FaultPartLost):
			explained = explained || w.damaged || w.neverWhole(f)
		case fsck.UploadLost: // when the database is full its bytes go before its record does
			explained = true
		}
		if !explained {
			found = append(found, f)
		}
		return nil
	}})
	if err != nil || len(found) > 0 {
		w.fatalf("fsck: error %v, found %+v", err, found)
	}
}

// neverWhole reports whether what is found is a manifest that came without a part,
// and was brought back to a repository that has lost just this one.
func (w *world) neverWhole(f fsck.Finding) bool {
	if f.Kind != fsck.Kind(meta.FaultPartLost) {
		return false
	}
	var repo, digest, part string
	found := false
	w.rows(`SELECT r.name, m.digest, f.digest FROM manifest_refs f JOIN manifests m ON m.id = f.manifest_id JOIN repos r ON r.id = m.repo_id
		WHERE f.dangling = 1 AND r.trash = 0`, func() {
		found = found || repo == f.Repository && digest == f.Digest && strings.Contains(f.Detail, part)
	}, &repo, &digest, &part)
	return found
}

// settle lets the registry tidy up, and compares records and objects: nothing
// is in the store that no record names, and nothing is recorded that isn't there.
func (w *world) settle() {
	w.t.Helper()
	w.recover()
	w.expireTrash()
	w.collect()
	w.running += delay
	w.collect()
	w.step("compare records and objects")
	if err := w.db.Check(context.WithoutCancel(w.t.Context())); err != nil {
		w.fatalf("the database: %v", err)
	}
	w.fsck()
	known := make(map[string]bool)
	var key string
	uploads := w.peekUploads()
	for _, u := range uploads {
		known[string(u.Key)] = true
	}
	for _, table := range []string{"blobs", "garbage"} {
		w.rows(`SELECT key FROM `+table, func() { known[key] = true }, &key)
	}
	stored := make(map[blob.Key]blob.Object)
	for o, err := range w.raw.List(w.t.Context()) {
		if err != nil {
			w.fatalf("list objects: %v", err)
		}
		stored[o.Key] = o
		// An upload whose commit failed may have got its final name already.
		if !known[string(o.Key)] && !known[path.Base(string(o.Key))] {
			w.fatalf("object %+v is in the store and in no record", o)
		}
	}
	for d, c := range w.s.contents {
		o, ok := stored[c.key]
		if !w.broken[c.key] && (!ok || !o.Finished || o.Digest.String() != d || o.Size != c.size || c.damaged) {
			w.fatalf("blob %s is recorded as %+v and stored as %+v (there: %v)", w.pool.name(mustDigest(d)), c, o, ok)
		}
	}
	for _, s := range w.sessions {
		if o := stored[uploads[s.id].Key]; o.Size < w.s.uploads[s.id].size && !s.hollow {
			w.fatalf("upload %s has %d bytes by its record, and %d", s.id, w.s.uploads[s.id].size, o.Size)
		}
	}
}
