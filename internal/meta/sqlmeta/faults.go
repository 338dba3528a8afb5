package sqlmeta

import "berth/internal/meta"

// A faultQuery finds contradictions of one fault: number and name of the
// repository, digest, name.
type faultQuery struct {
	fault meta.Fault
	wrong string // what it means if it finds anything
	text  string
}

// sqlUnreferenced holds of a membership m that nothing needs: neither a manifest
// nor registry:2.
const sqlUnreferenced = `NOT EXISTS (SELECT 1 FROM manifest_refs f WHERE f.repo_id = m.repo_id AND f.digest = m.digest)
	AND NOT EXISTS (SELECT 1 FROM links l WHERE l.repo_id = m.repo_id AND l.kind = 1 AND l.name = m.digest AND l.held = 1)`

// sqlAbsent finds the parts of manifests that their repositories do not have. An
// index in the trash has left its children behind.
const sqlAbsent = `SELECT f.repo_id, COALESCE(r.name, ''), f.digest, n.digest FROM manifest_refs f
	JOIN manifests n ON n.id = f.manifest_id LEFT JOIN repos r ON r.id = f.repo_id
	WHERE COALESCE(r.trash, 0) = 0 AND NOT EXISTS (SELECT 1 FROM repo_blobs m WHERE m.repo_id = f.repo_id AND m.digest = f.digest)
	AND NOT EXISTS (SELECT 1 FROM manifests c WHERE c.repo_id = f.repo_id AND c.digest = f.digest) AND `

// sqlHad says that the repository had the part: it was there when the manifest
// came, or there is a tombstone of it.
const sqlHad = `(f.dangling = 0 OR EXISTS (SELECT 1 FROM losses l WHERE l.repo_id = f.repo_id AND l.digest = f.digest))`

// contradictions find nothing in a database that is right.
func contradictions() []faultQuery {
	return []faultQuery{
		{meta.FaultListed, "a repository is listed without a manifest, or not with one", `SELECT r.id, r.name, '', '' FROM repos r
			WHERE (r.listed = 1) <> (r.trash = 0 AND EXISTS (SELECT 1 FROM manifests m WHERE m.repo_id = r.id))`},
		{meta.FaultUnheld, "no repository has the blob", `SELECT 0, '', b.digest, b.key FROM blobs b
			WHERE NOT EXISTS (SELECT 1 FROM repo_blobs m WHERE m.digest = b.digest)`},
		{meta.FaultForgotten, "a blob that nothing needs is no candidate", `SELECT m.repo_id, COALESCE(r.name, ''), m.digest, ''
			FROM repo_blobs m LEFT JOIN repos r ON r.id = m.repo_id WHERE m.candidate = 0 AND COALESCE(r.trash, 0) = 0 AND ` + sqlUnreferenced},
		{meta.FaultKeyGarbage, "a blob's key is garbage", `SELECT 0, '', b.digest, b.key FROM garbage g JOIN blobs b ON b.key = g.key`},
		{meta.FaultTag, "a tag says another digest than its manifest", `SELECT t.repo_id, COALESCE(r.name, ''), t.digest, t.name
			FROM tags t LEFT JOIN repos r ON r.id = t.repo_id LEFT JOIN manifests m ON m.id = t.manifest_id
			WHERE m.id IS NULL OR m.digest <> t.digest OR m.repo_id <> t.repo_id`},
		{meta.FaultReferences, "the needs of a manifest are recorded for another repository", `SELECT DISTINCT m.repo_id, COALESCE(r.name, ''), m.digest, ''
			FROM manifest_refs f JOIN manifests m ON m.id = f.manifest_id LEFT JOIN repos r ON r.id = m.repo_id WHERE f.repo_id <> m.repo_id`},
		{meta.FaultTrash, "what is in the trash has no entry, or links of registry:2", `SELECT r.id, r.name, '', '' FROM repos r
			WHERE r.trash <> 0 AND (NOT EXISTS (SELECT 1 FROM trash e WHERE e.id = r.trash)
				OR EXISTS (SELECT 1 FROM links l WHERE l.repo_id = r.id) OR EXISTS (SELECT 1 FROM unwritten u WHERE u.repo_id = r.id))`},
	}
}

// faults find what checks tell of besides: what foreign keys forbid, and what is
// wrong with the content rather than with the records.
func faults() []faultQuery {
	orphans := func(table, owner string) faultQuery {
		return faultQuery{meta.FaultOrphan, "a row belongs to nothing", `SELECT x.` + owner + `, '', '', '` + table + `' FROM ` + table + ` x
			WHERE NOT EXISTS (SELECT 1 FROM repos r WHERE r.id = x.` + owner + `)`}
	}
	return append(contradictions(),
		faultQuery{meta.FaultMember, "a membership of no blob", `SELECT m.repo_id, COALESCE(r.name, ''), m.digest, '' FROM repo_blobs m
			LEFT JOIN repos r ON r.id = m.repo_id WHERE NOT EXISTS (SELECT 1 FROM blobs b WHERE b.digest = m.digest)`},
		faultQuery{meta.FaultOrphan, "a need of no manifest", `SELECT f.repo_id, '', f.digest, 'manifest_refs' FROM manifest_refs f
			WHERE NOT EXISTS (SELECT 1 FROM manifests m WHERE m.id = f.manifest_id)`},
		orphans("repo_blobs", "repo_id"), orphans("manifests", "repo_id"), orphans("losses", "repo_id"),
		orphans("links", "repo_id"), orphans("unwritten", "repo_id"),
		faultQuery{meta.FaultPartLost, "", sqlAbsent + sqlHad},
		faultQuery{meta.FaultPartAbsent, "", sqlAbsent + `NOT ` + sqlHad},
		faultQuery{meta.FaultNoSubject, "", `SELECT m.repo_id, COALESCE(r.name, ''), m.subject, m.digest FROM manifests m LEFT JOIN repos r ON r.id = m.repo_id
			WHERE m.subject <> '' AND COALESCE(r.trash, 0) = 0 AND NOT EXISTS (SELECT 1 FROM manifests s WHERE s.repo_id = m.repo_id AND s.digest = m.subject)`},
		faultQuery{meta.FaultManifestSize, "", `SELECT m.repo_id, COALESCE(r.name, ''), m.digest, '' FROM manifests m LEFT JOIN repos r ON r.id = m.repo_id
			WHERE m.size <> length(m.body)`},
	)
}
