package sqlmeta

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"berth/internal/meta"
	"berth/internal/oci"
)

// TestPutInColdMemory holds that a put that changes nothing waits for no disk when
// nothing is in memory, and runs no transaction from then on.
func TestPutInColdMemory(t *testing.T) {
	o := Options{Path: filepath.Join(t.TempDir(), "berth.db"), Memory: 1 << 20}
	db := mustOpen(t, o)
	repo := mustRepo(t, "a")
	pushBlob(t, db, repo, "x")
	p := imageOf(t, repo, "v1", "x")
	mustPut(t, db, p)
	db.Close()

	db = mustOpen(t, o)
	defer db.Close()
	var pages, after int64
	frames := func(n *int64) {
		var failed, moved int64
		if err := db.reader.pool.QueryRowContext(t.Context(), "PRAGMA wal_checkpoint(NOOP)").Scan(&failed, n, &moved); err != nil {
			t.Fatal(err)
		}
	}
	frames(&pages)
	mustPut(t, db, p)
	if frames(&after); after != pages {
		t.Errorf("%d pages of the log were written", after-pages)
	}
	before := db.Stats()
	mustPut(t, db, p)
	if s := db.Stats(); s.Commits != before.Commits || s.Queries != before.Queries {
		t.Errorf("from memory: %d transactions and %d queries", s.Commits-before.Commits, s.Queries-before.Queries)
	}
	p.Tags = append(p.Tags, mustTag(t, "v2"))
	mustPut(t, db, p)
	if m, err := db.FindManifest(t.Context(), repo, oci.Ref{Tag: p.Tags[1]}); err != nil || m.Digest != p.Digest {
		t.Errorf("a new tag beside an old one: %s, error %v", m.Digest, err)
	}
}

// TestPartsOfTheTransaction holds that a put does not go by what was in memory
// before its transaction changed it.
func TestPartsOfTheTransaction(t *testing.T) {
	db := mustOpen(t, Options{Path: filepath.Join(t.TempDir(), "berth.db"), Memory: 1 << 20})
	defer db.Close()
	repo := mustRepo(t, "a")
	x := pushBlob(t, db, repo, "x").Digest
	p := imageOf(t, repo, "v1", "x")
	mustPut(t, db, p)
	again := p
	again.Tags = []oci.Tag{mustTag(t, "v2")}
	for what, text := range map[string]string{
		"damaged": `UPDATE blobs SET damaged = 1 WHERE digest = $1`,
		"gone":    `DELETE FROM repo_blobs WHERE digest = $1`,
	} {
		undo := errors.New("undo")
		err := db.writer.do(t.Context(), durable, func(ctx context.Context, tx *tx) error {
			if !tx.hotParts(1, again) {
				t.Error("the parts are not in memory: this tests nothing")
			}
			if _, err := tx.exec(ctx, text, x.String()); err != nil {
				return err
			}
			if _, err := tx.putManifest(ctx, again); !errors.As(err, new(*meta.MissingError)) && what == "damaged" {
				t.Errorf("a put whose part is %s: error %v", what, err)
			}
			if tx.hotParts(1, again) {
				t.Errorf("what is %s is known to be there", what)
			}
			return undo
		})
		if !errors.Is(err, undo) {
			t.Fatal(err)
		}
	}
}

// TestMountInTheTransaction holds the same of a mount: of a blob that its source has
// no longer, into a repository that is another by now.
func TestMountInTheTransaction(t *testing.T) {
	db := mustOpen(t, Options{Path: filepath.Join(t.TempDir(), "berth.db"), Memory: 1 << 20})
	defer db.Close()
	from, to := mustRepo(t, "a"), mustRepo(t, "b")
	x := pushBlob(t, db, from, "x").Digest
	pushBlob(t, db, to, "y")
	for what, text := range map[string]string{
		"damaged":    `UPDATE blobs SET damaged = 1 WHERE digest = $1`,
		"gone":       `DELETE FROM repo_blobs WHERE digest = $1`,
		"of another": `UPDATE repos SET name = 'c' WHERE name = 'a' AND $1 <> ''`,
	} {
		undo := errors.New("undo")
		err := db.writer.do(t.Context(), durable, func(ctx context.Context, tx *tx) error {
			if size, repo, _, err := tx.linking(ctx, from, to, x); err != nil || size != 1 || repo == 0 {
				t.Errorf("before: size %d, repository %d, error %v", size, repo, err)
			}
			if _, err := tx.exec(ctx, text, x.String()); err != nil {
				return err
			}
			if _, _, _, err := tx.linking(ctx, from, to, x); !errors.Is(err, meta.ErrNotFound) {
				t.Errorf("a blob that is %s: error %v, want %v", what, err, meta.ErrNotFound)
			}
			return undo
		})
		if !errors.Is(err, undo) {
			t.Fatal(err)
		}
	}
}
