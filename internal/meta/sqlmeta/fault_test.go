package sqlmeta

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
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

	damage string // SQL that makes what there is to repair; the records contradict each other until then
	brief  bool   // one kind of failure of every third call is enough, but for BERTH_SOAK=1
}

// operations returns one of each. They are tried on what prepare made, and what
// they did is seen in the dump of the database.
func operations(t *testing.T) []operation {
	a, b := mustRepo(t, "a"), mustRepo(t, "b")
	x := oci.SHA256.FromBytes([]byte("x"))
	open := meta.Upload{ID: "open", Repo: a, Key: "open key", Algorithm: oci.SHA256}
	image, other := imageOf(t, a, "v1", "x", "y"), imageOf(t, a, "v1", "x", "nowhere")
	other.Tags = append(other.Tags, mustTag(t, "v2"))
	list := []operation{
		{name: "CommitUpload", do: func(ctx context.Context, db *DB) error {
			_, err := db.CommitUpload(ctx, open, meta.Blob{Digest: x, Key: "second key", Size: 1}, event.Actor{})
			return err
		}},
		{name: "DropUpload", do: func(ctx context.Context, db *DB) error { return db.DropUpload(ctx, open) }},
		{name: "LinkBlob", do: func(ctx context.Context, db *DB) error { return db.LinkBlob(ctx, a, b, x, event.Actor{}) }},
		{name: "UnlinkBlob", do: func(ctx context.Context, db *DB) error {
			return db.UnlinkBlob(ctx, a, oci.SHA256.FromBytes([]byte("loose")), event.Actor{})
		}},
		{name: "TouchBlob", do: func(ctx context.Context, db *DB) error { return db.TouchBlob(ctx, a, x) }},
		{name: "MarkDamaged", do: func(ctx context.Context, db *DB) error { return db.MarkDamaged(ctx, x, "key of x") }},
		{name: "PutManifest", do: func(ctx context.Context, db *DB) error { _, err := db.PutManifest(ctx, other); return err }},
		{name: "DeleteManifest", do: func(ctx context.Context, db *DB) error { return db.DeleteManifest(ctx, a, image.Digest, event.Actor{}) }},
		{name: "DeleteTag", do: func(ctx context.Context, db *DB) error { return db.DeleteTag(ctx, a, image.Tags[0], event.Actor{}) }},
		{name: "SetTag", do: func(ctx context.Context, db *DB) error {
			_, err := db.SetTag(ctx, meta.TagSet{Repo: a, Tag: image.Tags[0], Cause: meta.ByRollback})
			return err
		}},
		{name: "SetTag out of the trash", do: func(ctx context.Context, db *DB) error {
			_, err := db.SetTag(ctx, meta.TagSet{Repo: a, Tag: image.Tags[0], To: imageOf(t, a, "v8", "x", "v8").Digest, Cause: meta.BySet})
			return err
		}},
		{name: "TrimHistory", do: func(ctx context.Context, db *DB) error { _, err := db.TrimHistory(ctx, 0, 10); return err }},
		{name: "ExpireUploads", do: func(ctx context.Context, db *DB) error { _, err := db.ExpireUploads(ctx, 0, 10); return err }},
		{name: "CollectBlobs", do: func(ctx context.Context, db *DB) error { _, _, err := db.CollectBlobs(ctx, 0, 10); return err }},
		{name: "Forget", do: func(ctx context.Context, db *DB) error { return db.Forget(ctx, []blob.Key{"gone", "gone too"}) }},
		{name: "ForgetLosses", do: func(ctx context.Context, db *DB) error { _, err := db.ForgetLosses(ctx, 0, 10); return err }},
		{name: "Subscribe", do: func(ctx context.Context, db *DB) error { _, err := db.Subscribe(ctx, "new", meta.NeedNews); return err }},
		{name: "Advance", do: func(ctx context.Context, db *DB) error { return db.Advance(ctx, "reader", 1) }},
		{name: "Unsubscribe", do: func(ctx context.Context, db *DB) error { return db.Unsubscribe(ctx, "reader") }},
		{name: "FlushUses", do: func(ctx context.Context, db *DB) error {
			db.NoteUse(a, image.Digest, meta.Pulled)
			return db.FlushUses(ctx)
		}},
		{name: "DeleteRepo", do: func(ctx context.Context, db *DB) error { _, err := db.DeleteRepo(ctx, a, event.Actor{}); return err }},
		{name: "Discard", do: func(ctx context.Context, db *DB) error {
			_, err := db.Discard(ctx, meta.Discard{Repo: a, Tags: []meta.Tag{{Name: image.Tags[0], Digest: image.Digest}}, Manifests: []oci.Digest{image.Digest}, Reason: meta.ReasonRetention})
			return err
		}},
		{name: "RestoreRepo", do: func(ctx context.Context, db *DB) error { _, err := db.Restore(ctx, meta.Restore{ID: 2}); return err }},
		{name: "RestoreManifest", do: func(ctx context.Context, db *DB) error { _, err := db.Restore(ctx, meta.Restore{ID: 3}); return err }},
		{name: "DropTrash", do: func(ctx context.Context, db *DB) error { return db.DropTrash(ctx, 1, 2) }},
		{name: "ExpireTrash", do: func(ctx context.Context, db *DB) error { _, err := db.ExpireTrash(ctx, 10); return err }},
		{name: "SaveClock", do: func(ctx context.Context, db *DB) error { return db.SaveClock(ctx) }},
	}
	more := append(restores(t), mends(t)...)
	for i := range more {
		more[i].brief = true
	}
	return append(list, more...)
}

// restores returns the ways in which something comes back, and in which several
// things go at once.
func restores(t *testing.T) []operation {
	a, image := mustRepo(t, "a"), imageOf(t, mustRepo(t, "a"), "v1", "x", "y")
	of := func(name string, p meta.Restore) operation {
		return operation{name: name, do: func(ctx context.Context, db *DB) error { _, err := db.Restore(ctx, p); return err }}
	}
	return []operation{
		of("RestoreRepo as another", meta.Restore{ID: 2, As: mustRepo(t, "d")}),
		of("RestoreRepo to one that has something", meta.Restore{ID: 2, As: a, Force: true}),
		of("Restore of the last blobs", meta.Restore{ID: 5}),
		of("Restore of one image", meta.Restore{ID: 2, Only: oci.Ref{Tag: mustTag(t, "v1")}, As: mustRepo(t, "d")}),
		of("RestoreTag", meta.Restore{ID: 6}),
		of("RestoreTag by force", meta.Restore{ID: 6, Force: true}),
		of("RestoreBlob", meta.Restore{ID: 1}),
		{name: "Discard whole", do: func(ctx context.Context, db *DB) error {
			_, err := db.Discard(ctx, meta.Discard{
				Repo: a, Tags: []meta.Tag{{Name: image.Tags[0], Digest: image.Digest}}, Manifests: []oci.Digest{image.Digest}, Reason: meta.ReasonRetention, Whole: true,
			})
			return err
		}},
		{name: "Prune", do: func(ctx context.Context, db *DB) error { _, err := db.Prune(ctx, a, time.Unix(2, 0), 1); return err }},
		{name: "RecordRepo", do: func(ctx context.Context, db *DB) error { _, err := db.RecordRepo(ctx, 1); return err },
			damage: `INSERT INTO untold (repo_id, name, action, after, time_us, actor) SELECT id, 'a', 'push', '', 1, '{}' FROM repos WHERE name = 'a'`},
		{name: "SaveScrub", do: func(ctx context.Context, db *DB) error {
			return db.SaveScrub(ctx, meta.ScrubState{Cursor: "sha256:", Began: time.Unix(1, 0), Bytes: 1})
		}},
		{name: "NoteManifest", do: func(ctx context.Context, db *DB) error { return db.NoteManifest(ctx, 1) }},
		{name: "ForgetManifest", do: func(ctx context.Context, db *DB) error { return db.ForgetManifest(ctx, 1) },
			damage: `INSERT INTO damaged_manifests VALUES (1)`},
	}
}

// mends returns the repairs, each with something to repair.
func mends(t *testing.T) []operation {
	image := imageOf(t, mustRepo(t, "a"), "v1", "x", "y").Digest.String()
	digest := func(content string) string { return oci.SHA256.FromBytes([]byte(content)).String() }
	of := func(fault meta.Fault, digest, name, damage string) operation {
		return operation{name: "Mend " + string(fault), damage: damage, do: func(ctx context.Context, db *DB) error {
			id, err := db.AuditRepoID(ctx, mustRepo(t, "a"))
			if err == nil {
				_, err = db.Mend(ctx, meta.Contradiction{Fault: fault, Repo: meta.AuditRepo{ID: id, Name: "a"}, Digest: digest, Name: name})
			}
			return err
		}}
	}
	manifest := func(ctx context.Context, db *DB) (meta.AuditManifest, error) {
		id, err := db.AuditRepoID(ctx, mustRepo(t, "a"))
		if err != nil {
			return meta.AuditManifest{}, err
		}
		return db.FindAuditManifestOf(ctx, id, image)
	}
	const ofA = ` repo_id = (SELECT id FROM repos WHERE name = 'a')`
	return []operation{
		of(meta.FaultListed, "", "", `UPDATE repos SET listed = 0 WHERE name = 'a'`),
		of(meta.FaultUnheld, digest("y"), "", `DELETE FROM repo_blobs WHERE digest = '`+digest("y")+`'`),
		of(meta.FaultForgotten, digest("loose"), "", `UPDATE repo_blobs SET candidate = 0 WHERE digest = '`+digest("loose")+`'`),
		of(meta.FaultMember, digest("loose"), "", `DELETE FROM blobs WHERE digest = '`+digest("loose")+`'`),
		of(meta.FaultKeyGarbage, digest("x"), "key of x", `INSERT INTO garbage VALUES ('key of x', 1)`),
		of(meta.FaultTag, "", "v1", `UPDATE tags SET digest = 'sha256:else' WHERE name = 'v1' AND`+ofA),
		{name: "Mend " + string(meta.FaultOrphan), damage: `INSERT INTO losses VALUES (999, 'sha256:', 1)`, do: func(ctx context.Context, db *DB) error {
			_, err := db.Mend(ctx, meta.Contradiction{Fault: meta.FaultOrphan, Repo: meta.AuditRepo{ID: 999}, Name: "losses"})
			return err
		}},
		of(meta.FaultPartLost, digest("x"), image, `DELETE FROM repo_blobs WHERE digest = '`+digest("x")+`' AND`+ofA),
		of(meta.FaultManifestSize, image, "", `UPDATE manifests SET size = 1 WHERE digest = '`+image+`'`),
		{name: "Reinstate", damage: `DELETE FROM repo_blobs WHERE digest = '` + digest("y") + `'; DELETE FROM blobs WHERE digest = '` + digest("y") + `'`,
			do: func(ctx context.Context, db *DB) error {
				_, err := db.Reinstate(ctx, meta.Blob{Digest: oci.SHA256.FromBytes([]byte("y")), Key: "new key", Size: 1})
				return err
			}},
		{name: "MendReferences", damage: `DELETE FROM manifest_refs WHERE` + ofA, do: func(ctx context.Context, db *DB) error {
			m, err := manifest(ctx, db)
			if err == nil {
				_, err = db.MendReferences(ctx, m, []string{digest("x"), digest("y")})
			}
			return err
		}},
		{name: "EndUpload", do: func(ctx context.Context, db *DB) error {
			u, err := db.FindAuditUpload(ctx, "open")
			if err == nil {
				err = db.EndUpload(ctx, u)
			}
			return err
		}},
		{name: "CondemnUnknown", do: func(ctx context.Context, db *DB) error { return db.CondemnUnknown(ctx, "stray") }},
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
		if u.ID == "open" { // it keeps its key
			u.Size = 1
			if err := db.SaveUpload(t.Context(), u); err != nil {
				t.Fatal(err)
			}
		} else {
			if err := db.DropUpload(t.Context(), u); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// inTrash deletes a repository with one image, which is entry 2 of the trash, and
// an image of a, which is entry 3. The next one is given up already; entry 5 is a
// repository with a blob alone, which has something again, and 6 a tag that points
// to something else by now.
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
	e := mustRepo(t, "e")
	moved := imageOf(t, a, "moved", "x")
	mustPut(t, db, moved)
	for i, err := range []error{
		db.LinkBlob(t.Context(), a, e, x, event.Actor{}),
		func() error { _, err := db.DeleteRepo(t.Context(), e, event.Actor{}); return err }(),
		db.LinkBlob(t.Context(), a, e, oci.SHA256.FromBytes([]byte("y")), event.Actor{}),
		db.DeleteTag(t.Context(), a, moved.Tags[0], event.Actor{}),
	} {
		if err != nil {
			t.Fatal(i, err)
		}
	}
	mustPut(t, db, imageOf(t, a, "moved", "y", "x"))
}

// dump writes everything that is in the database.
func dump(t *testing.T, db *DB) string {
	t.Helper()
	var b strings.Builder
	if err := db.writer.settled(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"repos", "blobs", "repo_blobs", "manifests", "manifest_refs", "tags", "losses", "garbage", "clock",
		"scrub", "damaged_manifests", "tag_history", "event_readers", "pulls", "trash", "trash_tags", "untold", "(SELECT seq, action, kind, repo, digest, tag FROM events)"} {
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
	recorded bool   // the operation is recorded, in a transaction that is open
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
	if err := errors.Join(copyFile(tr.template, path), copyFile(tr.template+ledgerExt, path+ledgerExt)); err != nil {
		t.Fatal(err)
	}
	if tr.damage != "" {
		pool, err := sql.Open("sqlite", path)
		if err == nil {
			_, err = pool.ExecContext(t.Context(), tr.damage)
			err = errors.Join(err, pool.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
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
			soak, step := os.Getenv("BERTH_SOAK") != "", 1
			const ways = 2 * (dead + 1) // of failing: the change is recorded, or committed at once
			if !soak {                  // each way begins at another call, so that each call fails in one of them
				step = int(ways)
			}
			for mode := range ways {
				tr.recorded = mode > dead
				if tr.brief && !soak && mode%(dead+1) != after {
					continue
				}
				for n := 1 + int(mode)%step; tr.fault(t, n, mode%(dead+1)); n += step {
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
	if tr.recorded {
		touchClock(t, db)
	}
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
	if err := db.Check(t.Context()); err != nil && (tr.damage == "" || now != tr.old) {
		t.Errorf("%s: %v", where, err)
	}
	path := filepath.Join(t.TempDir(), "berth.db")
	copyFiles(t, db.path, path, "", "-wal", ledgerExt, redoExt)
	again := mustOpen(t, frozen(path, nil))
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
