package reliability

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
)

// A load is what several workers push to one registry at the same time.
type load struct {
	ledger  *ledger
	seed    uint64
	largest int         // blobs have up to so many bytes
	collect bool        // what nothing refers to may go at any time
	down    atomic.Bool // from now on the server is expected to fail
	shared  []thing     // layers that everybody pushes
	workers []*worker
}

// newLoad returns a load of n workers for the registry at c.
func newLoad(c *client, l *ledger, seed uint64, n, largest int) *load {
	ld := &load{ledger: l, seed: seed, largest: largest}
	rng := newRand(seed, 0)
	for i := range 8 {
		ld.shared = append(ld.shared, newThing(content(ld.size(rng), seed, 1, uint64(i))))
	}
	for i := range n {
		w := &worker{load: ld, c: c, id: i, rng: newRand(seed, i+1)}
		w.repos = []string{fmt.Sprintf("w%d/app", i), fmt.Sprintf("w%d/tools/x", i), "shared/all"}
		for j := range 6 {
			w.tags = append(w.tags, fmt.Sprintf("w%d-t%d", i, j))
		}
		ld.workers = append(ld.workers, w)
	}
	return ld
}

// run lets all workers push until ctx ends or the server fails them, and returns
// what they saw go wrong while it should not have.
func (ld *load) run(ctx context.Context) error {
	errs := make(chan error, len(ld.workers))
	for _, w := range ld.workers {
		go func() { errs <- w.run(ctx) }()
	}
	var all error
	for range ld.workers {
		all = errors.Join(all, <-errs)
	}
	return all
}

// size picks how large a blob is: nothing now and then, else as often between 1
// and 2 bytes as between 1 and 2 MiB.
func (ld *load) size(rng *rand.Rand) int {
	if rng.IntN(12) == 0 {
		return 0
	}
	return int(math.Exp(rng.Float64() * math.Log(float64(ld.largest))))
}

// A worker is one client. It changes only what is its own, so that the ledger
// knows the order of its changes.
type worker struct {
	*load
	c      *client
	id     int
	rng    *rand.Rand
	made   uint64   // things made so far
	repos  []string // where it pushes to
	tags   []string // its names of tags in all of them
	images []image  // that it pushed, or tried to
	lone   []key    // blobs that no manifest needs, pushed or tried
}

type image struct {
	repo, digest, mediaType string
	body                    []byte
}

func (im image) key() key { return key{aManifest, im.repo, im.digest} }

func (w *worker) run(ctx context.Context) error {
	whole := context.WithoutCancel(ctx) // what has begun is brought to its end
	for ctx.Err() == nil {
		if err := w.step(whole); err != nil {
			if w.down.Load() {
				return nil
			}
			return fmt.Errorf("client %d: %w", w.id, err)
		}
	}
	return nil
}

// step does one thing. An error says that the client cannot go on: the server
// is gone, or says what it must not say.
func (w *worker) step(ctx context.Context) error {
	switch n := w.rng.IntN(100); {
	case n < 46:
		return w.pushImage(ctx)
	case n < 52:
		return w.pushIndex(ctx)
	case n < 66:
		return w.moveTag(ctx)
	case n < 72:
		return w.deleteTag(ctx)
	case n < 80:
		return w.deleteManifest(ctx)
	case n < 90:
		return w.pushLone(ctx)
	case n < 94:
		return w.deleteLone(ctx)
	case n < 97:
		return w.leaveUpload(ctx)
	}
	return w.cancelUpload(ctx)
}

func (w *worker) repo() string { return w.repos[w.rng.IntN(len(w.repos))] }

func (w *worker) newData(size int) []byte {
	w.made++
	return content(size, w.seed, uint64(w.id)+2, w.made)
}

func (w *worker) newThing() thing { return newThing(w.newData(w.size(w.rng))) }

// change sends a request that changes values and enters its answer into the
// ledger. That it was refused for one of the reasons is no error: refused is
// then true.
func (w *worker) change(ctx context.Context, changes map[key]string, send func(context.Context) error, reasons ...int) (refused bool, err error) {
	op := w.ledger.begin(changes)
	err = send(ctx)
	if err == nil {
		w.ledger.done(op)
		return false, nil
	}
	r, ok := errors.AsType[*refusal](err)
	if !ok || r.status >= 500 {
		return false, err // it may have happened
	}
	w.ledger.refused(op)
	for _, status := range reasons {
		if r.status == status {
			return true, nil
		}
	}
	return false, err
}

// pushImage pushes an image as clients do: what the repository has already is
// not uploaded again.
func (w *worker) pushImage(ctx context.Context) error {
	repo := w.repo()
	config := newThing(fmt.Appendf(nil, `{"os":"linux","architecture":"amd64","config":{"Labels":{"by":"%d","n":"%d","seed":"%d"}}}`, w.id, w.made, w.seed))
	w.made++
	layers := []thing{w.newThing()}
	for range w.rng.IntN(3) {
		layers = append(layers, w.shared[w.rng.IntN(len(w.shared))])
	}
	parts := make([]string, 0, len(layers)+1)
	for _, b := range append([]thing{config}, layers...) {
		parts = append(parts, b.digest)
		if err := w.pushPart(ctx, repo, b); err != nil {
			return err
		}
	}
	body := imageManifest(config, layers, strconv.Itoa(w.id))
	im := image{repo, digestOf(body), manifestType, body}
	w.ledger.needs(im.digest, parts...)
	w.images = append(w.images, im)
	return w.putManifest(ctx, im)
}

// pushPart pushes a blob unless it is there.
func (w *worker) pushPart(ctx context.Context, repo string, b thing) error {
	has, err := w.c.has(ctx, blobPath(repo, b.digest))
	if err != nil || has {
		return err
	}
	if w.rng.IntN(4) == 0 {
		mounted, err := w.mount(ctx, repo, b)
		if err != nil || mounted {
			return err
		}
	}
	return w.upload(ctx, repo, b)
}

// mount takes a blob from another repository, with or without naming it.
func (w *worker) mount(ctx context.Context, repo string, b thing) (bool, error) {
	path := uploadsPath(repo) + "?mount=" + b.digest
	if w.rng.IntN(2) == 0 {
		path += "&from=" + w.repos[w.rng.IntN(len(w.repos))]
	}
	w.ledger.hidden()
	op := w.ledger.begin(w.blobChange(repo, b.digest))
	a, err := w.c.do(ctx, request{method: "POST", path: path}, 201, 202)
	if err != nil {
		return false, err
	}
	w.ledger.known()
	if a.status == 201 {
		w.ledger.done(op)
		return true, nil
	}
	w.ledger.refused(op)
	s := &session{repo: repo, location: a.header.Get("Location"), blob: b}
	w.ledger.began(s)
	return true, w.finish(ctx, s, b.data)
}

// blobChange is what the push of a blob changes. Where garbage is collected, a
// blob alone is not worth noting: it may go again.
func (w *worker) blobChange(repo, d string) map[key]string {
	if w.collect {
		return nil
	}
	return map[key]string{{aBlob, repo, d}: d}
}

// upload uploads a blob in one of the ways there are.
func (w *worker) upload(ctx context.Context, repo string, b thing) error {
	way := w.rng.IntN(4)
	if way == 0 { // all with one POST
		w.ledger.hidden()
		_, err := w.change(ctx, w.blobChange(repo, b.digest), func(ctx context.Context) error {
			_, err := w.c.do(ctx, request{method: "POST", path: uploadsPath(repo) + "?digest=" + b.digest,
				body: bytes.NewReader(b.data), length: int64(len(b.data))}, 201)
			return err
		})
		if err == nil {
			w.ledger.known()
		}
		return err
	}
	s, err := w.start(ctx, repo, b)
	if err != nil {
		return err
	}
	if way == 1 || len(b.data) < 2 { // all with one PUT
		return w.finish(ctx, s, b.data)
	}
	if way == 2 { // one long PATCH of unknown length
		err = w.stream(ctx, s)
	} else { // pieces
		for pieces := 1 + w.rng.IntN(4); err == nil && s.acked < len(b.data); {
			size := max(2, len(b.data)/pieces+1)
			s.acked, err = w.c.append(ctx, s.location, s.acked, b.data[s.acked:min(len(b.data), s.acked+size)])
		}
	}
	if err != nil {
		return err
	}
	return w.finish(ctx, s, nil)
}

func (w *worker) start(ctx context.Context, repo string, b thing) (*session, error) {
	w.ledger.hidden()
	a, err := w.c.do(ctx, request{method: "POST", path: uploadsPath(repo)}, 202)
	if err != nil {
		return nil, err
	}
	w.ledger.known()
	s := &session{repo: repo, location: a.header.Get("Location"), blob: b}
	w.ledger.began(s)
	return s, nil
}

func (w *worker) stream(ctx context.Context, s *session) error {
	a, err := w.c.do(ctx, request{method: "PATCH", path: s.location, body: io.MultiReader(bytes.NewReader(s.blob.data)), length: -1}, 202)
	if err != nil {
		return err
	}
	s.acked, err = uploaded(a)
	return err
}

func (w *worker) finish(ctx context.Context, s *session, last []byte) error {
	s.ending = w.ledger.begin(w.blobChange(s.repo, s.blob.digest))
	if err := w.c.finish(ctx, s.location, s.blob.digest, last); err != nil {
		return err
	}
	w.ledger.done(s.ending)
	w.ledger.ended(s)
	return nil
}

// putManifest puts a manifest: by tag, by digest, or by digest with tags. Where
// garbage is collected, what it needs may be gone again: then it is refused.
func (w *worker) putManifest(ctx context.Context, im image) error {
	changes := map[key]string{im.key(): im.digest}
	ref := im.digest
	switch w.rng.IntN(4) {
	case 0:
	case 1:
		ref += "?tag="
		for i, tag := range w.rng.Perm(len(w.tags))[:2] {
			if i > 0 {
				ref += "&tag="
			}
			ref += w.tags[tag]
			changes[key{aTag, im.repo, w.tags[tag]}] = im.digest
		}
	default:
		ref = w.tags[w.rng.IntN(len(w.tags))]
		changes[key{aTag, im.repo, ref}] = im.digest
	}
	send := func(ctx context.Context) error { return w.c.putManifest(ctx, im.repo, ref, im.mediaType, im.body) }
	var err error
	if w.collect {
		_, err = w.change(ctx, changes, send, 400)
	} else {
		_, err = w.change(ctx, changes, send)
	}
	return err
}

// live picks one of the worker's images that is there.
func (w *worker) live() (image, bool) {
	for range 10 {
		if len(w.images) == 0 {
			break
		}
		i := w.rng.IntN(len(w.images))
		if w.ledger.value(w.images[i].key()) != "" {
			return w.images[i], true
		}
		w.images[i] = w.images[len(w.images)-1]
		w.images = w.images[:len(w.images)-1]
	}
	return image{}, false
}

// pushIndex pushes an index of one image that is there.
func (w *worker) pushIndex(ctx context.Context) error {
	im, ok := w.live()
	if !ok {
		return nil
	}
	w.made++
	body := marshal(map[string]any{"schemaVersion": 2, "mediaType": indexType, "annotations": map[string]string{"n": fmt.Sprint(w.id, w.made)},
		"manifests": []map[string]any{{"mediaType": im.mediaType, "digest": im.digest, "size": len(im.body)}}})
	index := image{im.repo, digestOf(body), indexType, body}
	w.images = append(w.images, index)
	return w.putManifest(ctx, index)
}

func (w *worker) moveTag(ctx context.Context) error {
	im, ok := w.live()
	if !ok {
		return nil
	}
	return w.putManifest(ctx, im)
}

func (w *worker) deleteTag(ctx context.Context) error {
	repo, tag := w.repo(), w.tags[w.rng.IntN(len(w.tags))]
	k := key{aTag, repo, tag}
	if w.ledger.value(k) == "" {
		return nil
	}
	_, err := w.change(ctx, map[key]string{k: ""}, func(ctx context.Context) error { return w.c.remove(ctx, manifestPath(repo, tag)) })
	return err
}

// deleteManifest deletes a manifest and with it its tags. One that an index
// needs is refused.
func (w *worker) deleteManifest(ctx context.Context) error {
	im, ok := w.live()
	if !ok {
		return nil
	}
	changes := map[key]string{im.key(): ""}
	for _, k := range w.ledger.tagsAt(im.repo, im.digest, w.tags) {
		changes[k] = ""
	}
	_, err := w.change(ctx, changes, func(ctx context.Context) error { return w.c.remove(ctx, manifestPath(im.repo, im.digest)) }, 405)
	return err
}

func (w *worker) pushLone(ctx context.Context) error {
	repo, b := w.repo(), w.newThing()
	if len(b.data) >= 16 { // nobody else has the same by chance
		w.lone = append(w.lone, key{aBlob, repo, b.digest})
	}
	return w.upload(ctx, repo, b)
}

func (w *worker) deleteLone(ctx context.Context) error {
	if len(w.lone) == 0 || w.collect {
		return nil
	}
	k := w.lone[w.rng.IntN(len(w.lone))]
	if w.ledger.value(k) == "" {
		return nil
	}
	_, err := w.change(ctx, map[key]string{k: ""}, func(ctx context.Context) error { return w.c.remove(ctx, blobPath(k.repo, k.name)) })
	return err
}

// leaveUpload uploads a part of a blob and leaves it at that.
func (w *worker) leaveUpload(ctx context.Context) error {
	b := newThing(w.newData(2 + w.size(w.rng)))
	s, err := w.start(ctx, w.repo(), b)
	if err != nil || w.rng.IntN(4) == 0 {
		return err
	}
	s.acked, err = w.c.append(ctx, s.location, 0, b.data[:2+w.rng.IntN(len(b.data)-1)])
	return err
}

func (w *worker) cancelUpload(ctx context.Context) error {
	s, err := w.start(ctx, w.repo(), w.newThing())
	if err != nil {
		return err
	}
	s.ending = w.ledger.begin(nil)
	if _, err := w.c.do(ctx, request{method: "DELETE", path: s.location}, 204); err != nil {
		return err
	}
	w.ledger.done(s.ending)
	w.ledger.ended(s)
	return nil
}
