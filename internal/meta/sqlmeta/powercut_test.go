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

	"berth/internal/event"
	"berth/internal/meta"
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
	}
	return append(list, all...)
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
	durable bool // whoever was told of it
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
			states = append(states, cutState{dump(t, db), true})
		}
		for i, to := round(len(ops), r); i < to; i++ {
			was := db.Stats()
			_ = ops[i].do(t.Context(), db)
			now := db.Stats()
			if now.Commits-was.Commits > 1 {
				skip = append(skip, i)
			}
			states = append(states, cutState{dump(t, db), now.Synced > was.Synced})
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
	name       string // write, sync or cut
	file       string // what stands behind the path of the database
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

// isLeft reports whether a file is none of those that this is about: memory that is
// shared, and uploads, which TestTornLines is about.
func isLeft(file string) bool { return file == "-shm" || strings.HasPrefix(file, ledgerExt) }

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
			for _, name := range cutName.FindAllStringSubmatch(line, -1) {
				if s := string(unhex(t, name[1])); strings.HasPrefix(s, path) && !isLeft(strings.TrimPrefix(s, path)) {
					t.Fatalf("the test knows nothing of names that change, such as %s", s)
				}
			}
			continue
		}
		if !ours || isLeft(file) {
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
	delete(d, "-shm")
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
	for i, c := range calls {
		if c.begin > at || c.name == "sync" || c.file == "-said" || lost[c.file] {
			continue
		}
		synced := func(file string) bool {
			return slices.ContainsFunc(calls[i:], func(s cutCall) bool {
				return s.name == "sync" && s.file == file && s.begin > c.end && s.end <= at
			})
		}
		b, is := now[c.file]
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
	if err := db.Check(c.Context()); err != nil {
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
	seed := rand.Uint64()
	c := &cutTest{T: t, states: states, rng: rand.New(rand.NewPCG(seed, 1))}
	defer func() { t.Logf("%d losses of power, seed %d", c.tried, seed) }()
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
