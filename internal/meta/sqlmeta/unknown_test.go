package sqlmeta

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

func digestOf(content string) oci.Digest { return oci.SHA256.FromBytes([]byte(content)) }

func mustLearn(t *testing.T, db *DB) {
	t.Helper()
	if err := db.Learn(t.Context()); err != nil || db.hot != nil && !db.unknown.Whole() {
		t.Fatalf("it has learnt nothing: %v", err)
	}
}

// TestUnknown holds that nobody asks the database for what is surely unknown, once it
// has been learnt what there is, and that all there is is found, what came before as
// well as what came since, whoever had brought it.
func TestUnknown(t *testing.T) {
	path := filepath.Join(t.TempDir(), "berth.db")
	o := Options{Path: path, Memory: 1 << 20, Grace: time.Hour, Trash: time.Hour}
	db := mustOpen(t, o)
	a := mustRepo(t, "a")
	const before = learnAtOnce + 10 // more than is read at once
	for i := range before {
		pushBlob(t, db, a, fmt.Sprint("before", i))
	}
	mustPut(t, db, imageOf(t, a, "v1", "before1"))
	if err := db.UnlinkBlob(t.Context(), a, digestOf("before0"), event.Actor{}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = mustOpen(t, o)
	defer func() { db.Close() }()
	if has, anywhere, n := findBlob(t, db, a, digestOf("new")); has || anywhere || n != 1 {
		t.Errorf("before it has learnt anything: %t, %t, %d queries, want 1", has, anywhere, n)
	}
	mustLearn(t, db)
	if has, anywhere, n := findBlob(t, db, a, digestOf("newer")); has || anywhere || n != 0 {
		t.Errorf("what is surely unknown: %t, %t, %d queries, want 0", has, anywhere, n)
	}
	pushBlob(t, db, a, "new")
	pushBlob(t, db, a, "newer")
	for _, content := range []string{"new", "newer", "before1", fmt.Sprint("before", before-1)} {
		if has, anywhere, _ := findBlob(t, db, a, digestOf(content)); !has || !anywhere {
			t.Errorf("%s is not found", content)
		}
	}
	for _, wrong := range wrongInMemory(t.Context(), db) {
		t.Error(wrong)
	}
}

// TestLearnBehindRecords holds that what was answered and is not committed when a
// learning begins is known in the end: it is neither told of then, nor read.
func TestLearnBehindRecords(t *testing.T) {
	db := openHot(t, &moments{})
	a := mustRepo(t, "a")
	pushBlob(t, db, a, "first")
	mustLearn(t, db)
	for i := range 20 {
		content := fmt.Sprint("recorded", i)
		pushBlob(t, db, a, content)
		if i%2 == 0 {
			mustLearn(t, db)
		}
		if _, err := db.FindContent(t.Context(), digestOf(content)); err != nil {
			t.Fatalf("%s: %v", content, err)
		}
	}
	reportWrong(t, db, "in the end")
}

// TestKnownBeforeCommit holds that what is being committed is not unknown any more: who
// is told of it, and who reads it, comes later.
func TestKnownBeforeCommit(t *testing.T) {
	m := &moments{}
	db := openHot(t, m)
	a := mustRepo(t, "a")
	pushBlob(t, db, a, "first")
	mustLearn(t, db)
	known := false
	m.before = func(string) { known = !db.unknown.Lacks(ofDigest(digestOf("layer").String())) }
	unrecorded(t, db)
	pushBlob(t, db, a, "layer")
	if m.before = nil; !known {
		t.Error("it is unknown when it is committed")
	}
}

// TestUnknownWhilePushing has many push and ask, while it is learnt anew all the time.
// Whoever has pushed finds it, and nobody is told that there is what was not pushed.
func TestUnknownWhilePushing(t *testing.T) {
	db := openHot(t, &moments{})
	a := mustRepo(t, "a")
	pushBlob(t, db, a, "first")
	mustLearn(t, db)
	var pushing, learning sync.WaitGroup
	stop := make(chan struct{})
	learning.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if err := db.Learn(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
	for i := range 4 {
		pushing.Go(func() {
			for n := range 40 {
				content := fmt.Sprint("layer ", i, " ", n)
				if _, err := db.FindBlob(t.Context(), a, digestOf(content)); !isNotFound(err) {
					t.Errorf("%s before it is pushed: %v", content, err)
				}
				pushBlob(t, db, a, content)
				_, err := db.FindBlob(t.Context(), a, digestOf(content))
				_, cerr := db.FindContent(t.Context(), digestOf(content))
				if err = errors.Join(err, cerr); err != nil {
					t.Errorf("%s when it is pushed: %v", content, err)
				}
				p := imageOf(t, a, fmt.Sprint("t", i), content)
				mustPut(t, db, p)
				if m, err := db.FindManifest(t.Context(), a, oci.Ref{Tag: p.Tags[0]}); err != nil || m.Digest != p.Digest {
					t.Errorf("%s: the tag leads to %s, %v", content, m.Digest, err)
				}
			}
		})
	}
	pushing.Wait()
	close(stop)
	learning.Wait()
	settleNow(t, db)
	for _, wrong := range wrongInMemory(t.Context(), db) {
		t.Error(wrong)
	}
}

// TestLearnFails holds that what could not be read is not taken for what is not there.
func TestLearnFails(t *testing.T) {
	db := openHot(t, &moments{})
	pushBlob(t, db, mustRepo(t, "a"), "first")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := db.Learn(ctx); err == nil || db.unknown.Whole() {
		t.Errorf("%v; it knows: %t", err, db.unknown.Whole())
	}
	mustLearn(t, db)
}

// TestUnreadableRow holds that nothing is known any more when it cannot be read what a
// row is about to be.
func TestUnreadableRow(t *testing.T) {
	db := openHot(t, &moments{})
	mustLearn(t, db)
	for _, deleted := range []bool{true, false} {
		c := changes{unknown: db.unknown}
		was, is := []any{}, []any(nil)
		if !deleted {
			was, is = is, was
		}
		if c.row("blobs", was, is); db.unknown.Whole() || !c.all {
			t.Errorf("deleted %t: it knows %t, all is forgotten %t", deleted, db.unknown.Whole(), c.all)
		}
	}
}

// TestUnknownDoubted holds that an answer that is wrong would be noticed.
func TestUnknownDoubted(t *testing.T) {
	var doubts []error
	db := mustOpen(t, Options{Path: filepath.Join(t.TempDir(), "berth.db"), Memory: 1 << 20, Grace: time.Hour, Doubt: func(err error) { doubts = append(doubts, err) }})
	defer db.Close()
	pushBlob(t, db, mustRepo(t, "a"), "layer")
	db.hot.Forget()
	db.unknown.Begin()
	db.unknown.End() // it was not looked what there is
	if _, err := db.FindContent(t.Context(), digestOf("layer")); !errors.Is(err, meta.ErrNotFound) || len(doubts) != 1 {
		t.Errorf("%v; doubts: %v", err, doubts)
	}
	if wrong := wrongInMemory(t.Context(), db); len(wrong) == 0 {
		t.Error("it was not noticed that what is there is unknown")
	}
}

// TestUnknownManifests holds that nobody asks the database for a manifest or a tag that
// surely is not there, and that what comes and goes is seen at once.
func TestUnknownManifests(t *testing.T) {
	db := openHot(t, &moments{})
	a := mustRepo(t, "a")
	pushBlob(t, db, a, "layer")
	mustPut(t, db, imageOf(t, a, "v1", "layer"))
	mustLearn(t, db)
	p := imageOf(t, a, "v2", "layer")
	p.Manifest.Body = []byte("another image")
	p.Digest = oci.SHA256.FromBytes(p.Manifest.Body)
	want := func(when string, is bool) {
		t.Helper()
		settleNow(t, db)
		before := db.reader.queries.Load()
		for _, ref := range []oci.Ref{{Tag: p.Tags[0]}, {Digest: p.Digest}} {
			if m, err := db.FindManifest(t.Context(), a, ref); (err == nil) != is || err != nil && !isNotFound(err) {
				t.Errorf("%s: %s is %s, %v", when, ref, m.Digest, err)
			}
		}
		if n := db.reader.queries.Load() - before; n != 0 {
			t.Errorf("%s: %d queries, want none", when, n)
		}
	}
	want("before it comes", false)
	mustPut(t, db, p)
	want("when it is there", true)
	if err := db.DeleteTag(t.Context(), a, p.Tags[0], event.Actor{}); err != nil {
		t.Fatal(err)
	}
	if _, err := db.FindManifest(t.Context(), a, oci.Ref{Tag: p.Tags[0]}); !isNotFound(err) {
		t.Errorf("a tag that was removed: %v", err)
	}
	mustPut(t, db, p)
	want("when the tag is there again", true)
}

// TestPushAsksNothing holds that a push of what is new, and a tag for what is there, ask
// the database for nothing when all that they need is known, as it is from the second
// time on also if it was there before the start.
func TestPushAsksNothing(t *testing.T) {
	m := &moments{}
	db := mustOpen(t, Options{Path: filepath.Join(t.TempDir(), "berth.db"), Memory: 1 << 20, Grace: time.Hour, wrap: m.wrap})
	defer db.Close()
	a := mustRepo(t, "a")
	pushBlob(t, db, a, "layer")
	mustPut(t, db, imageOf(t, a, "v1", "layer"))
	mustLearn(t, db)
	asks := func(what string, most int, do func()) {
		t.Helper()
		settleNow(t, db)
		var n atomic.Int64
		m.read = func(text string) {
			if strings.HasPrefix(text, "SELECT") {
				n.Add(1)
			}
		}
		do()
		asked := n.Load()
		settleNow(t, db) // nobody else asks then
		if m.read = nil; int(asked) > most {
			t.Errorf("%s: %d queries, want at most %d", what, asked, most)
		}
		reportWrong(t, db, what)
	}
	next := imageOf(t, a, "v2", "layer", "next layer")
	asks("a new image", 0, func() {
		pushBlob(t, db, a, "next layer")
		mustPut(t, db, next)
	})
	next.Tags = []oci.Tag{mustTag(t, "v3")}
	asks("a new tag", 0, func() { mustPut(t, db, next) })
	next.Tags = []oci.Tag{mustTag(t, "v1")}
	asks("a tag that moves", 0, func() { mustPut(t, db, next) })
	db.hot.Forget() // as at the start
	next.Tags = []oci.Tag{mustTag(t, "v4")}
	asks("the first tag after a start", 2, func() { mustPut(t, db, next) })
	next.Tags = []oci.Tag{mustTag(t, "v5")}
	asks("the second tag after a start", 0, func() { mustPut(t, db, next) })
}

// TestInOneBatch holds that who comes later in a transaction goes by what came before,
// and not by what is in memory, which is as it was before all that; and that what was
// read before a change is not kept behind it.
func TestInOneBatch(t *testing.T) {
	db := openHot(t, &moments{})
	a := mustRepo(t, "a")
	pushBlob(t, db, a, "layer")
	first := imageOf(t, a, "v1", "layer")
	mustPut(t, db, first)
	mustLearn(t, db)
	image := func(body, tag string) meta.ManifestPut {
		p := imageOf(t, a, tag, "layer")
		p.Manifest.Body = []byte(body)
		p.Digest = oci.SHA256.FromBytes(p.Manifest.Body)
		return p
	}
	second, third := image("second", "v1"), image("third", "v1")
	again := imageOf(t, a, "v2", "layer")
	for _, forget := range []bool{true, false} {
		if forget { // so that it is read in the transaction
			db.hot.Forget()
		}
		err := db.write(t.Context(), durable, func(ctx context.Context, tr *tx) error {
			for _, p := range []meta.ManifestPut{second, third, again, second, first} {
				if _, err := tr.putManifest(ctx, p); err != nil {
					return err
				}
			}
			return tr.enter(ctx, 1, digestOf("layer"))
		})
		if err != nil {
			t.Fatal(err)
		}
		reportWrong(t, db, "in the end")
	}
	var moves []string
	err := db.reader.each(t.Context(), `SELECT was, now FROM tag_history WHERE repo = 'a' AND tag = 'v1' ORDER BY seq`, nil, func(scan func(...any) error) error {
		var was, now string
		err := scan(&was, &now)
		moves = append(moves, was, now)
		return err
	})
	one, two, three := first.Digest.String(), second.Digest.String(), third.Digest.String()
	round := []string{one, two, two, three, three, two, two, one}
	if want := slices.Concat([]string{"", one}, round, round); err != nil || !slices.Equal(moves, want) {
		t.Errorf("the moves are %q, want %q; %v", moves, want, err)
	}
}

// TestBehindItsBack holds that what another program puts into the database is not
// written over because it is surely unknown: the tables refuse that, and then it is no
// longer believed.
func TestBehindItsBack(t *testing.T) {
	for what, text := range map[string]string{
		"tag":  `INSERT INTO tags SELECT repo_id, 'fixed', digest, manifest_id, 1, '' FROM tags LIMIT 1`,
		"blob": `INSERT INTO blobs VALUES ('` + digestOf("other layer").String() + `', 'behind', 11, 0, 1)`,
	} {
		path := filepath.Join(t.TempDir(), "berth.db")
		db := mustOpen(t, Options{Path: path, Memory: 1 << 20, Grace: time.Hour, Immutable: func(_ oci.Repo, tag oci.Tag) bool { return tag.String() == "fixed" }})
		a := mustRepo(t, "a")
		pushBlob(t, db, a, "layer")
		mustPut(t, db, imageOf(t, a, "v1", "layer"))
		mustLearn(t, db)
		settleNow(t, db)
		other, err := openSQLite(path, live, commonPragmas(), nil)
		if err == nil {
			_, err = other.ExecContext(t.Context(), text)
			err = errors.Join(err, other.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		if what == "blob" {
			if b := pushBlob(t, db, a, "other layer"); b.Key != "behind" {
				t.Errorf("the record that was there is written over: %s", b.Key)
			}
		} else {
			p := imageOf(t, a, "fixed", "layer")
			p.Manifest.Body = []byte("another image")
			p.Digest = oci.SHA256.FromBytes(p.Manifest.Body)
			_, err := db.PutManifest(t.Context(), p)
			if _, ok := errors.AsType[*meta.ImmutableTagError](err); !ok {
				t.Errorf("an immutable tag was moved: %v", err)
			}
		}
		if db.unknown.Whole() {
			t.Errorf("%s: what was wrong is still believed", what)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}
