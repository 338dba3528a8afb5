package sqlmeta

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"berth/internal/blob"
	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/meta/hot"
	"berth/internal/oci"
)

// A glance is a question of one reader, and what it is told.
type glance struct {
	name string
	ask  func(ctx context.Context, db *DB) (string, error)
}

func answer(err error, a ...any) (string, error) {
	if isNotFound(err) {
		return "not found", nil
	}
	return fmt.Sprint(a...), err
}

// glances returns all that clients ask, about some repositories, tags and digests.
func glances(repos []oci.Repo, tags []oci.Tag, digests []oci.Digest) (list []glance) {
	add := func(name string, ask func(ctx context.Context, db *DB) (string, error)) {
		list = append(list, glance{name, ask})
	}
	manifest := func(repo oci.Repo, ref oci.Ref) {
		add(fmt.Sprint("manifest ", ref, " of ", repo), func(ctx context.Context, db *DB) (string, error) {
			m, err := db.FindManifest(ctx, repo, ref)
			return answer(err, m.Digest, m.MediaType, m.Subject, m.Pushed, string(m.Body))
		})
	}
	add("the catalog", func(ctx context.Context, db *DB) (string, error) {
		list, err := db.Repos(ctx, "", 100)
		return answer(err, list)
	})
	for _, d := range digests {
		add(fmt.Sprint("content ", d), func(ctx context.Context, db *DB) (string, error) {
			b, err := db.FindContent(ctx, d)
			return answer(err, b)
		})
	}
	for _, repo := range repos {
		add(fmt.Sprint("whether there is ", repo), func(ctx context.Context, db *DB) (string, error) {
			has, err := db.HasRepo(ctx, repo)
			return answer(err, has)
		})
		add(fmt.Sprint("tags of ", repo), func(ctx context.Context, db *DB) (string, error) {
			list, err := db.TagNames(ctx, repo, "", 100)
			return answer(err, list)
		})
		for _, tag := range tags {
			manifest(repo, oci.Ref{Tag: tag})
		}
		for _, d := range digests {
			manifest(repo, oci.Ref{Digest: d})
			add(fmt.Sprint("blob ", d, " of ", repo), func(ctx context.Context, db *DB) (string, error) {
				b, err := db.FindBlob(ctx, repo, d)
				return answer(err, b)
			})
			add(fmt.Sprint("referrers of ", d, " in ", repo), func(ctx context.Context, db *DB) (string, error) {
				list, err := db.Referrers(ctx, meta.ReferrerQuery{Repo: repo, Subject: d, Limit: 10})
				return answer(err, list)
			})
		}
	}
	return list
}

// named returns glances at everything that the writer has the name of, and at what
// nobody has.
func named(t *testing.T, db *DB) []glance {
	t.Helper()
	repos, tags, digests := []oci.Repo{mustRepo(t, "none"), mustRepo(t, "d")}, []oci.Tag{mustTag(t, "none")}, []oci.Digest{oci.SHA256.FromBytes([]byte("none"))}
	names := func(text string, add func(string) error) {
		t.Helper()
		err := db.writer.session.each(t.Context(), text, nil, func(scan func(...any) error) error {
			var s string
			err := scan(&s)
			if err == nil {
				err = add(s)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	names(`SELECT name FROM repos WHERE trash = 0`, func(s string) error {
		r, err := oci.ParseRepo(s)
		repos = append(repos, r)
		return err
	})
	names(`SELECT DISTINCT name FROM tags`, func(s string) error {
		tag, err := oci.ParseTag(s)
		tags = append(tags, tag)
		return err
	})
	names(`SELECT digest FROM blobs UNION SELECT digest FROM manifests UNION SELECT digest FROM losses WHERE digest <> 'sha256:'`, func(s string) error {
		d, err := oci.ParseDigest(s)
		digests = append(digests, d)
		return err
	})
	return glances(repos, tags, digests)
}

// leaveOpen sees to it that records are not committed because time passes. It is
// called before there are any.
func leaveOpen(db *DB) { db.writer.redo.timer = time.AfterFunc(time.Hour, func() {}) }

// errSettles is what a reader gets that would end the open transaction.
var errSettles = errors.New("this would make the writer commit")

// neverSettle makes readers fail that would, until the returned function is called.
func neverSettle(db *DB) (again func()) {
	db.reader.settled = func(context.Context) error {
		if db.writer.redo.dirty.Load() {
			return errSettles
		}
		return nil
	}
	return func() { db.reader.settled = db.writer.settled }
}

// settleNow makes the writer commit.
func settleNow(t *testing.T, db *DB) {
	t.Helper()
	if err := db.writer.settled(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestUncommitted holds of every operation that while it is not committed each
// reader finds what it has made, or would wait for the commit; that the memory
// keeps nothing else; and that of what has nothing to do with it most is found
// without waiting.
func TestUncommitted(t *testing.T) {
	template := frozenTemplate(t)
	for _, memory := range []int64{0, 1 << 20} {
		recorded := 0
		for _, op := range operations(t) {
			t.Run(fmt.Sprint(op.name, " with memory ", memory), func(t *testing.T) {
				tr := &trial{operation: op, template: template}
				db := tr.open(t, nil)
				defer db.Close()
				db.hot = hot.New(memory)
				db.writer.hot, db.writer.tx.hot = db.hot, db.hot
				leaveOpen(db)
				touchClock(t, db)
				if err := op.do(t.Context(), db); err != nil {
					t.Fatal(err)
				}
				if !db.writer.redo.dirty.Load() {
					return // it was committed as a whole
				}
				recorded++
				list := named(t, db)
				got := make(map[string]string)
				for _, cold := range []bool{false, true} { // what the transaction has put is there at first
					if cold {
						db.hot.Forget()
					}
					again := neverSettle(db)
					for _, g := range list {
						a, err := g.ask(t.Context(), db)
						if errors.Is(err, errSettles) {
							continue
						}
						if err != nil {
							t.Fatalf("%s: %v", g.name, err)
						}
						got[fmt.Sprint(g.name, ", cold: ", cold)] = a
					}
					again()
				}
				settleNow(t, db)
				for _, wrong := range wrongInMemory(t.Context(), db) {
					t.Error(wrong)
				}
				db.hot.Forget()
				for _, g := range list {
					want, err := g.ask(t.Context(), db)
					if err != nil {
						t.Fatal(err)
					}
					for _, cold := range []bool{false, true} {
						if a, ok := got[fmt.Sprint(g.name, ", cold: ", cold)]; ok && a != want {
							t.Errorf("%s is %q while it is not committed (cold: %v), want %q", g.name, a, cold, want)
						}
					}
				}
				if !strings.Contains(op.name, "anifest") && len(got) < len(list) { // a damaged one changes everything
					t.Errorf("of %d questions only %d of twice as many are answered", len(list), len(got))
				}
			})
		}
		if recorded < 20 {
			t.Errorf("only %d operations are recorded: this tests little", recorded)
		}
	}
}

// TestUncommittedIsSeen holds of each reader that a change which concerns it ends
// the open transaction when it is not in memory, and is seen.
func TestUncommittedIsSeen(t *testing.T) {
	a, n := mustRepo(t, "a"), mustRepo(t, "new")
	x, loose, lost := oci.SHA256.FromBytes([]byte("x")), oci.SHA256.FromBytes([]byte("loose")), oci.SHA256.FromBytes([]byte("never there"))
	image, put := imageOf(t, a, "v1", "x", "y"), imageOf(t, a, "v1", "x", "loose")
	refers := imageOf(t, a, "refers", "y", "loose")
	refers.Manifest.Subject = &oci.Descriptor{Digest: x}
	putIt := func(p meta.ManifestPut) func(*DB) error {
		return func(db *DB) error { _, err := db.PutManifest(t.Context(), p); return err }
	}
	unlink := func(db *DB) error { return db.UnlinkBlob(t.Context(), a, loose, event.Actor{}) }
	push := func(db *DB) error {
		u := meta.Upload{ID: "never", Repo: a, Key: blob.NewKey(), Algorithm: oci.SHA256}
		if err := db.CreateUpload(t.Context(), u); err != nil {
			return err
		}
		_, err := db.CommitUpload(t.Context(), u, meta.Blob{Digest: lost, Key: u.Key, Size: 1}, event.Actor{})
		return err
	}
	link := func(db *DB) error { return db.LinkBlob(t.Context(), a, n, x, event.Actor{}) }
	untag := func(db *DB) error { return db.DeleteTag(t.Context(), a, image.Tags[0], event.Actor{}) }
	remove := func(db *DB) error { return db.DeleteManifest(t.Context(), a, image.Digest, event.Actor{}) }
	removeAll := func(db *DB) error { _, err := db.DeleteRepo(t.Context(), a, event.Actor{}); return err }
	restore := func(db *DB) error { _, err := db.Restore(t.Context(), meta.Restore{ID: 3}); return err }
	v1, v8 := fmt.Sprint("manifest v1 of ", a), fmt.Sprint("manifest v8 of ", a)
	for _, c := range []struct {
		what   string
		change func(*DB) error
		asks   string
	}{
		{"a tag that moves", putIt(put), v1},
		{"a tag that goes", untag, v1},
		{"a tag whose manifest goes", remove, v1},
		{"a tag whose repository goes", removeAll, v1},
		{"a tag that comes back", restore, v8},
		{"a manifest that comes", putIt(put), fmt.Sprint("manifest ", put.Digest, " of ", a)},
		{"a manifest that goes", remove, fmt.Sprint("manifest ", image.Digest, " of ", a)},
		{"a manifest whose repository goes", removeAll, fmt.Sprint("manifest ", image.Digest, " of ", a)},
		{"a blob that comes", push, fmt.Sprint("blob ", lost, " of ", a)},
		{"a blob that goes", unlink, fmt.Sprint("blob ", loose, " of ", a)},
		{"a blob whose repository goes", removeAll, fmt.Sprint("blob ", x, " of ", a)},
		{"a blob that is mounted", link, fmt.Sprint("blob ", x, " of ", n)},
		{"content that comes", push, fmt.Sprint("content ", lost)},
		{"content that is damaged", func(db *DB) error { return db.MarkDamaged(t.Context(), x, "key of x") }, fmt.Sprint("content ", x)},
		{"a list of tags", putIt(refers), fmt.Sprint("tags of ", a)},
		{"a list of tags whose repository goes", removeAll, fmt.Sprint("tags of ", a)},
		{"the catalog", removeAll, "the catalog"},
		{"a repository that comes", link, fmt.Sprint("whether there is ", n)},
		{"a repository that goes", removeAll, fmt.Sprint("whether there is ", a)},
		{"referrers", putIt(refers), fmt.Sprint("referrers of ", x, " in ", a)},
	} {
		t.Run(c.what, func(t *testing.T) {
			tr := &trial{template: frozenTemplate(t)}
			db := tr.open(t, nil)
			defer db.Close()
			db.hot = hot.New(1 << 20)
			db.writer.hot, db.writer.tx.hot = db.hot, db.hot
			leaveOpen(db)
			touchClock(t, db)
			list := glances([]oci.Repo{a, n}, []oci.Tag{mustTag(t, "v1"), mustTag(t, "v8")}, []oci.Digest{x, loose, lost, image.Digest, put.Digest})
			at := slices.IndexFunc(list, func(g glance) bool { return g.name == c.asks })
			ask := func() string {
				t.Helper()
				got, err := list[at].ask(t.Context(), db)
				if err != nil {
					t.Fatal(err)
				}
				return got
			}
			settleNow(t, db)
			was := ask()
			for _, how := range []string{"it is as it was", "it is in memory", "it is not in memory"} {
				switch how {
				case "it is in memory":
					if err := c.change(db); err != nil {
						t.Fatal(err)
					}
					if !db.writer.redo.dirty.Load() {
						t.Fatal("it was committed as a whole: this tests nothing")
					}
				case "it is not in memory":
					db.hot.Forget()
				}
				if got := ask(); (got == was) != (how == "it is as it was") {
					t.Errorf("%s: %q, and before the change it was %q", how, got, was)
				}
			}
			if db.writer.redo.dirty.Load() {
				t.Error("it was read, and not committed")
			}
		})
	}
}

// A heldFile lets a sync end when it is told to.
type heldFile struct {
	redoFile
	begun chan<- struct{}
	end   <-chan struct{}
}

func (f heldFile) Sync() error {
	f.begun <- struct{}{}
	<-f.end
	return f.redoFile.Sync()
}

// TestUnrelatedDoNotWait holds that whoever asks for what is not being changed
// neither waits for a writer that waits for the disk, nor makes it commit, and that
// what it reads is kept.
func TestUnrelatedDoNotWait(t *testing.T) {
	for _, memory := range []int64{0, 1 << 20} {
		var commits atomic.Int64
		m := &moments{before: func(string) { commits.Add(1) }}
		db := mustOpen(t, Options{Path: filepath.Join(t.TempDir(), "berth.db"), Memory: memory, Trash: time.Hour, wrap: m.wrap})
		leaveOpen(db)
		a, other := mustRepo(t, "a"), mustRepo(t, "other")
		image := imageOf(t, a, "v1", "x")
		pushBlob(t, db, a, "x")
		mustPut(t, db, image)
		pushBlob(t, db, other, "y")
		mustPut(t, db, imageOf(t, other, "v1", "y"))
		touchClock(t, db)
		settleNow(t, db)
		mustPut(t, db, imageOf(t, other, "v2", "y")) // recorded, and not committed
		list := glances([]oci.Repo{a, mustRepo(t, "none")}, []oci.Tag{image.Tags[0], mustTag(t, "none")},
			[]oci.Digest{image.Digest, oci.SHA256.FromBytes([]byte("x")), oci.SHA256.FromBytes([]byte("none"))})
		begun, end, done := make(chan struct{}), make(chan struct{}), make(chan error)
		db.writer.redo.file = heldFile{db.writer.redo.file, begun, end}
		go func() {
			done <- db.LinkBlob(t.Context(), other, other, oci.SHA256.FromBytes([]byte("y")), event.Actor{})
		}()
		<-begun
		before := commits.Load()
		for _, cold := range []bool{true, false} {
			queries := db.Stats().Queries
			for _, g := range list {
				if cold {
					db.hot.Forget()
				}
				got, err := g.ask(t.Context(), db)
				if err != nil || got == "" {
					t.Errorf("%s: %q, %v", g.name, got, err)
				}
			}
			if cold {
				for _, g := range list { // now they are kept
					if _, err := g.ask(t.Context(), db); err != nil {
						t.Error(err)
					}
				}
			} else if n := db.Stats().Queries - queries; memory > 0 && n >= int64(len(list)) {
				t.Errorf("%d questions that were asked before take %d queries", len(list), n)
			}
		}
		if !db.writer.redo.dirty.Load() || commits.Load() != before {
			t.Errorf("they made the writer commit: %d commits, before it was %d", commits.Load(), before)
		}
		close(end)
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestCommittedMeanwhile holds that who reads what is uncommitted sees it also if it
// is committed between its query and its look at what is not.
func TestCommittedMeanwhile(t *testing.T) {
	m := &moments{}
	db := mustOpen(t, Options{Path: filepath.Join(t.TempDir(), "berth.db"), Memory: 1 << 20, wrap: m.wrap})
	defer db.Close()
	leaveOpen(db)
	a := mustRepo(t, "a")
	one, two := imageOf(t, a, "x"), imageOf(t, a, "x", "layer")
	pushBlob(t, db, a, "layer")
	mustPut(t, db, one)
	touchClock(t, db)
	settleNow(t, db)
	mustPut(t, db, two)
	db.hot.Forget()
	asked := 0
	m.read = func(text string) {
		if text == sqliteDialect().rebind(sqlManifestByTag) {
			if asked++; asked == 1 {
				settleNow(t, db)
			}
		}
	}
	if got := bodyAt(t, db, a, "x"); got != string(two.Manifest.Body) || asked != 2 {
		t.Errorf("asked %d times the tag leads to %q", asked, got)
	}
	if got := bodyAt(t, db, a, "x"); got != string(two.Manifest.Body) {
		t.Errorf("from memory the tag leads to %q", got)
	}
}

// TestManyUncommitted holds that beyond the bound everything counts as uncommitted.
func TestManyUncommitted(t *testing.T) {
	var u uncommitted
	key := func(i int) hot.Key { return hot.Key{Kind: hotContents, Name: fmt.Sprint(i)} }
	for i := range maxUncommitted {
		u.add(&changes{list: []noted{{key: key(i)}}})
	}
	round, other := u.now(), []hot.Key{key(-1)}
	if !u.none(round, other) || u.none(round, []hot.Key{key(-1), key(7)}) {
		t.Error("up to the bound not every key is told from others")
	}
	u.add(&changes{list: []noted{{key: key(-2)}}})
	if u.none(round, other) || u.none(round, nil) || len(u.keys) > maxUncommitted {
		t.Error("beyond the bound there is something that is not uncommitted")
	}
	u.empty()
	if u.none(round, other) || !u.none(u.now(), []hot.Key{key(7)}) {
		t.Error("it is not empty, or who began before does not notice")
	}
	if u.add(&changes{all: true}); u.none(u.now(), other) {
		t.Error("everything was changed, and something not")
	}
}
