package oci

// The media types that Berth treats specially. Manifests of any other type are
// stored and served all the same.
const (
	MediaTypeImage      = "application/vnd.oci.image.manifest.v1+json"
	MediaTypeIndex      = "application/vnd.oci.image.index.v1+json"
	MediaTypeArtifact   = "application/vnd.oci.artifact.manifest.v1+json"
	MediaTypeDocker     = "application/vnd.docker.distribution.manifest.v2+json"
	MediaTypeDockerList = "application/vnd.docker.distribution.manifest.list.v2+json"

	mediaTypeSchema1       = "application/vnd.docker.distribution.manifest.v1+json"
	mediaTypeSchema1Signed = "application/vnd.docker.distribution.manifest.v1+prettyjws"
)

// Limits of a manifest. What exceeds them is refused with MANIFEST_INVALID.
const (
	MaxDepth       = 64        // nesting of objects and arrays
	MaxDescriptors = 10_000    // config, layers, blobs and manifests together
	MaxAnnotations = 256 << 10 // bytes of annotations of a manifest with a subject
	MaxSize        = 1 << 53   // of a descriptor: the largest integer JSON carries everywhere
)

// UnknownSize is the Size of a Descriptor that says none, which only manifests
// of unknown types may do.
const UnknownSize = -1

// A Descriptor points to content (image spec, "OCI Content Descriptors").
type Descriptor struct {
	MediaType    string            `json:"mediaType"`
	Digest       Digest            `json:"digest"`
	Size         int64             `json:"size"` // bytes
	ArtifactType string            `json:"artifactType,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`

	URLs     []string `json:"-"` // where else the content is to be had
	Platform string   `json:"-"` // os/architecture of a child of an index; empty if it doesn't say
}

// MarshalText returns the digest as it is written, so that a Descriptor can be
// encoded as JSON.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.s), nil }

// A Manifest is a parsed manifest. Body is what the client sent, byte for byte,
// and is what is stored and served; the other fields are what a registry needs
// to know of it.
type Manifest struct {
	MediaType    string
	Body         []byte
	Blobs        []Descriptor // config, layers and blobs, in the order they stand
	Children     []Descriptor // manifests of an index, in the order they stand
	Subject      *Descriptor  // what this manifest refers to; nil for most
	ArtifactType string       // artifactType, else the config's media type (image manifests)
	Annotations  map[string]string
}

// Descriptor returns how the referrers API lists m under digest d
// (distribution spec, "Listing Referrers").
func (m Manifest) Descriptor(d Digest) Descriptor {
	return Descriptor{MediaType: m.MediaType, Digest: d, Size: int64(len(m.Body)), ArtifactType: m.ArtifactType, Annotations: m.Annotations}
}

// isIndex and isImage say of a media type what shape its manifest must have.
// Both are false for the types Berth doesn't know.
func isIndex(mediaType string) bool {
	return mediaType == MediaTypeIndex || mediaType == MediaTypeDockerList
}

func isImage(mediaType string) bool {
	return mediaType == MediaTypeImage || mediaType == MediaTypeDocker || mediaType == MediaTypeArtifact
}
