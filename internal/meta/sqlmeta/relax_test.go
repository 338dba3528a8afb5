package sqlmeta

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"berth/internal/oci"
)

// TestRelax gives memory back while everything goes on: what is read meanwhile is
// what was written, connections stay as they were set up, and none is lost.
func TestRelax(t *testing.T) {
	db := openTemp(t)
	ctx := t.Context()
	repo := mustRepo(t, "app")
	var running sync.WaitGroup
	for i := range 4 {
		running.Go(func() {
			for n := range 10 {
				tag := fmt.Sprintf("t%d-%d", i, n)
				pushBlob(t, db, repo, "config of "+tag)
				mustPut(t, db, imageOf(t, repo, tag, "config of "+tag))
				m, err := db.FindManifest(ctx, repo, oci.Ref{Tag: mustTag(t, tag)})
				if want := "image of config of " + tag; err != nil || string(m.Body) != want {
					t.Errorf("%s is %q, %v", tag, m.Body, err)
				}
			}
		})
	}
	for range 20 {
		if err := db.Relax(ctx); err != nil {
			t.Error(err)
		}
	}
	running.Wait()
	if err := db.Relax(ctx); err != nil {
		t.Fatal(err)
	}
	if s := db.reader.pool.Stats(); s.InUse != 0 {
		t.Errorf("%d connections were not given back", s.InUse)
	}
	if _, err := db.reader.pool.ExecContext(ctx, "DELETE FROM tags"); err == nil {
		t.Error("a connection that reads can write now")
	}
	ended, end := context.WithCancel(ctx)
	end()
	if err := db.Relax(ended); err == nil {
		t.Error("nothing is said when the time is over")
	}
}
