package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
)

// A conn is a connection of a client that costs as little as it can: the client
// shares the machine with what is measured. It is used by one goroutine.
type conn struct {
	to     *target
	net    net.Conn
	r      *bufio.Reader
	buf    bytes.Buffer // of the request that is being made
	copied []byte       // what bodies are read through
}

func dial(to *target) (*conn, error) {
	c, err := net.Dial("tcp", to.addr)
	if err != nil {
		return nil, err
	}
	if to.tls != nil {
		c = tls.Client(c, to.tls)
	}
	return &conn{to: to, net: c, r: bufio.NewReaderSize(c, 64<<10), copied: make([]byte, 256<<10)}, nil
}

func (c *conn) close() { c.net.Close() }

// A reply is the answer to a request.
type reply struct {
	status int
	header http.Header
	body   []byte // nil unless it was asked for
	size   int64  // of the body
}

// A request is what is asked.
type request struct {
	method, path string // path with its query
	contentType  string
	accept       string
	rng          string // a Range
	body         []byte
	chunked      bool // the body has no length
	keep         bool // return the answer's body
}

// do sends a request and reads the whole answer.
func (c *conn) do(q request) (reply, error) {
	c.head(q)
	if _, err := c.net.Write(c.buf.Bytes()); err != nil {
		return reply{}, err
	}
	if err := c.send(q); err != nil {
		return reply{}, err
	}
	resp, err := http.ReadResponse(c.r, &http.Request{Method: q.method})
	if err != nil {
		return reply{}, err
	}
	a := reply{status: resp.StatusCode, header: resp.Header}
	if q.keep || resp.StatusCode >= 400 {
		a.body, err = io.ReadAll(resp.Body)
		a.size = int64(len(a.body))
	} else {
		a.size, err = io.CopyBuffer(onlyWriter{io.Discard}, resp.Body, c.copied)
	}
	if err == nil && resp.ContentLength >= 0 && q.method != http.MethodHead && a.size != resp.ContentLength {
		err = io.ErrUnexpectedEOF
	}
	return a, err
}

// onlyWriter hides that io.Discard reads by itself, in small pieces.
type onlyWriter struct{ io.Writer }

func (c *conn) head(q request) {
	b := &c.buf
	b.Reset()
	b.WriteString(q.method + " " + q.path + " HTTP/1.1\r\nHost: " + c.to.addr + "\r\n")
	if c.to.authorization != "" {
		b.WriteString("Authorization: " + c.to.authorization + "\r\n")
	}
	for name, value := range map[string]string{"Content-Type": q.contentType, "Accept": q.accept, "Range": q.rng} {
		if value != "" {
			b.WriteString(name + ": " + value + "\r\n")
		}
	}
	switch {
	case q.chunked:
		b.WriteString("Transfer-Encoding: chunked\r\n")
	case q.body != nil || q.method == http.MethodPost || q.method == http.MethodPut:
		b.WriteString("Content-Length: " + strconv.Itoa(len(q.body)) + "\r\n")
	}
	b.WriteString("\r\n")
	if !q.chunked && len(q.body) <= 64<<10 {
		b.Write(q.body)
	}
}

// chunk is the size of a chunk of a chunked body.
const chunk = 1 << 20

// send sends the body, as far as it did not go with the head.
func (c *conn) send(q request) error {
	if !q.chunked {
		if len(q.body) <= 64<<10 {
			return nil
		}
		_, err := c.net.Write(q.body)
		return err
	}
	for rest := q.body; len(rest) > 0; {
		n := min(chunk, len(rest))
		if _, err := fmt.Fprintf(c.net, "%x\r\n", n); err != nil {
			return err
		}
		if _, err := c.net.Write(rest[:n]); err != nil {
			return err
		}
		if _, err := io.WriteString(c.net, "\r\n"); err != nil {
			return err
		}
		rest = rest[n:]
	}
	_, err := io.WriteString(c.net, "0\r\n\r\n")
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

// pushBlob uploads a blob.
func (c *conn) pushBlob(repo string, b blob, w way) error {
	a, err := c.want(http.StatusAccepted, request{method: "POST", path: "/v2/" + repo + "/blobs/uploads/"})
	if err != nil {
		return err
	}
	at, err := location(a)
	if err != nil {
		return err
	}
	if w == patched {
		a, err = c.want(http.StatusAccepted, request{method: "PATCH", path: at, contentType: "application/octet-stream", body: b.data, chunked: true})
		if err == nil {
			at, err = location(a)
		}
		if err != nil {
			return err
		}
	}
	u, err := url.Parse(at)
	if err != nil {
		return err
	}
	query := u.Query()
	query.Set("digest", b.digest)
	u.RawQuery = query.Encode()
	put := request{method: "PUT", path: u.RequestURI()}
	if w == monolithic {
		put.body, put.contentType = b.data, "application/octet-stream"
	}
	_, err = c.want(http.StatusCreated, put)
	return err
}

// location is the path that an answer sends on to.
func location(a reply) (string, error) {
	u, err := url.Parse(a.header.Get("Location"))
	if err != nil || u.Path == "" {
		return "", errors.New("an answer without a usable Location")
	}
	return u.RequestURI(), nil
}

// hasBlob asks for a blob as clients do before they upload it.
func (c *conn) hasBlob(repo, digest string) (bool, error) {
	a, err := c.do(request{method: "HEAD", path: "/v2/" + repo + "/blobs/" + digest})
	return a.status == http.StatusOK, err
}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}
