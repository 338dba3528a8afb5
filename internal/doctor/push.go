package doctor

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// push begins uploads and sends them pieces, in each way that clients do.
func (e *exam) push(ctx context.Context) {
	const name = "push"
	a, err := e.ask(ctx, question{method: http.MethodPost, path: "/v2/" + Repository + "/blobs/uploads/"})
	switch {
	case err != nil:
		e.found(name, unreachable, cause(err).Error())
		return
	case a.status == 401 && e.login == "", a.status == 403 && a.ofRegistry() && e.login == "":
		e.skip(name, "log-in is needed: --user NAME --password-stdin")
		return
	case a.status == 405 && a.ofRegistry():
		e.skip(name, "the registry is read-only: "+a.words())
		return
	case a.ofRegistry() && a.status != 202:
		e.skip(name, fmt.Sprintf("the registry does not let %s push to %s: %s", orNobody(e.o.User), Repository, a))
		return
	case a.status != 202:
		e.found(name, methodBlocked, fmt.Sprintf("POST is answered %s, and not by the registry", a))
		return
	}
	if e.report.Registry == "" && strings.Contains(a.header.Get("Location"), "_state=") {
		e.report.Registry = "distribution (registry:2 or :3)"
	}
	to := e.location(a)
	if to == nil {
		return
	}
	e.uploads = append(e.uploads, to)
	limit := e.bodyLimit(ctx, to)
	if e.chunked(ctx, limit) {
		e.streams(ctx, limit)
	}
	e.cancel(ctx)
}

func orNobody(user string) string {
	if user == "" {
		return "the anonymous"
	}
	return printable(user, 60)
}

// location looks at where an upload is said to be, and returns where it is to be
// found from here.
func (e *exam) location(a answer) *url.URL {
	const name = "Location"
	text := a.header.Get("Location")
	base, err := url.Parse(e.at("/v2/"))
	var u *url.URL
	if err == nil {
		u, err = base.Parse(text)
	}
	if err != nil || text == "" {
		e.found(name, noLocation, fmt.Sprintf("POST is answered with the Location %q", printable(text, 120)))
		return nil
	}
	switch {
	case u.Scheme != e.base.Scheme:
		e.found(name, locationScheme, fmt.Sprintf("Location begins with %s://, and the registry is at %s://", printable(u.Scheme, 20), e.base.Scheme))
	case u.Host != e.base.Host:
		e.found(name, locationHost, fmt.Sprintf("Location names %s, and the registry is at %s", printable(u.Host, 80), e.base.Host))
	case !strings.HasPrefix(u.Path, e.base.Path+"/v2/"):
		e.found(name, locationPath, fmt.Sprintf("Location is %s, which is not below %s/v2/", printable(u.Path, 80), e.base.Path))
	default:
		e.fine(name, map[bool]string{true: "relative", false: "absolute, and right"}[strings.HasPrefix(text, "/")])
	}
	u.Scheme, u.Host = e.base.Scheme, e.base.Host
	if i := strings.Index(u.Path, "/v2/"); i >= 0 {
		u.Path = e.base.Path + u.Path[i:]
	}
	return u
}

// another begins one more upload, whose Location is known to be what it is.
func (e *exam) another(ctx context.Context) (*url.URL, error) {
	a, err := e.ask(ctx, question{method: http.MethodPost, path: "/v2/" + Repository + "/blobs/uploads/"})
	if err != nil {
		return nil, err
	}
	if a.status != 202 {
		return nil, fmt.Errorf("POST is answered %s", a)
	}
	u := e.next(e.base.JoinPath("v2/"), a)
	e.uploads = append(e.uploads, u)
	return u, nil
}

// next returns where an upload goes on, by what was said after the last piece.
func (e *exam) next(at *url.URL, a answer) *url.URL {
	u, err := at.Parse(a.header.Get("Location"))
	if err != nil || a.header.Get("Location") == "" {
		return at
	}
	u.Scheme, u.Host = e.base.Scheme, e.base.Host
	if i := strings.Index(u.Path, "/v2/"); i >= 0 {
		u.Path = e.base.Path + u.Path[i:]
	}
	return u
}

// chunked sends a piece without saying its length, as docker does, over
// HTTP/1.1. It reports whether it has arrived.
func (e *exam) chunked(ctx context.Context, limit int64) bool {
	const name = "chunked bodies"
	to, err := e.another(ctx)
	if err != nil {
		e.skip(name, err.Error())
		return false
	}
	size := min(e.o.Send, limit/2)
	a, err := e.ask(ctx, question{method: http.MethodPatch, to: to, client: e.plain, body: zeros(size), length: -1})
	got := received(a)
	switch {
	case err != nil:
		e.found(name, chunkedRefused, fmt.Sprintf("a body of unknown length breaks off: %v", cause(err)))
	case a.status == 411 || a.status == 501:
		e.found(name, chunkedRefused, fmt.Sprintf("a body of unknown length is answered %s", a))
	case a.status == 413:
		e.found(name, bodyLimited(a), fmt.Sprintf("a body of %s whose length is not told is answered %s", bytesOf(size), a))
	case a.status == 405 && !a.ofRegistry(), a.status == 403 && !a.ofRegistry():
		e.found(name, methodBlocked, fmt.Sprintf("PATCH is answered %s, and not by the registry", a))
	case a.gateway():
		e.found(name, gatewayError, fmt.Sprintf("a body of unknown length is answered %s", a))
	case a.status != 202:
		e.found(name, chunkedRefused, fmt.Sprintf("a body of unknown length is answered %s", a))
	case got != size:
		e.found(name, chunkedLost, fmt.Sprintf("of a body of unknown length, %d bytes were sent and %d have arrived", size, got))
	default:
		e.fine(name, bytesOf(size)+" arrived")
		*to = *e.next(to, a) // where it will be cancelled
		return true
	}
	return false
}

// received returns how many bytes an upload has by an answer. A registry without
// any says 0-0.
func received(a answer) int64 {
	_, last, ok := strings.Cut(a.header.Get("Range"), "-")
	n, err := strconv.ParseInt(last, 10, 64)
	if !ok || err != nil || n == 0 {
		return 0
	}
	return n + 1
}

// zeros is a body whose length a client can't know.
func zeros(n int64) io.Reader { return io.LimitReader(zeroReader{}, n) }

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// A trickle is a slow body: pieces of it, with pauses between them.
const (
	trickle      = 64 << 10
	trickles     = 16
	tricklePause = 250 * time.Millisecond
)

// streams sends a body slowly and asks meanwhile how much of it has arrived: if
// nothing has until it is complete, somebody keeps it back.
func (e *exam) streams(ctx context.Context, limit int64) {
	const name = "bodies are passed on as they come"
	if limit < trickle*trickles {
		e.skip(name, "the limit for bodies is too small for it")
		return
	}
	to, err := e.another(ctx)
	if err != nil {
		e.skip(name, err.Error())
		return
	}
	r, w := io.Pipe()
	done := make(chan answer, 1)
	go func() {
		a, err := e.ask(ctx, question{method: http.MethodPatch, to: to, body: r, length: -1})
		r.CloseWithError(io.ErrClosedPipe) // whoever still writes is to stop
		if err != nil {
			a.status = 0
		}
		done <- a
	}()
	seen := e.trickle(ctx, to, w)
	w.Close()
	a := <-done
	if a.status == 202 {
		*to = *e.next(to, a)
	}
	switch {
	case seen || a.status == 202 && e.answersEarly(ctx):
		e.fine(name, "")
	case ctx.Err() != nil:
	case a.status != 202:
		e.skip(name, "a slow body is answered "+a.String())
	case e.report.Registry != "Berth" && e.kind == "Apache":
		e.skip(name, "it does not show through Apache with this registry behind it")
	default:
		e.found(name, requestBuffered, "nothing of a body reaches the registry before all of it has been sent")
	}
}

// trickle writes the body, slowly until some of it has arrived.
func (e *exam) trickle(ctx context.Context, to *url.URL, w io.Writer) (seen bool) {
	piece := make([]byte, trickle)
	for i := range trickles {
		if _, err := w.Write(piece); err != nil {
			return seen
		}
		if seen || i == trickles-1 {
			continue
		}
		select {
		case <-time.After(tricklePause):
		case <-ctx.Done():
			return seen
		}
		a, err := e.ask(ctx, question{method: http.MethodGet, to: to})
		seen = err == nil && received(a) > 0
	}
	return seen
}

// answersEarly sends the beginning of a body to an upload that isn't there any
// more. A registry refuses it at once; if its answer comes only with the end of
// the body, somebody keeps the body back. It is for registries that don't tell
// how much of a body has arrived while more is coming.
func (e *exam) answersEarly(ctx context.Context) bool {
	to, err := e.another(ctx)
	if err != nil {
		return false
	}
	if _, err := e.ask(ctx, question{method: http.MethodDelete, to: to}); err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, e.o.Timeout/2)
	defer cancel()
	r, w := io.Pipe()
	// The client gives up only once its body does.
	stop := context.AfterFunc(ctx, func() { w.CloseWithError(io.ErrUnexpectedEOF) })
	defer stop()
	go func() {
		w.Write(make([]byte, trickle)) // the rest never comes
	}()
	a, err := e.ask(ctx, question{method: http.MethodPatch, to: to, body: r, length: trickle * trickles})
	return err == nil && a.ofRegistry()
}

// cancel ends the uploads.
func (e *exam) cancel(ctx context.Context) {
	const name = "DELETE"
	var left []*url.URL
	for _, u := range e.uploads {
		a, err := e.cancelOne(ctx, u)
		if err != nil || !a.ofRegistry() && a.status != 204 {
			e.found(name, methodBlocked, fmt.Sprintf("DELETE is answered %s, and not by the registry", a))
			return
		}
		if a.status != 204 && a.status != 404 {
			left = append(left, u)
		}
	}
	e.uploads = left
	if len(left) > 0 {
		e.skip(name, fmt.Sprintf("%d upload(s) of this examination stay until they expire", len(left)))
		return
	}
	e.fine(name, "the uploads of this examination are gone")
}

// cancelOne ends an upload, wherever it is by now: some registries write that
// into its address.
func (e *exam) cancelOne(ctx context.Context, u *url.URL) (answer, error) {
	a, err := e.ask(ctx, question{method: http.MethodGet, to: u})
	if err != nil {
		return a, err
	}
	return e.ask(ctx, question{method: http.MethodDelete, to: e.next(u, a)})
}
