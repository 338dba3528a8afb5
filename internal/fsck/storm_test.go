package fsck_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"berth/internal/blob"
	"berth/internal/event"
	"berth/internal/fsck"
	"berth/internal/meta"
	"berth/internal/meta/sqlmeta"
	"berth/internal/oci"
	"berth/internal/registry"
)

// TestNoFalseAlarms holds that checks of a registry that is being pushed to,
// deleted from, restored and collected find nothing, since nothing is wrong, and
// that repairs find nothing to do.
func TestNoFalseAlarms(t *testing.T) {
	long := 2 * time.Second
	if os.Getenv("BERTH_SOAK") != "" {
		long = 20 * time.Second
	}
	e := newEnv(t)
	e.db.Close()
	e.open(sqlmeta.Options{Grace: 20 * time.Millisecond, Trash: 50 * time.Millisecond}) // what is collected is deleted at once
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	var group sync.WaitGroup
	for n := range 4 {
		group.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				if err := e.churn(ctx, n, i); err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Go(func() {
		for ctx.Err() == nil {
			_, err := e.collector.Collect(ctx)
			if err == nil {
				_, err = e.db.ExpireTrash(ctx, 20)
			}
			if err == nil {
				err = e.undo(ctx)
			}
			if err != nil && ctx.Err() == nil {
				t.Error(err)
				return
			}
		}
	})
	checks := 0
	for ; ctx.Err() == nil; checks++ {
		_, err := e.checker().Run(ctx, fsck.Options{ReadData: 100, Repair: fsck.Repair(checks % 2), Tell: func(f fsck.Finding) error {
			if f.Weight == fsck.Problem {
				t.Errorf("check %d: %s %s%s%s %s %s", checks, f.Kind, f.Repository, f.Tag, f.Digest, f.Key, f.Detail)
			}
			return nil
		}})
		if err != nil && ctx.Err() == nil {
			t.Fatal(err)
		}
	}
	group.Wait()
	e.clean("after it")
	t.Logf("%d checks", checks)
}

// undo deletes a repository now and then, and restores what was deleted last.
func (e *env) undo(ctx context.Context) error {
	if rand.IntN(10) == 0 {
		_, err := e.db.DeleteRepo(ctx, repo(e.t, fmt.Sprintf("churn/r%d", rand.IntN(3))), event.Actor{})
		if err != nil && !errors.Is(err, meta.ErrNotFound) {
			return err
		}
	}
	list, err := e.db.TrashEntries(ctx, oci.Repo{}, 0, 1)
	if err != nil || len(list) == 0 {
		return err
	}
	_, err = e.db.Restore(ctx, meta.Restore{ID: list[0].ID})
	if _, missing := errors.AsType[*meta.MissingError](err); missing || errors.Is(err, meta.ErrNotFound) {
		return nil
	}
	return err
}

// churn pushes an image whose blobs others push too, and deletes what was pushed
// before. What collection took meanwhile is pushed again, as clients do.
func (e *env) churn(ctx context.Context, n, i int) error {
	to := repo(e.t, fmt.Sprintf("churn/r%d", rand.IntN(3)))
	if i%5 == 0 { // an upload that nobody ends
		u, err := e.core.StartUpload(ctx, to, oci.SHA256)
		if err != nil {
			return err
		}
		_ = u.Append(ctx, 0, &slowly{n: 3}) // it fails, as it is meant to
		if i%2 == 0 {
			if err := u.Cancel(ctx); err != nil {
				return err
			}
		}
	}
	content := fmt.Sprintf("shared %d", rand.IntN(20))
	for range 50 {
		var blobs []oci.Descriptor
		for _, c := range []string{content, fmt.Sprintf("own %d %d", n, i)} {
			d, err := pushBlob(ctx, e.core, to, c)
			if err != nil {
				return err
			}
			blobs = append(blobs, d)
		}
		d, err := putManifest(ctx, e.core, to, fmt.Sprintf("t%d", rand.IntN(4)), body("", blobs...))
		if coded, ok := errors.AsType[*oci.Error](err); ok && coded.Code == oci.ManifestBlobUnknown {
			continue
		}
		if err != nil {
			return err
		}
		if rand.IntN(2) == 0 {
			err = e.core.DeleteManifest(ctx, to, d)
		} else if rand.IntN(2) == 0 {
			err = e.core.MountBlob(ctx, registry.Mount{From: to, To: repo(e.t, "churn/other"), Digest: blobs[0].Digest})
		}
		if coded, ok := errors.AsType[*oci.Error](err); ok && slices.Contains([]oci.Code{oci.ManifestUnknown, oci.BlobUnknown, oci.NameUnknown}, coded.Code) {
			err = nil
		}
		return err
	}
	return errors.New("a push was refused 50 times")
}

// slowly gives some bytes and fails, so that an upload is saved.
type slowly struct{ n int }

func (s *slowly) Read(p []byte) (int, error) {
	if s.n == 0 {
		return 0, fmt.Errorf("the client has gone: %w", context.Canceled)
	}
	s.n--
	return copy(p, string(blob.NewKey())), nil
}
