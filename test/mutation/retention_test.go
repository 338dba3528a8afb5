package mutation_test

// ofRetention are about what rules let go of.
func ofRetention() []mutation {
	const families, graph = "internal/retention/families.go", "internal/retention/graph.go"
	return []mutation{
		{
			name: "what is young is awaited", file: families, run: "TestGrace", soak: true,
			old: "		if young.kept || !d.young(d.touched(young)) {",
			new: "		if true {",
		},
		{
			name: "what refers to an image stays with it", file: graph, run: "TestFamilies",
			old: "		for _, to := range g.nodes[from].referrers {",
			new: "		for _, to := range g.nodes[from].referrers[:0] {",
		},
		{
			name: "a family goes whole", file: "internal/meta/sqlmeta/trash.go", pkg: "./internal/retention", run: "TestMeanwhile", soak: true,
			old: "	if err == nil && d.Whole && (",
			new: "	if err == nil && false && (",
		},
		{
			name: "pulls are unknown after a restore", file: "internal/meta/sqlmeta/recover.go", run: "TestPullsAreUnknownAfterRestore", soak: true,
			old: "	if r.From != \"\" || r.Moved {\n",
			new: "	if false {\n",
		},
		{
			name: "a restored part is not taken for another", file: "internal/meta/sqlmeta/restore.go", pkg: "./internal/retention", run: "TestRun$", soak: true,
			old: "	if isNotFound(err) || err == nil && at != m.repo {",
			new: "	if isNotFound(err) {",
		},
	}
}
