package oci

import (
	"bytes"
	"encoding/json"
	"errors"
)

// ErrSchema1 says that a manifest is of Docker's schema 1, which ended in 2016.
var ErrSchema1 = errors.New("oci: a manifest of Docker's schema 1")

// ParseStored reads a manifest that another registry has accepted and served.
// Where ParseManifest would refuse it, it takes what it can make out: the parts
// that are descriptors, and the media type that registry:2 gives a manifest that
// names none. The error is ErrSchema1, or says that it is no manifest at all.
func ParseStored(body []byte) (Manifest, error) {
	m, err := ParseManifest("", body)
	if err == nil {
		return m, nil
	}
	var top struct {
		SchemaVersion json.RawMessage
		MediaType     json.RawMessage
		Config        json.RawMessage
		Layers        json.RawMessage
		Blobs         json.RawMessage
		Manifests     json.RawMessage
		Subject       json.RawMessage
	}
	if jerr := json.Unmarshal(body, &top); jerr != nil || !bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) {
		return Manifest{}, err
	}
	m = Manifest{Body: body, MediaType: storedType(top.MediaType, top.Manifests)}
	if m.MediaType == mediaTypeSchema1 || m.MediaType == mediaTypeSchema1Signed || string(top.SchemaVersion) == "1" {
		return Manifest{}, ErrSchema1
	}
	if config, ok := storedPart(top.Config); ok {
		m.Blobs = append(m.Blobs, config)
		m.ArtifactType = config.MediaType
	}
	m.Blobs = append(append(m.Blobs, storedParts(top.Layers)...), storedParts(top.Blobs)...)
	m.Children = storedParts(top.Manifests)
	if subject, ok := storedPart(top.Subject); ok {
		m.Subject = &subject
	}
	return m, nil
}

// storedType is the media type under which registry:2 serves a manifest.
func storedType(raw, manifests json.RawMessage) string {
	var t string
	_ = json.Unmarshal(raw, &t) // what is no text is as if it were not there
	switch {
	case validMediaType(t):
		return t
	case len(manifests) > 0 && string(manifests) != "null":
		return MediaTypeIndex
	}
	return MediaTypeImage
}

func storedParts(raw json.RawMessage) []Descriptor {
	var items []json.RawMessage
	_ = json.Unmarshal(raw, &items) // what is no list has no parts
	var list []Descriptor
	for _, item := range items {
		if d, ok := storedPart(item); ok {
			list = append(list, d)
		}
	}
	return list
}

func storedPart(raw json.RawMessage) (Descriptor, bool) {
	var text struct {
		MediaType string
		Digest    string
		Size      json.RawMessage
	}
	if len(raw) == 0 || json.Unmarshal(raw, &text) != nil {
		return Descriptor{}, false
	}
	d := Descriptor{MediaType: text.MediaType}
	var err error
	if d.Digest, err = ParseDigest(text.Digest); err != nil {
		return d, false
	}
	if d.Size, err = parseSize(text.Size); err != nil {
		d.Size = UnknownSize
	}
	return d, true
}
