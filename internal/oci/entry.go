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
func AppendEntry(b, mediaType, digest []byte, size int64, artifactType, annotations []byte) []byte {
	b = appendJSON(append(b, `{"mediaType":`...), mediaType)
	b = appendJSON(append(b, `,"digest":`...), digest)
	b = strconv.AppendInt(append(b, `,"size":`...), size, 10)
	if len(artifactType) > 0 {
		b = appendJSON(append(b, `,"artifactType":`...), artifactType)
	}
	if len(annotations) > 0 {
		b = append(append(b, `,"annotations":`...), annotations...)
	}
	return append(b, '}')
}

// appendJSON appends s as a JSON string.
func appendJSON(b, s []byte) []byte {
	for _, c := range s {
		if c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			text, _ := json.Marshal(string(s)) // of a string there is no error
			return append(b, text...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}
