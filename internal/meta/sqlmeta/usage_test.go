package sqlmeta

import (
	"context"
	"path/filepath"
	"testing"
)

// BenchmarkUsage is a whole report on 100,000 manifests in 1,000 repositories, each
// with three blobs of its own and five that all repositories of its team share: a
// million memberships' references, 305,000 blobs.
func BenchmarkUsage(b *testing.B) {
	db, err := Open(b.Context(), Options{Path: filepath.Join(b.TempDir(), "berth.db")})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	fillForUsage(b, db)
	for name, report := range map[string]func() (int, error){
		"repositories": func() (n int, err error) {
			for after := ""; ; {
				list, err := db.Occupied(b.Context(), after, 100)
				for _, repo := range list {
					u, err := db.RepoUsage(b.Context(), repo)
					if err != nil {
						return n, err
					}
					n += int(u.Manifests)
					after = repo.String()
				}
				if err != nil || len(list) == 0 {
					return n, err
				}
			}
		},
		"blobs": func() (n int, err error) {
			for after := ""; ; {
				list, err := db.BlobUsages(b.Context(), after, 1000)
				for _, u := range list {
					after = u.Digest.String()
				}
				if n += len(list); err != nil || len(list) == 0 {
					return n, err
				}
			}
		},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				n, err := report()
				if err != nil || n < 100_000 {
					b.Fatalf("%d seen, error %v", n, err)
				}
			}
		})
	}
}

// fillForUsage writes the rows directly: by way of pushes it would take minutes.
func fillForUsage(tb testing.TB, db *DB) {
	tb.Helper()
	const own = `printf('sha256:%064x', (i * 2654435761 % 4294967296) * 16 + k)`
	for _, text := range []string{
		`BEGIN`,
		`CREATE TEMP TABLE n AS WITH RECURSIVE c(i) AS (VALUES (0) UNION ALL SELECT i + 1 FROM c WHERE i < 99999) SELECT i FROM c`,
		`CREATE TEMP TABLE k AS WITH RECURSIVE c(k) AS (VALUES (1) UNION ALL SELECT k + 1 FROM c WHERE k < 3) SELECT k FROM c`,
		`CREATE TEMP TABLE s AS WITH RECURSIVE c(s) AS (VALUES (1) UNION ALL SELECT s + 1 FROM c WHERE s < 5) SELECT s FROM c`,
		`INSERT INTO repos (id, name, listed, created_us) SELECT i + 1, printf('team%d/app%d', i / 100, i), 1, 0 FROM n WHERE i < 1000`,
		`INSERT INTO blobs SELECT ` + own + `, 'key' || i || '-' || k, 1000000 + i, 0, 0 FROM n, k ORDER BY 1`,
		`INSERT INTO blobs SELECT printf('sha256:%064x', 15 + 16 * (i * 5 + s)), 'shared' || i || '-' || s, 30000000, 0, 0 FROM n, s WHERE i < 10 ORDER BY 1`,
		`INSERT INTO repo_blobs SELECT i % 1000 + 1, ` + own + `, 0, i % 50 = 0 FROM n, k ORDER BY 1, 2`,
		`INSERT INTO repo_blobs SELECT i + 1, printf('sha256:%064x', 15 + 16 * (i / 100 * 5 + s)), 0, 0 FROM n, s WHERE i < 1000 ORDER BY 1, 2`,
		`INSERT INTO manifests SELECT i + 1, i % 1000 + 1, printf('sha256:%064x', i * 2654435761 % 4294967296), 'application/vnd.oci.image.manifest.v1+json', 1300, '', '', 0, '', '', randomblob(1300) FROM n`,
		`INSERT INTO manifest_refs SELECT i % 1000 + 1, ` + own + `, i + 1 FROM n, k WHERE i % 100 > 0 ORDER BY 1, 2`,
		`INSERT INTO manifest_refs SELECT i % 1000 + 1, printf('sha256:%064x', 15 + 16 * (i % 1000 / 100 * 5 + s)), i + 1 FROM n, s ORDER BY 1, 2`,
		`INSERT INTO tags SELECT i % 1000 + 1, 'v' || i, printf('sha256:%064x', i * 2654435761 % 4294967296), i + 1, 0, '' FROM n ORDER BY 1, 2`,
		`COMMIT`,
	} {
		err := db.writer.do(tb.Context(), outside, func(ctx context.Context, t *tx) error { return t.s.once(ctx, text) })
		if err != nil {
			tb.Fatalf("%s: %v", text, err)
		}
	}
}
