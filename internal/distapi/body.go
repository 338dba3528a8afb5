package distapi

import (
	"errors"
	"io"
	"net/http"
	"time"

	"berth/internal/registry"
)

// errLength says that a body has another length than its Content-Range.
var errLength = errors.New("distapi: body is not as long as its Content-Range")

// A body is the body of a request. It remembers what went wrong with it, so
// that this is not mistaken for what goes wrong where its bytes are going.
type body struct {
	io.ReadCloser
	control *http.ResponseController
	err     error
}

var _ registry.Interrupter = (*body)(nil)

func newBody(w http.ResponseWriter, r *http.Request) *body {
	return &body{ReadCloser: r.Body, control: http.NewResponseController(w)}
}

// Read reads from the client.
func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.ReadCloser.Read(p)
	b.err = err
	return n, err
}

// Interrupt ends a Read that is waiting: another connection has taken the
// upload over. That it is not supported by a test's recorder does no harm.
func (b *body) Interrupt() { _ = b.control.SetReadDeadline(time.Unix(1, 0)) }

// failed reports whether the body broke off.
func (b *body) failed() bool {
	return b.err != nil && b.err != io.EOF && !errors.Is(b.err, errLength)
}

// exactly reads a body that must have a length which no header promised.
type exactly struct {
	io.ReadCloser
	left int64
}

func (e *exactly) Read(p []byte) (int, error) {
	if int64(len(p)) > e.left+1 {
		p = p[:e.left+1] // one more, to see whether there is one
	}
	n, err := e.ReadCloser.Read(p)
	if int64(n) > e.left {
		n, err = int(e.left), errLength
	}
	if e.left -= int64(n); err == io.EOF && e.left > 0 {
		err = errLength
	}
	return n, err
}
