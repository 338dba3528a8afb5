package route

import (
	"berth/internal/auth"
)

// A Kind is one thing that can be asked of the API.
type Kind uint8

// The kinds of requests. None is the Kind of what is no request to the API.
const (
	None Kind = iota
	Ping
	TokenGet
	TokenPost
	Catalog
	Tags
	Referrers
	ManifestGet
	ManifestPut
	ManifestDelete
	BlobGet
	BlobDelete
	UploadStart
	UploadStatus
	UploadAppend
	UploadFinish
	UploadCancel
)

// A shape is a form of address. Every shape has a method for each Kind it
// stands for.
type shape uint8

const (
	noShape shape = iota
	pingShape
	tokenShape
	catalogShape
	tagsShape
	referrersShape
	manifestShape
	blobShape
	uploadsShape
	uploadShape
)

// An Endpoint describes one Kind for the documentation, the metrics and the
// checks that must cover all of them.
type Endpoint struct {
	Kind    Kind
	Name    string      // as in metrics and logs
	Method  string      // GET stands for HEAD too
	Pattern string      // the path
	Params  []string    // what is read of the query
	Needs   auth.Action // on the repository; empty: see Does
	Success string      // status codes
	Does    string      // one sentence

	shape shape
}

const (
	patternManifest = "/v2/<name>/manifests/<tag or digest>"
	patternBlob     = "/v2/<name>/blobs/<digest>"
	patternUploads  = "/v2/<name>/blobs/uploads/"
	patternUpload   = "/v2/<name>/blobs/uploads/<id>"
)

// endpoints is indexed by Kind; None has no entry of its own.
var endpoints = [...]Endpoint{
	None: {Name: "none"},
	Ping: {Name: "ping", Method: "GET", Pattern: "/v2/", Success: "200", shape: pingShape,
		Does: "Says that this is a registry. Clients begin here, and learn how to log in."},
	TokenGet: {Name: "token-get", Method: "GET", Pattern: "/v2/token", Params: []string{"service", "scope", "account"}, Success: "200", shape: tokenShape,
		Does: "Gives a short-lived token for those of the scopes that the user may have, or the anonymous without log-in. Only where the anonymous may pull."},
	TokenPost: {Name: "token-post", Method: "POST", Pattern: "/v2/token", Success: "200", shape: tokenShape,
		Does: "The same with a form: grant_type=password, username, password, service, scope."},
	Catalog: {Name: "catalog", Method: "GET", Pattern: "/v2/_catalog", Params: []string{"n", "last"}, Success: "200", shape: catalogShape,
		Does: "Lists the repositories that the user may pull from, at most 1,000 at a time; a Link header leads to the next ones."},
	Tags: {Name: "tags", Method: "GET", Pattern: "/v2/<name>/tags/list", Params: []string{"n", "last"}, Needs: auth.Pull, Success: "200", shape: tagsShape,
		Does: "Lists tags in byte order: all of them, or with `n` that many and a Link header to the next ones."},
	Referrers: {Name: "referrers", Method: "GET", Pattern: "/v2/<name>/referrers/<digest>", Params: []string{"artifactType", "n", "last"}, Needs: auth.Pull, Success: "200", shape: referrersShape,
		Does: "Lists the manifests that have the digest as their subject, as an image index, with a Link header if there are more."},
	ManifestGet: {Name: "manifest-get", Method: "GET", Pattern: patternManifest, Needs: auth.Pull, Success: "200, 304", shape: manifestShape,
		Does: "Returns a manifest as it was pushed, with its own media type whatever `Accept` says."},
	ManifestPut: {Name: "manifest-put", Method: "PUT", Pattern: patternManifest, Params: []string{"tag"}, Needs: auth.Create, Success: "201", shape: manifestShape,
		Does: "Stores a manifest. `tag` may be given up to 100 times and points more tags to it, all or none."},
	ManifestDelete: {Name: "manifest-delete", Method: "DELETE", Pattern: patternManifest, Needs: auth.Delete, Success: "202", shape: manifestShape,
		Does: "Deletes a tag, or a manifest with all its tags."},
	BlobGet: {Name: "blob-get", Method: "GET", Pattern: patternBlob, Needs: auth.Pull, Success: "200, 206, 304", shape: blobShape,
		Does: "Returns a blob, or the one range of it that `Range` asks for."},
	BlobDelete: {Name: "blob-delete", Method: "DELETE", Pattern: patternBlob, Needs: auth.Delete, Success: "202", shape: blobShape,
		Does: "Takes a blob out of the repository, unless a manifest there needs it."},
	UploadStart: {Name: "upload-start", Method: "POST", Pattern: patternUploads, Params: []string{"digest", "digest-algorithm", "mount", "from"}, Needs: auth.Create, Success: "201, 202", shape: uploadsShape,
		Does: "Begins an upload; with `digest` the body is the whole blob; with `mount` (and `from`) it takes a blob of another repository if it can."},
	UploadStatus: {Name: "upload-status", Method: "GET", Pattern: patternUpload, Needs: auth.Create, Success: "204", shape: uploadShape,
		Does: "Says how far an upload has come."},
	UploadAppend: {Name: "upload-append", Method: "PATCH", Pattern: patternUpload, Needs: auth.Create, Success: "202", shape: uploadShape,
		Does: "Adds bytes to an upload: where it ends, or where `Content-Range` says."},
	UploadFinish: {Name: "upload-finish", Method: "PUT", Pattern: patternUpload, Params: []string{"digest"}, Needs: auth.Create, Success: "201", shape: uploadShape,
		Does: "Adds the last bytes, if there are any left, and makes the upload a blob."},
	UploadCancel: {Name: "upload-cancel", Method: "DELETE", Pattern: patternUpload, Needs: auth.Create, Success: "204", shape: uploadShape,
		Does: "Ends an upload and drops its bytes."},
}

// Endpoints returns every endpoint, in the order of the documentation.
func Endpoints() []Endpoint {
	list := make([]Endpoint, 0, len(endpoints)-1)
	for k := range endpoints {
		if Kind(k) != None {
			list = append(list, Kind(k).Endpoint())
		}
	}
	return list
}

// Endpoint returns the description of k.
func (k Kind) Endpoint() Endpoint {
	e := endpoints[k.known()]
	e.Kind = k.known()
	return e
}

// known returns k, and None for what is no Kind.
func (k Kind) known() Kind {
	if int(k) >= len(endpoints) {
		return None
	}
	return k
}

// Needs returns what k needs on its repository; see Endpoint.
func (k Kind) Needs() auth.Action { return endpoints[k.known()].Needs }

// String returns the name of k, as in metrics and logs.
func (k Kind) String() string { return endpoints[k.known()].Name }

// kindOf returns what method asks of an address of shape s, and None with the
// methods that the address has if it is none of them.
func kindOf(s shape, method string) (kind Kind, allow string) {
	if method == "HEAD" {
		method = "GET"
	}
	for k := range endpoints {
		if endpoints[k].shape != s {
			continue
		}
		has := endpoints[k].Method
		if has == method {
			return Kind(k), ""
		}
		if allow != "" {
			allow += ", "
		}
		if allow += has; has == "GET" {
			allow += ", HEAD"
		}
	}
	return None, allow
}
