package mutation_test

// ofPulls are about reading blobs and sending them.
func ofPulls() []mutation {
	const remember, stamp = "internal/blob/fsblob/remember.go", "internal/blob/fsblob/stamp_linux.go"
	return []mutation{
		{
			name: "what is in memory is served only while its file is as it was", file: remember, run: "TestRememberedDamage",
			old: "	if err != nil || now != o.stamp {\n",
			new: "	if err != nil && now != o.stamp {\n",
		},
		{
			name: "what this process took away is not believed to be there", file: remember, run: "TestBelievedDeletions",
			old: "return l.taken == now.taken && now",
			new: "return now",
		},
		{
			name: "the times of a file tell its states apart", file: stamp, run: "TestRememberedDamage", soak: true,
			old: "st.Size, st.Mtim, st.Ctim}",
			new: "st.Size, st.Mtim, unix.Timespec{}}",
		},
		{
			name: "memory stays within its limit", file: remember, run: "TestRememberLimit", soak: true,
			old: "m.used+o.cost() > m.limit {",
			new: "false {",
		},
		{
			name: "a closed descriptor is not used", file: "internal/blob/fsblob/source_linux.go", run: "TestRawFileClosed", soak: true,
			old: "	f.fd = -1\n",
			new: "",
		},
		{
			name: "a flush sends what is held back", file: "internal/listen/whole.go", run: "TestFlushIsNotHeldBack", soak: true,
			old: ".Flush(), w.c.sendHeld())",
			new: ".Flush(), nil)",
		},
		{
			name: "what was held back goes out before a file", file: "internal/listen/conn.go", run: "TestSendfile", pkg: "./internal/ops", soak: true,
			old: "	if err := c.sendHeld(); err != nil {\n		return 0, err\n	}\n	to, ok",
			new: "	to, ok",
		},
	}
}
