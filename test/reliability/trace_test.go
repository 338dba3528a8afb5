package reliability

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"berth/test/realtest"
)

// A call is a system call as strace writes it down. It was running from line
// begin to line end of the trace.
type call struct {
	name, args, result string
	begin, end         int
}

func (c call) ok() bool { return !strings.HasPrefix(c.result, "-1") }

// traced are the system calls that the order of a push is made of.
const traced = "pwrite64,write,writev,fsync,fdatasync,sync_file_range,linkat,mkdirat,unlinkat,renameat,renameat2"

var (
	callLine    = regexp.MustCompile(`^(\d+) +(\w+)\((.*)$`)
	resumedLine = regexp.MustCompile(`^(\d+) +<\.\.\. (\w+) resumed>(.*)$`)
	fdPath      = regexp.MustCompile(`^\d+<([^>]*)>`)
	named       = regexp.MustCompile(`<([^>]*)>, "([^"]*)"`)
)

const unfinished = " <unfinished ...>"

// parseTrace reads what strace -f -y wrote.
func parseTrace(t *testing.T, text []byte) []call {
	t.Helper()
	var calls []call
	running := map[string]int{} // by thread, into calls
	n := 0
	for line := range bytes.Lines(text) {
		n++
		s := strings.TrimSuffix(string(line), "\n")
		if m := resumedLine.FindStringSubmatch(s); m != nil {
			i, ok := running[m[1]]
			if !ok || calls[i].name != m[2] {
				t.Fatalf("line %d of the trace ends what has not begun: %s", n, s)
			}
			delete(running, m[1])
			calls[i].complete(calls[i].args+m[3], n)
			continue
		}
		m := callLine.FindStringSubmatch(s)
		if m == nil {
			continue // a signal, or the end of a thread
		}
		c := call{name: m[2], args: m[3], begin: n, end: 1 << 40}
		if head, cut := strings.CutSuffix(m[3], unfinished); cut {
			c.args = head
			running[m[1]] = len(calls)
		} else {
			c.complete(m[3], n)
		}
		calls = append(calls, c)
	}
	return calls
}

// complete splits what a call was given from what came of it.
func (c *call) complete(text string, line int) {
	i := strings.LastIndex(text, ") ")
	if i < 0 {
		i = len(text)
	}
	c.args, c.result, c.end = text[:i], strings.TrimLeft(text[i:], ") ="), line
}

// file returns the path of the file that a call with a descriptor is about.
func (c call) file() string {
	if m := fdPath.FindStringSubmatch(c.args); m != nil {
		return m[1]
	}
	return ""
}

// at returns the path that a call with a folder and a name is about: of the last
// pair, which for a link is the new name.
func (c call) at() string {
	all := named.FindAllStringSubmatch(c.args, -1)
	if all == nil {
		return ""
	}
	m := all[len(all)-1]
	if path.IsAbs(m[2]) {
		return m[2]
	}
	return path.Join(m[1], m[2])
}

func (c call) sync() bool { return c.name == "fsync" || c.name == "fdatasync" }

// answers reports whether c begins an answer with the status.
func (c call) answers() bool {
	return (c.name == "write" || c.name == "writev") && strings.Contains(c.args, `"HTTP/1.1 `)
}

// A tracer runs a server under strace.
type tracer struct {
	t    *testing.T
	file string
	reg  *realtest.Registry
	c    *client
}

// startTraced starts a server whose system calls of the given names are written
// down.
func startTraced(t *testing.T, dir, calls string) *tracer {
	t.Helper()
	strace := realtest.Tool(t, "strace")
	file := filepath.Join(t.TempDir(), "trace")
	reg := realtest.Start(t, realtest.Options{Dir: dir, Env: quiet(),
		Under: []string{strace, "-D", "-f", "-q", "-y", "-s", "32", "-e", "trace=" + calls, "-o", file}})
	return &tracer{t, file, reg, newClient(t, reg.URL)}
}

// trace stops the server and returns what it did.
func (tr *tracer) trace() []call {
	tr.t.Helper()
	tr.reg.Stop()
	var text []byte
	// strace writes its last line when the server is gone already.
	ended := await(func() bool {
		var err error
		if text, err = os.ReadFile(tr.file); err != nil {
			tr.t.Fatal(err)
		}
		return bytes.Contains(text, []byte("+++ exited with"))
	})
	if !ended {
		tr.t.Fatalf("strace has not seen the server end")
	}
	return parseTrace(tr.t, text)
}

// windows cuts the calls into those from one answer to the next, with the answer
// last, and returns the last n.
func windows(t *testing.T, calls []call, n int) [][]call {
	t.Helper()
	var all [][]call
	begin := 0
	for i, c := range calls {
		if c.answers() {
			all = append(all, calls[begin:i+1])
			begin = i + 1
		}
	}
	if len(all) < n {
		t.Fatalf("the trace has %d answers, want at least %d", len(all), n)
	}
	return all[len(all)-n:]
}

// isLog reports whether a file is the log of the database, or that of records.
func isLog(p string) bool {
	return strings.HasSuffix(p, "/berth.db-wal") || strings.HasSuffix(p, "/berth.db-redo")
}

// last returns the end of the last call for which ok holds, 0 if there is none.
func last(calls []call, ok func(call) bool) int {
	end := 0
	for _, c := range calls {
		if ok(c) {
			end = max(end, c.end)
		}
	}
	return end
}

// synced returns the end of the first successful sync of a file that began after
// a line.
func synced(calls []call, file string, after int) (int, error) {
	for _, c := range calls {
		if c.sync() && c.ok() && c.file() == file && c.begin > after {
			return c.end, nil
		}
	}
	return 0, fmt.Errorf("%s is not synced after line %d", file, after)
}

// recorded checks that what a window wrote to the file of records, else to the log of
// the database, was synced before the answer. It returns where the first of those
// writes began. (Beside a record the log takes what was recorded before, and waits for
// nothing.)
func recorded(w []call) (begin int, err error) {
	answer := w[len(w)-1].begin
	of := "/berth.db-redo"
	isWrite := func(c call) bool { return c.name == "pwrite64" && strings.HasSuffix(c.file(), of) }
	i := slices.IndexFunc(w, isWrite)
	if i < 0 {
		of = "/berth.db-wal"
		i = slices.IndexFunc(w, isWrite)
	}
	if i < 0 {
		return 0, fmt.Errorf("nothing was recorded before the answer in line %d", answer)
	}
	end, err := synced(w, w[i].file(), last(w, isWrite))
	if err == nil && end >= answer {
		err = fmt.Errorf("the answer in line %d does not wait for the sync that ends in line %d", answer, end)
	}
	return w[i].begin, err
}

// stored checks that a window made a blob's bytes and its name durable, then its
// record, and only then answered; and that the bytes were durable before there was
// a name, or that the disk had been given them where that is enough.
func stored(w []call) error {
	i := slices.IndexFunc(w, func(c call) bool {
		return c.name == "linkat" && c.ok() && strings.Contains(c.at(), "/docker/registry/v2/blobs/")
	})
	if i < 0 {
		return fmt.Errorf("no blob gets its name before the answer in line %d", w[len(w)-1].begin)
	}
	link := w[i]
	name := link.at()
	upload := named.FindStringSubmatch(link.args)
	from := path.Join(upload[1], upload[2])
	bytesAt := last(w, func(c call) bool { return c.name == "pwrite64" && c.file() == from })
	end, err := synced(w, from, bytesAt)
	if err != nil {
		return err
	}
	if given := givenToDisk(w, from, bytesAt); end >= link.begin && given >= link.begin {
		return fmt.Errorf("%s gets its name in line %d, and its bytes are durable in line %d", name, link.begin, end)
	}
	durable, err := namesSynced(w, link)
	if err != nil {
		return err
	}
	durable = max(durable, end)
	var after []call // what began when everything was in its place
	for _, c := range w {
		if c.begin > durable {
			after = append(after, c)
		}
	}
	if _, err = recorded(after); err != nil {
		return err
	}
	log := slices.IndexFunc(after, func(c call) bool { return c.sync() && isLog(c.file()) })
	for _, c := range w {
		if c.name == "unlinkat" && c.at() == from && c.begin < after[log].end {
			return fmt.Errorf("%s is removed in line %d, before the blob is recorded", from, c.begin)
		}
	}
	return nil
}

// givenToDisk returns the end of the first wait for a file to be given to the disk
// that began after a line.
func givenToDisk(calls []call, file string, after int) int {
	for _, c := range calls {
		if c.name == "sync_file_range" && strings.Contains(c.args, "WAIT_AFTER") && c.ok() && c.file() == file && c.begin > after {
			return c.end
		}
	}
	return math.MaxInt
}

// namesSynced checks that all folders which a link and the making of its folders
// changed are synced after it, and returns when the last one is.
func namesSynced(w []call, link call) (int, error) {
	dirs := []string{path.Dir(link.at())}
	for _, c := range w {
		if c.name == "mkdirat" && c.ok() && strings.HasPrefix(link.at(), c.at()+"/") {
			dirs = append(dirs, path.Dir(c.at()))
		}
	}
	durable := 0
	for _, dir := range dirs {
		end, err := synced(w, dir, link.end)
		if err != nil {
			return 0, err
		}
		durable = max(durable, end)
	}
	return durable, nil
}
