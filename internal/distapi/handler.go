// Package distapi serves the distribution API, /v2/, over a registry.Service.
//
// It turns requests into calls and results into answers: status codes, headers,
// ranges, pages, challenges. It must not know how anything is stored, nor
// decide who may do what: it finds out who is asking, and the Service that it
// opens for them decides.
package distapi

import (
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"

	"berth/internal/auth"
	"berth/internal/auth/token"
	"berth/internal/distapi/route"
	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
	"berth/internal/registry"
)

// MaxManifest is the size in bytes up to which manifests are accepted if a
// Handler says nothing else: what the specification tells clients to expect.
const MaxManifest = 4 << 20

// A Handler serves the distribution API. Its fields must not be changed while
// it serves; those without a remark must be set.
type Handler struct {
	// Auth checks users and passwords. nil means that nobody can log in, and that
	// whoever tries is not told.
	Auth auth.Authenticator

	// ProxyHeader is the header in which a trusted proxy names the user that it
	// has logged in, or Authorization for the user of Basic credentials, whose
	// password is not looked at then. Empty means that no proxy logs in.
	ProxyHeader string

	// Open returns the registry as a principal may use it, who acts by the request
	// that the actor tells of. What it refuses is an *auth.DeniedError.
	Open func(auth.Principal, event.Actor) registry.Service

	// Policy says who may enter, and what tokens are made for. Requests are held
	// against it early, too, but it is not what protects the content: Open is.
	Policy auth.Policy

	// Tokens, if it is set, makes the challenge Bearer instead of Basic. Docker
	// then goes on without credentials where it has none, and sends them where it
	// has some, which is what a registry with anonymous pulls needs.
	Tokens *token.Issuer

	// TokenServer, if it is set, is where clients get their tokens instead, and
	// Tokens is not asked.
	TokenServer *TokenServer

	// Known reports whether the user of a token is still a user. nil means that
	// tokens are believed until they expire.
	Known func(auth.Principal) bool

	Realm       string // what Basic challenges call the registry
	MaxManifest int64  // bytes; 0 means the constant

	// ExternalURL is where clients find the registry, Prefix included and without
	// a slash at its end. Where it is empty and a whole URL is needed, it is made
	// of what the request says.
	ExternalURL string

	// Prefix is what clients write between the host and /v2/, as the requests
	// that come here don't; it begins with a slash and ends without one.
	Prefix string

	// Locations is the form of the addresses in answers.
	Locations Form

	// Peer returns where a request came from and where its client thinks it went.
	// nil means that of the connection and the Host header.
	Peer func(*http.Request) Peer

	// CrossSite reports whether pages of the site that sent a request, which is
	// another one, may use the registry. nil means that none may.
	CrossSite func(*http.Request) bool

	// CatalogMax and TagsMax are the largest pages. 0 means 1,000 repositories,
	// and all tags.
	CatalogMax, TagsMax int

	// Begin, if it is set, is told what the request that a writer answers asks for,
	// as soon as that is understood.
	Begin func(http.ResponseWriter, route.Kind)

	// Pulled, if it is set, is told of every blob and every manifest that was sent,
	// of those of which only the header was asked for, and of blobs that the client
	// has already.
	Pulled func(event.Event)

	// Used, if it is set, is told what became of a manifest: it was sent, or
	// somebody asked by its digest whether it is there, as clients do that leave
	// out of a push what they need not send. It must not wait.
	Used func(oci.Repo, oci.Digest, meta.Use)

	// Observe, if it is set, is told of every request before its answer ends.
	Observe func(http.ResponseWriter, Outcome)

	Log *slog.Logger

	buffers sync.Pool // of *[]byte with room for listBuffer: those of lists
	large   budget    // of manifests that are being pushed
	last    atomic.Pointer[base]
}

// A TokenServer is another server that makes tokens for this registry.
type TokenServer struct {
	Realm    string // its address, as it stands in challenges
	Service  string // what it calls this registry
	Verifier TokenVerifier
}

// A TokenVerifier reads tokens. The error is auth.ErrInvalid, or auth.ErrExpired
// together with what the token said, which is then good for nothing but going on
// with an upload. It may be called concurrently.
type TokenVerifier interface {
	Verify(text string) (auth.Claims, error)
}

var _ TokenVerifier = (*token.Issuer)(nil)

// A Form is how an address is written in an answer.
type Form uint8

// The forms. A relative address needs no knowledge of the proxies in between, so
// nobody can forge it.
const (
	Relative Form = iota
	Absolute
)

// A Peer is the client of a request, as far as it can be believed.
type Peer struct {
	Addr   netip.Addr // that of the connection, unless Trusted
	Scheme string     // http or https
	Host   string     // as in the address that the client was given

	Trusted bool // a proxy that is believed sent the request on
}

// An Outcome is what became of a request.
type Outcome struct {
	Route     route.Route    // its Kind is None for what is no request to the API
	Principal auth.Principal // who asked, once that is known
	Code      oci.Code       // of the error, if it was one
}

// A call is a request that has been understood, from someone who is known.
type call struct {
	peer  Peer
	route route.Route
	id    identity
	by    event.Actor
	svc   registry.Service

	values [4]string // of headers of the answer; see value
	used   int
}

// A handler answers one Kind of request. It returns an error instead of an
// answer; once it has begun with one, only what errAborted wraps.
type handler func(h *Handler, w http.ResponseWriter, r *http.Request, c *call) error

// handlers is indexed by Kind.
var handlers = [...]handler{
	route.Ping:           (*Handler).ping,
	route.TokenGet:       (*Handler).tokenGet,
	route.TokenPost:      (*Handler).tokenPost,
	route.Catalog:        (*Handler).catalog,
	route.Tags:           (*Handler).tags,
	route.Referrers:      (*Handler).referrers,
	route.ManifestGet:    (*Handler).manifestGet,
	route.ManifestPut:    (*Handler).manifestPut,
	route.ManifestDelete: (*Handler).manifestDelete,
	route.BlobGet:        (*Handler).blobGet,
	route.BlobDelete:     (*Handler).blobDelete,
	route.UploadStart:    (*Handler).uploadStart,
	route.UploadStatus:   (*Handler).uploadStatus,
	route.UploadAppend:   (*Handler).uploadAppend,
	route.UploadFinish:   (*Handler).uploadFinish,
	route.UploadCancel:   (*Handler).uploadCancel,
}

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.answer(w, r, func(c *call) error { return h.serve(w, r, c) })
}

// answer has serve answer a request, and answers in its place if it returns an
// error.
func (h *Handler) answer(w http.ResponseWriter, r *http.Request, serve func(*call) error) {
	common(w.Header())
	c := &call{peer: h.peer(r)}
	err := serve(c)
	var p problem
	if err != nil {
		p = h.explain(r, c, err)
	}
	if h.Observe != nil {
		h.Observe(w, Outcome{Route: c.route, Principal: c.id.who, Code: p.code()})
	}
	if err != nil {
		h.writeError(w, r, c, p, err)
	}
}

// serve is the one way that every request takes: understood first, then
// someone's, then allowed, then done.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, c *call) error {
	if first(r.Header, "Sec-Fetch-Site") == "cross-site" && (h.CrossSite == nil || !h.CrossSite(r)) {
		return refuse(http.StatusForbidden, oci.Denied, "pages of other sites may not use the registry")
	}
	var err error
	if c.route, err = route.Parse(r.Method, r.URL); err != nil {
		return err
	}
	if h.Begin != nil {
		h.Begin(w, c.route.Kind)
	}
	if err := refuseEncoding(r); err != nil {
		return err
	}
	if err := h.admitAddress(c); err != nil {
		return err
	}
	if isToken(c.route.Kind) { // which has its own ways to log in
		return handlers[c.route.Kind](h, w, r, c)
	}
	if c.id, err = h.identify(r, c); err != nil {
		return err
	}
	if err := h.admit(c); err != nil {
		return err
	}
	c.by = h.actor(w, r, c)
	c.svc = h.Open(c.id.who, c.by)
	return handlers[c.route.Kind](h, w, r, c)
}

// refuseEncoding refuses content that is not sent as it is.
func refuseEncoding(r *http.Request) error {
	if e := first(r.Header, "Content-Encoding"); e != "" && e != "identity" {
		return refuse(http.StatusUnsupportedMediaType, oci.Unsupported, "Content-Encoding is not supported: send the content as it is")
	}
	return nil
}

// ping answers GET /v2/, by which clients find out whether to log in.
func (h *Handler) ping(w http.ResponseWriter, r *http.Request, c *call) error {
	d := h.Policy.Enters(c.id.who)
	if !d.Allowed() && (c.id.claims == nil || d.Verdict != auth.NeedsLogIn) {
		return &auth.DeniedError{Principal: c.id.who, Verdict: d.Verdict}
	}
	header := w.Header()
	header["Content-Type"] = ofJSON
	header["Content-Length"] = twoBytes
	w.Write(emptyObject) // an error here is the client's loss
	return nil
}

// peer returns who sent r.
func (h *Handler) peer(r *http.Request) Peer {
	if h.Peer != nil {
		return h.Peer(r)
	}
	p := Peer{Scheme: "http", Host: r.Host}
	if r.TLS != nil {
		p.Scheme = "https"
	}
	if ap, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		p.Addr = ap.Addr().Unmap()
	}
	return p
}

// location returns the address of rt as clients are told it.
func (h *Handler) location(c *call, rt route.Route) string {
	if h.Locations == Absolute {
		if base, ok := h.base(c); ok {
			return base + rt.String()
		}
	}
	return h.Prefix + rt.String()
}

// base returns the whole URL below which clients find the API. There is none
// where none is configured and the request says nothing that could be part of
// one.
func (h *Handler) base(c *call) (string, bool) {
	if h.ExternalURL != "" {
		return h.ExternalURL, true
	}
	p := c.peer
	if last := h.last.Load(); last != nil && last.host == p.Host && last.scheme == p.Scheme {
		return last.url, last.valid
	}
	b := &base{scheme: p.Scheme, host: p.Host, url: p.Scheme + "://" + p.Host + h.Prefix, valid: validHost(p.Host)}
	h.last.Store(b)
	return b.url, b.valid
}

// A base is what a request is told of where it came in.
type base struct {
	scheme, host, url string
	valid             bool
}
