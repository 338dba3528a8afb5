package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// The header fields that are looked at.
const (
	hDigest = iota
	hLocation
	hLink
	headers
)

// A reply is the answer to a request.
type reply struct {
	status int
	header [headers][]byte
	size   int64             // of the body
	body   []byte            // nil unless it was asked for
	sum    [sha256.Size]byte // of the body, if the connection verifies
}

var errAnswer = errors.New("an answer that is no HTTP/1.1 as a client needs it")

// answer reads one, without allocating: what it returns lies in the connection.
func (c *conn) answer(method string, keep keeping) (reply, error) {
	var a reply
	length, err := c.answerHead(&a)
	if err != nil {
		return a, err
	}
	c.body = c.body[:0]
	if c.verify {
		c.hash.Reset()
	}
	if a.status >= 400 {
		keep = keepBody // it says why
	}
	switch {
	case method == "HEAD" || a.status == 204 || a.status == 304:
	case length == inChunks:
		a.size, err = c.takeChunks(keep)
	case length < 0:
		err = fmt.Errorf("%w: a body whose end is that of the connection", errAnswer)
	default:
		a.size, err = length, c.take(length, keep)
	}
	if c.verify {
		copy(a.sum[:], c.hash.Sum(c.sum[:0]))
	}
	if keep == keepBody {
		a.body = c.body
	}
	return a, err
}

// What the length of a body is if it is none.
const (
	untilEnd = -1
	inChunks = -2
)

// answerHead reads the status and the header fields, and returns the length of
// the body. Interim answers are passed over.
func (c *conn) answerHead(a *reply) (length int64, err error) {
	for {
		line, err := c.line()
		if err != nil {
			return 0, err
		}
		if len(line) < len("HTTP/1.1 200") || string(line[:9]) != "HTTP/1.1 " || len(line) > 12 && line[12] != ' ' {
			return 0, fmt.Errorf("%w: %.40q", errAnswer, line)
		}
		if a.status, err = strconv.Atoi(string(line[9:12])); err != nil || a.status < 100 {
			return 0, fmt.Errorf("%w: %.40q", errAnswer, line)
		}
		for i := range c.header {
			c.header[i] = c.header[i][:0]
		}
		if length, err = c.fields(); err != nil {
			return 0, err
		}
		if a.status >= 200 {
			a.header = c.header
			return length, nil
		}
	}
}

// fields reads header fields up to the empty line.
func (c *conn) fields() (length int64, err error) {
	length = untilEnd
	for {
		line, err := c.line()
		if err != nil || len(line) == 0 {
			return length, err
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			return 0, fmt.Errorf("%w: %.40q", errAnswer, line)
		}
		value = bytes.Trim(value, " \t")
		switch len(name) { // so that few are compared
		case len("Link"):
			c.set(hLink, name, "Link", value)
		case len("Location"):
			c.set(hLocation, name, "Location", value)
		case len("Docker-Content-Digest"):
			c.set(hDigest, name, "Docker-Content-Digest", value)
		case len("Content-Length"):
			if same(name, "Content-Length") && length != inChunks {
				if length, err = strconv.ParseInt(string(value), 10, 62); err != nil || length < 0 {
					return 0, fmt.Errorf("%w: a length of %.40q", errAnswer, value)
				}
			}
		case len("Transfer-Encoding"):
			if same(name, "Transfer-Encoding") {
				if !same(value, "chunked") {
					return 0, fmt.Errorf("%w: a body that is %.40q", errAnswer, value)
				}
				length = inChunks
			}
		}
	}
}

func (c *conn) set(at int, name []byte, want string, value []byte) {
	if same(name, want) {
		c.header[at] = append(c.header[at][:0], value...)
	}
}

// same compares without regard to case.
func same(a []byte, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		x, y := a[i], b[i]
		if x != y && (x|0x20 != y|0x20 || x|0x20 < 'a' || x|0x20 > 'z') {
			return false
		}
	}
	return true
}

// line reads one without its end.
func (c *conn) line() ([]byte, error) {
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	line = line[:len(line)-1]
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line, nil
}

// takeChunks reads a chunked body and what is behind it.
func (c *conn) takeChunks(keep keeping) (size int64, err error) {
	for {
		line, err := c.line()
		if err != nil {
			return size, err
		}
		digits, _, _ := bytes.Cut(line, []byte(";"))
		n, err := strconv.ParseInt(string(bytes.TrimRight(digits, " \t")), 16, 62)
		if err != nil || n < 0 {
			return size, fmt.Errorf("%w: a chunk of %.40q", errAnswer, line)
		}
		if n == 0 {
			_, err := c.fields()
			return size, err
		}
		if err := c.take(n, keep); err != nil {
			return size, err
		}
		size += n
		if line, err = c.line(); err != nil || len(line) > 0 {
			return size, errors.Join(err, errAnswer)
		}
	}
}

// take reads n bytes of a body: what is there, then straight from the network.
func (c *conn) take(n int64, keep keeping) error {
	for n > 0 {
		var part []byte
		var err error
		if buffered := int64(c.r.Buffered()); buffered > 0 {
			part, _ = c.r.Peek(int(min(n, buffered)))
			_, _ = c.r.Discard(len(part))
		} else {
			if want := min(n, 256<<10); int64(len(c.rest)) < want {
				c.rest = make([]byte, want)
			}
			var got int
			got, err = c.net.Read(c.rest[:min(n, int64(len(c.rest)))])
			part = c.rest[:got]
		}
		n -= int64(len(part))
		if keep == keepBody {
			c.body = append(c.body, part...)
		}
		if c.verify {
			c.hash.Write(part)
		}
		if err != nil && n > 0 {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}
