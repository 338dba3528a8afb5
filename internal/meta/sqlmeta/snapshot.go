package sqlmeta

import (
	"context"
	"os"
	"path/filepath"
)

// Idle writes what is in the log back into the database file and cuts the log.
// It waits for nothing: what a reader still needs stays. Call it when nobody is
// writing; writers wait while it runs.
func (db *DB) Idle(ctx context.Context) error {
	return db.writer.do(ctx, outside, func(ctx context.Context, t *tx) error {
		return checkpoint(ctx, t.s.conn)
	})
}

// syncDir makes the names in a folder durable.
func syncDir(dir string) error {
	d, err := os.Open(filepath.Clean(dir))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
