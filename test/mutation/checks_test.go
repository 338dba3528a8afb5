package mutation_test

// ofChecks are about comparing, reading and repairing what is stored.
func ofChecks() []mutation {
	const repair, read = "internal/fsck/repair.go", "internal/fsck/read.go"
	return []mutation{
		{
			name: "bytes are compared with their digest", file: read, run: "TestFound/flipped",
			old: "	if d.Algorithm().Digest(h) != d {",
			new: "	if false {",
		},
		{
			name: "a repair deletes no only copy", file: repair, run: "TestRepairedAndHealed", soak: true,
			old: "	moved, err := r.Blobs.Quarantine(ctx, o.Key)",
			new: "	moved, err := true, r.Blobs.Delete(ctx, o.Key)",
		},
		{
			name: "a repair gives nothing away", file: "internal/meta/sqlmeta/mend.go", pkg: "./internal/fsck", run: "TestRepairGivesNothingAway",
			old: "		WHERE f.digest = $1 AND f.dangling = 0 AND f.repo_id > 0\n		AND NOT EXISTS",
			new: "		WHERE f.digest = $1 AND f.dangling >= 0 AND f.repo_id > 0\n		AND NOT EXISTS",
		},
		{
			name: "what can't be read is not taken for damaged", file: "internal/fsck/scrub.go", run: "TestUnreadable", soak: true,
			old: "	case errors.Is(err, errWrong) || isMissing(err):",
			new: "	case true:",
		},
		{
			name: "damage is recorded before its file is moved", file: "internal/fsck/scrub.go", run: "TestScrub$", soak: true,
			old: "	if err := s.Records.MarkDamaged(ctx, d, b.Key); err != nil {",
			new: "	if err := error(nil); err != nil {",
		},
	}
}
