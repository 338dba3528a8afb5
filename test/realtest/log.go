package realtest

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"
)

// A Log collects what a server writes, as JSON lines.
type Log struct {
	t  testing.TB
	mu sync.Mutex
	b  []byte
}

// Write is for the server's output.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b = append(l.b, p...)
	return len(p), nil
}

// String returns everything that was written so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.b)
}

// Mark returns a position for Since: that of what is written next.
func (l *Log) Mark() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.b)
}

// Since returns what was written after a Mark, as it is now.
func (l *Log) Since(mark int) *Log { return &Log{t: l.t, b: []byte(l.String()[mark:])} }

// Tail returns the last n lines.
func (l *Log) Tail(n int) string {
	lines := strings.SplitAfter(strings.TrimRight(l.String(), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "")
}

// Contains reports whether s was written.
func (l *Log) Contains(s string) bool { return strings.Contains(l.String(), s) }

// An Entry is one line of the log.
type Entry map[string]any

// Text returns a field as text, and nothing if there is none.
func (e Entry) Text(key string) string {
	s, _ := e[key].(string)
	return s
}

// Number returns a field as a number, and 0 if there is none.
func (e Entry) Number(key string) int64 {
	n, _ := e[key].(json.Number)
	i, _ := n.Int64()
	return i
}

// Entries returns the lines that are JSON objects.
func (l *Log) Entries() []Entry {
	var entries []Entry
	for line := range strings.Lines(l.String()) {
		var e Entry
		dec := json.NewDecoder(bytes.NewReader([]byte(line)))
		dec.UseNumber()
		if dec.Decode(&e) == nil && e != nil {
			entries = append(entries, e)
		}
	}
	return entries
}

// A Request is a line of the access log.
type Request struct {
	Method string
	Path   string // without the query
	Status int
	User   string
	Entry  Entry
}

// Requests returns the requests of a method ("" is any) whose path contains
// part.
func (l *Log) Requests(method, part string) []Request {
	var found []Request
	for _, e := range l.Entries() {
		r := Request{
			Method: e.Text("method"), Path: e.Text("path"),
			Status: int(e.Number("status")), User: e.Text("user"), Entry: e,
		}
		if r.Method != "" && r.Status != 0 && (method == "" || method == r.Method) && strings.Contains(r.Path, part) {
			found = append(found, r)
		}
	}
	return found
}

// Has reports whether such a request was answered with status. A line is
// written after the client has its answer, so it waits a little for it.
func (l *Log) Has(method, part string, status int) bool {
	return l.Await(func(l *Log) bool {
		for _, r := range l.Requests(method, part) {
			if r.Status == status {
				return true
			}
		}
		return false
	})
}

// Await waits at most half a minute for the log to satisfy ok: an ACME server that
// refuses a nonce, as ours does on purpose, is asked again after some seconds.
func (l *Log) Await(ok func(*Log) bool) bool {
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if ok(l) {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}
