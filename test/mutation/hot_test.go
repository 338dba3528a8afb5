package mutation_test

// ofHot are about what is kept in memory of the records.
func ofHot() []mutation {
	const (
		cache, change   = "internal/meta/hot/hot.go", "internal/meta/hot/change.go"
		changes, commit = "internal/meta/sqlmeta/changes.go", "internal/meta/sqlmeta/commit.go"
		audit, again    = "internal/meta/sqlmeta/audit.go", "internal/meta/sqlmeta/again.go"
		races           = "TestLateFill|TestFillDuringCommit|TestHotAfterFailures"
	)
	const filter, unknown = "internal/meta/hot/filter.go", "internal/meta/sqlmeta/unknown.go"
	const recall = "internal/meta/sqlmeta/recall.go"
	list := []mutation{
		{
			name: "what the transaction has changed of a tag is not told from memory", file: recall, run: "TestInOneBatch",
			old: "	return d, ok && !t.changes.touch(k)\n",
			new: "	return d, ok\n",
		},
		{
			name: "what was read before a change is not learnt", file: changes, run: "TestInOneBatch", soak: true,
			old: "		if _, changed := last[n.key]; !changed {",
			new: "		if true {",
		},
		{
			name: "a new tag is refused where there is one", file: "internal/meta/sqlmeta/tags.go", run: "TestBehindItsBack", soak: true,
			old: "		text = sqlNewTag\n",
			new: "",
		},
		{
			name: "a new blob is refused where there is one", file: "internal/meta/sqlmeta/uploads.go", run: "TestBehindItsBack", soak: true,
			old: "		text = sqlNewBlob\n",
			new: "",
		},
		{
			name: "what is about to be there is no longer unknown", file: unknown, run: "TestUnknown$",
			old: "	case \"blobs\":\n		c.unknown.Add(ofDigest(row[0].(string)))\n",
			new: "	case \"blobs\":\n",
		},
		{
			name: "what was changed before it is learnt what there is, is committed", file: unknown, run: "TestLearnBehindRecords", soak: true,
			old: "		err := db.writer.do(ctx, outside, func(context.Context, *tx) error { return nil })\n",
			new: "		err := error(nil)\n",
		},
		{
			name: "what is added while it is learnt what there is, is not unknown", file: filter, run: "TestFilterAddedMeanwhile", soak: true,
			old: "		next.add(h)\n	}\n	now := ",
			new: "		_ = h\n	}\n	now := ",
		},
		{
			name: "nothing is unknown once a row could not be read", file: changes, run: "TestUnreadableRow", soak: true,
			old: "			c.unknown.GiveUp()\n",
			new: "",
		},
		{
			name: "what changes is dropped from memory before the commit", file: commit, run: races,
			old: "		w.changes.begin(w.hot)\n		err = w.session.do(",
			new: "		err = w.session.do(",
		},
		{
			name: "what changes is dropped from memory before it is recorded", file: commit, run: "TestPutBehindRecord",
			old: "	w.changes.begin(w.hot)\n	if err := r.write(k)",
			new: "	if err := r.write(k)",
		},
		{
			name: "what is read before a change is not put into memory after it", file: cache, run: "TestChanges",
			old: "	return c.changed[at%stripes] <= uint64(m) && c.floor <= uint64(m)\n",
			new: "	return c.floor <= uint64(m)\n",
		},
		{
			name: "nothing is put into memory that is being changed", file: change, run: "TestChanges", soak: true,
			old: "		c.changed[hash(k)%stripes] = changing\n",
			new: "",
		},
		{
			name: "what changes is not put into memory before its end is certain", file: change, pkg: "./internal/meta/sqlmeta", run: races, soak: true,
			old: "		c.changed[hash(k)%stripes] = changing\n",
			new: "",
		},
		{
			name: "an answer from memory is of one moment", file: change, run: "TestChanges", soak: true,
			old: "		c.drop(k)\n	}\n	c.mu.Unlock()\n	c.epoch.Add(1)\n",
			new: "		c.drop(k)\n	}\n	c.mu.Unlock()\n",
		},
		{
			name: "memory is bounded", file: change, run: "TestBound", soak: true,
			old: "	for c.bytes+size > c.limit-c.taken && ",
			new: "	for c.bytes+size > 2*c.limit && ",
		},
		{
			name: "a failed commit leaves the memory in use", file: commit, run: races, soak: true,
			old: "		w.hot.End() // now that it is certain whether it was\n",
			new: "",
		},
		{
			name: "what was undone is not put into memory", file: changes, run: "TestUndoneIsNotPut", soak: true,
			old: "		c.list[since+i].value = nil\n	}\n	c.unsure = c.unsure || since < len(c.list)\n",
			new: "		_ = i\n	}\n",
		},
		{
			name: "pushing heals what a check found", file: audit, pkg: "./internal/fsck", run: "TestRepairedAndHealed", soak: true,
			old: "	db.hot.Forget() // what is found is",
			new: "	// what is found is",
		},
		{
			name: "a repository in memory reads its own blobs", file: "internal/meta/sqlmeta/hotblobs.go", run: "TestNowhere", soak: true,
			old: "LEFT JOIN repo_blobs m ON m.repo_id = $1 AND",
			new: "LEFT JOIN repo_blobs m ON m.repo_id <= $1 + 1000 AND",
		},
		{
			name: "content that only another repository has is not nowhere", file: "internal/meta/sqlmeta/hotblobs.go", run: "TestNowhere", soak: true,
			old: "	if !f.stored {\n		db.keepNowhere",
			new: "	if !f.stored || !f.is {\n		db.keepNowhere",
		},
		{
			name: "what is answered and not committed is not asked of the database as it is", file: "internal/meta/sqlmeta/commit.go", run: "TestUncommittedIsSeen",
			old: "	r.uncommitted.add(&w.changes) // before anybody can know of it\n",
			new: "",
		},
		{
			name: "who reads notices that what was uncommitted is committed by now", file: "internal/meta/sqlmeta/uncommitted.go", run: "TestCommittedMeanwhile",
			old: "	if u.round != round || u.all {",
			new: "	if u.all {",
		},
		{
			name: "a tag that moved is uncommitted until it is committed", file: "internal/meta/sqlmeta/hot.go", run: "TestUncommitted", soak: true,
			old: "		keys = append(keys, hot.Key{Kind: hotTag,",
			new: "		_ = append(keys, hot.Key{Kind: hotTag,",
		},
		{
			name: "a push that changes nothing finds its parts undamaged", file: "internal/meta/sqlmeta/hotblobs.go", run: "TestRepush", soak: true,
			old: "	return ok && !b.Damaged\n",
			new: "	return ok && (true || !b.Damaged)\n",
		},
		{
			name: "a push that changes nothing finds its tags", file: again, run: "TestRepush", soak: true,
			old: "		if d, ok := hotDigest(v, id, tag); !ok || d != p.Digest {",
			new: "		if d, ok := hotDigest(v, id, tag); ok && d != p.Digest {",
		},
	}
	for _, of := range [][2]string{
		{"tag", "		c.note(hot.Key{Kind: hotTag, Repo: repo, Name: row[1].(string)})\n"},
		{"manifest", "		c.note(hot.Key{Kind: hotManifest, Repo: repo, Name: row[2].(string)})\n"},
		{"membership", "		c.note(hot.Key{Kind: hotMembers, Repo: row[0].(int64), Name: row[1].(string)})\n"},
		{"content", "		c.note(hot.Key{Kind: hotContents, Name: row[0].(string)})\n"},
		{"repository", "		c.note(hot.Key{Kind: hotRepo, Name: row[1].(string)})\n"},
	} {
		list = append(list, mutation{name: "a changed " + of[0] + " is dropped from memory", file: changes, run: "TestContracts", soak: true, old: of[1], new: ""})
	}
	return list
}
