package races

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
)

// Repositories. In calm ones nothing that anybody needs is ever deleted, so that
// whatever is missing there is a failure; in the others everything is.
func calm() []string   { return []string{"calm/a", "calm/b"} }
func stormy() []string { return []string{"stormy/a", "stormy/b", "stormy/c"} }
func repos() []string  { return append(calm(), stormy()...) }

// counts are what happened.
type counts struct {
	pushes, again, mounts, skips, whole, excused, parts, deleted, refused, moves, collections, restored, dropped atomic.Int64
}

// A worker is one client.
type worker struct {
	*client
	w        *world
	operator *client
	rng      *rand.Rand
	n        *counts
}

func (k *worker) one(list []string) string { return list[k.rng.IntN(len(list))] }

func (k *worker) tag() string { return fmt.Sprint("t", k.rng.IntN(6)) }

// step does one thing. An error is something that must not be.
func (k *worker) step(ctx context.Context) error {
	switch n := k.rng.IntN(100); {
	case n < 30:
		return k.push(ctx, k.one(repos()), k.w.pick(k.rng), k.tag())
	case n < 55:
		return k.pullTags(ctx, k.one(repos()))
	case n < 62:
		return k.moveTag(ctx, k.one(repos()))
	case n < 66:
		return k.lone(ctx, k.one(repos()))
	case n < 69:
		return k.giveUp(ctx, k.one(repos()))
	case n < 74:
		return k.deleteBlob(ctx, k.one(repos()))
	case n < 80:
		return k.deleteTag(ctx, k.one(repos()))
	case n < 92:
		return k.deleteManifest(ctx, k.one(stormy()))
	case n < 93:
		return k.deleteAll(ctx, k.one(stormy()))
	case n < 94:
		return k.deleteRepo(ctx, k.one(stormy()))
	case n < 98:
		return k.restore(ctx, k.one(repos()))
	}
	return k.lists(ctx)
}

// push pushes a manifest with all that it needs, as clients do: what the registry
// says that it has is not sent. If something of that has gone when the manifest
// comes, the registry says so, and it is all sent again.
func (k *worker) push(ctx context.Context, repo string, it *item, ref string) error {
	for try := range 30 {
		for _, b := range it.blobs {
			if err := k.pushBlob(ctx, repo, b, try > 0); err != nil {
				return err
			}
		}
		for _, m := range it.children {
			if err := k.push(ctx, repo, m, m.digest); err != nil {
				return err
			}
		}
		v := k.w.look(manifestOf(repo, it.digest), allOf(repo))
		a, err := k.do(ctx, http.MethodPut, manifestPath(repo, ref), it.mediaType, it.body, 201, 400, 404)
		switch {
		case err != nil:
			return err
		case a.status == 201 && a.header.Get("Warning") != "":
			return fmt.Errorf("%s was accepted in %s without all of its parts: %s", it.digest, repo, a.header.Get("Warning"))
		case a.status == 201:
			k.n.pushes.Add(1)
			return k.pull(ctx, v, repo, it)
		case a.code != "MANIFEST_BLOB_UNKNOWN":
			return fmt.Errorf("put %s into %s: %d %s", it.digest, repo, a.status, a.body)
		}
		k.n.again.Add(1)
	}
	return fmt.Errorf("%s can't be pushed to %s: its parts go as fast as they come", it.digest, repo)
}

// pushBlob pushes a blob unless the registry says that it has it, which a client
// that was told otherwise no longer asks.
func (k *worker) pushBlob(ctx context.Context, repo string, b *item, again bool) error {
	if !again {
		a, err := k.do(ctx, http.MethodHead, blobPath(repo, b.digest), "", nil, 200, 404)
		if err != nil {
			return err
		}
		if a.status == 200 {
			k.n.skips.Add(1)
			return nil
		}
	}
	if k.rng.IntN(2) == 0 {
		return k.upload(ctx, repo, b, k.rng.IntN(3))
	}
	a, err := k.do(ctx, http.MethodPost, "/v2/"+repo+"/blobs/uploads/?mount="+b.digest+"&from="+k.one(repos()), "", nil, 201, 202)
	if err != nil {
		return err
	}
	if a.status == 201 {
		k.n.mounts.Add(1)
		return nil
	}
	return k.finish(ctx, a.header.Get("Location"), b, k.rng.IntN(3))
}

// pull reads a manifest that was there at some moment since v with all that it
// needs.
func (k *worker) pull(ctx context.Context, v view, repo string, it *item) error {
	paths := map[string]string{manifestPath(repo, it.digest): it.digest}
	for _, m := range append([]*item{it}, it.children...) {
		paths[manifestPath(repo, m.digest)] = m.digest
		for _, b := range m.blobs {
			paths[blobPath(repo, b.digest)] = b.digest
		}
	}
	for path, d := range paths {
		k.n.parts.Add(1)
		there, err := k.read(ctx, path, d)
		switch {
		case err != nil:
			return err
		case !there && v.undisturbed():
			return fmt.Errorf("%s is not there, and nobody has deleted %s of %s, which needs it", path, it.digest, repo)
		case !there:
			k.n.excused.Add(1)
			return nil
		}
	}
	k.n.whole.Add(1)
	return nil
}

// pullTags lists the tags of a repository, and pulls some of them.
func (k *worker) pullTags(ctx context.Context, repo string) error {
	listed := k.w.look(tagsOf(repo), allOf(repo))
	a, err := k.do(ctx, http.MethodGet, "/v2/"+repo+"/tags/list", "", nil, 200, 404)
	if err != nil || a.status == 404 {
		return err
	}
	tags, err := a.strings("tags")
	if err != nil {
		return err
	}
	for range min(2, len(tags)) {
		if err := k.pullTag(ctx, listed, repo, k.one(tags)); err != nil {
			return err
		}
	}
	return nil
}

func (k *worker) pullTag(ctx context.Context, listed view, repo, tag string) error {
	// Until the digest is known, any deletion in the repository may explain what
	// is missing; a deletion of other manifests doesn't after that.
	tagged := map[string]view{}
	for d := range k.w.byDigest {
		tagged[d] = k.w.look(manifestOf(repo, d), allOf(repo))
	}
	a, err := k.do(ctx, http.MethodGet, manifestPath(repo, tag), "", nil, 200, 404)
	if err != nil {
		return err
	}
	if a.status == 404 {
		if listed.undisturbed() {
			return fmt.Errorf("tag %s of %s is listed, and not there", tag, repo)
		}
		k.n.excused.Add(1)
		return nil
	}
	d := a.header.Get("Docker-Content-Digest")
	it := k.w.byDigest[d]
	if it == nil {
		return fmt.Errorf("tag %s of %s leads to %s, which nobody has pushed", tag, repo, d)
	}
	if err := a.is(manifestPath(repo, tag), d); err != nil {
		return err
	}
	return k.pull(ctx, tagged[d], repo, it)
}

// moveTag points a tag to a manifest that is there, with no more than its bytes.
func (k *worker) moveTag(ctx context.Context, repo string) error {
	it := k.w.pick(k.rng)
	a, err := k.do(ctx, http.MethodHead, manifestPath(repo, it.digest), "", nil, 200, 404)
	if err != nil || a.status == 404 {
		return err
	}
	v := k.w.look(manifestOf(repo, it.digest), allOf(repo))
	a, err = k.do(ctx, http.MethodPut, manifestPath(repo, k.tag()), it.mediaType, it.body, 201, 400, 404)
	switch {
	case err != nil:
		return err
	case a.status == 201 && a.header.Get("Warning") != "":
		return fmt.Errorf("%s was accepted in %s without all of its parts: %s", it.digest, repo, a.header.Get("Warning"))
	case a.status == 201:
		k.n.moves.Add(1)
		return k.pull(ctx, v, repo, it)
	case a.code != "MANIFEST_BLOB_UNKNOWN":
		return fmt.Errorf("put %s into %s: %d %s", it.digest, repo, a.status, a.body)
	}
	return nil
}

// lone pushes a blob that nothing needs.
func (k *worker) lone(ctx context.Context, repo string) error {
	return k.upload(ctx, repo, k.w.blobs[k.rng.IntN(len(k.w.blobs))], k.rng.IntN(3))
}

// giveUp begins an upload and cancels it.
func (k *worker) giveUp(ctx context.Context, repo string) error {
	a, err := k.do(ctx, http.MethodPost, "/v2/"+repo+"/blobs/uploads/", "", nil, 202)
	if err != nil {
		return err
	}
	location := a.header.Get("Location")
	if a, err = k.do(ctx, http.MethodPatch, location, "application/octet-stream", k.w.blobs[0].body, 202); err != nil {
		return err
	}
	_, err = k.do(ctx, http.MethodDelete, a.header.Get("Location"), "", nil, 204)
	return err
}

// deleteBlob deletes a blob, which the registry refuses while a manifest needs it.
func (k *worker) deleteBlob(ctx context.Context, repo string) error {
	b := k.w.blobs[k.rng.IntN(len(k.w.blobs))]
	return k.delete(ctx, blobPath(repo, b.digest))
}

func (k *worker) deleteTag(ctx context.Context, repo string) error {
	tag := k.tag()
	defer k.w.deleting(tagOf(repo, tag), tagsOf(repo))()
	return k.delete(ctx, manifestPath(repo, tag))
}

func (k *worker) deleteManifest(ctx context.Context, repo string) error {
	it := k.w.pick(k.rng)
	defer k.w.deleting(manifestOf(repo, it.digest), tagsOf(repo))()
	return k.delete(ctx, manifestPath(repo, it.digest))
}

func (k *worker) delete(ctx context.Context, path string) error {
	a, err := k.do(ctx, http.MethodDelete, path, "", nil, 202, 404, 405)
	switch {
	case err != nil:
		return err
	case a.status == 202:
		k.n.deleted.Add(1)
	case a.status == 405:
		k.n.refused.Add(1)
	}
	return nil
}

// deleteAll deletes everything that a repository has.
func (k *worker) deleteAll(ctx context.Context, repo string) error {
	for _, list := range [][]*item{k.w.indexes, k.w.signatures, k.w.images} {
		for _, it := range list {
			answered := k.w.deleting(manifestOf(repo, it.digest), tagsOf(repo))
			err := k.delete(ctx, manifestPath(repo, it.digest))
			answered()
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// deleteRepo deletes a repository, as its operator does.
func (k *worker) deleteRepo(ctx context.Context, repo string) error {
	defer k.w.deleting(tagsOf(repo), allOf(repo))()
	_, err := k.operator.act(ctx, "delete-repo?repository="+repo)
	if err == nil {
		k.n.dropped.Add(1)
	}
	return k.unlessGone(err)
}

// restore takes something out of the trash, as its operator does.
func (k *worker) restore(ctx context.Context, repo string) error {
	told, err := k.operator.act(ctx, "trash?repository="+repo)
	if err != nil {
		return err
	}
	var ids []int64
	for line := range bytes.Lines(told) {
		var l struct{ Told struct{ ID int64 } }
		if err := json.Unmarshal(line, &l); err != nil {
			return err
		}
		if l.Told.ID != 0 {
			ids = append(ids, l.Told.ID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	_, err = k.operator.act(ctx, fmt.Sprint("trash-restore?id=", ids[k.rng.IntN(min(len(ids), 5))]))
	if err == nil {
		k.n.restored.Add(1)
	}
	return k.unlessGone(err)
}

// unlessGone returns err unless it says that somebody else was faster.
func (k *worker) unlessGone(err error) error {
	if err != nil && (strings.Contains(err.Error(), "any more") || strings.Contains(err.Error(), "there is no repository")) {
		return nil
	}
	return err
}

// lists reads lists. What they say is for others to check, but they must say it.
func (k *worker) lists(ctx context.Context) error {
	a, err := k.do(ctx, http.MethodGet, "/v2/_catalog", "", nil, 200)
	if err != nil {
		return err
	}
	names, err := a.strings("repositories")
	if err != nil {
		return err
	}
	for _, name := range names {
		if !slices.Contains(repos(), name) {
			return fmt.Errorf("the catalog has %q: %s", name, strings.Join(names, " "))
		}
	}
	subject := k.w.signatures[k.rng.IntN(len(k.w.signatures))].subject
	_, err = k.do(ctx, http.MethodGet, "/v2/"+k.one(repos())+"/referrers/"+subject.digest, "", nil, 200)
	return err
}
