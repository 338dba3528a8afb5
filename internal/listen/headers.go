package listen

import (
	"io"
	"net/http"
	"net/textproto"
	"slices"
)

// allowOrigin is the header that lets pages of other sites read answers.
const allowOrigin = "Access-Control-Allow-Origin"

// Headers are what the operator wants every answer to carry. Where the handler
// sets the same header, theirs replaces it.
type Headers struct {
	set     http.Header
	origins []string
}

// NewHeaders returns the Headers of set, whose keys may be in any case.
//
// Of several values of Access-Control-Allow-Origin, of which browsers accept
// one, an answer carries the one that is the request's own origin.
func NewHeaders(set map[string][]string) Headers {
	h := Headers{set: http.Header{}}
	for key, values := range set {
		key = textproto.CanonicalMIMEHeaderKey(key)
		h.set[key] = append(h.set[key], values...)
	}
	if h.origins = h.set[allowOrigin]; len(h.origins) > 1 {
		delete(h.set, allowOrigin)
	}
	return h
}

// CrossSite reports whether the operator lets the page that sent r, which is of
// another site, read answers.
func (h Headers) CrossSite(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	return slices.Contains(h.origins, "*") || origin != "" && slices.Contains(h.origins, origin)
}

// Wrap returns a handler that does what next does, and adds the headers to its
// answers. It answers the question that a browser asks before it sends what a
// page of another site wants sent (a CORS preflight) in next's place, since it
// comes without credentials.
func (h Headers) Wrap(next http.Handler) http.Handler {
	if len(h.set) == 0 && len(h.origins) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hw := &headerWriter{ResponseWriter: w, headers: h, origin: r.Header.Get("Origin")}
		if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" && h.CrossSite(r) {
			hw.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(hw, r)
		hw.apply() // where next has said nothing
	})
}

// A headerWriter adds headers in the moment in which an answer begins. It passes
// ReadFrom on, so that a file still goes from the disk to the network inside the
// kernel.
type headerWriter struct {
	http.ResponseWriter
	headers Headers
	origin  string
	begun   bool
}

func (w *headerWriter) apply() {
	if w.begun {
		return
	}
	w.begun = true
	header := w.Header()
	for key, values := range w.headers.set {
		header[key] = values
	}
	if len(w.headers.origins) > 1 {
		header.Add("Vary", "Origin")
		if slices.Contains(w.headers.origins, w.origin) {
			header.Set(allowOrigin, w.origin)
		}
	}
}

// WriteHeader adds the headers, unless the status is an informational one.
func (w *headerWriter) WriteHeader(status int) {
	if status >= 200 {
		w.apply()
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write writes p.
func (w *headerWriter) Write(p []byte) (int, error) {
	w.apply()
	return w.ResponseWriter.Write(p)
}

// ReadFrom sends what src holds.
func (w *headerWriter) ReadFrom(src io.Reader) (int64, error) {
	w.apply()
	if rf, ok := w.ResponseWriter.(io.ReaderFrom); ok {
		return rf.ReadFrom(src)
	}
	return io.Copy(struct{ io.Writer }{w.ResponseWriter}, src)
}

// Flush sends what is buffered.
func (w *headerWriter) Flush() { _ = w.FlushError() }

// FlushError sends what is buffered; http.ResponseController calls it.
func (w *headerWriter) FlushError() error {
	w.apply()
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Unwrap is for http.ResponseController.
func (w *headerWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
