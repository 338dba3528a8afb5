package tree

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"berth/internal/blob"
	"berth/internal/meta"
	"berth/internal/oci"
)

// Contents gives registry:2 the content that its links name.
type Contents interface {
	// Expose gives the object of key, of size bytes, the name that registry:2
	// knows, and returns under which digest. The error wraps fs.ErrNotExist when
	// there is no such object.
	Expose(ctx context.Context, key blob.Key, size int64) (oci.Digest, error)

	// PutData keeps content as what registry:2 has of d.
	PutData(ctx context.Context, d oci.Digest, content []byte) error
}

// A Shadow keeps the tree in step with the records. Its fields must be set
// before use.
//
// It wants to know what is not as it should be, not what has happened, so it
// reads no events: links that a change concerns are noted in the transaction that
// makes it, however often, once.
type Shadow struct {
	Tree     *Tree
	Contents Contents
	Records  meta.Shadow
	Log      *slog.Logger

	flushing sync.Mutex
	stopped  atomic.Bool
	written  atomic.Int64
}

const (
	shadowBatch = 256                    // links that are written together, with one wait for the disk
	shadowEvery = 200 * time.Millisecond // between two looks
	shadowPause = 10 * time.Second       // after a failure
)

// Written returns how many links have been written or removed.
func (s *Shadow) Written() int64 { return s.written.Load() }

// Stop ends the writing, after the batch that is being written.
func (s *Shadow) Stop() {
	s.flushing.Lock()
	defer s.flushing.Unlock()
	s.stopped.Store(true)
}

// Run writes what has to be written until ctx ends. It returns nil then.
func (s *Shadow) Run(ctx context.Context) error {
	for {
		pause := shadowEvery
		if err := s.Flush(ctx); err != nil && ctx.Err() == nil {
			s.Log.Warn("registry:2's tree could not be kept in step; it will be tried again", "error", err)
			pause = shadowPause
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// Flush writes everything that has to be written now.
func (s *Shadow) Flush(ctx context.Context) error {
	for {
		n, err := s.flush(ctx)
		if err != nil || n < shadowBatch {
			return err
		}
	}
}

// A change is a link that is not as it ought to be.
type change struct {
	meta.LinkWritten
	skip bool // it is, or can't be made so
}

// flush writes one batch, and returns how many links that were. In this order: the
// content, the intention, durably, the links, durably, and that they are written.
// Whatever interrupts it, the next start knows which links were ours.
func (s *Shadow) flush(ctx context.Context) (int, error) {
	s.flushing.Lock()
	defer s.flushing.Unlock()
	if s.stopped.Load() {
		return 0, nil
	}
	list, err := s.Records.Unwritten(ctx, shadowBatch)
	if err != nil || len(list) == 0 {
		return 0, err
	}
	changes := make([]change, len(list))
	var intend []meta.LinkWant
	for i, w := range list {
		if changes[i], err = s.prepare(ctx, w); err != nil {
			return 0, err
		}
		if !changes[i].skip {
			intend = append(intend, changes[i].LinkWant)
		}
	}
	if len(intend) > 0 {
		if err := s.Records.Intend(ctx, intend); err != nil {
			return 0, err
		}
		if err := s.write(changes); err != nil {
			return 0, err
		}
	}
	done := make([]meta.LinkWritten, len(changes))
	for i, c := range changes {
		done[i] = c.LinkWritten
	}
	s.written.Add(int64(len(intend)))
	return len(list), s.Records.Written(ctx, done)
}

// prepare sees to the content of a link, and finds out whether the link itself
// has to be written.
func (s *Shadow) prepare(ctx context.Context, w meta.LinkWant) (change, error) {
	c := change{LinkWritten: meta.LinkWritten{LinkWant: w}}
	var err error
	switch {
	case w.Target.IsZero():
	case w.Kind == meta.LayerLink:
		c.Target, err = s.Contents.Expose(ctx, w.Key, w.Size)
	case w.Kind == meta.RevisionLink:
		err = s.Contents.PutData(ctx, w.Target, w.Body)
	}
	if errors.Is(err, fs.ErrNotExist) { // damaged: pushed again it will be noted again
		c.Target, c.ModTime, c.skip = w.Was.Target, w.Was.ModTime, true
		return c, nil
	}
	if err != nil {
		return c, err
	}
	if c.Target == w.Was.Target && !w.Was.Changing {
		c.ModTime, c.skip = w.Was.ModTime, true
	}
	return c, nil
}

// write writes the links: first what is to be there, from the layers up, then
// what is not, the other way round, so that no link ever names what is not there.
func (s *Shadow) write(changes []change) error {
	w, err := s.Tree.writer()
	if err != nil {
		return err
	}
	for _, kind := range []meta.LinkKind{meta.LayerLink, meta.RevisionLink, meta.TagLink} {
		for i := range changes {
			c := &changes[i]
			if c.skip || c.Kind != kind || c.Target.IsZero() {
				continue
			}
			if c.ModTime, err = w.write(c.Repo, c.LinkName, c.Target); err != nil {
				return fmt.Errorf("write a link of %s: %w", c.Repo, err)
			}
		}
	}
	for _, kind := range []meta.LinkKind{meta.TagLink, meta.RevisionLink, meta.LayerLink} {
		for _, c := range changes {
			if c.skip || c.Kind != kind || !c.Target.IsZero() {
				continue
			}
			if err := w.remove(c.Repo, c.LinkName); err != nil {
				return fmt.Errorf("remove a link of %s: %w", c.Repo, err)
			}
		}
	}
	return w.sync()
}
