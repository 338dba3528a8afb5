package mutation_test

import "slices"

// mutations lists the safety steps, from the disk upwards.
func mutations() []mutation {
	return slices.Concat(ofFiles(), ofRecords(), ofUploads(), ofLedger(), ofRules(), ofGuard(), ofEvents(), ofTree(), ofBackups(), ofChecks(), ofStories(), ofTags(), ofTrash(), ofRetention(), ofLists(), ofPulls(), ofHot(), ofRedo())
}

// ofFiles are about objects on disk.
func ofFiles() []mutation {
	const commit = "internal/blob/fsblob/commit.go"
	return []mutation{
		{
			name: "fsync of the file", file: commit, run: "TestOrder$",
			old: "		return w.s.syncNames(d, unsynced, w.f.Sync)\n",
			new: "		return w.s.syncNames(d, unsynced)\n",
		},
		{
			name: "the disk is given the file before there is a name", file: commit, run: "TestOrder$",
			old: "		err := w.f.Await()\n",
			new: "		err := error(nil)\n",
		},
		{
			name: "fsync of the file before there is a name", file: commit, run: "TestOrder$", soak: true,
			old: "		if err := w.f.Sync(); err != nil {\n",
			new: "		if err := error(nil); err != nil {\n",
		},
		{
			name: "fsync of the directory", file: commit, run: "TestOrder$",
			old: "done <- d.syncDir(hexDir) }",
			new: "_ = hexDir; done <- nil }",
		},
		{
			name: "fsync of the directories above", file: commit, run: "TestOrder$", soak: true,
			old: "	for _, dir := range dirs {\n		if err := d.syncDir(",
			new: "	for _, dir := range dirs[:0] {\n		if err := d.syncDir(",
		},
		{
			name: "directories that vanish are not kept", file: commit, run: "TestKeptDirVanishes", soak: true,
			old: "		d.leave()\n",
			new: "",
		},
		{
			name: "a failed fsync loses the object", file: commit, run: "TestFsyncFailsOnce",
			old: "	if _, ok := errors.AsType[*syncError](err); !ok {",
			new: "	if _, ok := errors.AsType[*syncError](err); true || !ok {",
		},
		{
			name: "the file is as long as what was written", file: commit, run: "TestFileGotShorter", soak: true,
			old: "	if info.Size() != w.size {",
			new: "	if false {",
		},
	}
}

// ofRecords are about the database.
func ofRecords() []mutation {
	const (
		blobs, put = "internal/meta/sqlmeta/blobs.go", "internal/meta/sqlmeta/put.go"
		registry   = "./internal/registry"
	)
	return []mutation{
		{
			name: "synchronous is FULL", file: "internal/meta/sqlmeta/sqlite.go", run: "TestDurability",
			old: `return "PRAGMA synchronous = FULL"`,
			new: `return "PRAGMA synchronous = NORMAL"`,
		},
		{
			name: "what a failed change leaves behind is undone", file: "internal/meta/sqlmeta/commit.go", run: "TestNeighbours",
			old: "			return errSpoilt\n",
			new: "",
		},
		{
			name: "the log is folded beside the writer", file: "internal/meta/sqlmeta/fold.go", run: "TestFold", soak: true,
			old: "		go w.fold(ctx)\n",
			new: "		f.busy.Unlock()\n",
		},
		{
			name: "what waits for the disk joins nothing that does not", file: "internal/meta/sqlmeta/writer.go", run: "TestLateComers", soak: true,
			old: " && w.waiting[n].kind >= k {",
			new: " {",
		},
		{
			name: "the version of an upload", file: "internal/meta/sqlmeta/ledger.go", run: "TestContracts/Uploads",
			old: "	case r.Version != u.Version || r.Key != u.Key:",
			new: "	case false:",
		},
		{
			name: "the tombstone", file: put, pkg: registry, run: "TestMissingParts",
			old: "		case has.state == lost || p.Requires(d.Digest):",
			new: "		case p.Requires(d.Digest):",
		},
		{
			name: "the size of a part", file: put, pkg: registry, run: "TestSizes", soak: true,
			old: "		case has.state == present && d.Size != oci.UnknownSize && d.Size != has.size:",
			new: "		case false:",
		},
		{
			name: "a damaged part is missing", file: put, pkg: registry, run: "TestMissingParts/damaged", soak: true,
			old: "	case err == nil && !damaged:",
			new: "	case err == nil:",
		},
		{
			name: "a blob in use stays", file: blobs, pkg: registry, run: "TestInUse",
			old: "		if err := t.unneeded(ctx, id, d); err != nil {",
			new: "		if err := t.unneeded(ctx, id, d); false && err != nil {",
		},
		{
			name: "a manifest in use stays", file: "internal/meta/sqlmeta/manifests.go", pkg: registry, run: "TestInUse", soak: true,
			old: "		if holder != \"\" {",
			new: "		if false {",
		},
		{
			name: "the collector looks whether a blob is needed", file: "internal/meta/sqlmeta/garbage.go", pkg: "./internal/gc", run: "TestGrace",
			old: "	if needed {",
			new: "	if false {",
		},
		{
			name: "what loses a reference has its grace anew", file: "internal/meta/sqlmeta/manifests.go", pkg: "./internal/gc", run: "TestGrace",
			old: "UPDATE repo_blobs SET touched = $2, candidate = 1",
			new: "UPDATE repo_blobs SET touched = touched + 0 * $2, candidate = 1",
		},
		{
			name: "a key that a blob has is no garbage", file: blobs, pkg: "./internal/gc", run: "TestSharedKey", soak: true,
			old: "		WHERE NOT EXISTS (SELECT 1 FROM blobs WHERE key = $1) ON CONFLICT (key) DO NOTHING`",
			new: "		WHERE 1 = 1 ON CONFLICT (key) DO NOTHING`",
		},
		{
			name: "only the damaged key is marked", file: blobs, pkg: registry, run: "TestLateFinderMarksNothing", soak: true,
			old: "UPDATE blobs SET damaged = 1 WHERE digest = $1 AND key = $2 AND damaged = 0",
			new: "UPDATE blobs SET damaged = 1 WHERE digest = $1 AND key <> $2 || 'x' AND damaged = 0",
		},
		{
			name: "a repository reads its own blobs", file: "internal/meta/sqlmeta/hotblobs.go", pkg: registry, run: "TestMount",
			old: "LEFT JOIN repo_blobs m ON m.repo_id = $1 AND",
			new: "LEFT JOIN repo_blobs m ON m.repo_id <= $1 + 1000 AND",
		},
		{
			name: "a repository reads its own blobs, the first time", file: "internal/meta/sqlmeta/hotblobs.go", run: "TestUncommitted",
			old: "LEFT JOIN repo_blobs m ON m.repo_id = r.id AND",
			new: "LEFT JOIN repo_blobs m ON m.repo_id <= r.id + 1000 AND",
		},
	}
}

// ofLedger are about uploads that run, and those of which only a file says so.
func ofLedger() []mutation {
	const ledger, lines, remove = "internal/meta/sqlmeta/ledger.go", "internal/meta/sqlmeta/ledgerline.go", "internal/blob/fsblob/delete.go"
	return []mutation{
		{
			name: "what is recorded to be over is not taken up", file: ledger, run: "TestOverWithoutLine",
			old: "		if over {\n",
			new: "		if false {\n",
		},
		{
			name: "what is recorded to be over is not taken up, when the power is cut", file: ledger, run: "TestPowerCuts", soak: true,
			old: "		if over {\n",
			new: "		if false {\n",
		},
		{
			name: "a key that may have been used is not used again", file: ledger, run: "TestUploadsSurvive", soak: true,
			old: "		if r.Size == 0 {\n",
			new: "		if false {\n",
		},
		{
			name: "unfinished uploads are bounded", file: ledger, run: "TestRoomForUploads", soak: true,
			old: "	if l.most > 0 && len(l.all) >= l.most {\n",
			new: "	if false {\n",
		},
		{
			name: "an upload of which something came never gives way", file: "internal/meta/sqlmeta/ledgerlist.go", run: "TestRoomForUploads", soak: true,
			old: "return r.Size == 0 && r.saved <= before && !r.ending })",
			new: "return r.saved <= before && !r.ending })",
		},
		{
			name: "one ends an upload", file: ledger, run: "TestOneEnds", soak: true,
			old: "	if r.ending {\n",
			new: "	if false {\n",
		},
		{
			name: "what is being ended moves on no more", file: ledger, run: "TestOneEnds", soak: true,
			old: "	case r.ending:\n",
			new: "	case false:\n",
		},
		{
			name: "an upload that could not end goes on", file: "internal/meta/sqlmeta/uploads.go", run: "TestOneEnds", soak: true,
			old: "		if !ended {\n",
			new: "		if false && !ended {\n",
		},
		{
			name: "what was not written down is written with the next", file: ledger, run: "TestLedgerFull", soak: true,
			old: "	l.torn = true\n	if osfile.NoSpace",
			new: "	if osfile.NoSpace",
		},
		{
			name: "what is not whole says nothing", file: lines, run: "TestTornLines", soak: true,
			old: " || uint32(want) != checksum(text) {",
			new: " || want > 1<<32 {",
		},
		{
			name: "what is recorded is not resumed", file: remove, run: "TestRecordedIsKept",
			old: "		known, err := s.known(ctx, final)\n",
			new: "		known, err := nothingKnown(ctx, final)\n",
		},
		{
			name: "what is recorded is not renamed back", file: remove, run: "TestRecordedIsKept", soak: true,
			old: "	if known, err := s.known(ctx, o.key()); known",
			new: "	if known, err := nothingKnown(ctx, o.key()); known",
		},
		{
			name: "what is recorded is not deleted with its upload", file: remove, run: "TestRecordedIsKept", soak: true,
			old: "s.drop(ctx, key, s.known)",
			new: "s.drop(ctx, key, nothingKnown)",
		},
	}
}

// ofUploads are about what comes between two who write.
func ofUploads() []mutation {
	const (
		upload, appending = "internal/registry/upload.go", "internal/registry/append.go"
		sessions, commit  = "internal/registry/sessions.go", "internal/registry/commit.go"
	)
	return []mutation{
		{
			name: "who may take over", file: sessions, run: "TestTakeover",
			old: "		if old.held || offset != old.recorded && offset != ending {",
			new: "		if old.held {",
		},
		{
			name: "who was taken over writes no more", file: sessions, run: "TestTakenOverWritesNoMore", soak: true,
			old: "	if t.s.writer != t {",
			new: "	if false {",
		},
		{
			name: "nothing disturbs a commit", file: sessions, run: "TestCommitIsNotDisturbed",
			old: "	return t.do(func() error { t.held = true; return nil })",
			new: "	return t.do(func() error { return nil })",
		},
		{
			name: "a hash of two writers is not believed", file: sessions, run: "TestStoredBytesAreReadAgain",
			old: "		s.continuous = false\n",
			new: "",
		},
		{
			name: "a hash of two processes is not believed", file: commit, run: "TestStoredBytesAreReadAgain", soak: true,
			old: "	if !u.s.trusted() || u.rec.Algorithm != d.Algorithm() {\n		h =",
			new: "	if u.rec.Algorithm != d.Algorithm() {\n		h =",
		},
		{
			name: "the content is what the digest says", file: commit, run: "TestUpload/wrong_digest$",
			old: "	if has := d.Algorithm().Digest(h); has != d {",
			new: "	if has := d.Algorithm().Digest(h); false && has != d {",
		},
		{
			name: "content that is known is what the digest says", file: commit, run: "TestUpload/wrong_digest_of_known", soak: true,
			old: "	if has := u.rec.Algorithm.Digest(h); has != d {",
			new: "	if has := u.rec.Algorithm.Digest(h); false && has != d {",
		},
		{
			name: "a commit looks at the stored copy", file: commit, run: "TestHealsByAnyUpload",
			old: "	known, err := u.c.stored(ctx, d)\n",
			new: "	known, err := false, error(nil)\n",
		},
		{
			name: "an upload is its user's", file: upload, run: "TestUpload/of_others", soak: true,
			old: "err == nil && rec.By != c.by.Name {",
			new: "err == nil && false {",
		},
		{
			name: "what failed to become a blob is recorded", file: appending, run: "TestFinish$",
			old: "	if err != nil && !u.ended {",
			new: "	if false {",
		},
		{
			name: "a record that another one saved is read again", file: sessions, run: "TestStaleValue", soak: true,
			old: "return t.s.version.Load() == version }",
			new: "return true }",
		},
		{
			name: "who has stalled is recorded", file: appending, run: "TestStalledLargeUpload", soak: true,
			old: "			_ = a.checkpoint(ctx) // as in run",
			new: "			_ = ctx // as in run",
		},
		{
			name: "a cut connection is recorded", file: appending, run: "TestUpload/cut", soak: true,
			old: `errors.Join(fmt.Errorf("read upload: %w", err), a.checkpoint(ctx))`,
			new: `errors.Join(fmt.Errorf("read upload: %w", err), nil)`,
		},
	}
}

// ofEvents are about telling others what happened.
func ofEvents() []mutation {
	const (
		dispatcher = "internal/event/dispatcher.go"
		records    = "internal/meta/sqlmeta/events.go"
	)
	return []mutation{
		{
			name: "a refused delivery is not passed over", file: dispatcher, run: "TestDispatchFailure",
			old: "		if err := d.o.Sink.Deliver(ctx, batch); err != nil {\n			return err",
			new: "		if err := d.o.Sink.Deliver(ctx, batch); err != nil {\n			return d.o.Outbox.Advance(ctx, d.o.Reader, seq)",
		},
		{
			name: "a replay is not undone by what is being delivered", file: dispatcher, run: "TestRewind", soak: true,
			old: "	if d.turn != turn {",
			new: "	if false {",
		},
		{
			name: "what somebody needs is not trimmed", file: records, run: "TestContracts/Events",
			old: "		if r.Need == meta.NeedAll {",
			new: "		if false {",
		},
		{
			name: "what was noted comes before the next change", file: "internal/meta/sqlmeta/db.go", run: "TestContracts/Events", soak: true,
			old: "	if db.outbox.waiting() {",
			new: "	if false {",
		},
		{
			name: "redirects of endpoints are not followed", file: "internal/event/webhook/webhook.go", run: "TestAnswers",
			old: "return http.ErrUseLastResponse }",
			new: "return nil }",
		},
	}
}

// ofRules are about what is served and deleted.
func ofRules() []mutation {
	const core = "internal/registry/core.go"
	return []mutation{
		{
			name: "who is told of a blob has time to use it", file: core, run: "TestTouch",
			old: "	if err := c.touch(ctx, repo, rec); err != nil {",
			new: "	if err := error(nil); err != nil {",
		},
		{
			name: "the size at open", file: core, run: "TestShortBlobIsNotServed",
			old: "	case err == nil && size == rec.Size:",
			new: "	case err == nil && size >= 0:",
		},
		{
			name: "the hash of a manifest that is served", file: core, run: "TestDamagedManifest",
			old: "	if !m.Intact() {",
			new: "	if false {",
		},
		{
			name: "the hash of a manifest that is pushed", file: core, run: "TestPutManifest", soak: true,
			old: "has := d.Algorithm().FromBytes(p.Manifest.Body); has != d {",
			new: "has := d.Algorithm().FromBytes(p.Manifest.Body); false && has != d {",
		},
		{
			name: "a mount is from what may be read", file: core, run: "TestMount", soak: true,
			old: "		if m.Readable != nil && !m.Readable(from) {",
			new: "		if false {",
		},
		{
			name: "deletion off covers tags", file: core, run: "TestDeletionOff", soak: true,
			old: "	if c.Deletion == DeletionOff {\n		return errDeletionOff()\n	}\n	err := c.Records.DeleteTag",
			new: "	err := c.Records.DeleteTag",
		},
		{
			name: "an object goes before its record", file: "internal/gc/pass.go", run: "TestObjectsGoFirst",
			old: "			failed = errors.Join(failed, err)\n			continue\n",
			new: "			failed = errors.Join(failed, err)\n",
		},
		{
			name: "nothing is deleted while it is held", file: "internal/gc/pass.go", run: "TestHold",
			old: "	if c.holds > 0 {\n		return 0, nil\n	}\n	ahead",
			new: "	ahead",
		},
		{
			name: "a clock that was set back keeps no garbage", file: "internal/meta/sqlmeta/garbage.go", run: "TestContracts/Garbage",
			old: "	if grace <= 0 {",
			new: "	if false {",
		},
		{
			name: "leftovers are no garbage that waits", file: "internal/meta/sqlmeta/uploads.go", run: "TestContracts/Uploads", soak: true,
			old: " OR EXISTS (SELECT 1 FROM garbage WHERE key = $1)`",
			new: "`",
		},
		{
			name: "a collection makes way", file: "internal/gc/run.go", run: "TestRunMakesWay", soak: true,
			old: "	if c.waiting.Load() > 0 || ",
			new: "	if ",
		},
		{
			name: "a collection ends with its window", file: "internal/gc/run.go", run: "TestRunInWindow",
			old: "	if c.waiting.Load() > 0 || !c.Window.Contains(c.now()) {",
			new: "	if c.waiting.Load() > 0 {",
		},
		{
			name: "one step's failure is no other's", file: "internal/gc/pass.go", run: "TestStepsFail", soak: true,
			old: "			failed = errors.Join(failed, fmt.Errorf(\"%s: %w\", s.Name, err))\n",
			new: "			return fmt.Errorf(\"%s: %w\", s.Name, errors.Join(failed, err))\n",
		},
		{
			name: "the collector looks whether a blob is needed, in a crowd", file: "internal/meta/sqlmeta/garbage.go", pkg: "./test/races", run: "TestRaces", soak: true,
			old: "	if needed {",
			new: "	if false {",
		},
	}
}

// ofGuard are about who may do what.
func ofGuard() []mutation {
	const file = "internal/guard/guard.go"
	check := func(method, repo, action, none string, soak bool) mutation {
		refusal := "	if err := g.check(" + repo + ", auth." + action + "); err != nil {\n		return " + none + "err\n	}\n"
		call := "	return g.svc." + method + "("
		return mutation{name: "the guard of " + method, file: file, run: "TestEveryMethod", old: refusal + call, new: call, soak: soak}
	}
	return []mutation{
		check("Blob", "repo", "Pull", "nil, ", false),
		check("Manifest", "repo", "Pull", "meta.Manifest{}, ", true),
		check("StartUpload", "repo", "Create", "nil, ", true),
		check("ResumeUpload", "repo", "Create", "nil, ", true),
		check("DeleteBlob", "repo", "Delete", "", true),
		check("DeleteManifest", "repo", "Delete", "", true),
		check("DeleteTag", "repo", "Delete", "", true),
		{
			name: "the guard of PutManifest", file: file, run: "TestEveryMethod", soak: true,
			old: "	if err := g.check(p.Repo, auth.Create); err != nil {",
			new: "	if err := error(nil); err != nil {",
		},
		{
			name: "a tag that must stay does", file: "internal/meta/sqlmeta/put.go", run: "TestContracts", soak: true,
			old: "		case digest != p.Digest.String():",
			new: "		case false:",
		},
		{
			name: "a rule holds at its addresses", file: "internal/auth/rules.go", run: "TestRules|TestEnters",
			old: "	if len(r.Addresses) == 0 {",
			new: "	if true {",
		},
		{
			name: "read-only is asked for", file: "internal/auth/rules.go", run: "TestReadOnlyRules", soak: true,
			old: "		if r.readOnly && a.Action.Writes() {",
			new: "		if false {",
		},
		{
			name: "only a trusted proxy names users", file: "internal/distapi/login.go", pkg: ".", run: "TestProxyLogIn", soak: true,
			old: "	if !c.peer.Trusted {",
			new: "	if false {",
		},
		{
			name: "no value of a header ends its line", file: "internal/listen/reply.go", run: "TestReply$", soak: true,
			old: "		if strings.IndexByte(v, '\\n') >= 0 ||",
			new: "		if false &&",
		},
		{
			name: "headers are those of one answer", file: "internal/listen/reply.go", run: "TestRepliesDontMix", soak: true,
			old: "	clear(w.header)\n",
			new: "",
		},
		{
			name: "nothing of a body is taken for a request", file: "internal/listen/direct.go", run: "TestSplit", soak: true,
			old: "	default: // it has the beginning of the next one, too\n		t.stage = blind\n",
			new: "	default:\n		t.stage = ended\n",
		},
		{
			name: "nor is anything behind what net/http has begun to read", file: "internal/listen/direct.go", run: "TestClientGoesOn", soak: true,
			old: "			t.stage, t.early = begun, p[0]\n",
			new: "			t.stage = ended\n",
		},
		{
			name: "a request has one length", file: "internal/listen/head.go", run: "TestHead", soak: true,
			old: "!isNumber(value) || f.header[\"Content-Length\"] != nil",
			new: "!isNumber(value)",
		},
		{
			name: "nor two of them", file: "internal/listen/head.go", run: "TestHead", soak: true,
			old: " || f.header[\"Content-Length\"] != nil || f.chunked {\n			return false\n		}\n		f.chunked",
			new: " || f.chunked {\n			return false\n		}\n		f.chunked",
		},
		{
			name: "a head is known by all of its bytes", file: "internal/listen/head.go", run: "TestKnownHeads", soak: true,
			old: " && string(rest[:len(k.raw)]) == k.raw {",
			new: " {",
		},
		{
			name: "no handler changes the header of a request", file: "internal/distapi/content.go", run: "TestRequestsStayAsTheyAre", pkg: ".", soak: true,
			old: "		part.Header = http.Header{\"Range\": {",
			new: "		delete(r.Header, \"If-Range\")\n		part.Header = http.Header{\"Range\": {",
		},
		{
			name: "whoever waits for a request to end is told", file: "internal/listen/reqcontext.go", run: "TestRequestContext$", soak: true,
			old: "	if c.over = true; c.inner != nil {\n		c.cancel()\n	}\n",
			new: "	c.over = true\n",
		},
		{
			name: "chunks are not answered without their body", file: "internal/listen/direct.go", run: "TestDirect$", soak: true,
			old: " && !t.head.chunked &&",
			new: " &&",
		},
		{
			name: "a body that is answered is nobody else's memory", file: "internal/listen/direct.go", run: "TestSplit", soak: true,
			old: "e.body.Reset(bytes.Clone(body))",
			new: "e.body.Reset(body)",
		},
		{
			name: "nothing of chunks is taken for a request", file: "internal/listen/direct.go", run: "TestSplit", soak: true,
			old: "	case !ok || n < len(p): //",
			new: "	case !ok || n > len(p): //",
		},
		{
			name: "chunks that are odd are net/http's", file: "internal/listen/chunks.go", run: "FuzzHead", soak: true,
			old: "	if b != want {\n		return false\n",
			new: "	if b != want {\n		return true\n",
		},
		{
			name: "a connection that answers is not closed as an idle one", file: "internal/listen/busy.go", run: "TestShutdownWaits", soak: true,
			old: "	return c.place.answers\n",
			new: "	return false\n",
		},
		{
			name: "lines that wait go before one that may not", file: "internal/linelog/output.go", run: "TestOutput", soak: true,
			old: "	o.mu.Unlock()\n	return o.flush()\n",
			new: "	o.mu.Unlock()\n	return nil\n",
		},
		{
			name: "no password is looked at from where nobody has a right", file: "internal/distapi/login.go", pkg: ".", run: "TestForgedAddress", soak: true,
			old: "d.Verdict == auth.Denied {",
			new: "false && d.Verdict == auth.Denied {",
		},
		{
			name: "moving a tag takes the right to push", file: file, run: "TestEveryMethod",
			old: "	if g.check(p.Repo, auth.Push) != nil {",
			new: "	if false {",
		},
		{
			name: "the guard of Repos", file: file, run: "TestEveryMethod", soak: true,
			old: "	if d := g.policy.Enters(g.who); !d.Allowed() {",
			new: "	if d := g.policy.Enters(g.who); false && !d.Allowed() {",
		},
		{
			name: "what is listed may be pulled", file: file, run: "TestFilters",
			old: "		return g.policy.Decide(g.who, auth.Access{Repo: repo, Action: auth.Pull}).Allowed() && (readable == nil || readable(repo))",
			new: "		return readable == nil || readable(repo)",
		},
	}
}

// ofTree are about living together with registry:2.
func ofTree() []mutation {
	const (
		shadow, repo = "internal/registry2/tree/shadow.go", "internal/registry2/tree/repo.go"
		adopt        = "./test/adopt"
	)
	return []mutation{
		{
			name: "what is about to be written is remembered", file: shadow, pkg: adopt, run: "TestKilledWhileMoving", soak: true,
			old: "		if err := s.Records.Intend(ctx, intend); err != nil {",
			new: "		if err := error(nil); err != nil {",
		},
		{
			name: "content before links", file: shadow, pkg: adopt, run: "TestThereAndBack", soak: true,
			old: "		c.Target, err = s.Contents.Expose(ctx, w.Key, w.Size)",
			new: "		_ = s.Contents",
		},
		{
			name: "a manifest is what its digest says", file: repo, pkg: adopt, run: "TestDamage",
			old: "	if d.Algorithm().FromBytes(body) != d {",
			new: "	if false {",
		},
		{
			name: "what registry:2 has taken away is gone", file: repo, pkg: adopt, run: "TestThereAndBack", soak: true,
			old: "		k.take.Gone = append(k.take.Gone, l)",
			new: "",
		},
		{
			name: "registry:2's files stay", file: "internal/blob/fsblob/delete.go", run: "TestAdopted$",
			old: "	if _, ok := parseAdopted(key); ok {\n		return nil\n	}",
			new: "	if a, ok := parseAdopted(key); ok {\n		return s.d.remove(a.path())\n	}",
		},
	}
}

// ofBackups are about what a backup, and what is made of one, must hold.
func ofBackups() []mutation {
	const pkg, todir, live, restore = "./internal/backup", "internal/backup/todir.go", "internal/backup/live.go", "internal/backup/restore.go"
	return []mutation{
		{
			name: "what is copied is compared with its digest", file: "internal/blob/fsblob/move.go", pkg: "./internal/blob/fsblob", run: "TestTake",
			old: "	if err == nil && o.digest.Algorithm().Digest(h) != o.digest {",
			new: "	if false {",
		},
		{
			name: "the manifest of the database is kept until the next one is", file: todir, pkg: pkg, run: "TestStopped|TestEndInterrupted", soak: true,
			old: "	if err = to.settle(ctx); err == nil {",
			new: "	if err == nil {",
		},
		{
			name: "what is damaged is marked in a backup", file: live, pkg: pkg, run: "TestDamagedSource", soak: true,
			old: "	return t.copy.MarkDamaged(ctx, e.Key)\n",
			new: "	return nil\n",
		},
		{
			name: "the registry is asked whether it still held", file: live, pkg: pkg, run: "TestStopped|TestAgain", soak: true,
			old: "	if confirm := tell.o.Confirm; confirm != nil {",
			new: "	if confirm := tell.o.Confirm; false {",
		},
		{
			name: "half a restore is marked", file: restore, pkg: pkg, run: "TestRestoreGoesOn", soak: true,
			old: "	return r.replace(RestoringName, text)\n",
			new: "	_ = text\n	return nil\n",
		},
		{
			name: "no server starts from half a restore", file: "berth.go", pkg: "./cmd/berth", run: "TestScripts/backup", soak: true,
			old: "	if err := refuseUnfinished(s.cfg.Data); err != nil {",
			new: "	if err := refuseUnfinished(s.cfg.Data); false && err != nil {",
		},
		{
			name: "what a restore misses is marked", file: restore, pkg: pkg, run: "TestDamagedBackup", soak: true,
			old: "	return records.MarkDamaged(ctx, key)\n",
			new: "	return nil\n",
		},
	}
}

// ofLists are about the lists that are kept in memory.
func ofLists() []mutation {
	const file, run = "internal/meta/sqlmeta/changes.go", "TestListsFollowChanges"
	var list []mutation
	for what, old := range map[string]string{
		"tags": "c.note(hot.Key{Kind: hotTags, Repo: repo})", "repositories": "c.note(hot.Key{Kind: hotCatalog})",
		"referrers": "c.note(hot.Key{Kind: hotReferrers, Repo: repo, Name: subject})",
	} {
		list = append(list, mutation{name: "a change drops the kept list of " + what, file: file, run: run, soak: true, old: old, new: "_ = 0"})
	}
	return append(list, mutation{
		name: "a token's limit holds for lists, too", file: "internal/auth/rules.go", run: "TestWithin",
		old: "All: p.Limit == nil && ", new: "All: ",
	}, mutation{
		name: "large manifests wait for each other", file: "internal/distapi/budget.go", run: "TestLargeManifestsWait", soak: true,
		old: "	n = min(n, largeManifests)\n", new: "	n = 1\n",
	}, mutation{
		name: "a list goes only through what the rules open", file: "internal/guard/guard.go", run: "TestListsWithin", soak: true,
		old: "		p.Within = reach.Prefixes\n", new: "",
	})
}
