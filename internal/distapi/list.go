package distapi

import (
	"cmp"
	"net/http"

	"berth/internal/distapi/route"
	"berth/internal/oci"
	"berth/internal/registry"
)

// Limits of lists.
const (
	pageSize    = 1000    // entries that are fetched, or answered, at a time
	maxTagPage  = 10_000  // tags of an answer if a number was asked for
	maxIndex    = 4 << 20 // bytes of a page of referrers: what clients read of a manifest
	indexAround = 256     // bytes of an index besides its entries
)

// link tells where the list goes on (RFC 8288). Its address is always relative, and
// escaped: what stands in it came from clients.
func (h *Handler) link(w http.ResponseWriter, rt route.Route, n int, next string) {
	rt.Page = route.Page{N: n, Last: next}
	w.Header().Set("Link", "<"+h.Prefix+rt.String()+`>; rel="next"`)
}

// catalog lists repositories.
func (h *Handler) catalog(w http.ResponseWriter, r *http.Request, c *call) error {
	n := c.route.Page.N
	if most := cmp.Or(h.CatalogMax, pageSize); n == route.Whole || n > most {
		n = most
	}
	var list registry.List[oci.Repo]
	if n > 0 {
		var err error
		if list, err = c.svc.Repos(r.Context(), registry.Page{After: c.route.Page.Last, Limit: n}, h.readable(c.id.who.Lister())); err != nil {
			return err
		}
	}
	if list.Next != "" {
		h.link(w, c.route, n, list.Next)
	}
	out := h.list(w, "application/json")
	defer out.end()
	out.text(`{"repositories":[`)
	writeNames(out, "", list.Items)
	out.text("]}\n")
	out.finish()
	return nil
}

// tags lists the tags of a repository: as many as were asked for, or all of
// them, without ever having all in memory.
func (h *Handler) tags(w http.ResponseWriter, r *http.Request, c *call) error {
	n := min(c.route.Page.N, cmp.Or(h.TagsMax, maxTagPage))
	if n == route.Whole && h.TagsMax > 0 {
		n = h.TagsMax
	}
	page := registry.Page{After: c.route.Page.Last, Limit: n}
	if n <= 0 {
		page.Limit = pageSize
	}
	list, err := c.svc.Tags(r.Context(), c.route.Repo, page)
	if err != nil {
		return err
	}
	if n == 0 { // but the repository must exist
		list = registry.List[oci.Tag]{}
	}
	if n > 0 && list.Next != "" {
		h.link(w, c.route, n, list.Next)
	}
	out := h.list(w, "application/json")
	defer out.end()
	out.text(`{"name":"`)
	out.text(c.route.Repo.String())
	out.text(`","tags":[`)
	writeNames(out, "", list.Items)
	for n == route.Whole && list.Next != "" {
		page.After = list.Next
		if list, err = c.svc.Tags(r.Context(), c.route.Repo, page); err != nil {
			return out.failed(err)
		}
		writeNames(out, ",", list.Items)
	}
	out.text("]}\n")
	out.finish()
	return nil
}

// A name is that of a repository or a tag: nothing in it needs escaping in JSON.
type name interface{ String() string }

// writeNames writes list as items of a JSON array, with before in front of the
// first one.
func writeNames[T name](out *listing, before string, list []T) {
	for _, t := range list {
		out.name(before, t.String())
		before = ","
	}
}

// referrers lists what refers to a manifest, as an image index.
func (h *Handler) referrers(w http.ResponseWriter, r *http.Request, c *call) error {
	n := c.route.Page.N
	if n == route.Whole || n > pageSize {
		n = pageSize
	}
	var list registry.List[oci.Entry]
	if n > 0 {
		var err error
		page := registry.Page{After: c.route.Page.Last, Limit: n, Bytes: maxIndex - indexAround}
		if list, err = c.svc.Referrers(r.Context(), c.route.Repo, c.route.Digest, c.route.ArtifactType, page); err != nil {
			return err
		}
	}
	if list.Next != "" {
		h.link(w, c.route, c.route.Page.N, list.Next)
	}
	if c.route.ArtifactType != "" {
		w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	out := h.list(w, oci.MediaTypeIndex)
	defer out.end()
	writeIndex(out, list.Items)
	return nil
}

// writeIndex writes a whole image index of list.
func writeIndex(out *listing, list []oci.Entry) {
	const begin, end = `{"schemaVersion":2,"mediaType":"` + oci.MediaTypeIndex + `","manifests":[`, "]}\n"
	out.length = len(begin) + max(len(list)-1, 0) + len(end)
	for _, e := range list {
		out.length += len(e.JSON)
	}
	out.text(begin)
	for i, e := range list {
		if i > 0 {
			out.text(",")
		}
		out.text(e.JSON)
	}
	out.text(end)
	out.finish()
}
