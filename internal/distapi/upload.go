package distapi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"berth/internal/auth"
	"berth/internal/distapi/route"
	"berth/internal/meta"
	"berth/internal/oci"
	"berth/internal/registry"
)

// uploadStart begins an upload, unless the blob can be had without one: by
// mounting it, or from the body of this request.
func (h *Handler) uploadStart(w http.ResponseWriter, r *http.Request, c *call) error {
	rt := c.route
	if !rt.Mount.IsZero() {
		err := h.mount(r, c)
		if err == nil {
			h.created(w, c, blobRoute(rt.Repo, rt.Mount), rt.Mount)
			return nil
		}
		if code := oci.CodeOf(err); code != oci.BlobUnknown && code != oci.NameUnknown {
			return err
		} // else the client is to upload it
	}
	up, err := c.svc.StartUpload(r.Context(), rt.Repo, announced(rt))
	if err != nil {
		return err
	}
	if !rt.Digest.IsZero() && (r.ContentLength != 0 || isEmpty(rt.Digest)) {
		return h.uploadWhole(w, r, c, up)
	}
	h.uploadHere(w, c, up)
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// mount takes a blob from where the caller may read it. Everything else is as
// if it were not there, since clients give up on a refusal. But where only the
// token is too small, a client can get a larger one.
func (h *Handler) mount(r *http.Request, c *call) error {
	m := registry.Mount{From: c.route.From, To: c.route.Repo, Digest: c.route.Mount, Readable: h.readable(c.id.who)}
	source := auth.Access{Repo: m.From, Action: auth.Pull}
	switch {
	case m.From.IsZero(): // there is no scope to ask for
	case m.Readable != nil && !m.Readable(m.From):
		return &oci.Error{Code: oci.BlobUnknown}
	case c.id.claims != nil && !c.id.claims.Grants.Allows(source):
		return &challengeError{problem: "insufficient_scope", kind: c.route.Kind, needs: tokenNeeds(c.route)}
	}
	return c.svc.MountBlob(r.Context(), m)
}

// announced returns the algorithm that the digest of an upload will have.
func announced(rt route.Route) oci.Algorithm {
	switch {
	case rt.Algorithm != "":
		return rt.Algorithm
	case !rt.Digest.IsZero():
		return rt.Digest.Algorithm()
	case !rt.Mount.IsZero():
		return rt.Mount.Algorithm()
	}
	return oci.SHA256
}

// isEmpty reports whether d is the digest of no bytes at all. A POST without a
// body can upload nothing else, so for other digests it begins an upload.
func isEmpty(d oci.Digest) bool { return d == d.Algorithm().FromBytes(nil) }

// uploadWhole uploads a blob with one request. Nobody knows of the session, so
// it ends with the request.
func (h *Handler) uploadWhole(w http.ResponseWriter, r *http.Request, c *call, up registry.Upload) error {
	err := h.receive(w, r, func(body io.Reader) error { return up.Finish(r.Context(), registry.Anywhere, body, c.route.Digest) })
	if err != nil {
		return errors.Join(err, ignoreUnknown(up.Cancel(context.WithoutCancel(r.Context()))))
	}
	h.created(w, c, blobRoute(c.route.Repo, c.route.Digest), c.route.Digest)
	return nil
}

// ignoreUnknown drops the error that says that the session has ended already.
func ignoreUnknown(err error) error {
	if oci.CodeOf(err) == oci.BlobUploadUnknown {
		return nil
	}
	return err
}

// uploadAppend adds bytes to an upload.
func (h *Handler) uploadAppend(w http.ResponseWriter, r *http.Request, c *call) error {
	up, err := c.svc.ResumeUpload(r.Context(), c.route.Repo, c.route.Upload)
	if err != nil {
		return err
	}
	offset, err := contentRange(r, up)
	if err != nil {
		return err
	}
	if err := h.receive(w, r, func(body io.Reader) error { return up.Append(r.Context(), offset, body) }); err != nil {
		return err
	}
	h.uploadHere(w, c, up)
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// uploadFinish adds the last bytes, if there are any, and ends the upload.
func (h *Handler) uploadFinish(w http.ResponseWriter, r *http.Request, c *call) error {
	up, err := c.svc.ResumeUpload(r.Context(), c.route.Repo, c.route.Upload)
	if err != nil {
		return err
	}
	offset, err := contentRange(r, up)
	if err != nil {
		return err
	}
	if r.ContentLength != 0 {
		err = h.receive(w, r, func(body io.Reader) error { return up.Finish(r.Context(), offset, body, c.route.Digest) })
	} else {
		err = up.Commit(r.Context(), c.route.Digest)
	}
	if err != nil {
		return err
	}
	h.created(w, c, blobRoute(c.route.Repo, c.route.Digest), c.route.Digest)
	return nil
}

// uploadStatus says how far an upload has come.
func (h *Handler) uploadStatus(w http.ResponseWriter, r *http.Request, c *call) error {
	up, err := c.svc.ResumeUpload(r.Context(), c.route.Repo, c.route.Upload)
	if err != nil {
		return err
	}
	h.uploadHere(w, c, up)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// uploadCancel ends an upload.
func (h *Handler) uploadCancel(w http.ResponseWriter, r *http.Request, c *call) error {
	up, err := c.svc.ResumeUpload(r.Context(), c.route.Repo, c.route.Upload)
	if err != nil {
		return err
	}
	if err := up.Cancel(r.Context()); err != nil {
		return err
	}
	w.Header().Set("Docker-Upload-UUID", string(c.route.Upload))
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// uploadHere tells where up is and how far it has come.
func (h *Handler) uploadHere(w http.ResponseWriter, c *call, up registry.Upload) {
	header := w.Header()
	for _, kv := range h.uploadHeaders(c, up.ID(), up.Size()) {
		header[kv[0]] = c.value(kv[1])
	}
}

// uploadHeaders returns the headers about an upload of size bytes, by their
// canonical keys. Its Location holds the id and nothing that would have to be
// believed. For want of a way to say "none", no bytes are the range 0-0, as clients
// know it.
func (h *Handler) uploadHeaders(c *call, id meta.UploadID, size int64) [3][2]string {
	return [3][2]string{
		{"Location", h.location(c, route.Route{Kind: route.UploadStatus, Repo: c.route.Repo, Upload: id})},
		{"Range", "0-" + strconv.FormatInt(max(0, size-1), 10)},
		{"Docker-Upload-Uuid", string(id)},
	}
}

func blobRoute(repo oci.Repo, d oci.Digest) route.Route {
	return route.Route{Kind: route.BlobGet, Repo: repo, Digest: d}
}

// contentRange returns where the bytes of r go: Anywhere if it doesn't say.
// What it says must be possible and be what Content-Length says.
func contentRange(r *http.Request, up registry.Upload) (int64, error) {
	list := r.Header.Values("Content-Range")
	if len(list) == 0 {
		return registry.Anywhere, nil
	}
	first, last, ok := strings.Cut(list[0], "-")
	if !ok || len(list) > 1 || first == "" || last == "" || !digits(first) || !digits(last) {
		return 0, refuse(http.StatusBadRequest, oci.BlobUploadInvalid, "the Content-Range is not valid: write it as first-last, such as 0-1023")
	}
	from, to := number(first), number(last)
	if from != up.Size() || to < from || to == 1<<63-1 {
		return 0, &registry.RangeError{ID: up.ID(), Size: up.Size()}
	}
	if r.ContentLength >= 0 && r.ContentLength != to-from+1 {
		return 0, refuse(http.StatusBadRequest, oci.SizeInvalid, "the Content-Range and the Content-Length do not agree")
	}
	r.Body = &exactly{ReadCloser: r.Body, left: to - from + 1}
	return from, nil
}

// receive gives the body of r to an upload. What goes wrong with the body itself
// is the client's to hear of.
func (h *Handler) receive(w http.ResponseWriter, r *http.Request, to func(io.Reader) error) error {
	body := newBody(w, r)
	err := to(body)
	shown, _ := errors.AsType[*oci.Error](err)
	switch {
	case err == nil:
		return nil
	case shown != nil && shown.Code == oci.SizeInvalid:
		return &statusError{status: http.StatusRequestEntityTooLarge, shown: *shown}
	case shown == nil && body.failed():
		return refuse(http.StatusBadRequest, oci.BlobUploadInvalid, "the body broke off: ask the upload how far it came, and go on from there")
	case errors.Is(err, errLength):
		return refuse(http.StatusBadRequest, oci.SizeInvalid, "the body does not have the length that the Content-Range says")
	}
	return err
}
