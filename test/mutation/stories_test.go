package mutation_test

// ofStories are about what happened to others: each takes away what keeps it from
// happening here, and its story must be told again.
func ofStories() []mutation {
	const (
		stories = "./test/horror"
		prune   = "internal/meta/sqlmeta/prune.go"
	)
	return []mutation{
		{
			name: "what an index names is kept with it", file: prune, pkg: stories, run: "TestDistribution(3178|3822|4461|3004)$", soak: true,
			old: "		for _, next := range [][]int{l.parts, referrers[l.digest]} {",
			new: "		for _, next := range [][]int{referrers[l.digest]} {",
		},
		{
			name: "what refers to something is kept with it", file: prune, pkg: stories, run: "TestDistribution3004$", soak: true,
			old: "		for _, next := range [][]int{l.parts, referrers[l.digest]} {",
			new: "		for _, next := range [][]int{l.parts} {",
		},
		{
			name: "what is kept is looked at once more", file: prune, pkg: stories, run: "TestDistribution(3004|2914)$|TestJoxit405$", soak: true,
			old: "					list[i].kept = true\n					open = append(open, i)\n",
			new: "					list[i].kept = true\n",
		},
		{
			name: "who is told of a blob can name it a moment later", file: "internal/registry/core.go", pkg: stories, run: "TestQuay6318$", soak: true,
			old: "	if err := c.touch(ctx, repo, rec); err != nil {",
			new: "	if err := error(nil); err != nil {",
		},
		{
			name: "an empty repository is not listed", file: "internal/meta/sqlmeta/lists.go", pkg: stories, run: "TestDistribution2434$", soak: true,
			old: "SELECT name FROM repos WHERE listed = 1 AND",
			new: "SELECT name FROM repos WHERE",
		},
		{
			name: "what a crash left is looked for", file: "internal/blob/fsblob/delete.go", pkg: stories, run: "TestZot2598$", soak: true,
			old: "		if !ok {\n			if err := s.drop(ctx, key, known); err != nil {",
			new: "		if !ok && false {\n			if err := s.drop(ctx, key, known); err != nil {",
		},
	}
}
