package distapi

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"berth/internal/blob"
	"berth/internal/event"
	"berth/internal/oci"
	"berth/internal/registry"
)

// conditions answers requests that already have the content of tag, or that
// want another one (RFC 9110, section 13). done reports that w is answered.
func conditions(w http.ResponseWriter, r *http.Request, tag string) (done bool, err error) {
	if list := first(r.Header, "If-Match"); list != "" && !matches(list, tag) {
		return true, refuse(http.StatusPreconditionFailed, oci.Unsupported, "the content is another one than If-Match asks for")
	}
	if list := first(r.Header, "If-None-Match"); list == "" || !matches(list, tag) {
		return false, nil
	}
	w.Header().Del("Content-Type")
	w.Header().Del("Content-Disposition")
	w.WriteHeader(http.StatusNotModified)
	return true, nil
}

// matches reports whether a list of entity tags has tag. Ours hold no commas.
func matches(list, tag string) bool {
	for s := range strings.SplitSeq(list, ",") {
		s = strings.TrimSpace(s)
		if s = strings.TrimPrefix(s, "W/"); s == "*" || s == tag || s == tag[1:len(tag)-1] { // some clients forget the quotes
			return true
		}
	}
	return false
}

// A span is what a Range header asks for: the bytes from first to last.
type span struct {
	kind        spanKind
	first, last int64
}

type spanKind uint8

const (
	spanAll  spanKind = iota // everything, or something that may be answered with it
	spanOne                  // one range, of which there is something
	spanNone                 // one range that is not there
)

// readRange reads a Range header for content of size bytes. Several ranges are
// answered with everything: they are where others have been made to send more
// than there is. So is what it doesn't understand, as RFC 9110 wants it.
func readRange(header string, size int64) span {
	unit, set, ok := strings.Cut(header, "=")
	if !ok || !strings.EqualFold(strings.TrimSpace(unit), "bytes") || strings.Contains(set, ",") {
		return span{}
	}
	first, last, ok := strings.Cut(strings.TrimSpace(set), "-")
	if !ok || !digits(first) || !digits(last) || first == "" && last == "" {
		return span{}
	}
	from, to := number(first), number(last)
	switch {
	case first == "" && to == 0:
		return span{kind: spanNone}
	case size == 0:
		return span{}
	case first == "":
		return span{spanOne, max(0, size-to), size - 1}
	case last == "":
		to = size - 1
	}
	if from >= size || to < from {
		return span{kind: spanNone}
	}
	return span{spanOne, from, min(to, size-1)}
}

// digits reports whether s is nothing but digits, or empty.
func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// number returns the value of digits, and the largest one for more than fit.
func number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil && s != "" {
		return 1<<63 - 1
	}
	return n
}

// oneRange returns the request that http.ServeContent shall answer, with a Range header
// in a form that it reads as we do and no other; nil if all is to be sent. The error is
// what a range that is not there gets.
func oneRange(w http.ResponseWriter, r *http.Request, tag string, size int64) (*http.Request, error) {
	var ask span
	condition := first(r.Header, "If-Range") // of a date never holds: ours have none
	if r.Method == http.MethodGet && (condition == "" || condition == tag) {
		ask = readRange(first(r.Header, "Range"), size)
	}
	switch ask.kind {
	case spanOne:
		part := r.WithContext(r.Context())
		part.Header = http.Header{"Range": {"bytes=" + strconv.FormatInt(ask.first, 10) + "-" + strconv.FormatInt(ask.last, 10)}}
		return part, nil
	case spanNone:
		total := strconv.FormatInt(size, 10)
		w.Header().Set("Content-Range", "bytes */"+total)
		return nil, refuse(http.StatusRequestedRangeNotSatisfiable, oci.RangeInvalid, "the blob has "+total+" bytes, and none in that range")
	}
	return nil, nil
}

// blobGet serves GET and HEAD of a blob.
func (h *Handler) blobGet(w http.ResponseWriter, r *http.Request, c *call) error {
	b, size, err := c.findBlob(r)
	if err != nil {
		return err
	}
	if b != nil {
		defer b.Close()
	}
	header := w.Header()
	tag := c.describe(header, c.route.Digest, ofBytes)
	h.keep(header, c.route.Repo)
	header["Content-Disposition"] = attached // never a page of this host
	header["Accept-Ranges"] = rangesOfIt
	pulled := event.Event{Kind: event.Blob, Digest: c.route.Digest, Size: size}
	if done, err := conditions(w, r, tag); done {
		if err == nil {
			h.pulled(c, pulled) // registry:2 tells of these, too, but not of manifests
		}
		return err
	}
	part, err := oneRange(w, r, tag, size)
	if err != nil {
		return err
	}
	// The Reader itself, not what it is embedded in: only a file that is seen to
	// be one is sent by the kernel.
	switch {
	case part != nil:
		http.ServeContent(w, part, "", time.Time{}, b.Reader)
	case b == nil:
		header["Content-Length"] = c.value(strconv.FormatInt(size, 10))
		w.WriteHeader(http.StatusOK)
	default:
		err = c.sendWhole(w, b.Reader)
	}
	if err == nil {
		h.pulled(c, pulled)
	}
	return err
}

// findBlob opens the blob of a GET, and for a HEAD finds only its size.
func (c *call) findBlob(r *http.Request) (*registry.Blob, int64, error) {
	if r.Method == http.MethodHead {
		size, err := c.svc.BlobSize(r.Context(), c.route.Repo, c.route.Digest)
		return nil, size, err
	}
	b, err := c.svc.Blob(r.Context(), c.route.Repo, c.route.Digest)
	if err != nil {
		return nil, 0, err
	}
	return b, b.Size(), nil
}

// sendWhole answers with all of b. What is small goes out in one piece. The error
// is one of reading it, before anything was sent.
func (c *call) sendWhole(w http.ResponseWriter, b blob.Reader) error {
	w.Header()["Content-Length"] = c.value(strconv.FormatInt(b.Size(), 10))
	if small, ok := b.(blob.Small); ok {
		content, err := small.Bytes()
		if err != nil {
			return err
		}
		w.Write(content) // an error here is the client's loss
		return nil
	}
	// A limit saves asking for the end of the file.
	io.Copy(w, io.LimitReader(b, b.Size()))
	return nil
}

// blobDelete takes a blob out of a repository.
func (h *Handler) blobDelete(w http.ResponseWriter, r *http.Request, c *call) error {
	if err := c.svc.DeleteBlob(r.Context(), c.route.Repo, c.route.Digest); err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// manifestGet serves GET and HEAD of a manifest, whatever types the client
// accepts: one that cannot read it can at least say which it was.
func (h *Handler) manifestGet(w http.ResponseWriter, r *http.Request, c *call) error {
	m, err := c.svc.Manifest(r.Context(), c.route.Repo, c.route.Ref)
	if err != nil {
		return err
	}
	header := w.Header()
	tag := c.describe(header, m.Digest, c.value(m.MediaType))
	header["Cache-Control"] = askedAgain // a tag may point elsewhere any moment
	if c.route.Ref.Tag.IsZero() {
		h.keep(header, c.route.Repo)
	}
	h.used(r, c, m.Digest)
	if done, err := conditions(w, r, tag); done {
		return err
	}
	header["Content-Length"] = c.value(strconv.Itoa(len(m.Body)))
	if r.Method != http.MethodHead {
		w.Write(m.Body) // an error here is the client's loss
	}
	h.pulled(c, event.Event{Kind: event.Manifest, Digest: m.Digest, MediaType: m.MediaType, Size: int64(len(m.Body)), Tag: c.route.Ref.Tag})
	return nil
}

// manifestDelete deletes a tag or a manifest.
func (h *Handler) manifestDelete(w http.ResponseWriter, r *http.Request, c *call) error {
	ref, err := c.route.Ref, error(nil)
	if ref.Tag.IsZero() {
		err = c.svc.DeleteManifest(r.Context(), c.route.Repo, ref.Digest)
	} else {
		err = c.svc.DeleteTag(r.Context(), c.route.Repo, ref.Tag)
	}
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}
