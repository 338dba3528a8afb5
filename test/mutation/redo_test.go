package mutation_test

// ofRedo are about the records that make changes durable before they are committed.
func ofRedo() []mutation {
	const (
		redo, line, apply = "internal/meta/sqlmeta/redo.go", "internal/meta/sqlmeta/redoline.go", "internal/meta/sqlmeta/redoapply.go"
		commit, settle    = "internal/meta/sqlmeta/commit.go", "internal/meta/sqlmeta/settle.go"
	)
	return []mutation{
		{
			name: "fdatasync of a record", file: redo, run: "TestRecordsWait",
			old: "	if err := r.file.Sync(); err != nil {",
			new: "	if err := error(nil); err != nil {",
		},
		{
			name: "fdatasync of a record, when the power is cut", file: redo, run: "TestPowerCuts", soak: true,
			old: "	if err := r.file.Sync(); err != nil {",
			new: "	if err := error(nil); err != nil {",
		},
		{
			name: "whoever changes nothing waits for what was recorded", file: redo, run: "TestRecordsWait", soak: true,
			old: "	if k != durable || !r.owed {",
			new: "	if k != durable || !r.owed || !r.rec.any() {",
		},
		{
			name: "whoever reads finds what was answered", file: redo, run: "TestFillDuringRecord",
			old: "	r.dirty.Store(true)\n",
			new: "",
		},
		{
			name: "a snapshot has what was answered", file: "internal/meta/sqlmeta/snapshot.go", run: "TestSnapshotHasRecords", soak: true,
			old: "	if err := db.writer.settled(ctx); err != nil {",
			new: "	if err := error(nil); err != nil {",
		},
		{
			name: "the commit says which records it has", file: settle, run: "TestRecordsSay/^PutManifest$", soak: true,
			old: "args{w.redo.run, w.redo.seq})",
			new: "args{w.redo.run, 0})",
		},
		{
			name: "a run leaves the records of the one before it", file: redo, run: "TestFilesOfTwoMoments", soak: true,
			old: "		r.base = runSize - r.base\n",
			new: "",
		},
		{
			name: "what is rolled back takes no records along", file: settle, run: "TestUndoneAmongRecords",
			old: "	if len(w.redo.pending) == 0 {\n		return nil\n	}\n	return w.restore(ctx)\n",
			new: "	w.redo.committed()\n	return nil\n",
		},
		{
			name: "what was recorded is repeated as a whole", file: settle, run: "TestRestoreIsWhole", soak: true,
			old: "	if len(list) == r.count {",
			new: "	if true {",
		},
		{
			name: "on a full disk the room behind the records is given up", file: settle, run: "TestRoomForRecords", soak: true,
			old: "	if !r.spared || !w.isFull(err) {",
			new: "	if true || !r.spared || !w.isFull(err) {",
		},
		{
			name: "a transaction of records needs no more room than there is", file: commit, run: "TestSpareIsEnough", soak: true,
			old: "w.session.setSpill(ctx, recordCache)",
			new: "w.session.setSpill(ctx, writerMost)",
		},
		{
			name: "a record that does not count is not repeated", file: commit, run: "TestStray", soak: true,
			old: "(run != 0 || w.redo.stray)",
			new: "run != 0",
		},
		{
			name: "one process at a time has the records", file: "internal/meta/sqlmeta/redofile.go", run: "TestTaken", soak: true,
			old: "	if err == nil && !ok {\n		err = errTaken",
			new: "	if err == nil && !ok {\n		err = nil",
		},
		{
			name: "the checksum of a record", file: line, run: "TestTornRecords",
			old: "	if binary.LittleEndian.Uint32(b[24:]) != redoSum(whole) {",
			new: "	if false {",
		},
		{
			name: "records are of one run", file: line, run: "TestRecordsBehind", soak: true,
			old: "(r.run != list[0].run || r.seq",
			new: "(r.seq",
		},
		{
			name: "records follow each other", file: line, run: "TestRecordsBehind", soak: true,
			old: "r.run != list[0].run || r.seq != list[len(list)-1].seq+1)",
			new: "r.run != list[0].run)",
		},
		{
			name: "records of another run are not repeated", file: "internal/meta/sqlmeta/redofile.go", run: "TestRecordsOfAnother", soak: true,
			old: "		if runOf(head) != run {",
			new: "		if runOf(head) == 0 {",
		},
		{
			name: "records fit what they are repeated on", file: apply, run: "TestRecordsUnlike",
			old: "err != nil || n != 1 {",
			new: "err != nil || n > 1 {",
		},
		{
			name: "a record that nobody can read is not passed over", file: apply, run: "TestUnreadRecord", soak: true,
			old: "		case r.err != nil:\n",
			new: "		case false && r.err != nil:\n",
		},
		{
			name: "what follows from a repeated change by a foreign key does not happen twice", file: apply, run: "TestRecordsOfAnything", soak: true,
			old: `"foreign_keys(off)"`,
			new: `"foreign_keys(on)"`,
		},
		{
			name: "repeated changes wait for the disk", file: apply, run: "TestPowerCuts", soak: true,
			old: `"synchronous(full)"`,
			new: `"synchronous(off)"`,
		},
		{
			name: "a run of records begins with a commit that waits for the disk", file: commit, run: "TestNewRunWaits",
			old: "		waits = durable // or",
			new: "		// or",
		},
		{
			name: "what a failed statement had changed is not recorded", file: commit, run: "TestSwallowedFailure", soak: true,
			old: "	case w.changes.unsure || !r.rec.fits():",
			new: "	case !r.rec.fits():",
		},
		{
			name: "a text that the database does not tell whole is not recorded", file: "internal/meta/sqlmeta/tx.go", run: "TestTextWithZero", soak: true,
			old: "strings.IndexByte(s, 0) >= 0",
			new: "false && s == s",
		},
		{
			name: "a value that a record does not hold is not recorded", file: line, run: "TestRecordsOfAnything", soak: true,
			old: "	return b, false\n}\n\nfunc appendText",
			new: "	return append(b, valueNull), true\n}\n\nfunc appendText",
		},
		{
			name: "a backup does not take the records of where it comes from", file: "internal/meta/sqlmeta/copy.go", run: "TestDetach", soak: true,
			old: "`UPDATE redo SET run = 0, seq = 0`",
			new: "`UPDATE redo SET run = run`",
		},
	}
}
