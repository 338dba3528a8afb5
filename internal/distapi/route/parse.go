package route

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"berth/internal/meta"
	"berth/internal/oci"
)

// Parse reads a request to the API. Its errors are *RequestError for what no
// endpoint fits, and *oci.Error for names, digests and numbers that are wrong.
//
// It reads the path as it was sent: nothing is cleaned, decoded or redirected,
// so that whoever decides by the path sees what is done. The one escape that is
// understood is %3A, for the colon of a digest.
func Parse(method string, u *url.URL) (Route, error) {
	at, ok := split(u.EscapedPath())
	if !ok {
		return Route{}, &RequestError{Status: 404, Message: "there is nothing at this address: the registry's API is /v2/, see the distribution specification"}
	}
	if at.shape == blobShape && at.last == "uploads" && method == "POST" {
		at = target{shape: uploadsShape, name: at.name} // the slash is often forgotten
	}
	kind, allow := kindOf(at.shape, method)
	if kind == None {
		return Route{}, &RequestError{Status: 405, Allow: allow, Message: "this address has no method " + quote(method) + ", only " + allow}
	}
	q, err := parseQuery(u.RawQuery)
	if err != nil {
		return Route{}, err
	}
	rt := Route{Kind: kind}
	if at.named() {
		if rt.Repo, err = oci.ParseRepo(at.name); err != nil {
			return Route{}, err
		}
	}
	if err := rt.readLast(at); err != nil {
		return Route{}, err
	}
	if err := rt.readQuery(q); err != nil {
		return Route{}, err
	}
	return rt, nil
}

// A target is a path taken apart.
type target struct {
	shape shape
	name  string // of the repository
	last  string // the last segment, where it is not a fixed one
}

func (t target) named() bool {
	return t.shape != pingShape && t.shape != tokenShape && t.shape != catalogShape
}

// split finds the shape of path. Repositories may be called like any keyword,
// so only the last segments count: of /v2/a/blobs/uploads/manifests/x the
// repository is a/blobs/uploads.
func split(path string) (target, bool) {
	switch path {
	case "/v2", "/v2/":
		return target{shape: pingShape}, true
	case "/v2/token":
		return target{shape: tokenShape}, true
	case "/v2/_catalog":
		return target{shape: catalogShape}, true
	}
	rest, ok := strings.CutPrefix(path, "/v2/")
	if !ok {
		return target{}, false
	}
	rest, last, ok := cutLast(rest)
	if !ok {
		return target{}, false
	}
	name, key, _ := cutLast(rest)
	switch key {
	case "manifests":
		return target{manifestShape, name, last}, true
	case "blobs":
		return target{blobShape, name, last}, true
	case "referrers":
		return target{referrersShape, name, last}, true
	case "tags":
		return target{shape: tagsShape, name: name}, last == "list"
	case "uploads":
		before, key, _ := cutLast(name)
		if last == "" {
			return target{shape: uploadsShape, name: before}, key == "blobs"
		}
		return target{uploadShape, before, last}, key == "blobs"
	}
	return target{}, false
}

// cutLast cuts s at its last slash; without one, all of it is behind.
func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, '/')
	if i < 0 {
		return "", s, false
	}
	return s[:i], s[i+1:], true
}

// readLast reads the last segment of the path.
func (rt *Route) readLast(at target) (err error) {
	last := at.last
	if i := strings.IndexByte(last, '%'); i >= 0 && strings.EqualFold(last[i:min(i+3, len(last))], "%3A") {
		last = last[:i] + ":" + last[i+3:]
	}
	switch at.shape {
	case manifestShape:
		rt.Ref, err = oci.ParseRef(last)
	case blobShape, referrersShape:
		rt.Digest, err = oci.ParseDigest(last)
	case uploadShape:
		rt.Upload, err = parseUploadID(last)
	}
	return err
}

// parseUploadID accepts what an id could look like. Whether there is such an
// upload is for others to say.
func parseUploadID(s string) (meta.UploadID, error) {
	ok := len(s) <= maxUploadID
	for i := 0; ok && i < len(s); i++ {
		c := s[i]
		ok = 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
	}
	if !ok {
		return "", &oci.Error{Code: oci.BlobUploadUnknown, Message: "there is no such upload: use the Location that the registry gave"}
	}
	return meta.UploadID(s), nil
}

// readQuery reads the parameters that rt's Kind has. Others are ignored: `ns`
// of mirrors' clients and whatever proxies add.
func (rt *Route) readQuery(q query) error {
	switch rt.Kind {
	case Catalog, Tags, Referrers:
		if err := rt.readPage(q); err != nil || rt.Kind != Referrers {
			return err
		}
		return rt.readArtifactType(q)
	case ManifestPut:
		return rt.readTags(q)
	case UploadStart:
		return rt.readUploadStart(q)
	case UploadFinish:
		s, _, err := q.one("digest")
		if err != nil {
			return err
		}
		if s == "" {
			return &oci.Error{Code: oci.DigestInvalid, Message: "the digest of the blob is missing: end the upload with PUT <location>?digest=<digest>"}
		}
		rt.Digest, err = oci.ParseDigest(s)
		return err
	}
	return nil
}

func (rt *Route) readPage(q query) (err error) {
	rt.Page.N = Whole
	if rt.Page.Last, _, err = q.one("last"); err != nil {
		return err
	}
	s, given, err := q.one("n")
	if err != nil || !given {
		return err
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			s = ""
			break
		}
	}
	if s == "" {
		return &oci.Error{Code: oci.PaginationNumberInvalid, Message: "n is not a number of entries: give a whole number, 0 or more"}
	}
	n, err := strconv.Atoi(s)
	if err != nil { // more digits than fit
		n = maxN
	}
	rt.Page.N = min(n, maxN)
	return nil
}

// readArtifactType accepts any text that a manifest could have there; what no
// manifest has, the filter does not find.
func (rt *Route) readArtifactType(q query) error {
	s, _, err := q.one("artifactType")
	if err != nil {
		return err
	}
	if len(s) > maxArtifactType || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		return &RequestError{Status: 400, Message: "artifactType is not a media type: write it as type/subtype"}
	}
	rt.ArtifactType = s
	return nil
}

func (rt *Route) readTags(q query) error {
	if len(q["tag"]) > MaxTags {
		return &RequestError{Status: 414, Message: "more than " + strconv.Itoa(MaxTags) + " tags in one request: push the others by another one"}
	}
	var list []string
	for _, s := range q["tag"] {
		if _, err := oci.ParseTag(s); err != nil {
			return err
		}
		if !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	rt.tags = strings.Join(list, ",")
	return nil
}

func (rt *Route) readUploadStart(q query) error {
	if err := q.digest("digest", &rt.Digest); err != nil {
		return err
	}
	if err := q.digest("mount", &rt.Mount); err != nil {
		return err
	}
	s, given, err := q.one("digest-algorithm")
	if err != nil {
		return err
	}
	if given {
		if rt.Algorithm, err = oci.ParseAlgorithm(s); err != nil {
			return err
		}
	}
	s, _, err = q.one("from")
	if err != nil || s == "" || rt.Mount.IsZero() {
		return err
	}
	rt.From, err = oci.ParseRepo(s)
	return err
}

// A query is the parsed query of a URL.
type query url.Values

func parseQuery(raw string) (query, error) {
	if raw == "" {
		return nil, nil
	}
	q, err := url.ParseQuery(raw)
	if err != nil {
		return nil, &RequestError{Status: 400, Message: "the query of the address is not valid: escape it as %XX"}
	}
	return query(q), nil
}

// one returns the value under key and whether there is one. Two are an error:
// what stands between a client and here might believe the other one.
func (q query) one(key string) (value string, given bool, err error) {
	switch list := q[key]; len(list) {
	case 0:
		return "", false, nil
	case 1:
		return list[0], true, nil
	}
	return "", false, &RequestError{Status: 400, Message: "the query of the address has " + key + " more than once"}
}

// digest reads the digest under key into d, if there is one.
func (q query) digest(key string, d *oci.Digest) error {
	s, given, err := q.one(key)
	if err != nil || !given {
		return err
	}
	*d, err = oci.ParseDigest(s)
	return err
}

// quote quotes what a client sent for a message: printable, and cut short.
func quote(s string) string {
	if len(s) > 32 {
		s = s[:32] + "…"
	}
	return strconv.QuoteToASCII(s)
}
