package sqlmeta

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	process "os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"berth/internal/blob"
	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
	"berth/test/realtest"
)

// cutOps are the changes that the power is cut in: many small ones, and one of each
// kind. What cannot be done at that moment fails, and then nothing has happened.
func cutOps(t *testing.T) []operation {
	a := mustRepo(t, "a")
	var list []operation
	all := slices.DeleteFunc(operations(t), func(o operation) bool { return o.damage != "" })
	for i := range 32 {
		p := imageOf(t, a, fmt.Sprint("t", i%5), "x", fmt.Sprint(i))
		list = append(list, operation{name: "put", do: func(ctx context.Context, db *DB) error { _, err := db.PutManifest(ctx, p); return err }})
		switch i % 4 {
		case 1:
			list = append(list, operation{name: "delete tag", do: func(ctx context.Context, db *DB) error { return db.DeleteTag(ctx, a, p.Tags[0], event.Actor{}) }})
		case 3:
			list = append(list, operation{name: "delete", do: func(ctx context.Context, db *DB) error { return db.DeleteManifest(ctx, a, p.Digest, event.Actor{}) }})
			list = append(list, operation{name: "restore", do: func(ctx context.Context, db *DB) error {
				_, err := db.SetTag(ctx, meta.TagSet{Repo: a, Tag: p.Tags[0], To: p.Digest, Cause: meta.BySet})
				return err
			}})
		}
		if i >= 4 && len(all) > 0 {
			list, all = append(list, all[0]), all[1:]
		}
		list = append(list, cutUpload(a, i)...)
	}
	return append(list, all...)
}

// cutUpload returns changes of the i-th upload, and the end of one that began before.
// None stays empty: the next process would give it a key of its own.
func cutUpload(a oci.Repo, i int) []operation {
	u := meta.Upload{ID: meta.UploadID(fmt.Sprint("upload ", i)), Repo: a, Key: blob.Key(fmt.Sprint("key ", i)), Algorithm: oci.SHA256, By: "who"}
	save := func(ctx context.Context, db *DB) error {
		now, err := db.FindUpload(ctx, a, u.ID)
		if err != nil {
			return err
		}
		now.Size += int64(100 * (i + 1))
		now.Hash, now.State = []byte{byte(i)}, bytes.Repeat([]byte{byte(now.Size)}, 200)
		return db.SaveUpload(ctx, now)
	}
	list := []operation{{name: "begin", do: func(ctx context.Context, db *DB) error {
		if err := db.CreateUpload(ctx, u); err != nil {
			return err
		}
		return save(ctx, db)
	}}}
	if i%3 > 0 {
		list = append(list, operation{name: "move on", do: save})
	}
	if i%4 < 2 || i < 2 {
		return list
	}
	of, content := fmt.Sprint("upload ", i-2), fmt.Sprint("content ", i-2)
	return append(list, operation{name: "end", do: func(ctx context.Context, db *DB) error {
		now, err := db.FindUpload(ctx, a, meta.UploadID(of))
		if err != nil {
			return err
		}
		_, err = db.CommitUpload(ctx, now, meta.Blob{Digest: oci.SHA256.FromBytes([]byte(content)), Key: blob.Key("end of " + of), Size: 1}, event.Actor{})
		return err
	}})
}

// interlude does what changes nothing and concerns how changes are kept.
func interlude(ctx context.Context, db *DB, i int) (err error) {
	if i%9 == 4 {
		err = db.writer.settled(ctx)
	}
	if i%13 == 5 {
		db.writer.folder.busy.Lock()
		db.writer.fold(ctx)
	}
	if i%17 == 8 { // the file is begun anew
		err = errors.Join(err, db.writer.do(ctx, outside, func(context.Context, *tx) error { db.writer.redo.stop(); return nil }))
	}
	if i%29 == 11 {
		err = errors.Join(err, db.Idle(ctx))
	}
	return err
}

// cutRounds is how many processes make the changes, one after the other has been killed.
const cutRounds = 3

// round returns which changes are those of a process.
func round(n, of int) (from, to int) { return of * n / cutRounds, (of + 1) * n / cutRounds }

// A cutState is what there was after a change.
type cutState struct {
	dump    string
	durable bool     // whoever was told of it
	uploads []string // that run
}

// uploadsOf says which uploads run, and how far each is.
func uploadsOf(db *DB) (list []string) {
	db.ledger.mu.Lock()
	defer db.ledger.mu.Unlock()
	for _, r := range db.ledger.all {
		list = append(list, cutUploadText(r.Upload))
	}
	return list
}

// withBegun adds to uploads that run how they were begun, a moment before a process
// saw how they are.
func withBegun(db *DB) []string {
	list := uploadsOf(db)
	for _, r := range db.ledger.all {
		list = append(list, cutUploadText(meta.Upload{ID: r.ID, Repo: r.Repo, By: r.By, Algorithm: r.Algorithm}))
	}
	return list
}

// cutUploadText says all there is to say of an upload. The key of an empty one is
// another one for each process.
func cutUploadText(u meta.Upload) string {
	if u.Size == 0 {
		u.Key = ""
	}
	return fmt.Sprint(u.ID, u.Repo, u.By, u.Key, u.Size, u.Algorithm, u.Hash, u.State, u.Version)
}

// cutStates makes the changes and returns the states between, and which changes
// are not one transaction, which would make more of them.
func cutStates(t *testing.T, template string, ops []operation) (states []cutState, skip []int) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "berth.db")
	copyFiles(t, template, path, "", ledgerExt)
	for r := range cutRounds {
		db := mustOpen(t, frozen(path, nil))
		if r == 0 {
			states = append(states, cutState{dump(t, db), true, withBegun(db)})
		}
		for i, to := round(len(ops), r); i < to; i++ {
			was := db.Stats()
			_ = ops[i].do(t.Context(), db)
			now := db.Stats()
			if now.Commits-was.Commits > 1 {
				skip = append(skip, i)
			}
			states = append(states, cutState{dump(t, db), now.Synced > was.Synced, withBegun(db)})
		}
		if err := errors.Join(db.reader.close(), db.writer.close()); err != nil { // without saving the clock
			t.Fatal(err)
		}
	}
	return states, skip
}

// TestCutWorker is the process whose power is cut.
func TestCutWorker(t *testing.T) {
	path := os.Getenv("BERTH_CUT_PATH")
	if path == "" {
		t.Skip("this is a process of TestPowerCuts")
	}
	from, _ := strconv.Atoi(os.Getenv("BERTH_CUT_FROM"))
	to, _ := strconv.Atoi(os.Getenv("BERTH_CUT_TO"))
	var ops []operation
	for i, op := range cutOps(t) {
		if !slices.Contains(strings.Fields(os.Getenv("BERTH_CUT_SKIP")), fmt.Sprint(i)) {
			ops = append(ops, op)
		}
	}
	say, err := os.Create(path + "-said")
	if err != nil {
		t.Fatal(err)
	}
	db := mustOpen(t, frozen(path, nil))
	for i := from; i < to; i++ {
		fmt.Fprintf(say, "begun %d\n", i)
		_ = ops[i].do(t.Context(), db)
		fmt.Fprintf(say, "done %d\n", i)
		if err := interlude(t.Context(), db, i); err != nil {
			t.Fatal(i, err)
		}
	}
	fmt.Fprintf(say, "whole\n")
	os.Exit(0) // as a kill would
}

// A cutCall is a system call on one of the files.
type cutCall struct {
	name       string // write, sync, cut or rename
	file       string // what stands behind the path of the database; see followRenames
	off        int64
	data       []byte
	begin, end int // lines
}

var (
	cutLine   = regexp.MustCompile(`^(\d+) +(\w+)\((?:\d+<((?:\\x..)*)>)?(.*)$`)
	cutName   = regexp.MustCompile(`"((?:\\x..)+)"`)
	cutResume = regexp.MustCompile(`^(\d+) +<\.\.\. (\w+) resumed>(.*)$`)
)

// inFolder stands for the names in the folder.
const inFolder = "/"

// sharedMemory is a file that this is not about.
const sharedMemory = "-shm"

// ledgerNext is the file that is renamed to that of the uploads.
const ledgerNext = ledgerExt + "-new"

// followRenames gives the file of uploads another name each time that another one is renamed
// to it: which of them is there after a loss of power is not certain.
func followRenames(calls []cutCall) {
	n, present := 0, ledgerExt
	next := func() string { return fmt.Sprintf("%s %d", ledgerNext, n) }
	for i := range calls {
		switch c := &calls[i]; {
		case c.name == "rename":
			c.file, present, n = next(), next(), n+1
		case c.file == ledgerNext:
			c.file = next()
		case c.file == ledgerExt:
			c.file = present
		}
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, `\x`, ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// traceCut runs a worker under strace and returns what it did to its files, and how
// many lines that took.
func traceCut(t *testing.T, path string, from, to int, skip string) ([]cutCall, int) {
	t.Helper()
	strace := realtest.Tool(t, "strace")
	trace := filepath.Join(t.TempDir(), "trace")
	cmd := process.CommandContext(t.Context(), strace, "-f", "-y", "-xx", "-s", "1000000", "-o", trace,
		"-e", "trace=pwrite64,write,fsync,fdatasync,ftruncate,unlink,unlinkat,rename,renameat,renameat2", os.Args[0], "-test.run=TestCutWorker$")
	cmd.Env = append(os.Environ(), "BERTH_CUT_PATH="+path, fmt.Sprint("BERTH_CUT_FROM=", from), fmt.Sprint("BERTH_CUT_TO=", to), "BERTH_CUT_SKIP="+skip)
	out, err := cmd.CombinedOutput()
	text, rerr := os.ReadFile(trace)
	said, serr := os.ReadFile(path + "-said")
	if err = errors.Join(err, rerr, serr); err != nil || !bytes.HasSuffix(said, []byte("whole\n")) {
		t.Fatalf("the worker: %v\n%s\n%s", err, out, said)
	}
	return parseCut(t, path, text)
}

func parseCut(t *testing.T, path string, text []byte) (calls []cutCall, lines int) {
	t.Helper()
	running := map[string]int{}
	for line := range strings.Lines(string(text)) {
		lines++
		line = strings.TrimSuffix(line, "\n")
		if m := cutResume.FindStringSubmatch(line); m != nil {
			if i, ok := running[m[1]]; ok {
				calls[i].end = lines
				delete(running, m[1])
			}
			continue
		}
		m := cutLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		of := string(unhex(t, m[3]))
		file, ours := strings.CutPrefix(of, path)
		if of == filepath.Dir(path) {
			file, ours = inFolder, true
		}
		if strings.Contains(m[2], "unlink") || strings.Contains(m[2], "rename") {
			var names []string
			for _, name := range cutName.FindAllStringSubmatch(line, -1) {
				if s, ours := strings.CutPrefix(string(unhex(t, name[1])), path); ours && s != sharedMemory {
					names = append(names, s)
				}
			}
			switch {
			case slices.Equal(names, []string{ledgerNext, ledgerExt}):
				calls = append(calls, cutCall{name: "rename", begin: lines, end: lines})
			case len(names) > 0:
				t.Fatalf("the test knows nothing of names that change, such as %q", names)
			}
			continue
		}
		if !ours || file == sharedMemory {
			continue
		}
		c := cutCall{name: "write", file: file, begin: lines, end: lines}
		rest := m[4]
		parts := strings.SplitN(rest, `"`, 3)
		switch m[2] {
		case "fsync", "fdatasync":
			c.name = "sync"
		case "ftruncate":
			c.name = "cut"
			n, _, _ := strings.Cut(strings.TrimPrefix(rest, ", "), ")")
			c.off, _ = strconv.ParseInt(strings.TrimSuffix(n, " <unfinished ...>"), 10, 64)
		case "pwrite64":
			c.data = unhex(t, parts[1])
			tail := strings.Split(parts[2], ", ")
			off, _, _ := strings.Cut(tail[2], ")")
			var err error
			if c.off, err = strconv.ParseInt(strings.TrimSuffix(off, " <unfinished ...>"), 10, 64); err != nil {
				t.Fatalf("%v: %s", err, line)
			}
		case "write": // at the end of the file
			c.data, c.off = unhex(t, parts[1]), -1
		}
		calls = append(calls, c)
		if strings.Contains(rest, "<unfinished") {
			calls[len(calls)-1].end = 1 << 60
			running[m[1]] = len(calls) - 1
		}
	}
	return calls, lines
}

// A disk is what is on it, by what stands behind the path of the database.
type disk map[string][]byte

func readDisk(t *testing.T, path string) disk {
	t.Helper()
	d := disk{}
	list, err := filepath.Glob(path + "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		d[strings.TrimPrefix(p, path)] = b
	}
	delete(d, sharedMemory)
	delete(d, "-said")
	return d
}

// writeDisk writes it to a new folder and returns the path of the database.
func (d disk) write(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "berth.db")
	for ext, b := range d {
		if err := os.WriteFile(path+ext, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// cut returns what is on the disk when the power goes at a line: what was synced,
// and of the rest, sectors and names of files, what keep says.
func (d disk) cut(calls []cutCall, at, sector int, keep func() bool) disk {
	now, lost := disk{}, map[string]bool{}
	for file, b := range d {
		now[file] = bytes.Clone(b)
	}
	uploads, renamed := ledgerExt, true // which of the files has its name, and whether that was the last
	defer func() { now.name(uploads) }()
	for i, c := range calls {
		if c.begin > at || c.name == "sync" || c.file == "-said" || lost[c.file] {
			continue
		}
		synced := func(file string) bool {
			return slices.ContainsFunc(calls[i:], func(s cutCall) bool {
				return s.name == "sync" && s.file == file && s.begin > c.end && s.end <= at
			})
		}
		if c.name == "rename" {
			if renamed = renamed && (synced(inFolder) || keep()); renamed {
				uploads = c.file
			}
			continue
		}
		b, is := now[c.file]
		is = is || strings.HasPrefix(c.file, ledgerNext+" ") // it is there if it is renamed
		if lost[c.file] = !is && !synced(inFolder) && !keep(); lost[c.file] {
			continue
		}
		safe := synced(c.file)
		if c.name == "cut" {
			if safe || keep() {
				now[c.file] = append(b, make([]byte, max(0, int(c.off)-len(b)))...)[:c.off]
			}
			continue
		}
		off := int(c.off)
		if off < 0 {
			off = len(b)
		}
		for from := 0; from < len(c.data); {
			to := min(len(c.data), from+sector-(off+from)%sector)
			if safe || keep() {
				b = append(b, make([]byte, max(0, off+to-len(b)))...)
				copy(b[off+from:], c.data[from:to])
			}
			from = to
		}
		now[c.file] = b
	}
	return now
}

// name gives the file of uploads its name, and takes away all others that were to
// have it but one.
func (d disk) name(uploads string) {
	b, is := d[uploads]
	for file, left := range d {
		if strings.HasPrefix(file, ledgerNext+" ") {
			delete(d, file)
			if file != uploads {
				d[ledgerNext] = left // as it was left behind
			}
		}
	}
	if is || uploads != ledgerExt {
		d[ledgerExt] = b
	}
}

// told returns how many changes had been begun and, of those, which was the last
// durable one that was answered, at a line.
func told(calls []cutCall, at int, states []cutState) (begun, done int) {
	for _, c := range calls {
		if c.file != "-said" || c.begin > at || c.name != "write" {
			continue
		}
		var n int
		if _, err := fmt.Sscanf(string(c.data), "begun %d", &n); err == nil {
			begun = n + 1
		}
		if _, err := fmt.Sscanf(string(c.data), "done %d", &n); err == nil && states[n+1].durable {
			done = n + 1
		}
	}
	return begun, done
}

// A cutTest is the test of TestPowerCuts.
type cutTest struct {
	*testing.T
	states []cutState
	rng    *rand.Rand
	tried  int
	ran    int // uploads that were still there
}

// check opens what a loss of power has left, and reports whether all is there that
// was answered.
func (c *cutTest) check(d disk, begun, done int, what string) bool {
	c.Helper()
	c.tried++
	path := d.write(c.T)
	defer os.RemoveAll(filepath.Dir(path))
	db, err := Open(c.Context(), frozen(path, nil))
	if err != nil {
		c.Errorf("%s: %v", what, err)
		return false
	}
	defer db.Close()
	got := dump(c.T, db)
	if err := errors.Join(db.Check(c.Context()), c.uploads(db, begun)); err != nil {
		c.Errorf("%s: %v", what, err)
		return false
	}
	for k := done; k <= begun; k++ {
		if c.states[k].dump == got {
			return true
		}
	}
	is := slices.IndexFunc(c.states, func(s cutState) bool { return s.dump == got })
	c.Errorf("%s: there is state %d (-1: none that there was), want %d to %d", what, is, done, begun)
	return false
}

// uploads holds that each upload that seems to run once ran like that, and that it
// has no key of which something is recorded to have come. Nobody was promised that
// any of them is there.
func (c *cutTest) uploads(db *DB, begun int) error {
	list := uploadsOf(db)
	c.ran += len(list)
	for _, u := range list {
		if !slices.ContainsFunc(c.states[:begun+1], func(s cutState) bool { return slices.Contains(s.uploads, u) }) {
			return fmt.Errorf("there never was this upload: %s", u)
		}
	}
	for key := range db.ledger.keys {
		if is, err := db.keyIsRecorded(c.Context(), key); err != nil || is {
			return fmt.Errorf("an upload writes to %s, of which something came already (%v)", key, err)
		}
	}
	return nil
}

// ways are how much of what was not synced is there.
func (c *cutTest) ways() map[string]func() bool {
	return map[string]func() bool{
		"none":    func() bool { return false },
		"all":     func() bool { return true },
		"some":    func() bool { return c.rng.IntN(2) == 0 },
		"most":    func() bool { return c.rng.IntN(12) != 0 },
		"hardly":  func() bool { return c.rng.IntN(12) == 0 },
		"a start": func() func() bool { n := c.rng.IntN(40); return func() bool { n--; return n >= 0 } }(),
	}
}

// TestPowerCuts cuts the power at any moment of changes that three processes make, of
// which two are killed: what was not synced is there in part, sector by sector, in any
// order. Whatever was answered is there afterwards, nothing is half there, and it is so
// again when the power goes while that is being repaired.
func TestPowerCuts(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes many starts")
	}
	template := frozenTemplate(t)
	ops := cutOps(t)
	_, skip := cutStates(t, template, ops)
	for _, i := range slices.Backward(skip) {
		ops = slices.Delete(ops, i, i+1)
	}
	states, more := cutStates(t, template, ops)
	if len(more) > 0 || len(ops) < 60 {
		t.Fatalf("%d changes, of which %d are several", len(ops), len(more))
	}
	images, deep := 150, 3
	if os.Getenv("BERTH_SOAK") != "" {
		images, deep = 1000, 12
	}
	path := filepath.Join(t.TempDir(), "berth.db")
	copyFiles(t, template, path, "", ledgerExt)
	base := readDisk(t, path)
	var calls []cutCall
	lines := 0
	for r := range cutRounds {
		from, to := round(len(ops), r)
		list, n := traceCut(t, path, from, to, strings.Trim(fmt.Sprint(skip), "[]"))
		for _, c := range list {
			c.begin, c.end = c.begin+lines, c.end+lines
			calls = append(calls, c)
		}
		lines += n
	}
	followRenames(calls)
	seed := rand.Uint64()
	c := &cutTest{T: t, states: states, rng: rand.New(rand.NewPCG(seed, 1))}
	defer func() { t.Logf("%d losses of power, after which %d uploads ran; seed %d", c.tried, c.ran, seed) }()
	order := slices.Sorted(maps.Keys(c.ways()))
	for i := range images {
		at := calls[c.rng.IntN(len(calls))].begin
		if i%3 == 0 { // just when somebody was answered
			for j := c.rng.IntN(len(calls)); j < len(calls); j++ {
				if calls[j].file == "-said" {
					at = calls[j].begin
					break
				}
			}
		}
		begun, done := told(calls, at, states)
		way, sector := order[i%len(order)], []int{512, 4096}[i/len(order)%2]
		d := base.cut(calls, at, sector, c.ways()[way])
		what := fmt.Sprintf("cut at line %d, of what was not synced %s is there by %d", at, way, sector)
		if c.check(d, begun, done, what) && i < deep {
			c.again(d, begun, done, what)
		}
	}
}

// again cuts the power while what it has left is being repaired.
func (c *cutTest) again(d disk, begun, done int, what string) {
	path := d.write(c.T)
	calls, _ := traceCut(c.T, path, 0, 0, "")
	followRenames(calls)
	for _, call := range calls {
		if call.file == "-said" {
			continue
		}
		for way, keep := range c.ways() {
			if !c.check(d.cut(calls, call.begin, 512, keep), begun, done, fmt.Sprintf("%s; again at line %d, %s is there", what, call.begin, way)) {
				return
			}
		}
	}
}
