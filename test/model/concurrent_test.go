package model_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"berth/internal/blob/fsblob"
	"berth/internal/event"
	"berth/internal/gc"
	"berth/internal/meta"
	"berth/internal/meta/sqlmeta"
	"berth/internal/oci"
	"berth/internal/registry"
)

// A crowd is a registry that many use at once, with a collector that knows no
// grace.
type crowd struct {
	t    *testing.T
	pool *pool
	db   *sqlmeta.DB
	fs   *fsblob.Store
	core *registry.Core
	gc   *gc.Collector

	mu     sync.Mutex
	shared []sharedUpload // sessions that several use
}

type sharedUpload struct {
	repo    oci.Repo
	id      meta.UploadID
	content []byte
}

func newCrowd(t *testing.T) *crowd {
	t.Helper()
	dir := dataDir(t)
	fs, err := fsblob.Open(fsblob.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	db, err := sqlmeta.Open(t.Context(), sqlmeta.Options{Path: filepath.Join(dir, "berth.db"), Trash: 50 * time.Millisecond,
		Memory: 1 << 20, Doubt: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close(); fs.Close() })
	log := slog.New(slog.DiscardHandler)
	return &crowd{
		t: t, db: db, fs: fs, pool: newPool(t, rand.New(rand.NewPCG(1, 1))),
		core: registry.New(registry.Options{Blobs: fs, Records: db, Log: log, Deletion: registry.DeletionOn}),
		gc:   &gc.Collector{Records: db, Blobs: fs, UploadIdle: time.Hour, Log: log},
	}
}

// TestConcurrent lets clients and the collector loose on a few repositories, which
// are deleted and brought back meanwhile, while the trash runs over, and looks at
// what there is whenever they rest. BERTH_SOAK=1 makes it longer.
func TestConcurrent(t *testing.T) {
	rounds := 6
	if os.Getenv("BERTH_SOAK") != "" {
		rounds = 600
	}
	c := newCrowd(t)
	for round := range rounds {
		c.round(uint64(round), 300*time.Millisecond)
		if t.Failed() {
			return
		}
		c.rest()
	}
}

// round lets everybody work for a while.
func (c *crowd) round(seed uint64, d time.Duration) {
	ctx, cancel := context.WithTimeout(c.t.Context(), d)
	defer cancel()
	var wg sync.WaitGroup
	for i := range 8 {
		cl := &client{crowd: c, rnd: rand.New(rand.NewPCG(seed, uint64(i)))}
		wg.Go(func() {
			for ctx.Err() == nil && !c.t.Failed() {
				cl.act()
			}
		})
	}
	wg.Go(func() {
		for ctx.Err() == nil && !c.t.Failed() {
			c.expire(100)
			if _, err := c.gc.Collect(c.t.Context()); err != nil {
				c.t.Errorf("collect: %v", err)
			}
			time.Sleep(time.Millisecond) // others want to write, too
		}
	})
	wg.Wait()
}

// A client does random things.
type client struct {
	*crowd
	rnd *rand.Rand
}

func one[T any](c *client, list []T) T { return list[c.rnd.IntN(len(list))] }

// allow fails the test for answers that no client should get.
func (c *client) allow(what string, err error) bool {
	if err == nil {
		return true
	}
	if codeOf(err) == internal {
		c.t.Errorf("%s: %v", what, err)
	}
	return false
}

func (c *client) act() {
	ctx, repo, d := c.t.Context(), one(c, c.pool.repos), one(c, c.pool.digests)
	m := one(c, c.pool.manifests)
	switch c.rnd.IntN(19) {
	case 0, 1, 2:
		c.push(repo, d)
	case 3, 4, 5, 6:
		c.pushManifest(repo, m)
	case 7:
		c.allow("mount", c.core.MountBlob(ctx, registry.Mount{To: repo, Digest: d}))
	case 8:
		c.allow("delete manifest", c.core.DeleteManifest(ctx, repo, m.digest))
	case 9:
		c.allow("delete blob", c.core.DeleteBlob(ctx, repo, d))
	case 10:
		c.allow("delete tag", c.core.DeleteTag(ctx, repo, one(c, c.pool.tags)))
	case 11:
		c.read(repo, d)
		c.pull(repo, oci.Ref{Tag: one(c, c.pool.tags)})
	case 12:
		c.list(repo, m.digest)
	case 13:
		c.share()
	case 14:
		if _, err := c.db.DeleteRepo(ctx, repo, event.Actor{}); err != nil && !errors.Is(err, meta.ErrNotFound) {
			c.t.Errorf("delete repository: %v", err)
		}
	case 15, 16:
		c.restore(repo)
	case 17:
		c.drop()
	case 18:
		c.rollBack(repo, one(c, c.pool.tags))
	}
}

// restore brings something back, which may be going for good at this moment: then
// it is not there, and not half of it.
func (c *client) restore(repo oci.Repo) {
	list, err := c.db.TrashEntries(c.t.Context(), repo, 0, 3)
	if err != nil {
		c.t.Errorf("list the trash: %v", err)
	}
	if len(list) == 0 {
		return
	}
	p := meta.Restore{ID: one(c, list).ID, Force: c.rnd.IntN(2) == 0}
	if c.rnd.IntN(3) == 0 {
		p.As = one(c, c.pool.repos)
	}
	for more := true; more; {
		done, err := c.db.Restore(c.t.Context(), p)
		if _, lacks := errors.AsType[*meta.MissingError](err); err != nil && !lacks && !errors.Is(err, meta.ErrNotFound) {
			c.t.Errorf("restore: %v", err)
		}
		more = err == nil && done.More
	}
}

// drop gives something in the trash up, whoever is bringing it back.
func (c *client) drop() {
	list, err := c.db.TrashEntries(c.t.Context(), oci.Repo{}, 0, 5)
	if err == nil && len(list) > 0 {
		err = c.db.DropTrash(c.t.Context(), one(c, list).ID)
	}
	if err != nil {
		c.t.Errorf("drop from the trash: %v", err)
	}
}

func (c *client) rollBack(repo oci.Repo, tag oci.Tag) {
	_, err := c.db.SetTag(c.t.Context(), meta.TagSet{Repo: repo, Tag: tag, Cause: meta.ByRollback})
	if _, unknown := errors.AsType[*meta.NoPastError](err); err != nil && !unknown && !errors.Is(err, meta.ErrNotFound) {
		c.t.Errorf("roll back: %v", err)
	}
}

// expire takes apart what can't be had back any more, at most so many steps.
func (c *crowd) expire(steps int) {
	for range steps {
		n, err := c.db.ExpireTrash(c.t.Context(), 3)
		if err != nil {
			c.t.Errorf("expire the trash: %v", err)
		}
		if n == 0 || err != nil {
			return
		}
	}
}

func (c *client) push(repo oci.Repo, d oci.Digest) bool {
	u, err := c.core.StartUpload(c.t.Context(), repo, oci.SHA256)
	if !c.allow("start", err) ||
		!c.allow("append", u.Append(c.t.Context(), 0, bytes.NewReader(c.pool.blobs[d]))) {
		return false
	}
	if err := u.Commit(c.t.Context(), d); err != nil {
		c.t.Errorf("commit: %v", err) // nobody else knows of it
	}
	return true
}

// pushManifest pushes a manifest as clients do, parts first. Since the repository
// has had all of them, either it has them still or the answer says that it does
// not: nothing may dangle.
func (c *client) pushManifest(repo oci.Repo, m *manifest) bool {
	for _, part := range m.parts() {
		if child := c.pool.byDigest[part.Digest]; child != nil && c.pool.blobs[part.Digest] == nil {
			if !c.pushManifest(repo, child) {
				return false
			}
		} else if !c.push(repo, part.Digest) {
			return false
		}
	}
	res, err := c.core.PutManifest(c.t.Context(), registry.Put{
		Repo: repo, Digest: m.digest, Manifest: m.Manifest, Tags: []oci.Tag{one(c, c.pool.tags)},
	})
	if !c.allow("put", err) {
		return false
	}
	if len(res.Dangling) > 0 {
		c.t.Errorf("%s of %s was accepted without %v, which was there before", m.name, repo, res.Dangling)
	}
	return true
}

func (c *crowd) read(repo oci.Repo, d oci.Digest) error {
	b, err := c.core.Blob(c.t.Context(), repo, d)
	if err != nil {
		if codeOf(err) == internal {
			c.t.Errorf("blob: %v", err)
		}
		return err
	}
	defer b.Close()
	if got, err := io.ReadAll(b); err != nil || !bytes.Equal(got, c.pool.blobs[d]) {
		c.t.Errorf("blob %s of %s: got %d other bytes, error %v", d, repo, len(got), err)
	}
	return nil
}

func (c *crowd) pull(repo oci.Repo, ref oci.Ref) error {
	m, err := c.core.Manifest(c.t.Context(), repo, ref)
	if err != nil {
		if codeOf(err) == internal {
			c.t.Errorf("manifest: %v", err)
		}
		return err
	}
	if p := c.pool.byDigest[m.Digest]; p == nil || !bytes.Equal(p.Body, m.Body) {
		c.t.Errorf("manifest %s of %s: got other bytes", ref, repo)
	}
	return nil
}

func (c *client) list(repo oci.Repo, d oci.Digest) {
	_, err := c.core.Repos(c.t.Context(), registry.Page{Limit: 2}, nil)
	c.allow("catalog", err)
	_, err = c.core.Tags(c.t.Context(), repo, registry.Page{Limit: 2})
	c.allow("tags", err)
	_, err = c.core.Referrers(c.t.Context(), repo, d, "", registry.Page{Limit: 2})
	c.allow("referrers", err)
}

// share has to do with a session that other clients use, too.
func (c *client) share() {
	ctx := c.t.Context()
	c.mu.Lock()
	if len(c.shared) < 2 {
		s := sharedUpload{repo: one(c, c.pool.repos), content: one(c, c.pool.contents)}
		u, err := c.core.StartUpload(ctx, s.repo, oci.SHA256)
		if err != nil {
			c.t.Errorf("start: %v", err)
			c.mu.Unlock()
			return
		}
		s.id = u.ID()
		c.shared = append(c.shared, s)
	}
	i := c.rnd.IntN(len(c.shared))
	s := c.shared[i]
	if c.rnd.IntN(20) == 0 {
		c.shared = append(c.shared[:i:i], c.shared[i+1:]...)
	}
	c.mu.Unlock()
	u, err := c.core.ResumeUpload(ctx, s.repo, s.id)
	if !c.allow("resume", err) {
		return
	}
	d := oci.SHA256.FromBytes(s.content)
	rest := s.content[min(u.Size(), int64(len(s.content))):]
	switch n := c.rnd.IntN(20); {
	case n == 0:
		c.allow("cancel", u.Cancel(ctx))
	case n < 15:
		c.allow("append", u.Append(ctx, u.Size(), bytes.NewReader(rest[:c.rnd.IntN(len(rest)+1)])))
	case c.allow("append", u.Append(ctx, u.Size(), bytes.NewReader(rest))) && c.allow("commit", u.Commit(ctx, d)):
		// It may have been collected already, but what is there must be right.
		c.read(s.repo, d)
	}
}

// rest looks at everything while nobody is working: what is listed is served,
// and every manifest whole, since each was pushed after its parts.
func (c *crowd) rest() {
	c.t.Helper()
	if _, err := c.gc.Collect(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
	if err := c.db.Check(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
	manifests := 0
	for _, repo := range c.pool.repos {
		list, err := c.core.Tags(c.t.Context(), repo, registry.Page{Limit: 1000})
		if err != nil && codeOf(err) != oci.NameUnknown {
			c.t.Fatal(err)
		}
		for _, tag := range list.Items {
			if err := c.pull(repo, oci.Ref{Tag: tag}); err != nil {
				c.t.Errorf("%s of %s is listed: %v", tag, repo, err)
			}
		}
		for _, m := range c.pool.manifests {
			if c.pull(repo, oci.Ref{Digest: m.digest}) == nil {
				manifests++
				c.whole(repo, m)
			}
		}
	}
	if manifests == 0 {
		c.t.Log("no manifest is left to look at")
	}
	c.noOrphans()
}

func (c *crowd) whole(repo oci.Repo, m *manifest) {
	for _, part := range m.parts() {
		var errs []error
		if c.pool.blobs[part.Digest] != nil {
			errs = append(errs, c.read(repo, part.Digest))
		}
		if c.pool.byDigest[part.Digest] != nil {
			errs = append(errs, c.pull(repo, oci.Ref{Digest: part.Digest}))
		}
		if err := errors.Join(errs...); err != nil && len(errs) == 1 {
			c.t.Errorf("%s of %s lacks %s: %v", m.name, repo, c.pool.name(part.Digest), err)
		}
	}
}

// noOrphans checks that no object is in the store that no record names.
func (c *crowd) noOrphans() {
	ctx := c.t.Context()
	for o, err := range c.fs.List(ctx) {
		if err != nil {
			c.t.Fatal(err)
		}
		known, err := c.db.KnownKey(ctx, o.Key)
		if err != nil {
			c.t.Fatal(err)
		}
		if !known {
			c.t.Errorf("object %s is in the store and in no record", fmt.Sprint(o))
		}
	}
}
