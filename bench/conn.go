package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"hash"
	"net"
	"strconv"
	"time"
)

// A conn is a connection of a client that costs as little as it can: the client
// shares the machine with what is measured, so that what it spends bounds the
// rates. It is used by one goroutine and keeps its buffers.
type conn struct {
	to  *target
	net net.Conn
	r   *bufio.Reader
	out []byte // the request that is being made

	// verify has bodies hashed, and their hash compared where it is known.
	// A measurement sets it for the first operation of each connection.
	verify bool
	hash   hash.Hash
	sum    [sha256.Size]byte

	header [headers][]byte // of the last answer
	body   []byte          // of the last answer, if it was asked for
	rest   []byte          // what other bodies are read into
	usual  int64           // how large the answer is that comes again and again
}

// patience is how long an operation may take before the server counts as stuck.
const patience = 2 * time.Minute

func dial(to *target) (*conn, error) {
	c, err := net.Dial("tcp", to.addr)
	if err != nil {
		return nil, err
	}
	if to.tls != nil {
		secure := tls.Client(c, to.tls)
		if err := secure.Handshake(); err != nil {
			c.Close()
			return nil, err
		}
		c = secure
	}
	made := &conn{to: to, net: c, r: bufio.NewReaderSize(c, 16<<10), hash: sha256.New()}
	return made, made.extend()
}

// extend gives the server more time.
func (c *conn) extend() error { return c.net.SetDeadline(time.Now().Add(patience)) }

func (c *conn) close() { c.net.Close() }

// A request is what is asked.
type request struct {
	method, path string // path with its query
	contentType  string
	accept       string
	rng          string // a Range
	body         blob
	shape        shape
	keep         keeping
}

// A shape is how a body is sent.
type shape int

const (
	measuredBody shape = iota // with its length
	chunkedBody               // without
)

// Keeping is whether the body of an answer is returned.
type keeping int

const (
	dropBody keeping = iota
	keepBody
)

// together is how large a body is at most that goes in one write with the head.
const together = 64 << 10

// do sends a request and reads the whole answer. What it returns is valid until
// the next request.
func (c *conn) do(q request) (reply, error) {
	c.head(q)
	var err error
	switch small := q.body.size() <= together; {
	case q.shape == chunkedBody:
		err = c.sendChunks(q.body)
	case small:
		c.out = append(append(c.out, q.body.base...), q.body.tail...)
		_, err = c.net.Write(c.out)
	default:
		_, err = (&net.Buffers{c.out, q.body.base, q.body.tail}).WriteTo(c.net)
	}
	if err != nil {
		return reply{}, err
	}
	return c.answer(q.method, q.keep)
}

func (c *conn) head(q request) {
	b := append(c.out[:0], q.method...)
	b = append(append(append(b, ' '), q.path...), " HTTP/1.1\r\nHost: "...)
	b = append(b, c.to.addr...)
	b = field(b, "\r\nAuthorization: ", c.to.authorization)
	b = field(b, "\r\nContent-Type: ", q.contentType)
	b = field(b, "\r\nAccept: ", q.accept)
	b = field(b, "\r\nRange: ", q.rng)
	switch {
	case q.shape == chunkedBody:
		b = append(b, "\r\nTransfer-Encoding: chunked"...)
	case q.method == "POST" || q.method == "PUT" || q.method == "PATCH":
		b = strconv.AppendInt(append(b, "\r\nContent-Length: "...), q.body.size(), 10)
	}
	c.out = append(b, "\r\n\r\n"...)
}

func field(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	return append(append(b, name...), value...)
}

// chunk is the largest chunk of a chunked body.
const chunk = 1 << 20

// sendChunks sends the head and a body of unknown length. A small one goes in
// one write, with its end.
func (c *conn) sendChunks(b blob) error {
	const end = "0\r\n\r\n"
	if size := b.size(); size <= together {
		if size > 0 {
			c.out = append(strconv.AppendInt(c.out, size, 16), "\r\n"...)
			c.out = append(append(append(c.out, b.base...), b.tail...), "\r\n"...)
		}
		_, err := c.net.Write(append(c.out, end...))
		return err
	}
	for _, part := range [][]byte{b.base, b.tail} {
		for len(part) > 0 {
			n := min(chunk, len(part))
			c.out = append(strconv.AppendInt(c.out, int64(n), 16), "\r\n"...)
			if _, err := (&net.Buffers{c.out, part[:n]}).WriteTo(c.net); err != nil {
				return err
			}
			part = part[n:]
			c.out = append(c.out[:0], "\r\n"...)
		}
	}
	_, err := c.net.Write(append(c.out, end...))
	return err
}

// want does a request whose answer must have a status.
func (c *conn) want(status int, q request) (reply, error) {
	a, err := c.do(q)
	if err == nil && a.status != status {
		err = fmt.Errorf("%s %s: got status %d, want %d: %.200s", q.method, q.path, a.status, status, a.body)
	}
	return a, err
}

// How a blob is pushed.
type way int

const (
	monolithic way = iota // POST, then one PUT with the body
	patched               // POST, one PATCH of unknown length, PUT
)

const octets = "application/octet-stream"

// pushBlob uploads a blob.
func (c *conn) pushBlob(repo string, b blob, w way) error {
	a, err := c.want(202, request{method: "POST", path: "/v2/" + repo + "/blobs/uploads/"})
	if err != nil {
		return err
	}
	at, err := destination(a.header[hLocation])
	if err == nil && w == patched {
		a, err = c.want(202, request{method: "PATCH", path: at, contentType: octets, body: b, shape: chunkedBody})
		if err == nil {
			at, err = destination(a.header[hLocation])
		}
	}
	if err != nil {
		return err
	}
	put := request{method: "PUT", path: withDigest(at, b.digest)}
	if w == monolithic {
		put.body, put.contentType = b, octets
	}
	_, err = c.want(201, put)
	return err
}

// withDigest adds a digest to the URL of an upload, which may have a query.
func withDigest(at, digest string) string {
	for i := range at {
		if at[i] == '?' {
			return at + "&digest=" + digest
		}
	}
	return at + "?digest=" + digest
}

// destination is the path, with its query, that a header field sends on to.
func destination(location []byte) (string, error) {
	if _, rest, absolute := bytes.Cut(location, []byte("://")); absolute {
		location = rest[max(0, bytes.IndexByte(rest, '/')):]
	}
	if len(location) == 0 || location[0] != '/' {
		return "", errors.New("an answer without a usable Location or Link")
	}
	return string(location), nil
}

// hasBlob asks for a blob as clients do before they upload it.
func (c *conn) hasBlob(repo, digest string) (bool, error) {
	a, err := c.do(request{method: "HEAD", path: "/v2/" + repo + "/blobs/" + digest})
	if err == nil && a.status != 200 && a.status != 404 {
		err = fmt.Errorf("HEAD of blob %s: got status %d", digest, a.status)
	}
	return a.status == 200, err
}
