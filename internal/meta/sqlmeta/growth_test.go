package sqlmeta

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"modernc.org/sqlite"

	"berth/internal/blob"
	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

// A pages counts the pages of the database that its connections have looked at,
// in memory or not: what a query goes through that it should not shows there.
type pages struct {
	mu    sync.Mutex
	conns []driver.Conn
}

type countedConnector struct {
	driver.Connector
	pages *pages
}

func (c countedConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err == nil {
		c.pages.mu.Lock()
		c.pages.conns = append(c.pages.conns, conn)
		c.pages.mu.Unlock()
	}
	return conn, err
}

// count returns how many they were since it was called before.
func (p *pages) count() (sum int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		sum += looked(c)
	}
	return sum
}

// looked returns how many a connection has looked at, none if it is closed.
func looked(c driver.Conn) (sum int) {
	defer func() { _ = recover() }() // the driver's, of what is closed
	for _, op := range []sqlite.DBStatusOp{sqlite.DBStatusCacheHit, sqlite.DBStatusCacheMiss} {
		if n, _, err := c.(sqlite.DBStatus).Status(op, true); err == nil {
			sum += n
		}
	}
	return sum
}

// A grown is a registry with so many of everything: tags in the repository
// "app", repositories that have the same blob, referrers of one manifest,
// deletions of one repository, moves of one tag, garbage.
type grown struct {
	*DB
	tb    testing.TB
	n     int
	next  int // what is made new has this number
	pages *pages
	opens int // pages that opening it took
}

const grownDigest = `'sha256:' || printf('%064x', `

// grow makes one. It is written as SQL, since as many pushes take minutes.
func grow(tb testing.TB, n int) *grown {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "berth.db")
	if err := mustOpen(tb, Options{Path: path}).Close(); err != nil {
		tb.Fatal(err)
	}
	pool, err := openSQLite(path, live, commonPragmas(), nil)
	if err != nil {
		tb.Fatal(err)
	}
	defer pool.Close()
	pool.SetMaxOpenConns(1)
	if _, err := pool.ExecContext(tb.Context(), "PRAGMA synchronous = OFF"); err != nil {
		tb.Fatal(err)
	}
	fillGrown(tb, pool, n)
	g := &grown{tb: tb, n: n, next: n, pages: &pages{}}
	g.DB = mustOpen(tb, Options{Path: path, Trash: time.Hour, Grace: time.Hour,
		wrap: func(c driver.Connector) driver.Connector { return countedConnector{c, g.pages} }})
	tb.Cleanup(func() { g.Close() })
	g.opens = g.pages.count()
	return g
}

// fillGrown writes the rows. Repository 1 is "app", 2 is "signed"; manifest i has
// the digest i; the blob that all have has 0.
func fillGrown(tb testing.TB, pool *sql.DB, n int) {
	tb.Helper()
	for _, text := range []string{
		`CREATE TEMP TABLE n AS WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < $1) SELECT i FROM c`,
		`INSERT INTO repos (id, name, listed, created_us) SELECT 1, 'app', 1, 0 UNION ALL SELECT 2, 'signed', 1, 0`,
		`INSERT INTO repos (id, name, listed, created_us) SELECT 10 + i, printf('r%06d', i), 1, 0 FROM n`,
		`INSERT INTO blobs (digest, key, size, damaged, created_us) SELECT ` + grownDigest + `0), 'shared', 10, 0, 0`,
		`INSERT INTO blobs (digest, key, size, damaged, created_us) SELECT ` + grownDigest + `i), printf('k%d', i), 10, 0, 0 FROM n`,
		`INSERT INTO repo_blobs (repo_id, digest, touched, candidate) SELECT id, ` + grownDigest + `0), 0, 0 FROM repos`,
		`INSERT INTO repo_blobs (repo_id, digest, touched, candidate) SELECT 1, ` + grownDigest + `i), 0, 0 FROM n`,
		`INSERT INTO manifests (repo_id, digest, media_type, size, subject, artifact_type, pushed_us, pushed_by, annotations, body)
			SELECT 1, ` + grownDigest + `i), 'a/b', 600, '', '', 0, '', '', zeroblob(600) FROM n`,
		`INSERT INTO manifests (repo_id, digest, media_type, size, subject, artifact_type, pushed_us, pushed_by, annotations, body)
			SELECT 2, ` + grownDigest + `i), 'a/b', 600, ` + grownDigest + `0), 'c/d', 0, '', '', zeroblob(600) FROM n`,
		`INSERT INTO manifests (repo_id, digest, media_type, size, subject, artifact_type, pushed_us, pushed_by, annotations, body)
			SELECT id, ` + grownDigest + `1), 'a/b', 600, '', '', 0, '', '', zeroblob(600) FROM repos WHERE id > 2`,
		`INSERT INTO manifest_refs (repo_id, digest, manifest_id) SELECT repo_id, ` + grownDigest + `0), id FROM manifests`,
		`INSERT INTO tags (repo_id, name, digest, manifest_id, moved_us, moved_by)
			SELECT 1, printf('t%06d', id), digest, id, 0, '' FROM manifests WHERE repo_id = 1`,
		`INSERT INTO tags (repo_id, name, digest, manifest_id, moved_us, moved_by) SELECT repo_id, 'v1', digest, id, 0, '' FROM manifests WHERE repo_id > 2`,
		`INSERT INTO tag_history (ticks, time_us, repo, tag, was, now, cause, by_name, by_via, by_addr)
			SELECT 1000000000000000, 0, 'app', 'moved', ` + grownDigest + `0), ` + grownDigest + `1), 'push', '', '', '' FROM n`,
		`INSERT INTO trash (kind, reason, repo, digest, deleted, deleted_us, by_name, by_addr, by_via, dropped)
			SELECT 'tag', 'deleted', 'app', ` + grownDigest + `1), 1000000000000000, 0, '', '', '', 0 FROM n`,
		`INSERT INTO trash_tags (entry, name, digest) SELECT id, 'gone', digest FROM trash`,
		`INSERT INTO losses (repo_id, digest, lost) SELECT 2, ` + grownDigest + `1000000 + i), 1000000000000000 FROM n`,
		`INSERT INTO garbage (key, due) SELECT printf('g%d', i), 2000000000000000 FROM n`,
		`UPDATE clock SET ticks = 1000000000000000`,
	} {
		var a []any
		if text[:11] == "CREATE TEMP" {
			a = append(a, n)
		}
		if _, err := pool.ExecContext(tb.Context(), sqliteDialect().rebind(text), a...); err != nil {
			tb.Fatalf("%s: %v", text, err)
		}
	}
}

// number is a digest as fillGrown makes them.
func (g *grown) number(i int) oci.Digest {
	d, err := oci.ParseDigest(fmt.Sprintf("sha256:%064x", i))
	if err != nil {
		g.tb.Fatal(err)
	}
	return d
}

func (g *grown) repo(name string) oci.Repo { return mustRepo(g.tb, name) }

// put pushes a new manifest under a tag, and returns its digest.
func (g *grown) put(ctx context.Context, repo, tag string, subject oci.Digest) (oci.Digest, error) {
	g.next++
	m := oci.Manifest{MediaType: oci.MediaTypeImage, Body: fmt.Appendf(nil, "%0600d", g.next), Blobs: []oci.Descriptor{{Digest: g.number(0), Size: 10}}}
	if !subject.IsZero() {
		m.Subject, m.ArtifactType = &oci.Descriptor{Digest: subject}, "c/d"
	}
	p := meta.ManifestPut{Repo: g.repo(repo), Digest: oci.SHA256.FromBytes(m.Body), Manifest: m}
	if tag != "" {
		p.Tags = []oci.Tag{mustTag(g.tb, tag)}
	}
	_, err := g.PutManifest(ctx, p)
	return p.Digest, err
}

// upload begins an upload and makes it a blob.
func (g *grown) upload(ctx context.Context) error {
	g.next++
	u := meta.Upload{ID: meta.UploadID(fmt.Sprint("new", g.next)), Repo: g.repo("app"), Key: blob.NewKey(), Algorithm: oci.SHA256, Started: time.Unix(0, 0)}
	if err := g.CreateUpload(ctx, u); err != nil {
		return err
	}
	if err := g.SaveUpload(ctx, u); err != nil {
		return err
	}
	u.Version++
	_, err := g.CommitUpload(ctx, u, meta.Blob{Digest: g.number(5_000_000 + g.next), Key: u.Key, Size: 10}, event.Actor{})
	return err
}

// A deed is something that a client, or the collector, asks of the records.
type deed struct {
	name string
	do   func(ctx context.Context, g *grown) error
}

func ignore[T any](_ T, err error) error { return err }

func deeds() []deed {
	return append(append(readings(), writings()...), housekeeping()...)
}

func readings() []deed {
	missing := func(err error) error {
		if isNotFound(err) {
			return nil
		}
		return fmt.Errorf("got %w, want nothing", err)
	}
	return []deed{
		{"manifest by tag", func(ctx context.Context, g *grown) error {
			return ignore(g.FindManifest(ctx, g.repo("app"), oci.Ref{Tag: mustTag(g.tb, fmt.Sprintf("t%06d", g.n/2))}))
		}},
		{"manifest by digest", func(ctx context.Context, g *grown) error {
			return ignore(g.FindManifest(ctx, g.repo("app"), oci.Ref{Digest: g.number(g.n / 2)}))
		}},
		{"no such tag", func(ctx context.Context, g *grown) error {
			return missing(ignore(g.FindManifest(ctx, g.repo("app"), oci.Ref{Tag: mustTag(g.tb, "none")})))
		}},
		{"blob", func(ctx context.Context, g *grown) error {
			return ignore(g.FindBlob(ctx, g.repo("app"), g.number(g.n/2)))
		}},
		{"blob that all have", func(ctx context.Context, g *grown) error { return ignore(g.FindBlob(ctx, g.repo("app"), g.number(0))) }},
		{"no such blob", func(ctx context.Context, g *grown) error {
			return missing(ignore(g.FindBlob(ctx, g.repo("app"), g.number(9_000_000))))
		}},
		{"holders", func(ctx context.Context, g *grown) error { return ignore(g.Holders(ctx, g.number(0), 10)) }},
		{"has repository", func(ctx context.Context, g *grown) error { return ignore(g.HasRepo(ctx, g.repo("app"))) }},
		{"page of tags", func(ctx context.Context, g *grown) error {
			return ignore(g.TagNames(ctx, g.repo("app"), fmt.Sprintf("t%06d", g.n/2), 40))
		}},
		{"page of tags with digests", func(ctx context.Context, g *grown) error {
			return ignore(g.Tags(ctx, g.repo("app"), fmt.Sprintf("t%06d", g.n/2), 40))
		}},
		{"page of the catalog", func(ctx context.Context, g *grown) error {
			return ignore(g.Repos(ctx, fmt.Sprintf("r%06d", g.n/2), 40))
		}},
		{"page of referrers", func(ctx context.Context, g *grown) error {
			return ignore(g.Referrers(ctx, meta.ReferrerQuery{Repo: g.repo("signed"), Subject: g.number(0), After: g.number(g.n / 2).String(), Limit: 40}))
		}},
		{"page of referrers of a type", func(ctx context.Context, g *grown) error {
			return ignore(g.Referrers(ctx, meta.ReferrerQuery{Repo: g.repo("signed"), Subject: g.number(0), Type: "c/d", After: g.number(g.n / 2).String(), Limit: 40}))
		}},
		{"no referrers", func(ctx context.Context, g *grown) error {
			return ignore(g.Referrers(ctx, meta.ReferrerQuery{Repo: g.repo("signed"), Subject: g.number(1), Limit: 40}))
		}},
		{"page of the trash", func(ctx context.Context, g *grown) error {
			return ignore(g.TrashEntries(ctx, g.repo("app"), int64(g.n/2+10), 10))
		}},
		{"page of a tag's history", func(ctx context.Context, g *grown) error {
			return ignore(g.TagHistory(ctx, g.repo("app"), mustTag(g.tb, "moved"), int64(g.n/2+10), 10))
		}},
		{"page of repositories with usage", func(ctx context.Context, g *grown) error {
			return ignore(g.Occupied(ctx, fmt.Sprintf("r%06d", g.n/2), 40))
		}},
	}
}

func writings() []deed {
	return []deed{
		{"upload", func(ctx context.Context, g *grown) error { return g.upload(ctx) }},
		{"mount", func(ctx context.Context, g *grown) error {
			g.next++
			return g.LinkBlob(ctx, g.repo("app"), g.repo(fmt.Sprint("new", g.next)), g.number(0), event.Actor{})
		}},
		{"touch of a blob", func(ctx context.Context, g *grown) error { return g.TouchBlob(ctx, g.repo("app"), g.number(g.n/2)) }},
		{"push with a new tag", func(ctx context.Context, g *grown) error {
			return ignore(g.put(ctx, "app", fmt.Sprint("new", g.next), oci.Digest{}))
		}},
		{"push that moves a tag", func(ctx context.Context, g *grown) error { return ignore(g.put(ctx, "app", "moved", oci.Digest{})) }},
		{"push of what is there", func(ctx context.Context, g *grown) error {
			g.next--
			return ignore(g.put(ctx, "app", "moved", oci.Digest{}))
		}},
		{"push of a referrer", func(ctx context.Context, g *grown) error { return ignore(g.put(ctx, "signed", "", g.number(0))) }},
		{"push to a new repository", func(ctx context.Context, g *grown) error {
			return ignore(g.put(ctx, fmt.Sprint("another", g.next), "v1", oci.Digest{}))
		}},
		{"delete of a tag", func(ctx context.Context, g *grown) error {
			tag := fmt.Sprint("short", g.next)
			if _, err := g.put(ctx, "app", tag, oci.Digest{}); err != nil {
				return err
			}
			return g.DeleteTag(ctx, g.repo("app"), mustTag(g.tb, tag), event.Actor{})
		}},
		{"delete of a manifest and back", func(ctx context.Context, g *grown) error {
			d, err := g.put(ctx, "app", fmt.Sprint("short", g.next), oci.Digest{})
			if err == nil {
				err = g.DeleteManifest(ctx, g.repo("app"), d, event.Actor{})
			}
			if err != nil {
				return err
			}
			e, err := g.FindTrash(ctx, meta.TrashWhat{Repo: g.repo("app"), Ref: oci.Ref{Digest: d}})
			if err != nil {
				return err
			}
			return ignore(g.Restore(ctx, meta.Restore{ID: e.ID}))
		}},
		{"delete of a repository of many tags", func(ctx context.Context, g *grown) error {
			return ignore(g.DeleteRepo(ctx, g.repo("app"), event.Actor{}))
		}},
	}
}

func housekeeping() []deed {
	return []deed{
		{"uploads that are over", func(ctx context.Context, g *grown) error { return ignore(g.ExpireUploads(ctx, time.Hour, 100)) }},
		{"collection with nothing to do", func(ctx context.Context, g *grown) error {
			_, _, err := g.CollectBlobs(ctx, time.Hour, 100)
			return err
		}},
		{"garbage that is due", func(ctx context.Context, g *grown) error { return ignore(g.Condemned(ctx, 0, 100)) }},
		{"tombstones", func(ctx context.Context, g *grown) error { return ignore(g.ForgetLosses(ctx, time.Hour, 100)) }},
		{"trash that is over", func(ctx context.Context, g *grown) error { return ignore(g.ExpireTrash(ctx, 100)) }},
		{"history that is over", func(ctx context.Context, g *grown) error { return ignore(g.TrimHistory(ctx, time.Hour, 100)) }},
		{"clock", func(ctx context.Context, g *grown) error { return g.SaveClock(ctx) }},
	}
}

// look returns the pages that a deed looks at, the statements being prepared.
func (g *grown) look(t *testing.T, o deed) (sum int) {
	t.Helper()
	const times = 3
	for i := range times + 2 {
		g.pages.count()
		if err := o.do(t.Context(), g); err != nil {
			t.Fatalf("%s of %d: %v", o.name, g.n, err)
		}
		if n := g.pages.count(); i >= 2 {
			sum += n
		}
		g.mend(t)
	}
	return sum / times
}

// mend brings "app" back if it was deleted, which is as long as it is large.
func (g *grown) mend(t *testing.T) {
	t.Helper()
	e, err := g.FindTrash(t.Context(), meta.TrashWhat{Repo: g.repo("app")})
	if isNotFound(err) {
		return
	}
	if err == nil {
		_, err = g.Restore(t.Context(), meta.Restore{ID: e.ID})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestNothingGrows holds that no deed costs more where there is more of
// everything: that it looks at no more pages of the database than the greater
// depth of trees makes of them. Bringing a whole repository back does, and what
// looks at all of one: its usage, and what retention decides.
func TestNothingGrows(t *testing.T) {
	large := 10_000
	if os.Getenv("BERTH_SOAK") != "" {
		large = 100_000
	}
	few, many := grow(t, 100), grow(t, large)
	if few.opens*3/2+20 < many.opens {
		t.Errorf("opening looks at %d pages with 100, %d with %d", few.opens, many.opens, large)
	}
	for _, o := range deeds() {
		a, b := few.look(t, o), many.look(t, o)
		t.Logf("%-45s %4d pages with 100, %4d with %d", o.name, a, b, large)
		if b > 2*a+16 {
			t.Errorf("%s: %d pages with 100, %d with %d", o.name, a, b, large)
		}
	}
}

// BenchmarkGrowth measures the same. What grows is how deep the trees are.
func BenchmarkGrowth(b *testing.B) {
	sizes := []int{100, 10_000}
	if os.Getenv("BERTH_SOAK") != "" {
		sizes = append(sizes, 100_000)
	}
	for _, n := range sizes {
		g := grow(b, n)
		for _, o := range append(readings(), writings()[:8]...) {
			b.Run(fmt.Sprintf("%s/n=%d", strings.ReplaceAll(o.name, " ", "-"), n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := o.do(b.Context(), g); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
