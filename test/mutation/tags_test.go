package mutation_test

// ofTags are about what tags pointed to, and those that must not move.
func ofTags() []mutation {
	const tags, history = "internal/meta/sqlmeta/tags.go", "internal/meta/sqlmeta/history.go"
	return []mutation{
		{
			name: "an immutable tag is left alone", file: tags, run: "TestContracts/Immutable",
			old: "	if !t.immutable(c.in, tag) {\n		return nil\n	}\n	if c.cause",
			new: "	if true {\n		return nil\n	}\n	if c.cause",
		},
		{
			name: "an immutable tag is not moved by a push", file: tags, pkg: ".", run: "TestImmutableDoors", soak: true,
			old: "		if err := t.allow(c, tag, from, to); err != nil {",
			new: "		if err := error(nil); err != nil {",
		},
		{
			name: "an immutable tag does not go with its manifest", file: tags, pkg: ".", run: "TestImmutableDoors", soak: true,
			old: "		if err := t.allow(c, tag, m.digest, oci.Digest{}); err != nil {",
			new: "		if err := t.allow(c, tag, m.digest, oci.Digest{}); false && err != nil {",
		},
		{
			name: "an immutable tag keeps its repository", file: "internal/meta/sqlmeta/trashrepo.go", run: "TestContracts/Immutable", soak: true,
			old: "		if err := t.keepsImmutable(ctx, id, repo); err != nil {",
			new: "		if err := error(nil); err != nil {",
		},
		{
			name: "a tag that moves is in the history", file: tags, run: "TestContracts/History", soak: true,
			old: "	if err == nil {\n		err = t.noteTag(ctx, c, tag, from, to)\n	}",
			new: "",
		},
		{
			name: "a rollback is of what was seen", file: history, run: "TestContracts/History", soak: true,
			old: "	if p.From != nil && *p.From != m.From {",
			new: "	if false {",
		},
	}
}
