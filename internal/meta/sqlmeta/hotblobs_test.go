package sqlmeta

import (
	"testing"
	"time"

	"berth/internal/event"
	"berth/internal/oci"
)

// findBlob looks for a blob in a repository, and then for its content anywhere, as
// the requests of a push do. It returns what was found and how many queries it took.
func findBlob(t *testing.T, db *DB, repo oci.Repo, d oci.Digest) (has, anywhere bool, queries int64) {
	t.Helper()
	if err := db.writer.settled(t.Context()); err != nil { // or what was changed just now is asked for twice
		t.Fatal(err)
	}
	before := db.reader.queries.Load()
	_, err := db.FindBlob(t.Context(), repo, d)
	_, cerr := db.FindContent(t.Context(), d)
	for _, err := range []error{err, cerr} {
		if err != nil && !isNotFound(err) {
			t.Fatal(err)
		}
	}
	return err == nil, cerr == nil, db.reader.queries.Load() - before
}

// TestNowhere holds that of what is stored nowhere the database is asked once, and
// that every way in which it comes or goes is seen at once.
func TestNowhere(t *testing.T) {
	db := openHot(t, &moments{})
	a, b := mustRepo(t, "a"), mustRepo(t, "b")
	pushBlob(t, db, a, "first")
	pushBlob(t, db, b, "first")
	d := oci.SHA256.FromBytes([]byte("layer"))
	want := func(when string, repo oci.Repo, has, anywhere bool, most int64) {
		t.Helper()
		if gotHas, gotAnywhere, n := findBlob(t, db, repo, d); gotHas != has || gotAnywhere != anywhere || n > most {
			t.Errorf("%s: %s has it: %t, want %t; it is stored: %t, want %t; %d queries, want at most %d", when, repo, gotHas, has, gotAnywhere, anywhere, n, most)
		}
	}
	want("at first", a, false, false, 1)
	want("again", a, false, false, 0)
	want("in another repository", b, false, false, 0)
	pushBlob(t, db, a, "layer")
	want("pushed", a, true, true, 0)
	want("pushed", b, false, true, 1)
	if err := db.LinkBlob(t.Context(), a, b, d, event.Actor{}); err != nil {
		t.Fatal(err)
	}
	want("mounted", b, true, true, 0)
	for _, repo := range []oci.Repo{a, b} {
		if err := db.UnlinkBlob(t.Context(), repo, d, event.Actor{}); err != nil {
			t.Fatal(err)
		}
		want("removed", repo, false, true, 1) // and in the trash
	}
}

// TestLateNowhere holds that a blob that comes while it is being looked for is not
// kept as being nowhere.
func TestLateNowhere(t *testing.T) {
	db := openHot(t, &moments{})
	a := mustRepo(t, "a")
	pushBlob(t, db, a, "first")
	d := oci.SHA256.FromBytes([]byte("layer"))
	moment := db.hot.Moment()
	f, err := db.readMember(t.Context(), 1, d)
	pushBlob(t, db, a, "layer")
	if err != nil || f.stored || f.is {
		t.Fatalf("before it came: %+v, %v", f, err)
	}
	db.keepNowhere(moment, d)
	if has, anywhere, _ := findBlob(t, db, a, d); !has || !anywhere {
		t.Errorf("behind it: has %t, stored %t", has, anywhere)
	}
}

// TestNowhereDoubted holds that an answer that is wrong would be noticed.
func TestNowhereDoubted(t *testing.T) {
	var doubts []error
	db := mustOpen(t, Options{Path: t.TempDir() + "/berth.db", Memory: 1 << 20, Grace: time.Hour, Doubt: func(err error) { doubts = append(doubts, err) }})
	defer db.Close()
	a := mustRepo(t, "a")
	pushBlob(t, db, a, "layer")
	d := oci.SHA256.FromBytes([]byte("layer"))
	db.hot.Forget()
	db.keepNowhere(db.hot.Moment(), d)
	if _, err := db.FindContent(t.Context(), d); !isNotFound(err) || len(doubts) != 1 {
		t.Errorf("%v; doubts: %v", err, doubts)
	}
}
