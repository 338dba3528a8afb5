package distapi

import (
	"bytes"
	"cmp"
	"io"
	"net/http"
	"strconv"
	"strings"

	"berth/internal/distapi/route"
	"berth/internal/oci"
	"berth/internal/registry"
)

// maxWarning is how many bytes of warnings an answer may have (distribution
// spec, "Warnings"), less what stands around the text.
const maxWarning = 4096 - 64

// manifestPut stores a manifest.
func (h *Handler) manifestPut(w http.ResponseWriter, r *http.Request, c *call) error {
	text, done, err := h.readManifest(r)
	if err != nil {
		return err
	}
	defer done()
	m, err := oci.ParseManifest(r.Header.Get("Content-Type"), text)
	if err != nil {
		return err
	}
	tags := c.route.Tags()
	p := registry.Put{Repo: c.route.Repo, Digest: c.route.Ref.Digest, Tags: tags, Manifest: m}
	if tag := c.route.Ref.Tag; !tag.IsZero() {
		p.Tags = append([]oci.Tag{tag}, tags...)
	}
	res, err := c.svc.PutManifest(r.Context(), p)
	if err != nil {
		return err
	}
	header := w.Header()
	for _, t := range tags {
		header.Add("OCI-Tag", t.String())
	}
	if m.Subject != nil {
		header.Set("OCI-Subject", m.Subject.Digest.String())
	}
	if len(res.Dangling) > 0 {
		header.Set("Warning", "299 - "+quoted(dangling(res.Dangling)))
	}
	h.created(w, c, route.Route{Kind: route.ManifestGet, Repo: p.Repo, Ref: oci.Ref{Digest: res.Digest}}, res.Digest)
	return nil
}

// created answers 201 for what is at rt now.
func (h *Handler) created(w http.ResponseWriter, c *call, rt route.Route, d oci.Digest) {
	header := w.Header()
	header["Location"] = c.value(h.location(c, rt))
	header["Docker-Content-Digest"] = c.value(d.String())
	w.WriteHeader(http.StatusCreated)
}

// readManifest reads a body that must not be too long. What it takes of memory is
// given back by done. A long one waits for that before it is read on, so that a
// header that promises much takes nothing from others.
func (h *Handler) readManifest(r *http.Request) (text []byte, done func(), err error) {
	limit := h.MaxManifest
	if limit == 0 {
		limit = MaxManifest
	}
	if r.ContentLength > limit {
		return nil, nil, tooLarge(r, limit)
	}
	done = func() {}
	text, err = readBegin(r)
	if err == nil && len(text) == smallManifest && r.ContentLength != smallManifest {
		if done, err = h.large.take(r.Context(), cmp.Or(max(r.ContentLength, 0), limit)); err != nil {
			return nil, nil, err
		}
		rest := io.LimitReader(r.Body, limit+1-smallManifest) // one more, to see whether there is one
		text, err = io.ReadAll(io.MultiReader(bytes.NewReader(text), rest))
	}
	switch {
	case err != nil:
		err = refuse(http.StatusBadRequest, oci.ManifestInvalid, "the manifest did not arrive whole: send it again")
	case int64(len(text)) > limit:
		err = tooLarge(r, limit)
	default:
		return text, done, nil
	}
	done()
	return nil, nil, err
}

// readBegin reads the first smallManifest bytes of a body, or all of it.
func readBegin(r *http.Request) ([]byte, error) {
	if r.ContentLength < 0 {
		return io.ReadAll(io.LimitReader(r.Body, smallManifest))
	}
	text := make([]byte, min(r.ContentLength, smallManifest))
	_, err := io.ReadFull(r.Body, text)
	return text, err
}

// tooLarge refuses a manifest.
func tooLarge(r *http.Request, limit int64) error {
	finishSending(r, limit)
	return refuse(http.StatusRequestEntityTooLarge, oci.SizeInvalid,
		"the manifest is larger than "+strconv.FormatInt(limit, 10)+" bytes: put large content into blobs")
}

// finishSending drops at most limit bytes of a body that is refused. A client
// that is still sending when the connection closes may never see the answer.
// One that waits to be told to send is not.
func finishSending(r *http.Request, limit int64) {
	if r.Header.Get("Expect") == "" {
		io.CopyN(io.Discard, r.Body, limit) // whatever goes wrong, the answer is the same
	}
}

// dangling warns of parts that the repository does not have.
func dangling(parts []oci.Digest) string {
	var b strings.Builder
	b.WriteString("the manifest was stored, but this repository lacks parts that it names:")
	for i, d := range parts {
		if b.Len()+len(d.String()) > maxWarning-32 {
			b.WriteString(" and " + strconv.Itoa(len(parts)-i) + " more")
			break
		}
		b.WriteString(" " + d.String())
	}
	return b.String()
}
