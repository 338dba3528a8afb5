package listen

import (
	"bytes"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
)

// A head is a request without its body, read from how it was sent. Only those are
// read that everybody reads in the same way: what is left to interpretation, or
// changes how a connection goes on, is net/http's. It is used for all requests of a
// connection, one after the other.
type head struct {
	size   int // bytes
	method string
	target []byte // of what was sent

	fields // of the last one

	// Clients mostly send the same fields again: one kind for manifests, one for blobs, one
	// for each step of a push.
	known [maxKnown]fields
	next  int // of known that is given up for the next
}

// fields are what stands behind the first line, and what it means. They are never
// changed, so that requests share them.
type fields struct {
	raw     string // with the empty line at its end
	header  http.Header
	host    string
	length  int64 // of the body
	chunked bool  // it has none, and comes in chunks
}

// maxFields is how many fields a head has that is read, maxRaw for how many bytes
// of them it is worth while to remember what they mean, and maxKnown how often.
const (
	maxFields = 32
	maxRaw    = 2 << 10
	maxKnown  = 4
)

// read reads the head that p begins with, and reports whether it is a whole one that
// means only one thing.
func (h *head) read(p []byte) bool {
	end := bytes.IndexByte(p, '\n') + 1
	if end == 0 || !h.readFirst(p[:end]) {
		return false
	}
	rest := p[end:]
	for i := range h.known {
		if k := &h.known[i]; k.raw != "" && len(rest) >= len(k.raw) && string(rest[:len(k.raw)]) == k.raw {
			h.fields, h.size = *k, end+len(k.raw)
			return true
		}
	}
	if !h.readFields(rest) {
		return false
	}
	h.size = end + len(h.raw)
	if len(h.raw) <= maxRaw {
		h.known[h.next] = h.fields
		h.next = (h.next + 1) % maxKnown
	}
	return true
}

// isUnfinished reports whether p may be the beginning of a head that is read. Lines
// that end without a CR are none, so that nobody waits for another end of theirs.
func isUnfinished(p []byte) bool {
	return p[0] >= 'A' && p[0] <= 'Z' && !bytes.Contains(p, []byte("\r\n\r\n")) &&
		bytes.Count(p, []byte("\n")) == bytes.Count(p, []byte("\r\n"))
}

// readFirst reads the first line.
func (h *head) readFirst(line []byte) bool {
	const version = " HTTP/1.1\r\n"
	line, ok := bytes.CutSuffix(line, []byte(version))
	method, target, found := bytes.Cut(line, []byte(" "))
	if !ok || !found || len(target) == 0 || target[0] != '/' {
		return false
	}
	for _, c := range target {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	h.method, h.target = methodOf(method), target
	return h.method != ""
}

// methodOf returns a method that is known; empty for others.
func methodOf(b []byte) string {
	switch string(b) {
	case http.MethodGet:
		return http.MethodGet
	case http.MethodHead:
		return http.MethodHead
	case http.MethodPost:
		return http.MethodPost
	case http.MethodPut:
		return http.MethodPut
	case http.MethodPatch:
		return http.MethodPatch
	case http.MethodDelete:
		return http.MethodDelete
	}
	return ""
}

// readFields reads the header up to and including the empty line at its end.
func (h *head) readFields(p []byte) bool {
	h.fields = fields{}
	const end = "\r\n\r\n"
	size := bytes.Index(p, []byte(end))
	if size < 0 {
		return false
	}
	h.raw = string(p[:size+len(end)]) // in one piece: values are parts of it
	text := h.raw[:size]
	lines := strings.Count(text, "\n") + 1
	if lines > maxFields+1 { // one is Host
		return false
	}
	h.header = make(http.Header, lines)
	values := make([]string, 0, lines)
	for line := range strings.SplitSeq(text, "\r\n") {
		key, value, ok := readField(line)
		if !ok || !h.heed(key, value) {
			return false
		}
		if key == "Host" || key == "Transfer-Encoding" {
			continue
		}
		if had := h.header[key]; had != nil {
			h.header[key] = append(had, value)
			continue
		}
		values = append(values, value)
		h.header[key] = values[len(values)-1 : len(values) : len(values)]
	}
	return h.host != ""
}

// readField reads one line.
func readField(line string) (key, value string, ok bool) {
	name, value, ok := strings.Cut(line, ":")
	if !ok || name == "" {
		return "", "", false
	}
	for i := range len(name) {
		if !isAlnum(name[i]) && name[i] != '-' {
			return "", "", false
		}
	}
	for i := range len(value) {
		if (value[i] < ' ' || value[i] > '~') && value[i] != '\t' {
			return "", "", false
		}
	}
	return textproto.CanonicalMIMEHeaderKey(name), textproto.TrimString(value), true
}

// heed heeds what a field means for the connection. It reports false where that is
// for net/http to decide.
func (f *fields) heed(key, value string) bool {
	switch key {
	case "Host":
		if f.host != "" || !isHost(value) {
			return false
		}
		f.host = value
	case "Content-Length":
		n, err := strconv.ParseInt(value, 10, 63)
		if err != nil || !isNumber(value) || f.header["Content-Length"] != nil || f.chunked {
			return false
		}
		f.length = n
	case "Transfer-Encoding":
		if value != "chunked" || f.header["Content-Length"] != nil || f.chunked {
			return false
		}
		f.chunked = true
	case "Connection":
		return strings.EqualFold(value, "keep-alive")
	case "Trailer", "Te", "Upgrade", "Expect", "Pragma", "Http2-Settings":
		return false
	}
	return true
}

func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// url returns what the target means, in u if that is easy.
func (h *head) url(u *url.URL) (*url.URL, string, error) {
	target := string(h.target)
	path, query, asked := strings.Cut(target, "?")
	if asked && query == "" || !isPlainPath(path) {
		u, err := url.ParseRequestURI(target)
		return u, target, err
	}
	u.Path, u.RawQuery = path, query
	return u, target, nil
}

// isPlainPath reports whether a path reads the same escaped and not.
func isPlainPath(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case isAlnum(c), c == '/', c == '-', c == '_', c == '.', c == ':', c == '~', c == '@':
		default:
			return false
		}
	}
	return true
}
