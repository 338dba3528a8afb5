package sqlmeta

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestUnreadRecord holds that a record which is as it was written, and is the next
// one, is not passed over if nobody here can read it: what is in it was
// acknowledged. Moved away, the database starts without it.
func TestUnreadRecord(t *testing.T) {
	template := frozenTemplate(t)
	tr := &trial{template: template}
	db := tr.open(t, nil)
	touchClock(t, db)
	dump(t, db)
	r := &db.writer.redo
	b := append(appendHead(nil), 99, 0)
	sealRecord(b, r.run, r.seq+1)
	if _, err := r.file.WriteAt(b, r.off); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "berth.db")
	copyFiles(t, db.path, path, "", "-wal", ledgerExt, redoExt)
	db.Close()
	if _, err := Open(t.Context(), frozen(path, nil)); !errors.Is(err, errRecord) || !strings.Contains(err.Error(), redoExt) {
		t.Fatalf("a record that cannot be read: got %v", err)
	}
	if err := os.Rename(path+redoExt, path+"-aside"); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, frozen(path, nil)).Close()
}

// TestRestoreIsWhole holds that recorded changes whose transaction was lost are all
// repeated, or none is and everybody is told.
func TestRestoreIsWhole(t *testing.T) {
	tr := &trial{template: frozenTemplate(t)}
	db := tr.open(t, nil)
	defer db.Close()
	touchClock(t, db)
	for _, tag := range []string{"t1", "t2"} {
		mustPut(t, db, imageOf(t, mustRepo(t, "a"), tag, "x", tag))
	}
	at := len(db.writer.redo.pending) - 1
	db.writer.discard()
	db.writer.redo.pending[at] ^= 1
	if err := db.writer.settled(t.Context()); !errors.Is(err, errRecord) {
		t.Errorf("a part of what was recorded is gone: got %v", err)
	}
	db.writer.redo.pending[at] ^= 1
	if err := db.writer.settled(t.Context()); err != nil {
		t.Error(err)
	}
	for _, tag := range []string{"t1", "t2"} {
		if got := bodyAt(t, db, mustRepo(t, "a"), tag); got != "image of x,"+tag {
			t.Errorf("tag %s leads to %q", tag, got)
		}
	}
}
