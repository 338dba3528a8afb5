package distapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"

	"berth/internal/auth"
	"berth/internal/blob"
	"berth/internal/distapi/route"
	"berth/internal/meta"
	"berth/internal/oci"
	"berth/internal/registry"
)

// statuses says with which status each code is answered, where the error itself
// does not say better.
var statuses = map[oci.Code]int{
	oci.BlobUnknown:         http.StatusNotFound,
	oci.BlobUploadInvalid:   http.StatusBadRequest,
	oci.BlobUploadUnknown:   http.StatusNotFound,
	oci.DigestInvalid:       http.StatusBadRequest,
	oci.ManifestBlobUnknown: http.StatusBadRequest,
	oci.ManifestInvalid:     http.StatusBadRequest,
	oci.ManifestUnknown:     http.StatusNotFound,
	oci.NameInvalid:         http.StatusBadRequest,
	oci.NameUnknown:         http.StatusNotFound,
	oci.SizeInvalid:         http.StatusBadRequest,
	oci.Unauthorized:        http.StatusUnauthorized,
	oci.Denied:              http.StatusForbidden,
	oci.Unsupported:         http.StatusMethodNotAllowed,
	oci.TooManyRequests:     http.StatusTooManyRequests,

	oci.Unknown:                 http.StatusInternalServerError,
	oci.Unavailable:             http.StatusServiceUnavailable,
	oci.RangeInvalid:            http.StatusRequestedRangeNotSatisfiable,
	oci.TagInvalid:              http.StatusBadRequest,
	oci.PaginationNumberInvalid: http.StatusBadRequest,
}

// statusClientGone is what logs call a request that its client gave up. Nobody
// is left to read it.
const statusClientGone = 499

// A statusError is an error that a client is meant to see, with a status of its
// own.
type statusError struct {
	status int
	shown  oci.Error
}

func (e *statusError) Error() string { return e.shown.Error() }
func (e *statusError) Unwrap() error { return &e.shown }

func refuse(status int, code oci.Code, message string) error {
	return &statusError{status: status, shown: oci.Error{Code: code, Message: message}}
}

// An unavailableError says that something that is needed does not work now.
type unavailableError struct{ err error }

func (e *unavailableError) Error() string { return e.err.Error() }
func (e *unavailableError) Unwrap() error { return e.err }

// An abortedError says that an answer broke off after it had begun.
type abortedError struct{ err error }

func (e *abortedError) Error() string { return e.err.Error() }
func (e *abortedError) Unwrap() error { return e.err }

// aborted wraps what went wrong behind the beginning of an answer.
func aborted(err error) error {
	if err == nil {
		return nil
	}
	return &abortedError{err}
}

// A problem is an error as it is answered.
type problem struct {
	status  int
	error   oci.Error
	headers [][2]string
	hidden  bool // the cause is for the operator's eyes
}

func (p problem) code() oci.Code { return p.error.Code }

// allow says which methods are left. For the address of another API, that API has
// said so.
func (p *problem) allow(c *call, methods string) {
	if c.route.Kind != route.None {
		p.header("Allow", methods)
	}
}

func (p *problem) header(key, value string) { p.headers = append(p.headers, [2]string{key, value}) }

// explain decides how err is answered. It is the only place that does.
func (h *Handler) explain(r *http.Request, c *call, err error) problem {
	if p, ok := h.explainLogin(c, err); ok {
		return p
	}
	if e, ok := errors.AsType[*route.RequestError](err); ok {
		p := problem{status: e.Status, error: oci.Error{Code: oci.Unsupported, Message: e.Message}}
		if e.Allow != "" {
			p.header("Allow", e.Allow)
		}
		return p
	}
	if e, ok := errors.AsType[*registry.RangeError](err); ok {
		p := problem{status: http.StatusRequestedRangeNotSatisfiable, error: oci.Error{Code: oci.RangeInvalid,
			Message: "the upload is at byte " + strconv.FormatInt(e.Size, 10) + ": go on from there"}}
		for _, kv := range h.uploadHeaders(c, e.ID, e.Size) {
			p.header(kv[0], kv[1])
		}
		return p
	}
	if e, ok := errors.AsType[*statusError](err); ok {
		return problem{status: e.status, error: e.shown}
	}
	if e, ok := errors.AsType[*oci.Error](err); ok && statuses[e.Code] != 0 {
		p := problem{status: statuses[e.Code], error: *e}
		if p.status == http.StatusMethodNotAllowed {
			p.allow(c, allowed(c.route))
		}
		return p
	}
	if r.Context().Err() != nil {
		return problem{status: statusClientGone, error: oci.Error{Code: oci.Unknown, Message: "the client has gone"}}
	}
	return explainTrouble(err)
}

// explainLogin explains errors that are about who is asking.
func (h *Handler) explainLogin(c *call, err error) (problem, bool) {
	if e, ok := errors.AsType[*auth.ThrottledError](err); ok {
		p := problem{status: http.StatusTooManyRequests, error: oci.Error{Code: oci.TooManyRequests,
			Message: "too many wrong log-ins: wait and try again"}}
		p.header("Retry-After", strconv.Itoa(max(1, e.RetryAfterSeconds)))
		return p, true
	}
	p := problem{status: http.StatusUnauthorized, error: oci.Error{Code: oci.Unauthorized,
		Message: "log-in is required: run docker login with the address of this registry"}}
	if e, ok := errors.AsType[*challengeError](err); ok {
		p.header("WWW-Authenticate", h.challenge(c, e))
		return p, true
	}
	if e, ok := errors.AsType[*auth.DeniedError](err); ok {
		switch e.Verdict {
		case auth.NeedsLogIn:
			p.header("WWW-Authenticate", h.challenge(c, &challengeError{kind: c.route.Kind, needs: c.tokenNeeds(e.Access)}))
		case auth.OutOfScope:
			p.header("WWW-Authenticate", h.challenge(c, &challengeError{problem: "insufficient_scope", kind: c.route.Kind, needs: c.tokenNeeds(e.Access)}))
		case auth.ReadOnly:
			p = problem{status: http.StatusMethodNotAllowed, error: oci.Error{Code: oci.Unsupported,
				Message: "the registry is read-only at present: pull from it, and push and delete later (read_only in its configuration)"}}
			p.allow(c, readable(c.route))
		default:
			p = problem{status: http.StatusForbidden, error: oci.Error{Code: oci.Denied, Message: deniedMessage(e)}}
		}
		return p, true
	}
	if e, ok := errors.AsType[*statusError](err); ok && e.status == http.StatusUnauthorized {
		p.error = e.shown
		p.header("WWW-Authenticate", h.challenge(c, &challengeError{kind: c.route.Kind, needs: tokenNeeds(c.route)}))
		return p, true
	}
	return problem{}, false
}

func deniedMessage(e *auth.DeniedError) string {
	who := "nobody may"
	if !e.Principal.Anonymous() {
		who = "user " + strconv.QuoteToASCII(e.Principal.Name) + " may not"
	}
	from := ""
	if e.Principal.Address.IsValid() { // which is not always the one that people think
		from = ", coming from " + e.Principal.Address.String()
	}
	switch e.Access.Action {
	case auth.Admin, auth.Inspect:
		return who + " administer this registry" + from + ": a rule of access with allow: [admin] lets somebody"
	case auth.Pull:
		return who + " pull from " + e.Access.Repo.String() + from
	case auth.Create, auth.Push:
		return who + " push to " + e.Access.Repo.String() + from
	case auth.Delete:
		return who + " delete from " + e.Access.Repo.String() + from
	}
	return who + " use this registry" + from
}

// explainTrouble explains errors that are no client's fault.
func explainTrouble(err error) problem {
	var unavailable *unavailableError
	switch {
	case errors.Is(err, blob.ErrNoSpace), errors.Is(err, meta.ErrNoSpace):
		return problem{status: http.StatusInsufficientStorage, hidden: true, error: oci.Error{Code: oci.Unknown, Message: noSpaceMessage(err)}}
	case errors.Is(err, blob.ErrBusy), errors.As(err, &unavailable):
		p := problem{status: http.StatusServiceUnavailable, hidden: true, error: oci.Error{Code: oci.Unavailable,
			Message: "the registry is busy: try again in a moment"}}
		p.header("Retry-After", "2")
		return p
	}
	return problem{status: http.StatusInternalServerError, hidden: true, error: oci.Error{Code: oci.Unknown,
		Message: "something went wrong in the registry: its log says what"}}
}

// noSpaceMessage says what a registry lacks that takes no more, and what its operator
// does about it.
func noSpaceMessage(err error) string {
	const cure = "pulls and deletes go on; `berth df` shows its operator what takes the space, `berth trash empty` and `berth gc` free what was deleted"
	if e, ok := errors.AsType[*blob.ReserveError](err); ok {
		return fmt.Sprintf("the registry has no space left: %.1f MiB are free, and below %.1f MiB (storage.reserve) it takes no pushes; %s",
			float64(e.Free)/(1<<20), float64(e.Reserve)/(1<<20), cure)
	}
	return "the registry has no space left: its operator must free some, or give it more; " + cure
}

// readable returns the methods that an address has while the registry is
// read-only.
func readable(rt route.Route) string {
	switch rt.Kind {
	case route.ManifestPut, route.ManifestDelete, route.BlobDelete:
		return "GET, HEAD"
	}
	return "" // uploads have none
}

// allowed returns the methods that are left of an address whose deletion is
// refused.
func allowed(rt route.Route) string {
	switch rt.Kind {
	case route.ManifestDelete:
		return "GET, HEAD, PUT"
	case route.BlobDelete:
		return "GET, HEAD"
	}
	return rt.Method()
}

// writeError answers with p, which explains err.
func (h *Handler) writeError(w http.ResponseWriter, r *http.Request, c *call, p problem, err error) {
	_, begun := errors.AsType[*abortedError](err)
	if p.hidden {
		h.Log.LogAttrs(r.Context(), slog.LevelError, "request went wrong", slog.String("kind", c.route.Kind.String()),
			slog.String("repository", c.route.Repo.String()), slog.Int("status", p.status), slog.Any("error", err))
	}
	if begun {
		panic(http.ErrAbortHandler) // so that the client sees that something is missing
	}
	header := w.Header()
	for _, key := range [...]string{"Content-Length", "Content-Disposition", "Etag", "Accept-Ranges", "Docker-Content-Digest", "Link"} {
		delete(header, key)
	}
	header["Cache-Control"] = notStored
	header["Content-Type"] = ofJSON
	for _, kv := range p.headers {
		header.Set(kv[0], kv[1])
	}
	if r.Method == http.MethodHead {
		w.WriteHeader(p.status)
		return
	}
	body := errorBody(p.error)
	header["Content-Length"] = c.value(strconv.Itoa(len(body)))
	w.WriteHeader(p.status)
	w.Write(body) // an error here is the client's loss
}

// errorBody returns e as the specification wants errors ("Error Codes").
func errorBody(e oci.Error) []byte {
	if e.Detail == nil && isPlain(string(e.Code)) && isPlain(e.Message) && e.Message != "" {
		return []byte(`{"errors":[{"code":"` + string(e.Code) + `","message":"` + e.Message + `"}]}`)
	}
	type item struct {
		Code    oci.Code `json:"code"`
		Message string   `json:"message,omitempty"`
		Detail  any      `json:"detail,omitempty"`
	}
	body, err := json.Marshal(map[string][]item{"errors": {{e.Code, e.Message, e.Detail}}})
	if err != nil { // a detail that is not JSON: better without than nothing
		e.Detail = nil
		return errorBody(e)
	}
	return body
}

// isPlain reports whether json.Marshal writes s as it is.
func isPlain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			return false
		}
	}
	return true
}

// Unavailable answers every request with 503 UNAVAILABLE and detail, as
// registry:2 does while a health check fails.
func Unavailable(detail string) http.Handler {
	body := errorBody(oci.Error{Code: oci.Unavailable, Message: "service unavailable", Detail: detail})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Docker-Distribution-Api-Version", "registry/2.0")
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Cache-Control", "no-store")
		header.Set("Retry-After", "5")
		header.Set("Content-Type", "application/json")
		header.Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(http.StatusServiceUnavailable)
		if r.Method != http.MethodHead {
			w.Write(body) // an error here is the client's loss
		}
	})
}
