package oci

import (
	"errors"
	"fmt"
	"testing"
)

func TestParseStored(t *testing.T) {
	d := SHA256.FromBytes([]byte("x")).String()
	part := fmt.Sprintf(`{"mediaType":"a/b","digest":%q,"size":1}`, d)
	tests := []struct {
		name, body string
		mediaType  string
		blobs      int
		children   int
		size       int64 // of the first part
	}{
		{"a good one", `{"schemaVersion":2,"mediaType":"` + MediaTypeDocker + `","config":` + part + `,"layers":[` + part + `]}`, MediaTypeDocker, 2, 0, 1},
		{"without a media type", `{"schemaVersion":2,"config":` + part + `,"layers":[` + part + `]}`, MediaTypeImage, 2, 0, 1},
		{"an index without a media type", `{"schemaVersion":2,"manifests":[` + part + `]}`, MediaTypeIndex, 0, 1, 1},
		{"a config alone", `{"schemaVersion":2,"config":` + part + `}`, MediaTypeImage, 1, 0, 1},
		{"a key twice", `{"schemaVersion":2,"schemaVersion":2,"mediaType":"` + MediaTypeImage + `","layers":[` + part + `]}`, MediaTypeImage, 1, 0, 1},
		{"an image with manifests", `{"mediaType":"` + MediaTypeImage + `","layers":[` + part + `],"manifests":[` + part + `]}`, MediaTypeImage, 1, 1, 1},
		{"a size that is none", fmt.Sprintf(`{"mediaType":%q,"layers":[{"digest":%q,"size":-1}]}`, MediaTypeImage, d), MediaTypeImage, 1, 0, UnknownSize},
		{"parts that are none", `{"mediaType":"` + MediaTypeImage + `","config":7,"layers":[{},` + part + `,"x",{"digest":"md5:1"}],"subject":[]}`, MediaTypeImage, 1, 0, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, err := ParseStored([]byte(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			if m.MediaType != tt.mediaType || len(m.Blobs) != tt.blobs || len(m.Children) != tt.children || string(m.Body) != tt.body {
				t.Errorf("got %+v", m)
			}
			if first := append(m.Blobs, m.Children...)[0]; first.Size != tt.size {
				t.Errorf("size: got %d, want %d", first.Size, tt.size)
			}
		})
	}
	for _, body := range []string{`{"schemaVersion":1,"name":"a"}`, `{"schemaVersion":1,"mediaType":"` + mediaTypeSchema1Signed + `"}`} {
		if _, err := ParseStored([]byte(body)); !errors.Is(err, ErrSchema1) {
			t.Errorf("%s: got %v", body, err)
		}
	}
	for _, body := range []string{"", "[]", "{", `"x"`, "null x", "null"} {
		if m, err := ParseStored([]byte(body)); err == nil {
			t.Errorf("%q: got %+v", body, m)
		}
	}
}

func FuzzParseStored(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":2,"config":{"digest":"sha256:0","size":1},"layers":[{}],"manifests":null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := ParseStored(body)
		if err != nil {
			return
		}
		if string(m.Body) != string(body) || !validMediaType(m.MediaType) {
			t.Errorf("got %+v", m)
		}
		for _, d := range append(m.Blobs, m.Children...) {
			if d.Digest.IsZero() || d.Size < UnknownSize {
				t.Errorf("got the part %+v", d)
			}
		}
	})
}
