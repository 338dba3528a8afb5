package oci

import (
	"encoding/json"
	"testing"
)

// FuzzAppendEntry holds that a descriptor is encoded as encoding/json does it,
// whatever a client put into it.
func FuzzAppendEntry(f *testing.F) {
	f.Add(MediaTypeImage, "application/x.signature+json", "org.example.key", "a value", int64(1))
	f.Add("", "", "", "", int64(UnknownSize))
	f.Add("a\"b\\c", "<ä&\u2028>\x00\x7f", "\"", "\xff", int64(1)<<62)
	f.Fuzz(func(t *testing.T, mediaType, artifactType, key, value string, size int64) {
		d := Descriptor{MediaType: mediaType, Digest: SHA256.FromBytes([]byte(value)), Size: size, ArtifactType: artifactType}
		var annotations []byte
		if key != "" {
			d.Annotations = map[string]string{key: value}
			var err error
			if annotations, err = json.Marshal(d.Annotations); err != nil {
				t.Fatal(err)
			}
		}
		want, err := d.Entry()
		if err != nil {
			t.Fatal(err)
		}
		if got := AppendEntry([]byte("before "), []byte(d.MediaType), []byte(d.Digest.String()), d.Size, []byte(d.ArtifactType), annotations); string(got) != "before "+want.JSON {
			t.Errorf("got  %s\nwant before %s", got, want.JSON)
		}
	})
}
