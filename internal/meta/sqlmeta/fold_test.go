package sqlmeta

import (
	"context"
	"strings"
	"testing"
)

// logged returns how many pages are in the log, and how many of them are not yet
// in the database file.
func logged(t *testing.T, db *DB) (pages, left int64) {
	t.Helper()
	err := db.writer.do(t.Context(), outside, func(ctx context.Context, t *tx) error {
		var failed, moved int64
		err := t.s.get(ctx, "PRAGMA wal_checkpoint(NOOP)", nil, &failed, &pages, &moved)
		left = pages - moved
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return pages, left
}

// TestFold holds that a long log is folded into the file while there are writers,
// and then begun anew, so that it does not grow.
func TestFold(t *testing.T) {
	db := openTemp(t)
	filler := strings.Repeat("x", 512<<10)
	write := func() {
		t.Helper()
		err := db.writer.do(t.Context(), relaxed, func(ctx context.Context, t *tx) error { return t.condemn(ctx, filler, 0) })
		if err == nil {
			err = db.writer.do(t.Context(), relaxed, func(ctx context.Context, t *tx) error {
				_, err := t.exec(ctx, `DELETE FROM garbage WHERE key = $1`, filler)
				return err
			})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for range 3 { // times over
		begun := false
		for last := int64(0); !begun; {
			write() // some 130 pages
			pages, left := logged(t, db)
			if pages >= longestLog {
				t.Fatalf("%d pages in the log, %d of them not folded: SQLite itself has to do it", pages, left)
			}
			begun, last = pages < last, pages
		}
	}
}
