package sqlmeta

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"berth/internal/blob"
	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/meta/hot"
	"berth/internal/oci"
)

// A moments connector calls before and after around every COMMIT of the writer,
// and read behind every query that a reader has begun. The database is then as it
// was or will be, and nobody has been told.
type moments struct {
	before, after, read func(text string)
}

func (m *moments) wrap(c driver.Connector) driver.Connector { return momentConnector{c, m} }

type momentConnector struct {
	driver.Connector
	*moments
}

func (c momentConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &momentConn{&spiedConn{Conn: conn, spy: newSpy()}, c.moments}, nil
}

type momentConn struct {
	*spiedConn
	*moments
}

func (c *momentConn) PrepareContext(ctx context.Context, text string) (driver.Stmt, error) {
	s, err := c.spiedConn.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	return momentStmt{s.(*spiedStmt), c.moments}, nil
}

type momentStmt struct {
	*spiedStmt
	*moments
}

func (s momentStmt) ExecContext(ctx context.Context, a []driver.NamedValue) (driver.Result, error) {
	if s.text == "COMMIT" && s.before != nil {
		s.before(s.text)
	}
	res, err := s.spiedStmt.ExecContext(ctx, a)
	if s.text == "COMMIT" && err == nil && s.after != nil {
		s.after(s.text)
	}
	return res, err
}

func (s momentStmt) QueryContext(ctx context.Context, a []driver.NamedValue) (driver.Rows, error) {
	rows, err := s.spiedStmt.QueryContext(ctx, a)
	if err == nil && s.read != nil {
		s.read(s.text)
	}
	return rows, err
}

// wrongInMemory returns what is in memory and not so in the database. Lists are
// not looked at.
func wrongInMemory(ctx context.Context, db *DB) (wrong []string) {
	if db.hot == nil || db.reader == nil {
		return nil
	}
	q := &reader{pool: db.reader.pool, dialect: db.reader.dialect}
	db.hot.All(func(k hot.Key, value any) bool {
		if has, err := inDatabase(ctx, q, k, value); k.Kind < hotTags && (err != nil || has != inMemory(value)) {
			wrong = append(wrong, fmt.Sprintf("%+v is %q in memory and %q in the database, %v", k, inMemory(value), has, err))
		}
		return true
	})
	err := everyKey(ctx, q, func(k hot.Key) bool {
		if db.unknown.Lacks(k) {
			wrong = append(wrong, fmt.Sprintf("%+v is in the database, and in memory it is surely unknown", k))
		}
		return true
	}, func(context.Context, time.Duration) error { return nil })
	if err != nil {
		wrong = append(wrong, err.Error())
	}
	return wrong
}

func inMemory(value any) string {
	switch v := value.(type) {
	case *hotRepoRow:
		if !v.listed { // then that is not known
			return fmt.Sprintln(v.id)
		}
		return fmt.Sprintln(v.id, v.listed)
	case *oci.Digest:
		return v.String()
	case *hotManifestRow:
		return fmt.Sprintln(v.id, v.Digest, v.MediaType, v.Subject, v.Pushed.UnixMicro(), string(v.Body))
	case *hotMember:
		return fmt.Sprintln(v.touched, v.candidate)
	case *meta.Blob:
		return fmt.Sprintln(v.Digest, v.Key, v.Size, v.Damaged)
	case bool:
		return "nowhere"
	}
	return fmt.Sprintf("a %T", value)
}

func inDatabase(ctx context.Context, q querier, k hot.Key, value any) (string, error) {
	var a, b, c, body string
	var n, id int64
	var flag bool
	switch k.Kind {
	case hotRepo:
		err := q.get(ctx, `SELECT id, listed FROM repos WHERE name = $1`, args{k.Name}, &n, &flag)
		if value.(*hotRepoRow).listed {
			return fmt.Sprintln(n, flag), err
		}
		return fmt.Sprintln(n), err
	case hotTag:
		err := q.get(ctx, `SELECT m.digest FROM tags t JOIN manifests m ON m.id = t.manifest_id AND m.repo_id = t.repo_id
			WHERE t.repo_id = $1 AND t.name = $2`, args{k.Repo, k.Name}, &a)
		return a, err
	case hotManifest:
		err := q.get(ctx, `SELECT id, digest, media_type, subject, pushed_us, body FROM manifests WHERE repo_id = $1 AND digest = $2`, args{k.Repo, k.Name}, &id, &a, &b, &c, &n, &body)
		return fmt.Sprintln(id, a, b, c, n, body), err
	case hotMembers:
		err := q.get(ctx, `SELECT touched, candidate FROM repo_blobs WHERE repo_id = $1 AND digest = $2`, args{k.Repo, k.Name}, &n, &flag)
		return fmt.Sprintln(n, flag), err
	case hotContents:
		if k.Page == nowhere {
			err := q.get(ctx, `SELECT CASE WHEN EXISTS (SELECT 1 FROM blobs WHERE digest = $1) THEN 'somewhere' ELSE 'nowhere' END`, args{k.Name}, &a)
			return a, err
		}
		err := q.get(ctx, `SELECT digest, key, size, damaged FROM blobs WHERE digest = $1`, args{k.Name}, &a, &b, &n, &flag)
		return fmt.Sprintln(a, b, n, flag), err
	}
	return "", nil
}

// openHot opens a database with a memory whose commits are watched: right after
// each, everything in memory is so in the database, and right before each that is
// not of records.
func openHot(t *testing.T, m *moments) *DB {
	t.Helper()
	var db *DB
	m.before = func(string) { reportWrong(t, db, "before a COMMIT") }
	m.after = func(string) { reportWrong(t, db, "after a COMMIT") }
	db = mustOpen(t, Options{Path: filepath.Join(t.TempDir(), "berth.db"), Memory: 1 << 20, Grace: time.Hour, Trash: time.Hour, wrap: m.wrap})
	t.Cleanup(func() { db.Close() })
	return db
}

func reportWrong(t *testing.T, db *DB, when string) {
	if db == nil || when == "before a COMMIT" && db.writer.redo.dirty.Load() { // then it has what is recorded
		return
	}
	if !strings.HasSuffix(when, " a COMMIT") {
		if err := db.writer.settled(t.Context()); err != nil {
			t.Error(err)
		}
	}
	for _, w := range wrongInMemory(context.Background(), db) {
		t.Errorf("%s: %s", when, w)
	}
}

// bodyAt returns the body that a tag leads to; empty if there is no such tag.
func bodyAt(t *testing.T, db *DB, repo oci.Repo, tag string) string {
	t.Helper()
	m, err := db.FindManifest(t.Context(), repo, oci.Ref{Tag: mustTag(t, tag)})
	if err != nil && !errors.Is(err, meta.ErrNotFound) {
		t.Fatal(err)
	}
	return string(m.Body)
}

// TestLateFill holds that what was read before a change is not kept after it,
// wherever in between the change is made.
func TestLateFill(t *testing.T) {
	m := &moments{}
	db := openHot(t, m)
	a := mustRepo(t, "a")
	one, two := imageOf(t, a, "x"), imageOf(t, a, "x", "layer")
	pushBlob(t, db, a, "layer")
	puts := []meta.ManifestPut{two, one}
	mustPut(t, db, one)
	for range 4 {
		unrecorded(t, db)
		db.hot.Forget()
		m.read = func(text string) {
			if text == sqliteDialect().rebind(sqlManifestByTag) {
				m.read = nil // the reader has its answer, and has not put it yet
				unrecorded(t, db)
				mustPut(t, db, puts[0])
			}
		}
		was := bodyAt(t, db, a, "x")
		if m.read != nil {
			t.Fatal("the tag was not read from the database")
		}
		if want := string(puts[0].Manifest.Body); was == want || bodyAt(t, db, a, "x") != want {
			t.Errorf("after %q the tag leads to %q, want %q", was, bodyAt(t, db, a, "x"), want)
		}
		puts[0], puts[1] = puts[1], puts[0]
	}
}

// TestPutBehindRecord holds that what somebody has read before a change was recorded,
// and puts into memory after it was answered, is not kept.
func TestPutBehindRecord(t *testing.T) {
	db := openHot(t, &moments{})
	a := mustRepo(t, "a")
	one, two := imageOf(t, a, "x"), imageOf(t, a, "x", "layer")
	pushBlob(t, db, a, "layer")
	mustPut(t, db, one)
	touchClock(t, db)
	id, ok := hotNumber(db.hot.View(), a)
	if !ok {
		t.Fatal("the repository is not in memory")
	}
	seq, moment := db.writer.redo.seq, db.hot.Moment()
	mustPut(t, db, two)
	if db.writer.redo.seq == seq {
		t.Fatal("nothing was recorded: this tests nothing")
	}
	k := hot.Key{Kind: hotTag, Repo: id, Name: "x"}
	db.hot.Put(moment, k, &one.Digest, sizeTag(one.Digest))
	if got := bodyAt(t, db, a, "x"); got != string(two.Manifest.Body) {
		t.Errorf("the tag leads to %q", got)
	}
	if err := db.DeleteTag(t.Context(), a, one.Tags[0], event.Actor{}); err != nil {
		t.Fatal(err)
	}
	db.hot.Put(moment, k, &one.Digest, sizeTag(one.Digest))
	if got := bodyAt(t, db, a, "x"); got != "" {
		t.Errorf("the tag that is gone leads to %q", got)
	}
}

// unrecorded sees to it that the next change is committed as a whole.
func unrecorded(t *testing.T, db *DB) {
	t.Helper()
	if err := db.writer.settled(t.Context()); err != nil {
		t.Fatal(err)
	}
	db.writer.redo.stop()
}

// TestFillDuringCommit holds that what is read while a change is being committed is
// not kept, and that the change is seen by all who are told of it.
func TestFillDuringCommit(t *testing.T) {
	for _, moment := range []string{"before", "after"} {
		m := &moments{}
		db := openHot(t, m)
		a := mustRepo(t, "a")
		one, two := imageOf(t, a, "x"), imageOf(t, a, "x", "layer")
		pushBlob(t, db, a, "layer")
		mustPut(t, db, one)
		bodyAt(t, db, a, "x")
		unrecorded(t, db)
		seen := ""
		look := func(string) {
			m.before, m.after = nil, nil
			seen = bodyAt(t, db, a, "x")
		}
		want := string(one.Manifest.Body)
		if m.before = look; moment == "after" {
			m.before, m.after, want = nil, look, string(two.Manifest.Body)
		}
		mustPut(t, db, two)
		if seen != want {
			t.Errorf("%s COMMIT the tag leads to %q, want %q", moment, seen, want)
		}
		if got := bodyAt(t, db, a, "x"); got != string(two.Manifest.Body) {
			t.Errorf("%s: afterwards it leads to %q", moment, got)
		}
		m.before, m.after = nil, nil
		unrecorded(t, db)
		if seen, want = "", ""; moment == "before" {
			m.before, want = look, string(two.Manifest.Body)
		} else {
			m.after = look
		}
		if err := db.DeleteTag(t.Context(), a, one.Tags[0], event.Actor{}); err != nil {
			t.Fatal(err)
		}
		if got := bodyAt(t, db, a, "x"); seen != want || got != "" {
			t.Errorf("%s the tag is removed it leads to %q, want %q; then to %q", moment, seen, want, got)
		}
		reportWrong(t, db, "at the end")
	}
}

// TestHotAfterFailures holds that the memory is right, and in use again, after
// commits that fail in every way and mutations that panic or are undone.
func TestHotAfterFailures(t *testing.T) {
	s := newSpy()
	db := mustOpen(t, Options{
		Path: filepath.Join(t.TempDir(), "berth.db"), Memory: 1 << 20, Doubt: func(err error) { t.Error(err) },
		wrap: func(c driver.Connector) driver.Connector { return spiedConnector{c, s} },
	})
	defer db.Close()
	a := mustRepo(t, "a")
	pushBlob(t, db, a, "layer")
	puts := []meta.ManifestPut{imageOf(t, a, "x"), imageOf(t, a, "x", "layer")}
	mustPut(t, db, puts[0])
	for i, mode := range []failure{before, after, dead, before, after, dead} {
		for n := 1; ; n++ {
			next := puts[1]
			if bodyAt(t, db, a, "x") == string(next.Manifest.Body) {
				next = puts[0]
			}
			if i > int(dead) {
				unrecorded(t, db)
			}
			s.arm(n, mode)
			_, err := db.PutManifest(t.Context(), next)
			_, failed := s.disarm()
			reportWrong(t, db, fmt.Sprint("when call ", n, " has failed"))
			bodyAt(t, db, a, "x") // and Doubt looks whether it is so
			hits := db.Hot().Hits
			if bodyAt(t, db, a, "x"); db.Hot().Hits == hits {
				t.Errorf("when call %d has failed, the memory is not in use", n)
			}
			if !failed {
				break
			}
			if err == nil && mode != after {
				t.Errorf("call %d failed, and nobody was told", n)
			}
		}
	}
	panics := func() {
		defer func() { _ = recover() }()
		_ = db.write(t.Context(), durable, func(ctx context.Context, x *tx) error {
			_, err := x.putManifest(ctx, puts[0])
			if err == nil {
				_, err = x.putManifest(ctx, puts[1])
			}
			panic(fmt.Sprint("so it ends: ", err))
		})
	}
	panics()
	bodyAt(t, db, a, "x")
	mustPut(t, db, puts[0])
	mustPut(t, db, puts[1])
	hits := db.Hot().Hits
	if bodyAt(t, db, a, "x") != string(puts[1].Manifest.Body) || db.Hot().Hits == hits {
		t.Error("the memory is not in use after failures")
	}
	reportWrong(t, db, "at the end")
}

// TestReadYourWrites moves and removes tags while others read them. Nobody reads
// what was before something that he could know of.
func TestReadYourWrites(t *testing.T) {
	const writers, rounds = 4, 60
	db := mustOpen(t, Options{Path: filepath.Join(t.TempDir(), "berth.db"), Memory: 24 << 10, Doubt: func(err error) { t.Error(err) }})
	defer db.Close()
	a := mustRepo(t, "a")
	var begun, done [writers]atomic.Int64
	var writing, reading sync.WaitGroup
	stop := make(chan struct{})
	at := func(i int) int64 { // the version that is seen; -1 if it was removed
		m, err := db.FindManifest(t.Context(), a, oci.Ref{Tag: mustTag(t, fmt.Sprint("t", i))})
		n := int64(-1)
		if err == nil {
			_, err = fmt.Sscanf(string(m.Body), "image of version %d", &n)
		}
		if err != nil && !errors.Is(err, meta.ErrNotFound) {
			t.Error(err)
		}
		return n
	}
	read := func(i int) {
		least := done[i].Load()
		n := at(i)
		most := begun[i].Load()
		// Odd versions are put, and removed by the even ones behind them.
		if n >= 0 && (n < least || n > most) || n < 0 && least == most && least%2 == 1 {
			t.Errorf("tag %d: version %d is read, where %d was done and %d begun", i, n, least, most)
		}
	}
	for i := range writers {
		writing.Go(func() {
			for v := int64(1); v <= rounds; v++ {
				begun[i].Store(v)
				var err error
				if v%2 == 1 {
					p := imageOf(t, a, fmt.Sprint("t", i))
					p.Manifest.Body = fmt.Appendf(nil, "image of version %d of %d", v, i)
					p.Digest = oci.SHA256.FromBytes(p.Manifest.Body)
					_, err = db.PutManifest(t.Context(), p)
				} else {
					err = db.DeleteTag(t.Context(), a, mustTag(t, fmt.Sprint("t", i)), event.Actor{})
				}
				if err != nil {
					t.Error(err)
				}
				done[i].Store(v)
				read(i)
			}
		})
		reading.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					for i := range writers {
						read(i)
					}
				}
			}
		})
	}
	writing.Wait()
	close(stop)
	reading.Wait()
	if s := db.Hot(); s.Hits == 0 {
		t.Errorf("nothing was read from memory: %+v", s)
	}
}

// TestRepush holds that a push of what is there asks the database nothing, as long
// as all of it is in memory, and that whatever has changed is noticed.
func TestRepush(t *testing.T) {
	db := mustOpen(t, Options{Path: filepath.Join(t.TempDir(), "berth.db"), Memory: 1 << 20, Grace: time.Hour})
	defer db.Close()
	a := mustRepo(t, "a")
	pushBlob(t, db, a, "one")
	two := pushBlob(t, db, a, "two")
	p := imageOf(t, a, "x", "one", "two")
	again := func(what string, queries int64) {
		t.Helper()
		before, changes := db.Stats(), db.Changes()
		mustPut(t, db, p)
		if got := db.Stats().Queries - before.Queries; got != queries && queries >= 0 || queries >= 0 && db.Changes() != changes {
			t.Errorf("%s: %d queries and %d changes, want %d queries", what, got, db.Changes()-changes, queries)
		}
	}
	mustPut(t, db, p)
	again("pushed again", 0)
	db.hot.Forget()
	again("nothing is in memory", -1)
	again("and then it is", 0)
	if err := db.MarkDamaged(t.Context(), two.Digest, two.Key); err != nil {
		t.Fatal(err)
	}
	var missing *meta.MissingError
	if _, err := db.PutManifest(t.Context(), p); !errors.As(err, &missing) {
		t.Errorf("a part is damaged: %v", err)
	}
	u := meta.Upload{ID: "heal", Repo: a, Key: blob.NewKey(), Algorithm: oci.SHA256}
	if err := db.CreateUpload(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	if _, err := db.CommitUpload(t.Context(), u, meta.Blob{Digest: two.Digest, Key: u.Key, Size: 3}, event.Actor{}); err != nil {
		t.Fatal(err)
	}
	again("healed", 0)
	if err := db.DeleteTag(t.Context(), a, p.Tags[0], event.Actor{}); err != nil {
		t.Fatal(err)
	}
	again("without its tag", -1)
	if bodyAt(t, db, a, "x") == "" {
		t.Error("the tag is not there again")
	}
	if err := db.DeleteManifest(t.Context(), a, p.Digest, event.Actor{}); err != nil {
		t.Fatal(err)
	}
	again("deleted", -1)
	if bodyAt(t, db, a, "x") == "" {
		t.Error("the manifest is not there again")
	}
	again("all is there", 0)
}

// TestUndoneIsNotPut holds that of a transaction that mutations share nothing is in
// memory of those that were undone, and all of the others.
func TestUndoneIsNotPut(t *testing.T) {
	m := &moments{}
	db := openHot(t, m)
	a := mustRepo(t, "a")
	one, two := imageOf(t, a, "x"), imageOf(t, a, "x", "layer")
	pushBlob(t, db, a, "layer")
	mustPut(t, db, one)
	entered, queued := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() { // keeps the writer until the others wait for it
		_ = db.write(t.Context(), relaxed, func(context.Context, *tx) error {
			close(entered)
			<-queued
			return nil
		})
	})
	<-entered
	refused := errors.New("refused")
	all.Go(func() {
		err := db.write(t.Context(), durable, func(ctx context.Context, x *tx) error {
			if _, err := x.putManifest(ctx, two); err != nil {
				return err
			}
			return refused
		})
		if !errors.Is(err, refused) {
			t.Error(err)
		}
	})
	other := imageOf(t, a, "y")
	all.Go(func() { mustPut(t, db, other) })
	for waiting := 0; waiting < 2; {
		db.writer.mu.Lock()
		waiting = len(db.writer.waiting)
		db.writer.mu.Unlock()
	}
	close(queued)
	all.Wait()
	reportWrong(t, db, "when one of two was undone")
	if got := bodyAt(t, db, a, "x"); got != string(one.Manifest.Body) {
		t.Errorf("the tag leads to %q, which was undone", got)
	}
	if bodyAt(t, db, a, "y") == "" {
		t.Error("the other one is not there")
	}
}

// TestCrowdSharesList holds that callers who want the same list at once read it no
// more often than there are connections.
func TestCrowdSharesList(t *testing.T) {
	db := mustOpen(t, Options{Path: filepath.Join(t.TempDir(), "berth.db"), Memory: 1 << 20})
	t.Cleanup(func() { db.Close() })
	a := mustRepo(t, "a")
	pushBlob(t, db, a, "x")
	mustPut(t, db, imageOf(t, a, "v1", "x"))
	settleNow(t, db) // or each of the first asks once more when that is done
	before := db.reader.queries.Load()
	var crowd sync.WaitGroup
	for range 200 {
		crowd.Go(func() {
			if list, err := db.TagNames(t.Context(), a, "", 100); err != nil || len(list) != 1 {
				t.Errorf("got %v, %v", list, err)
			}
		})
	}
	crowd.Wait()
	if n := db.reader.queries.Load() - before; n > int64(cap(db.finding)) {
		t.Errorf("read %d times over %d connections", n, cap(db.finding))
	}
}
