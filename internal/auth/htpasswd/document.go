package htpasswd

import (
	"crypto/sha256"
	"slices"
	"strings"
)

// A Document is a password file to be edited: its lines stay as they are,
// comments, blank and bad ones too, except those that are changed.
type Document struct {
	// Encoding is how the file was saved. It will be UTF-8 without byte order
	// mark when it is written, which is what every reader understands.
	Encoding Encoding

	lines []string          // each with its line ending
	sum   [sha256.Size]byte // of the file as it was read
	isNew bool              // the file was not there
}

// An Entry is one line of a Document that is neither blank nor a comment.
type Entry struct {
	Line   int // from 1
	User   string
	Stored string // everything behind the first colon; a secret
	Bad    bool   // there is no colon, and so neither User nor Stored
}

// Hash returns the hash of the line, or why it can log nobody in.
func (e Entry) Hash() (Hash, error) {
	if e.Bad {
		return Hash{}, errNoColon
	}
	_, stored, _, err := splitLine(e.User + ":" + e.Stored)
	if err != nil {
		return Hash{}, err
	}
	return ParseHash(stored)
}

// NewDocument returns an empty Document for a file that is not there yet, or
// whose content does not matter.
func NewDocument() *Document { return &Document{Encoding: UTF8, isNew: true} }

// ReadDocument reads the file at path. Its errors say what to do; one that is
// fs.ErrNotExist means that there is no file.
func ReadDocument(path string) (*Document, error) {
	data, _, err := read(path)
	if err != nil {
		return nil, err
	}
	d := parseDocument(data)
	d.sum = sha256.Sum256(data)
	return d, nil
}

func parseDocument(data []byte) *Document {
	text, encoding := decodeText(data)
	return &Document{Encoding: encoding, lines: slices.Collect(strings.Lines(string(text)))}
}

// Entries returns the lines about users in the order of the file.
func (d *Document) Entries() []Entry {
	var entries []Entry
	for i, line := range d.lines {
		line = strings.TrimLeft(line, " \t\v\f\r\n")
		if line == "" || line[0] == '#' {
			continue
		}
		name, stored, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		if !ok {
			entries = append(entries, Entry{Line: i + 1, Bad: true})
			continue
		}
		entries = append(entries, Entry{Line: i + 1, User: name, Stored: stored})
	}
	return entries
}

// Set gives user the stored hash in each of their lines, or in a new line at
// the end. It returns how many lines they had.
func (d *Document) Set(user, stored string) int {
	line := user + ":" + stored + "\n"
	own := d.linesOf(user)
	for _, i := range own {
		d.lines[i] = line
	}
	if len(own) > 0 {
		return len(own)
	}
	if n := len(d.lines); n > 0 && !strings.HasSuffix(d.lines[n-1], "\n") {
		d.lines[n-1] += "\n"
	}
	d.lines = append(d.lines, line)
	return 0
}

// Remove takes every line of user out and returns how many there were.
func (d *Document) Remove(user string) int {
	own := d.linesOf(user)
	for _, i := range slices.Backward(own) {
		d.lines = slices.Delete(d.lines, i, i+1)
	}
	return len(own)
}

func (d *Document) linesOf(user string) []int {
	var own []int
	for _, e := range d.Entries() {
		if !e.Bad && e.User == user {
			own = append(own, e.Line-1)
		}
	}
	return own
}

// text returns the content of the file to write.
func (d *Document) text() string { return strings.Join(d.lines, "") }
