package oci

import (
	"encoding/json"
	"strconv"
)

// An Entry is a descriptor as it stands in an image index. Lists of referrers
// consist of them: they are encoded once, not whenever somebody asks.
type Entry struct {
	Digest Digest
	JSON   string // an object
}

// Entry encodes d.
func (d Descriptor) Entry() (Entry, error) {
	text, err := json.Marshal(d)
	return Entry{Digest: d.Digest, JSON: string(text)}, err
}

// AppendEntry appends the encoded form of a descriptor to b, the same as that
// of Descriptor.Entry. Its annotations are encoded already: a JSON object, or
// nothing.
func AppendEntry(b []byte, d Descriptor, annotations string) []byte {
	b = appendJSON(append(b, `{"mediaType":`...), d.MediaType)
	b = append(append(b, `,"digest":"`...), d.Digest.s...)
	b = strconv.AppendInt(append(b, `","size":`...), d.Size, 10)
	if d.ArtifactType != "" {
		b = appendJSON(append(b, `,"artifactType":`...), d.ArtifactType)
	}
	if annotations != "" {
		b = append(append(b, `,"annotations":`...), annotations...)
	}
	return append(b, '}')
}

// appendJSON appends s as a JSON string.
func appendJSON(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			text, _ := json.Marshal(s) // of a string there is no error
			return append(b, text...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}
