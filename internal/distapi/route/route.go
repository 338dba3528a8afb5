// Package route holds the grammar of /v2/: which request is which, and the
// address of everything that can be asked for.
//
// It reads a method and a URL and knows nothing of headers, of bodies and of
// what the answer will be. Names, tags and digests leave it as types that
// cannot be wrong, so nothing behind it looks at the address again.
package route

import (
	"net/url"
	"strconv"
	"strings"

	"berth/internal/meta"
	"berth/internal/oci"
)

// A Route is a request that has been understood. It is comparable, and
// Parse(rt.Method(), rt.URL()) gives back rt for every rt that Parse returned.
type Route struct {
	Kind Kind
	Repo oci.Repo

	Ref    oci.Ref       // manifests
	Digest oci.Digest    // blobs, subject of referrers; what an upload shall be: zero if not said
	Upload meta.UploadID // uploads in progress

	Mount     oci.Digest    // UploadStart: the blob to take
	From      oci.Repo      // UploadStart with Mount: where from; zero is anywhere
	Algorithm oci.Algorithm // UploadStart: what the digest will be; empty if not said

	Page         Page   // lists
	ArtifactType string // Referrers: the filter; empty is none

	tags string // ManifestPut: separated by commas; see Tags
}

// A Page is the part of a list that is asked for.
type Page struct {
	N    int    // how many; Whole if not said
	Last string // behind which; any text
}

// Whole as the N of a Page means that no number was asked for.
const Whole = -1

// Limits of a request.
const (
	MaxTags         = 100     // tags in one push
	maxN            = 1 << 30 // what a larger n is taken for
	maxArtifactType = 255     // bytes
	maxUploadID     = 128     // bytes
)

// A RequestError says that a request is none that the API has.
type RequestError struct {
	Status  int    // of HTTP: 400, 404, 405 or 414
	Allow   string // with 405, the methods that the address has
	Message string // for people
}

func (e *RequestError) Error() string { return e.Message }

// Tags returns the tags that a manifest shall get besides the one it may be
// pushed by, each once, in the order they were given.
func (rt Route) Tags() []oci.Tag {
	if rt.tags == "" {
		return nil
	}
	var list []oci.Tag
	for s := range strings.SplitSeq(rt.tags, ",") {
		if t, err := oci.ParseTag(s); err == nil {
			list = append(list, t)
		}
	}
	return list
}

// Method returns the method of the request; for GET and HEAD it is GET.
func (rt Route) Method() string { return endpoints[rt.Kind.known()].Method }

// URL returns the address of rt: a path and a query.
func (rt Route) URL() *url.URL {
	return &url.URL{Path: rt.path(), RawQuery: rt.query().Encode()}
}

// String returns the address of rt as it stands in a Location header. Nothing that
// a path is made of needs escaping.
func (rt Route) String() string {
	if q := rt.query(); len(q) > 0 {
		return rt.path() + "?" + q.Encode()
	}
	return rt.path()
}

func (rt Route) path() string {
	base := rt.Repo.String()
	switch endpoints[rt.Kind.known()].shape {
	case tokenShape:
		return "/v2/token"
	case catalogShape:
		return "/v2/_catalog"
	case tagsShape:
		return "/v2/" + base + "/tags/list"
	case referrersShape:
		return "/v2/" + base + "/referrers/" + rt.Digest.String()
	case manifestShape:
		return "/v2/" + base + "/manifests/" + rt.Ref.String()
	case blobShape:
		return "/v2/" + base + "/blobs/" + rt.Digest.String()
	case uploadsShape:
		return "/v2/" + base + "/blobs/uploads/"
	case uploadShape:
		return "/v2/" + base + "/blobs/uploads/" + string(rt.Upload)
	}
	return "/v2/"
}

// query returns the query of rt; nil where its Kind has none.
func (rt Route) query() url.Values {
	switch rt.Kind {
	case Catalog, Tags, Referrers, ManifestPut, UploadStart, UploadFinish:
	default:
		return nil
	}
	q := url.Values{}
	set := func(key, value string) {
		if value != "" {
			q.Set(key, value)
		}
	}
	switch rt.Kind {
	case Catalog, Tags, Referrers:
		if rt.Page.N != Whole {
			q.Set("n", strconv.Itoa(rt.Page.N))
		}
		set("last", rt.Page.Last)
		set("artifactType", rt.ArtifactType)
	case ManifestPut:
		for _, t := range rt.Tags() {
			q.Add("tag", t.String())
		}
	case UploadStart:
		set("mount", rt.Mount.String())
		set("from", rt.From.String())
		set("digest-algorithm", string(rt.Algorithm))
		set("digest", rt.Digest.String())
	case UploadFinish:
		set("digest", rt.Digest.String())
	}
	return q
}
