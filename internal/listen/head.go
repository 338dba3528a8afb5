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

	// What stands behind the first line, as the last head had it, and what it means.
	// Clients mostly send the same again.
	raw     []byte
	fields  []field
	host    string
	length  int64 // of the body
	chunked bool  // it has none, and comes in chunks
}

// A field is one line of a header.
type field struct{ key, value string }

// maxFields is how many fields a head has that is read, and maxRaw for how many bytes
// of them it is worth while to remember what they mean.
const (
	maxFields = 32
	maxRaw    = 2 << 10
)

// read reads the head that p begins with, and reports whether it is a whole one that
// means only one thing.
func (h *head) read(p []byte) bool {
	end := bytes.IndexByte(p, '\n') + 1
	if end == 0 || !h.readFirst(p[:end]) {
		return false
	}
	rest := p[end:]
	if len(h.raw) > 0 && bytes.HasPrefix(rest, h.raw) {
		h.size = end + len(h.raw)
		return true
	}
	n, ok := h.readFields(rest)
	h.size = end + n
	h.raw = h.raw[:0]
	if ok && n <= maxRaw {
		h.raw = append(h.raw, rest[:n]...)
	}
	return ok
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

// readFields reads the header up to and including the empty line at its end, and
// returns how long it is.
func (h *head) readFields(p []byte) (n int, ok bool) {
	h.fields, h.host, h.length, h.chunked = h.fields[:0], "", 0, false
	end := bytes.Index(p, []byte("\r\n\r\n"))
	if end < 0 {
		return 0, false
	}
	n = end + len("\r\n\r\n")
	text := string(p[:end]) // in one piece: values are parts of it
	for line := range strings.SplitSeq(text, "\r\n") {
		f, ok := readField(line)
		if !ok || len(h.fields) == maxFields || !h.heed(f) {
			return 0, false
		}
		if f.key != "Host" && f.key != "Transfer-Encoding" {
			h.fields = append(h.fields, f)
		}
	}
	return n, h.host != ""
}

// readField reads one line.
func readField(line string) (field, bool) {
	name, value, ok := strings.Cut(line, ":")
	if !ok || name == "" {
		return field{}, false
	}
	for i := range len(name) {
		if !isAlnum(name[i]) && name[i] != '-' {
			return field{}, false
		}
	}
	for i := range len(value) {
		if (value[i] < ' ' || value[i] > '~') && value[i] != '\t' {
			return field{}, false
		}
	}
	return field{textproto.CanonicalMIMEHeaderKey(name), textproto.TrimString(value)}, true
}

// heed heeds what a field means for the connection. It reports false where that is
// for net/http to decide.
func (h *head) heed(f field) bool {
	switch f.key {
	case "Host":
		if h.host != "" || !isHost(f.value) {
			return false
		}
		h.host = f.value
	case "Content-Length":
		n, err := strconv.ParseInt(f.value, 10, 63)
		if err != nil || !isNumber(f.value) || h.has("Content-Length") || h.chunked {
			return false
		}
		h.length = n
	case "Transfer-Encoding":
		if f.value != "chunked" || h.has("Content-Length") || h.chunked {
			return false
		}
		h.chunked = true
	case "Connection":
		return strings.EqualFold(f.value, "keep-alive")
	case "Trailer", "Te", "Upgrade", "Expect", "Pragma", "Http2-Settings":
		return false
	}
	return true
}

func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

func (h *head) has(key string) bool {
	for _, f := range h.fields {
		if f.key == key {
			return true
		}
	}
	return false
}

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

// header returns the fields. Nothing of it is shared with other requests but text.
func (h *head) header() http.Header {
	header := make(http.Header, len(h.fields))
	values := make([]string, len(h.fields))
	for i, f := range h.fields {
		values[i] = f.value
		if had := header[f.key]; had != nil {
			header[f.key] = append(had, f.value)
		} else {
			header[f.key] = values[i : i+1 : i+1]
		}
	}
	return header
}
