package ops

import (
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// RecordOptions are what Record needs.
type RecordOptions struct {
	// Log gets one line per request, at info. Those with a route of Quiet are
	// logged at debug. Nil means no access log. If its handler has a method Later,
	// lines go to the handler that this returns: they may be kept back for a moment.
	Log   *slog.Logger
	Quiet []string

	// Metrics count the requests; nil means they aren't counted.
	Metrics *Metrics

	// Client returns the address of the client, behind which proxies ever, and
	// nothing if it has none. Nil means the other end of the connection.
	Client func(*http.Request) string
}

// The longest that parts of a request are written to the log, in bytes.
const (
	maxMethod = 32
	maxPath   = 1 << 10
	maxQuery  = 1 << 10
	maxUser   = 256
	maxAgent  = 256
)

// requestID is the header by which a request is found in the logs of all who
// handled it.
const requestID = "X-Request-Id"

// Record returns a handler that notes what next does in the access log and in
// the metrics. It gives every answer an X-Request-Id: that of the request, if it
// is well-formed, or a new one.
//
// A client that left before it had its answer is noted with status 499.
func Record(o RecordOptions, next http.Handler) http.Handler {
	quiet := map[string]bool{}
	for _, route := range o.Quiet {
		quiet[route] = true
	}
	log := o.newAccessLog()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &recording{exchange: exchange{start: time.Now(), metrics: o.Metrics}, id: [1]string{idOf(r)}}
		e := &rec.exchange
		rec.writer = responseWriter{ResponseWriter: w, e: e}
		w.Header()[requestID] = rec.id[:]
		if r.Body != nil && r.Body != http.NoBody {
			rec.body = bodyReader{ReadCloser: r.Body, e: e}
			r = r.WithContext(r.Context()) // net/http goes by the body in the original
			r.Body = &rec.body
		}
		o.Metrics.begin()
		panicked := true
		defer func() {
			status := e.outcome(r.Context())
			if panicked && e.status == 0 {
				status = http.StatusInternalServerError
			}
			now := time.Now()
			took := now.Sub(e.start)
			o.Metrics.end(e, r.Method, status, took)
			if log != nil {
				log.add(r, line{e, rec.id[0], status, now, took, quiet[e.route]})
			}
		}()
		next.ServeHTTP(&rec.writer, r)
		panicked = false
	})
}

// A recording is what Record needs for one request, in one piece.
type recording struct {
	exchange exchange
	writer   responseWriter
	body     bodyReader
	id       [1]string // as a header has it
}

// client names the client; empty if it has no address, as on a unix socket.
func (o RecordOptions) client(r *http.Request) string {
	if o.Client != nil {
		return o.Client(r)
	}
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	return ap.Addr().Unmap().String()
}

// idOf returns the id that the sender gave r, or a new one. An id that isn't
// plain is not taken over: it goes into headers and logs.
func idOf(r *http.Request) string {
	list := r.Header[requestID]
	if len(list) == 0 || list[0] == "" || len(list[0]) > 64 {
		return newID()
	}
	id := list[0]
	for i := range len(id) {
		c := id[i]
		plain := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-' || c == '_' || c == '.'
		if !plain {
			return newID()
		}
	}
	return id
}

// newID returns an id that no other request has. It is no secret, but nobody can
// foresee it, so nobody can send it first.
func newID() string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	var id [26]byte
	for half := range 2 {
		bits := rand.Uint64()
		for i := range len(id) / 2 {
			id[half*len(id)/2+i] = letters[bits%32]
			bits /= 32
		}
	}
	return string(id[:])
}

// isLogged reports whether the values of a query key may be logged: those of
// which it is known that they hold no secret.
func isLogged(key string) bool {
	switch key {
	case "digest", "n", "last", "mount", "from", "tag", "artifactType", "digest-algorithm", "ns", "scope", "service":
		return true
	default:
		return false
	}
}

// safeQuery returns what may be logged of a query, as it was written, in its
// order.
func safeQuery(raw string) string {
	var b strings.Builder
	for raw != "" && b.Len() < maxQuery {
		var pair string
		pair, raw, _ = strings.Cut(raw, "&")
		key, value, _ := strings.Cut(pair, "=")
		if !isLogged(key) {
			continue
		}
		// Written anew, so that nothing is in the log that isn't escaped.
		plain, err := url.QueryUnescape(value)
		if err != nil {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('&')
		}
		b.WriteString(key + "=" + url.QueryEscape(cut(plain, maxQuery)))
	}
	return cut(b.String(), maxQuery)
}

// plain replaces what no terminal should be sent, which JSON leaves as it is
// from U+0080 on: control characters there, line ends of Unicode.
func plain(s string) string {
	if isPrintable(s) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// isPrintable reports whether s is nothing but printable ASCII, as nearly all is.
func isPrintable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// cut shortens s to at most n bytes, not within a character, and shows that it
// did.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	n -= len("…")
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
