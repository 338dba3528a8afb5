package distapi

import (
	"bufio"
	"cmp"
	"encoding/json"
	"io"
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
	fewAtFirst  = 32      // referrers that are fetched before their size is known
	indexAround = 256     // bytes of an index besides its entries
)

// link tells where the list goes on (RFC 8288). Its address is always relative, and
// escaped: what stands in it came from clients.
func (h *Handler) link(w http.ResponseWriter, rt route.Route, n int, next string) {
	rt.Page = route.Page{N: n, Last: next}
	w.Header().Set("Link", "<"+h.Prefix+rt.String()+`>; rel="next"`)
}

func beginList(w http.ResponseWriter, mediaType string) {
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Cache-Control", "no-cache")
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
	beginList(w, "application/json")
	out := bufio.NewWriter(w)
	out.WriteString(`{"repositories":[`)
	writeTexts(out, "", list.Items)
	out.WriteString("]}\n")
	out.Flush() // an error here is the client's loss
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
	beginList(w, "application/json")
	out := bufio.NewWriter(w)
	out.WriteString(`{"name":"` + c.route.Repo.String() + `","tags":[`)
	writeTexts(out, "", list.Items)
	for n == route.Whole && list.Next != "" {
		page.After = list.Next
		if list, err = c.svc.Tags(r.Context(), c.route.Repo, page); err != nil {
			return aborted(err)
		}
		writeTexts(out, ",", list.Items)
	}
	out.WriteString("]}\n")
	out.Flush() // an error here is the client's loss
	return nil
}

// A text is a name or a tag: nothing in it needs escaping in JSON.
type text interface{ String() string }

// writeTexts writes list as items of a JSON array, with before in front of the
// first one.
func writeTexts[T text](out *bufio.Writer, before string, list []T) {
	for _, t := range list {
		out.WriteString(before + `"` + t.String() + `"`)
		before = ","
	}
}

// referrers lists what refers to a manifest, as an image index.
func (h *Handler) referrers(w http.ResponseWriter, r *http.Request, c *call) error {
	n := c.route.Page.N
	if n == route.Whole || n > pageSize {
		n = pageSize
	}
	items, next, err := h.collectReferrers(r, c, n)
	if err != nil {
		return err
	}
	if next != "" {
		h.link(w, c.route, c.route.Page.N, next)
	}
	if c.route.ArtifactType != "" {
		w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	beginList(w, oci.MediaTypeIndex)
	out := bufio.NewWriter(w)
	out.WriteString(`{"schemaVersion":2,"mediaType":"` + oci.MediaTypeIndex + `","manifests":[`)
	for i, item := range items {
		if i > 0 {
			out.WriteByte(',')
		}
		out.Write(item)
	}
	io.WriteString(out, "]}\n")
	out.Flush() // an error here is the client's loss
	return nil
}

// collectReferrers returns at most n encoded descriptors which together fit into
// an index, and behind which digest the list goes on. Annotations may be large,
// so it fetches few at a time until it has seen how large.
func (h *Handler) collectReferrers(r *http.Request, c *call, n int) (items [][]byte, next string, err error) {
	next = c.route.Page.Last
	size := indexAround
	for len(items) < n {
		limit := fewAtFirst
		if size > indexAround {
			limit = max(1, (maxIndex-size)*len(items)/(size-indexAround))
		}
		list, err := c.svc.Referrers(r.Context(), c.route.Repo, c.route.Digest, c.route.ArtifactType,
			registry.Page{After: next, Limit: min(limit, n-len(items))})
		if err != nil {
			return nil, "", err
		}
		for _, d := range list.Items {
			item, err := json.Marshal(d)
			if err != nil {
				return nil, "", err
			}
			if size += len(item) + 1; size > maxIndex && len(items) > 0 {
				return items, next, nil
			}
			items = append(items, item)
			next = d.Digest.String()
		}
		if next = list.Next; next == "" {
			break
		}
	}
	if len(items) == 0 {
		next = ""
	}
	return items, next, nil
}
