package mutation_test

// ofTrash are about what is deleted and comes back.
func ofTrash() []mutation {
	const (
		trash, list   = "internal/meta/sqlmeta/trash.go", "internal/meta/sqlmeta/trashlist.go"
		repo, restore = "internal/meta/sqlmeta/trashrepo.go", "internal/meta/sqlmeta/restore.go"
	)
	return []mutation{
		{
			name: "the trash holds the parts", file: trash, run: "TestContracts/Trash$",
			old: "		WHERE f.manifest_id = $1 ON CONFLICT (repo_id, digest) DO NOTHING`, id, b.hidden)",
			new: "		WHERE f.manifest_id = -$1 ON CONFLICT (repo_id, digest) DO NOTHING`, id, b.hidden)",
		},
		{
			name: "a manifest comes back with its tags", file: trash, run: "TestContracts/Trash$", soak: true,
			old: "		b.tags, tags = tags, nil\n",
			new: "		tags = nil\n",
		},
		{
			name: "the last manifest takes its repository off the list", file: "internal/meta/sqlmeta/manifests.go", run: "TestContracts", soak: true,
			old: "	if m.alone {\n",
			new: "	if false {\n",
		},
		{
			name: "what the transaction changed is not taken from memory", file: "internal/meta/sqlmeta/again.go", run: "TestPartsOfTheTransaction|TestMountInTheTransaction",
			old: "|| b.Damaged || t.changes.touch(member) || t.changes.touch(content) {",
			new: "|| b.Damaged || t.changes.all {",
		},
		{
			name: "a deleted repository leaves tombstones", file: repo, run: "TestContracts/TrashRepo",
			old: "		WHERE r.id = $1 AND (EXISTS",
			new: "		WHERE r.id = -$1 AND (EXISTS",
		},
		{
			name: "taken apart it leaves them, too", file: list, run: "TestContracts/TrashRepo", soak: true,
			old: "	if a.kind != meta.TrashRepo {\n		return nil // it has one",
			new: "	if true {\n		return nil // it has one",
		},
		{
			name: "a link that is being written is noted anew", file: repo, run: "TestContracts/TrashRepo", soak: true,
			old: "`UPDATE unwritten SET repo_id = $2, version = version + 1 WHERE repo_id = $1`",
			new: "`UPDATE unwritten SET repo_id = $2 WHERE repo_id = $1`",
		},
		{
			name: "nothing comes back without what it needs", file: restore, run: "TestContracts/Trash$", soak: true,
			old: "		if len(r.missing) > 0 {",
			new: "		if false {",
		},
		{
			name: "a tag that moved on stays", file: restore, run: "TestContracts/Trash$", soak: true,
			old: "	case err == nil && !r.p.Force:",
			new: "	case false:",
		},
		{
			name: "what is over can't be restored", file: list, run: "TestContracts/Trash$", soak: true,
			old: "WHERE e.dropped = 0 AND e.deleted > $1 `",
			new: "WHERE e.dropped = 0 AND e.deleted > $1 * 0 - 1 `",
		},
	}
}
