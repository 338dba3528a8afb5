package metatest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"

	"berth/internal/blob"
	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

func raceTests() []test {
	return []test{
		{name: "everything at once, without grace", run: raceAll, zero: true},
		{name: "one of two saves wins", run: raceSave},
		{name: "one of many makes a tag that must stay", run: raceKeepTags},
		{name: "equal uploads at once are one blob", run: raceCommit},
		{name: "a push against the collector is whole or refused", run: racePush, zero: true},
	}
}

// crowd runs n goroutines that each do something with a source of chance of
// their own.
func crowd(n int, do func(i int, chance *rand.Rand)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { do(i, rand.New(rand.NewPCG(1, uint64(i)))) })
	}
	wg.Wait()
}

// raceAll lets 32 goroutines do everything with a few blobs and manifests in two
// repositories. No error may come that cannot, and what is left must make sense.
func raceAll(f *fixture) {
	repos := []oci.Repo{f.repo("a"), f.repo("b")}
	contents := []string{"x", "y", "z"}
	var images []oci.Manifest
	for i := range contents {
		images = append(images, f.manifest(shape{parts: contents[:i+1]}))
	}
	images = append(images, f.manifest(shape{children: images[:2]}))
	crowd(32, func(i int, chance *rand.Rand) {
		for range 12 {
			repo, other := repos[chance.IntN(2)], repos[chance.IntN(2)]
			s, m := contents[chance.IntN(len(contents))], images[chance.IntN(len(images))]
			if err := f.step(chance.IntN(8), repo, other, s, m); err != nil {
				f.Errorf("step: %v", err)
			}
		}
	})
	for _, repo := range repos {
		for _, m := range images {
			f.wholeOrGone(repo, m)
		}
	}
}

// step does one thing, and returns an error that must not happen.
func (f *fixture) step(what int, repo, other oci.Repo, s string, m oci.Manifest) error {
	var err error
	switch what {
	case 0, 1:
		u := meta.Upload{ID: meta.UploadID(fmt.Sprint("r", f.serial.Add(1))), Repo: repo, Key: blob.NewKey(), Algorithm: oci.SHA256, Started: f.env.Now()}
		if err := f.CreateUpload(f.ctx, u); err != nil {
			return err
		}
		_, err = f.CommitUpload(f.ctx, u, meta.Blob{Digest: digestOf(s), Key: u.Key, Size: int64(len(s))}, event.Actor{})
	case 2, 3:
		_, err = f.PutManifest(f.ctx, meta.ManifestPut{Repo: repo, Digest: digest(m), Manifest: m, Tags: []oci.Tag{digest(m).FallbackTag()}, RefuseMissing: true})
		if asMissing(err) != nil {
			return nil
		}
	case 4:
		err = f.DeleteManifest(f.ctx, repo, digest(m), event.Actor{})
	case 5:
		err = f.LinkBlob(f.ctx, repo, other, digestOf(s), event.Actor{})
	case 6:
		err = f.UnlinkBlob(f.ctx, repo, digestOf(s), event.Actor{})
	case 7:
		_, _, err = f.CollectBlobs(f.ctx, f.env.Grace, 2)
	}
	if _, ok := asInUse(err); ok || errors.Is(err, meta.ErrNotFound) {
		return nil
	}
	return err
}

// wholeOrGone holds that a manifest, which was only accepted with all its parts,
// still has them.
func (f *fixture) wholeOrGone(repo oci.Repo, m oci.Manifest) {
	f.Helper()
	if !f.hasManifest(repo, digest(m).String()) {
		return
	}
	for _, part := range slices.Concat(m.Blobs, m.Children) {
		_, err := f.FindBlob(f.ctx, repo, part.Digest)
		if err != nil && !f.hasManifest(repo, part.Digest.String()) {
			f.Errorf("manifest %s of %s lacks %s", digest(m), repo, part.Digest)
		}
	}
}

// raceKeepTags has 20 puts of different manifests at once, each of which may make
// a tag and not move it.
func raceKeepTags(f *fixture) {
	a := f.repo("a")
	var images []oci.Manifest
	for i := range 20 {
		images = append(images, f.manifest(shape{note: fmt.Sprint(i)}))
	}
	var won atomic.Int32
	var winner atomic.Int32
	crowd(len(images), func(i int, _ *rand.Rand) {
		err := f.keep(a, images[i], "latest", fmt.Sprint("v", i))
		_, taken := errors.AsType[*meta.TagTakenError](err)
		switch {
		case err == nil:
			won.Add(1)
			winner.Store(int32(i))
		case !taken:
			f.Errorf("put: %v", err)
		}
	})
	tags, err := f.Tags(f.ctx, a, "", 30)
	f.ok(err)
	f.equal("winners", won.Load(), int32(1))
	i := winner.Load()
	d := digest(images[i])
	f.equal("tags", tags, []meta.Tag{{Name: f.tag("latest"), Digest: d}, {Name: f.tag(fmt.Sprint("v", i)), Digest: d}})
}

func raceSave(f *fixture) {
	u := f.upload(f.repo("a"))
	var wins, losses = make(chan int, 16), make(chan int, 16)
	crowd(16, func(i int, _ *rand.Rand) {
		mine := u
		mine.Size = int64(i + 1)
		switch err := f.SaveUpload(f.ctx, mine); {
		case err == nil:
			wins <- i + 1
		case errors.Is(err, meta.ErrConflict):
			losses <- i
		default:
			f.Errorf("save: %v", err)
		}
	})
	f.equal("winners and losers", []int{len(wins), len(losses)}, []int{1, 15})
	got, err := f.FindUpload(f.ctx, u.Repo, u.ID)
	f.ok(err)
	f.equal("size", got.Size, <-wins)
}

func raceCommit(f *fixture) {
	uploads := make([]meta.Upload, 16)
	for i := range uploads {
		uploads[i] = f.upload(f.repo(fmt.Sprintf("r%d", i%3)))
	}
	keys := make(chan blob.Key, len(uploads))
	crowd(len(uploads), func(i int, _ *rand.Rand) {
		b, err := f.CommitUpload(f.ctx, uploads[i], meta.Blob{Digest: digestOf("x"), Key: uploads[i].Key, Size: 1}, event.Actor{})
		if err != nil {
			f.Errorf("commit: %v", err)
		}
		keys <- b.Key
	})
	close(keys)
	first := <-keys
	for key := range keys {
		f.equal("key", key, first)
	}
	garbage := f.condemned()
	f.equal("garbage", len(garbage), len(uploads)-1)
	if slices.Contains(garbage, first) {
		f.Error("the key in use is garbage")
	}
}

// racePush pushes images while the collector takes, at once, what nothing needs
// yet. Whatever was accepted must be whole: a part that was collected before
// must make the put fail.
func racePush(f *fixture) {
	pushed := make(chan struct{}, 1) // the collector does a step for a push, or nothing would ever get done
	var collector sync.WaitGroup
	var refused atomic.Int64
	collector.Go(func() {
		for range pushed {
			if _, _, err := f.CollectBlobs(f.ctx, f.env.Grace, 1); err != nil {
				f.Errorf("collect: %v", err)
			}
		}
	})
	a := f.repo("a")
	crowd(6, func(i int, _ *rand.Rand) {
		for k := range 6 {
			parts := []string{fmt.Sprint(i, "-", k), "shared"}
			m := f.manifest(shape{parts: parts})
			for !f.tryImage(a, m, parts, pushed) {
				refused.Add(1) // as a client would: push it again
			}
			f.wholeOrGone(a, m)
		}
	})
	close(pushed)
	collector.Wait()
	f.Logf("%d puts were refused because a part was collected", refused.Load())
}

// tryImage pushes an image as a client does, and reports whether it was taken.
func (f *fixture) tryImage(repo oci.Repo, m oci.Manifest, parts []string, pushed chan<- struct{}) bool {
	for _, s := range parts {
		if err := f.step(0, repo, repo, s, m); err != nil {
			f.Errorf("push: %v", err)
		}
		select {
		case pushed <- struct{}{}:
		default:
		}
	}
	res, err := f.PutManifest(f.ctx, meta.ManifestPut{Repo: repo, Digest: digest(m), Manifest: m})
	if asMissing(err) != nil {
		return false
	}
	if err != nil || len(res.Dangling) > 0 {
		f.Errorf("put: %v, dangling %v", err, res.Dangling)
	}
	return true
}
