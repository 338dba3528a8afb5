package sqlmeta

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/internal/blob"
	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

// An operation is a change and a way to see whether it has happened.
type operation struct {
	name string
	do   func(ctx context.Context, db *DB) error
}

// operations returns one of each. They are tried on what prepare made, and what
// they did is seen in the dump of the database.
func operations(t *testing.T) []operation {
	a, b := mustRepo(t, "a"), mustRepo(t, "b")
	x := oci.SHA256.FromBytes([]byte("x"))
	open := meta.Upload{ID: "open", Repo: a, Key: "open key", Algorithm: oci.SHA256}
	image, other := imageOf(t, a, "v1", "x", "y"), imageOf(t, a, "v1", "x", "nowhere")
	other.Tags = append(other.Tags, mustTag(t, "v2"))
	return []operation{
		{"CreateUpload", func(ctx context.Context, db *DB) error {
			return db.CreateUpload(ctx, meta.Upload{ID: "new", Repo: mustRepo(t, "new"), Key: "k"})
		}},
		{"SaveUpload", func(ctx context.Context, db *DB) error { return db.SaveUpload(ctx, open) }},
		{"CommitUpload", func(ctx context.Context, db *DB) error {
			_, err := db.CommitUpload(ctx, open, meta.Blob{Digest: x, Key: "second key", Size: 1}, event.Actor{})
			return err
		}},
		{"DropUpload", func(ctx context.Context, db *DB) error { return db.DropUpload(ctx, open) }},
		{"LinkBlob", func(ctx context.Context, db *DB) error { return db.LinkBlob(ctx, a, b, x, event.Actor{}) }},
		{"UnlinkBlob", func(ctx context.Context, db *DB) error {
			return db.UnlinkBlob(ctx, a, oci.SHA256.FromBytes([]byte("loose")), event.Actor{})
		}},
		{"TouchBlob", func(ctx context.Context, db *DB) error { return db.TouchBlob(ctx, a, x) }},
		{"MarkDamaged", func(ctx context.Context, db *DB) error { return db.MarkDamaged(ctx, x, "key of x") }},
		{"PutManifest", func(ctx context.Context, db *DB) error { _, err := db.PutManifest(ctx, other); return err }},
		{"DeleteManifest", func(ctx context.Context, db *DB) error { return db.DeleteManifest(ctx, a, image.Digest, event.Actor{}) }},
		{"DeleteTag", func(ctx context.Context, db *DB) error { return db.DeleteTag(ctx, a, image.Tags[0], event.Actor{}) }},
		{"SetTag", func(ctx context.Context, db *DB) error {
			_, err := db.SetTag(ctx, meta.TagSet{Repo: a, Tag: image.Tags[0], Cause: meta.ByRollback})
			return err
		}},
		{"SetTag out of the trash", func(ctx context.Context, db *DB) error {
			_, err := db.SetTag(ctx, meta.TagSet{Repo: a, Tag: image.Tags[0], To: imageOf(t, a, "v8", "x", "v8").Digest, Cause: meta.BySet})
			return err
		}},
		{"TrimHistory", func(ctx context.Context, db *DB) error { _, err := db.TrimHistory(ctx, 0, 10); return err }},
		{"ExpireUploads", func(ctx context.Context, db *DB) error { _, err := db.ExpireUploads(ctx, 0, 10); return err }},
		{"CollectBlobs", func(ctx context.Context, db *DB) error { _, _, err := db.CollectBlobs(ctx, 0, 10); return err }},
		{"Forget", func(ctx context.Context, db *DB) error { return db.Forget(ctx, []blob.Key{"gone", "gone too"}) }},
		{"ForgetLosses", func(ctx context.Context, db *DB) error { _, err := db.ForgetLosses(ctx, 0, 10); return err }},
		{"Subscribe", func(ctx context.Context, db *DB) error { _, err := db.Subscribe(ctx, "new", meta.NeedNews); return err }},
		{"Advance", func(ctx context.Context, db *DB) error { return db.Advance(ctx, "reader", 1) }},
		{"Unsubscribe", func(ctx context.Context, db *DB) error { return db.Unsubscribe(ctx, "reader") }},
		{"FlushUses", func(ctx context.Context, db *DB) error {
			db.NoteUse(a, image.Digest, meta.Pulled)
			return db.FlushUses(ctx)
		}},
		{"DeleteRepo", func(ctx context.Context, db *DB) error { _, err := db.DeleteRepo(ctx, a, event.Actor{}); return err }},
		{"Discard", func(ctx context.Context, db *DB) error {
			_, err := db.Discard(ctx, meta.Discard{Repo: a, Tags: []meta.Tag{{Name: image.Tags[0], Digest: image.Digest}}, Manifests: []oci.Digest{image.Digest}, Reason: meta.ReasonRetention})
			return err
		}},
		{"RestoreRepo", func(ctx context.Context, db *DB) error { _, err := db.Restore(ctx, meta.Restore{ID: 2}); return err }},
		{"RestoreManifest", func(ctx context.Context, db *DB) error { _, err := db.Restore(ctx, meta.Restore{ID: 3}); return err }},
		{"DropTrash", func(ctx context.Context, db *DB) error { return db.DropTrash(ctx, 1, 2) }},
		{"ExpireTrash", func(ctx context.Context, db *DB) error { _, err := db.ExpireTrash(ctx, 10); return err }},
		{"SaveClock", func(ctx context.Context, db *DB) error { return db.SaveClock(ctx) }},
	}
}

// prepare fills a new database with something for every operation.
func prepare(t *testing.T, db *DB) {
	t.Helper()
	a := mustRepo(t, "a")
	if _, err := db.Subscribe(t.Context(), "reader", meta.NeedAll); err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{"x", "y", "loose", "lost"} {
		u := meta.Upload{ID: meta.UploadID(content), Repo: a, Key: blob.Key("key of " + content), Algorithm: oci.SHA256}
		if err := db.CreateUpload(t.Context(), u); err != nil {
			t.Fatal(err)
		}
		if _, err := db.CommitUpload(t.Context(), u, meta.Blob{Digest: oci.SHA256.FromBytes([]byte(content)), Key: u.Key, Size: int64(len(content))}, event.Actor{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.UnlinkBlob(t.Context(), a, oci.SHA256.FromBytes([]byte("lost")), event.Actor{}); err != nil {
		t.Fatal(err)
	}
	mustPut(t, db, imageOf(t, a, "v1", "y"))
	mustPut(t, db, imageOf(t, a, "v1", "x", "y"))
	inTrash(t, db, a)
	for _, u := range []meta.Upload{{ID: "open", Repo: a, Key: "open key"}, {ID: "1", Repo: a, Key: "gone"}, {ID: "2", Repo: a, Key: "gone too"}} {
		if err := db.CreateUpload(t.Context(), u); err != nil {
			t.Fatal(err)
		}
		if u.ID != "open" {
			if err := db.DropUpload(t.Context(), u); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// inTrash deletes a repository with one image, which is entry 2 of the trash, and
// an image of a, which is entry 3. A third one is given up already.
func inTrash(t *testing.T, db *DB, a oci.Repo) {
	t.Helper()
	x, c := oci.SHA256.FromBytes([]byte("x")), mustRepo(t, "c")
	if err := db.LinkBlob(t.Context(), a, c, x, event.Actor{}); err != nil {
		t.Fatal(err)
	}
	mustPut(t, db, imageOf(t, c, "v1", "x"))
	if _, err := db.DeleteRepo(t.Context(), c, event.Actor{}); err != nil {
		t.Fatal(err)
	}
	for _, tag := range []string{"v8", "v9"} {
		p := imageOf(t, a, tag, "x", tag)
		mustPut(t, db, p)
		if err := db.DeleteManifest(t.Context(), a, p.Digest, event.Actor{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.DropTrash(t.Context(), 4); err != nil {
		t.Fatal(err)
	}
}

// dump writes everything that is in the database.
func dump(t *testing.T, db *DB) string {
	t.Helper()
	var b strings.Builder
	for _, table := range []string{"repos", "blobs", "repo_blobs", "manifests", "manifest_refs", "tags", "losses", "garbage", "uploads", "clock",
		"tag_history", "event_readers", "pulls", "trash", "trash_tags", "untold", "(SELECT seq, action, kind, repo, digest, tag FROM events)"} {
		rows, err := db.reader.pool.QueryContext(t.Context(), "SELECT * FROM "+table)
		if err != nil {
			t.Fatal(err)
		}
		columns, err := rows.Columns()
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			values := make([]any, len(columns))
			for i := range values {
				values[i] = new(any)
			}
			if err := rows.Scan(values...); err != nil {
				t.Fatal(err)
			}
			for _, v := range values {
				fmt.Fprintf(&b, "%v ", *v.(*any))
			}
			fmt.Fprintln(&b, "in", table)
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		rows.Close()
	}
	return b.String()
}

// A trial is one operation on a copy of a prepared database, with a clock that
// stands still at one second.
type trial struct {
	operation
	template string // the prepared database
	old      string // its dump
	want     string // its dump after the operation
}

func newTrial(t *testing.T, template string, op operation) *trial {
	t.Helper()
	tr := &trial{operation: op, template: template}
	db := tr.open(t, nil)
	defer db.Close()
	tr.old = dump(t, db)
	if err := op.do(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	if tr.want = dump(t, db); tr.want == tr.old {
		t.Error("the operation changes nothing")
	}
	return tr
}

// open opens a copy of the template.
func (tr *trial) open(t *testing.T, wrap func(driver.Connector) driver.Connector) *DB {
	t.Helper()
	path := filepath.Join(t.TempDir(), "berth.db")
	if err := copyFile(tr.template, path); err != nil {
		t.Fatal(err)
	}
	return mustOpen(t, frozen(path, wrap))
}

func frozen(path string, wrap func(driver.Connector) driver.Connector) Options {
	began := false
	return Options{
		Path: path, Trash: time.Hour, Now: func() time.Time { return time.Unix(1, 0) }, wrap: wrap,
		Running: func() time.Duration {
			if !began { // while it is being opened
				began = true
				return 0
			}
			return time.Second
		},
	}
}

// TestEveryFault makes every single call to the driver fail, one after the other,
// in every operation. Afterwards the database is as it was before or as it ought
// to be, also for whoever opens it anew, it is right, and it can be used.
func TestEveryFault(t *testing.T) {
	template := filepath.Join(t.TempDir(), "template.db")
	db := mustOpen(t, frozen(template, nil))
	prepare(t, db)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, op := range operations(t) {
		t.Run(op.name, func(t *testing.T) {
			t.Parallel()
			tr := newTrial(t, template, op)
			for mode := range dead + 1 {
				for n := 1; tr.fault(t, n, mode); n++ {
					if n > 200 {
						t.Fatal("the operation never gets through")
					}
				}
			}
		})
	}
}

// fault tries the operation with the n-th call failing, and reports whether there
// was one.
func (tr *trial) fault(t *testing.T, n int, mode failure) bool {
	t.Helper()
	s := newSpy()
	db := tr.open(t, func(c driver.Connector) driver.Connector { return spiedConnector{c, s} })
	defer db.Close()
	s.arm(n, mode)
	err := tr.do(t.Context(), db)
	text, failed := s.disarm()
	where := fmt.Sprintf("call %d (%s) failing %d", n, strings.Join(strings.Fields(text), " "), mode)
	if !failed {
		if err != nil {
			t.Fatalf("without a fault: %v", err)
		}
		return false
	}
	now := dump(t, db)
	switch {
	case now != tr.old && now != tr.want:
		t.Errorf("%s: half done:\n%s\nwant\n%s", where, now, tr.want)
	case now == tr.old && err == nil:
		t.Errorf("%s: no error, and nothing done", where)
	}
	if err := db.Check(t.Context()); err != nil {
		t.Errorf("%s: %v", where, err)
	}
	again := mustOpen(t, frozen(db.path, nil))
	if fresh := dump(t, again); fresh != now {
		t.Errorf("%s: whoever opens it anew sees another state", where)
	}
	if err := errors.Join(again.reader.close(), again.writer.close()); err != nil { // without saving the clock
		t.Error(err)
	}
	if now == tr.old {
		if err := tr.do(t.Context(), db); err != nil {
			t.Errorf("%s: trying again: %v", where, err)
		} else if got := dump(t, db); got != tr.want {
			t.Errorf("%s: trying again: got\n%s\nwant\n%s", where, got, tr.want)
		}
	}
	return true
}

// TestFaultWhileOpening makes every call of Open fail: the next Open succeeds.
func TestFaultWhileOpening(t *testing.T) {
	s := newSpy()
	for n := 1; ; n++ {
		path := filepath.Join(t.TempDir(), "berth.db")
		s.arm(n, before)
		db, err := Open(t.Context(), Options{Path: path, wrap: func(c driver.Connector) driver.Connector { return spiedConnector{c, s} }})
		text, failed := s.disarm()
		if err == nil {
			db.Close()
		}
		if !failed {
			if err != nil {
				t.Fatal(err)
			}
			return
		}
		db = mustOpen(t, Options{Path: path})
		if err := db.Check(t.Context()); err != nil {
			t.Errorf("after call %d (%s) failed: %v", n, text, err)
		}
		db.Close()
	}
}
