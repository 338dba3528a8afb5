package oci

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// ParseManifest reads a manifest that was pushed with the Content-Type header
// contentType, which may carry parameters or be empty.
//
// It is strict where parsers differ and an attacker could make two of them see
// two different images: one JSON object in valid UTF-8, no duplicate keys, no
// keys that differ from known ones only in case, the Content-Type equal to
// mediaType, an index without layers, an image without manifests
// (GHSA-qq97-vm5h-rrhg). Fields it doesn't know are kept: Body is untouched.
//
// Manifests of types it doesn't know keep their parts too: whatever looks like
// a descriptor in config, layers, blobs, manifests and subject counts as one.
//
// Errors are *Error with code ManifestInvalid.
func ParseManifest(contentType string, body []byte) (Manifest, error) {
	top, err := parseWhole(body, topKeys)
	if err != nil {
		return Manifest{}, err
	}
	m := Manifest{Body: body}
	if m.MediaType, err = manifestType(contentType, top); err != nil {
		return Manifest{}, err
	}
	if err := checkShape(m.MediaType, top); err != nil {
		return Manifest{}, err
	}
	p := partReader{strict: isIndex(m.MediaType) || isImage(m.MediaType)}
	config := p.one(top, "config")
	if config != nil {
		m.Blobs = append(m.Blobs, *config)
	}
	m.Blobs = append(m.Blobs, p.many(top, "layers")...)
	m.Blobs = append(m.Blobs, p.many(top, "blobs")...)
	m.Children = p.many(top, "manifests")
	p.strict = true // a subject is answered for by OCI-Subject, so it must be one
	m.Subject = p.one(top, "subject")
	m.Annotations = p.annotations(top, "annotations")
	m.ArtifactType = p.text(top, "artifactType")
	if m.ArtifactType == "" && config != nil && !isIndex(m.MediaType) {
		m.ArtifactType = config.MediaType
	}
	if p.err != nil {
		return Manifest{}, p.err
	}
	if m.Subject != nil && len(top.get("annotations")) > MaxAnnotations {
		return Manifest{}, invalid("annotations of a manifest with a subject are limited to %d KiB", MaxAnnotations>>10)
	}
	return m, nil
}

// manifestType settles the media type: what the header says and what the body
// says must agree, and one of them must say something.
func manifestType(contentType string, top object) (string, error) {
	header, _, _ := strings.Cut(contentType, ";") // the spec: ignore parameters
	header = strings.TrimSpace(header)
	var inner string
	if raw := top.get("mediaType"); raw != nil {
		if inner, _ = parseMediaType(raw); inner == "" {
			return "", invalid("mediaType is not a text")
		}
	}
	switch {
	case header == "" && inner == "" && top.get("manifests") != nil:
		inner = MediaTypeIndex
	case header == "" && inner == "" && top.get("layers") != nil:
		inner = MediaTypeImage
	case header != "" && inner != "" && header != inner:
		return "", invalid("the Content-Type is %s and the manifest's mediaType is %s: send the manifest with the Content-Type that it names",
			quote(header), quote(inner))
	}
	t := inner
	if t == "" {
		t = header
	}
	if t == mediaTypeSchema1 || t == mediaTypeSchema1Signed || string(top.get("schemaVersion")) == "1" {
		return "", invalid("this is a Docker schema 1 manifest, a format that ended in 2016: push with docker 1.10 or newer, " +
			"or convert the image with `skopeo copy --format v2s2`")
	}
	if !validMediaType(t) {
		return "", invalid("media type %s is not valid: set the Content-Type header to the type of the manifest, such as %s", quote(t), MediaTypeImage)
	}
	return t, nil
}

// usualTypes are the media types that most descriptors have.
var usualTypes = []string{
	"application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.oci.image.layer.v1.tar+zstd", "application/vnd.oci.image.layer.v1.tar",
	"application/vnd.oci.image.config.v1+json", MediaTypeImage, MediaTypeIndex, "application/vnd.oci.empty.v1+json",
	"application/vnd.docker.image.rootfs.diff.tar.gzip", "application/vnd.docker.container.image.v1+json", MediaTypeDocker,
}

// parseMediaType is text for a media type. A usual one takes no memory.
func parseMediaType(raw json.RawMessage) (string, bool) {
	for _, t := range usualTypes {
		if len(raw) == len(t)+2 && string(raw[1:len(raw)-1]) == t && raw[0] == '"' {
			return t, true
		}
	}
	return text(raw)
}

// validMediaType checks the form type/subtype of RFC 6838, section 4.2.
func validMediaType(s string) bool {
	typ, sub, ok := strings.Cut(s, "/")
	return ok && len(s) <= 255 && restrictedName(typ) && restrictedName(sub)
}

func restrictedName(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20 // lower case
		if !isAlnum(c) && (i == 0 || !strings.ContainsRune("!#$&-^_.+", rune(s[i]))) {
			return false
		}
	}
	return s != ""
}

// checkShape refuses manifests that one client would read as an image and
// another as an index.
func checkShape(mediaType string, top object) error {
	switch {
	case isIndex(mediaType) && (top.get("layers") != nil || top.get("config") != nil):
		return invalid("an index has manifests, and neither config nor layers")
	case isImage(mediaType) && top.get("manifests") != nil:
		return invalid("an image manifest has config and layers, and no manifests")
	}
	return nil
}

// A partReader reads descriptors, keeping the first error. Unless strict, what
// is not a descriptor is passed over.
type partReader struct {
	strict bool
	count  int
	err    error
	fields object // of the last descriptor; its memory is used again
}

func (p *partReader) fail(err error) {
	if p.err == nil && p.strict {
		p.err = err
	}
}

// one reads the descriptor under key; nil if there is none.
func (p *partReader) one(top object, key string) *Descriptor {
	raw := top.get(key)
	if raw == nil || string(raw) == "null" {
		return nil
	}
	d, err := p.descriptor(raw, at(key))
	if err != nil {
		p.fail(err)
		return nil
	}
	return &d
}

// many reads the array of descriptors under key.
func (p *partReader) many(top object, key string) []Descriptor {
	raw := top.get(key)
	if raw == nil || string(raw) == "null" {
		return nil
	}
	items, ok := parseArray(raw)
	if !ok {
		p.fail(invalid("%s is not a list", key))
		return nil
	}
	if p.count += len(items); p.count > MaxDescriptors {
		p.err = invalid("the manifest names more than %d parts", MaxDescriptors)
		return nil
	}
	list := make([]Descriptor, 0, len(items))
	for i, item := range items {
		d, err := p.descriptor(item, place{key, i})
		if err != nil {
			p.fail(err)
			continue
		}
		list = append(list, d)
	}
	return list
}

func (p *partReader) descriptor(raw json.RawMessage, at place) (Descriptor, error) {
	fields, err := parseObject(p.fields, raw, at, descriptorKeys)
	if err != nil {
		return Descriptor{}, err
	}
	p.fields = fields
	var d Descriptor
	digest, ok := text(fields.get("digest"))
	if !ok {
		return d, invalid("%s has no digest", at)
	}
	if d.Digest, err = ParseDigest(digest); err != nil {
		return d, invalid("%s.digest: %v", at, err.(*Error).Message)
	}
	if d.Size, err = parseSize(fields.get("size")); err != nil {
		if p.strict {
			return d, invalid("%s.size: %v", at, err)
		}
		d.Size = UnknownSize // still a part that must not be collected
	}
	if raw := fields.get("mediaType"); raw != nil {
		if d.MediaType, ok = parseMediaType(raw); !ok {
			return d, invalid("%s.mediaType is not a text", at)
		}
	}
	if d.URLs, err = parseURLs(fields.get("urls"), at); err != nil {
		return d, err
	}
	d.Platform = parsePlatform(fields.get("platform"))
	sub := partReader{strict: true}
	d.ArtifactType = sub.text(fields, "artifactType")
	d.Annotations = sub.annotations(fields, "annotations")
	return d, sub.err
}

func parseSize(raw json.RawMessage) (int64, error) {
	if raw == nil {
		return 0, fmt.Errorf("missing")
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil || n < 0 || n > MaxSize {
		return 0, fmt.Errorf("%s is not a whole number of bytes from 0 to 2^53", quote(string(raw)))
	}
	return n, nil
}

// parsePlatform returns os/architecture. What is no platform is none: no client
// could choose by it.
func parsePlatform(raw json.RawMessage) string {
	if raw == nil {
		return ""
	}
	var p struct {
		OS           string `json:"os"`
		Architecture string `json:"architecture"`
	}
	if json.Unmarshal(raw, &p) != nil || p.OS == "" && p.Architecture == "" {
		return ""
	}
	return p.OS + "/" + p.Architecture
}

// parseURLs accepts only web addresses. Berth itself never fetches them.
func parseURLs(raw json.RawMessage, at place) ([]string, error) {
	if raw == nil {
		return nil, nil
	}
	var list []string
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, invalid("%s.urls is not a list of texts", at)
	}
	for _, s := range list {
		u, err := url.Parse(s)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return nil, invalid("%s.urls: %s is not an http or https address", at, quote(s))
		}
	}
	return list, nil
}

func (p *partReader) text(fields object, key string) (s string) {
	if raw := fields.get(key); raw != nil {
		var ok bool
		if s, ok = text(raw); !ok {
			p.fail(invalid("%s is not a text", key))
		}
	}
	return s
}

func (p *partReader) annotations(fields object, key string) map[string]string {
	raw := fields.get(key)
	if raw == nil || string(raw) == "null" {
		return nil
	}
	object, err := parseObject(nil, raw, at(key), nil)
	if err != nil {
		p.fail(err)
		return nil
	}
	list := make(map[string]string, len(object))
	for _, m := range object {
		s, ok := text(m.value)
		if !ok {
			p.fail(invalid("%s: the value of %s is not a text", key, quote(m.key)))
			return nil
		}
		list[m.key] = s
	}
	return list
}
