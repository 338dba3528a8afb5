package oci

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

var (
	d1 = "sha256:" + strings.Repeat("1", 64)
	d2 = "sha256:" + strings.Repeat("2", 64)
	d3 = "sha512:" + strings.Repeat("3", 128)
)

func desc(digest string, size int64) string {
	return fmt.Sprintf(`{"mediaType":"application/x","digest":%q,"size":%d}`, digest, size)
}

// manifestTests: a manifest and the message part of its refusal, or "".
var manifestTests = []struct {
	name, contentType, body, refused string
}{
	{"image", MediaTypeImage, `{"schemaVersion":2,"mediaType":"` + MediaTypeImage + `","config":` + desc(d1, 2) + `,"layers":[` + desc(d2, 3) + `]}`, ""},
	{"docker", MediaTypeDocker, `{"schemaVersion":2,"config":` + desc(d1, 2) + `,"layers":[]}`, ""},
	{"index", MediaTypeIndex, `{"schemaVersion":2,"manifests":[` + desc(d1, 2) + `,` + desc(d3, 0) + `]}`, ""},
	{"parameters of the header", MediaTypeIndex + "; charset=utf-8", `{"mediaType":"` + MediaTypeIndex + `","manifests":[]}`, ""},
	{"no header", "", `{"mediaType":"` + MediaTypeIndex + `","manifests":[]}`, ""},
	{"neither, index", "", `{"manifests":[]}`, ""},
	{"neither, image", "", `{"layers":[]}`, ""},
	{"neither", "", `{}`, "set the Content-Type"},
	{"subject", MediaTypeImage, `{"subject":` + desc(d1, 2) + `,"annotations":{"a":"b"},"artifactType":"x/y"}`, ""},
	{"unknown fields stay", MediaTypeImage, `{"x":{"y":[1,2,{"x":1,"x":2}]},"layers":[{"digest":"` + d1 + `","size":1,"z":0}]}`, ""},
	{"unknown type keeps its parts", "application/vnd.acme+json", `{"layers":[` + desc(d1, 2) + `,7,"x"],"config":"text","manifests":[` + desc(d2, 2) + `]}`, ""},
	{"urls", MediaTypeImage, `{"layers":[{"digest":"` + d1 + `","size":1,"urls":["https://example.com/a"]}]}`, ""},

	{"mismatch", MediaTypeDocker, `{"mediaType":"` + MediaTypeImage + `"}`, "send the manifest with the Content-Type that it names"},
	{"schema 1", mediaTypeSchema1Signed, `{"schemaVersion":1}`, "skopeo copy"},
	{"schema 1 by body", "application/json", `{"schemaVersion":1,"fsLayers":[]}`, "skopeo copy"},
	{"index with layers", MediaTypeIndex, `{"manifests":[],"layers":[]}`, "an index has manifests"},
	{"index with config", MediaTypeDockerList, `{"manifests":[],"config":` + desc(d1, 1) + `}`, "an index has manifests"},
	{"image with manifests", MediaTypeImage, `{"layers":[],"manifests":[]}`, "no manifests"},
	{"empty", MediaTypeImage, ``, "not a JSON object"},
	{"array", MediaTypeImage, `[]`, "not a JSON object"},
	{"null", MediaTypeImage, `null`, "not a JSON object"},
	{"text", MediaTypeImage, `"x"`, "not a JSON object"},
	{"cut", MediaTypeImage, `{"layers":[`, "not valid JSON"},
	{"two values", MediaTypeImage, `{}{}`, "something follows"},
	{"garbage behind", MediaTypeImage, `{} x`, "something follows"},
	{"byte order mark", MediaTypeImage, "\ufeff{}", "not a JSON object"},
	{"UTF-16", MediaTypeImage, "{\x00}\x00", "not"},
	{"not UTF-8", MediaTypeImage, "{\"a\":\"\xff\"}", "UTF-8"},
	{"duplicate key", MediaTypeImage, `{"layers":[],"layers":[]}`, "twice"},
	{"duplicate key escaped", MediaTypeImage, `{"layers":[],"l\u0061yers":[]}`, "twice"},
	{"folded key", MediaTypeImage, `{"CONFIG":` + desc(d1, 1) + `}`, `write it as "config"`},
	{"Kelvin sign is no k, long s is an s", MediaTypeImage, `{"layerſ":[]}`, `write it as "layers"`},
	{"duplicate in a descriptor", MediaTypeImage, `{"layers":[{"digest":"` + d1 + `","digest":"` + d2 + `","size":1}]}`, "twice"},
	{"folded in a descriptor", MediaTypeImage, `{"layers":[{"digest":"` + d1 + `","Size":1,"size":1}]}`, "write it as"},
	{"duplicate annotation", MediaTypeImage, `{"annotations":{"a":"1","a":"2"}}`, "twice"},
	{"deep", MediaTypeImage, `{"x":` + strings.Repeat("[", 70) + strings.Repeat("]", 70) + `}`, "nested deeper"},
	{"deep in a string is not deep", MediaTypeImage, `{"x":"` + strings.Repeat("[", 70) + `\""}`, ""},
	{"negative size", MediaTypeImage, `{"layers":[` + desc(d1, -1) + `]}`, "layers[0].size"},
	{"huge size", MediaTypeImage, `{"layers":[` + desc(d1, MaxSize+1) + `]}`, "layers[0].size"},
	{"fractional size", MediaTypeImage, `{"layers":[{"digest":"` + d1 + `","size":1.5}]}`, "layers[0].size"},
	{"exponent", MediaTypeImage, `{"layers":[{"digest":"` + d1 + `","size":1e999}]}`, "layers[0].size"},
	{"no size", MediaTypeImage, `{"layers":[{"digest":"` + d1 + `"}]}`, "layers[0].size"},
	{"no digest", MediaTypeImage, `{"config":{"size":1}}`, "config has no digest"},
	{"bad digest", MediaTypeImage, `{"config":{"digest":"sha256:x","size":1}}`, "config.digest"},
	{"layers no list", MediaTypeImage, `{"layers":{}}`, "not a list"},
	{"layer no object", MediaTypeImage, `{"layers":[7]}`, "layers[0] is not a JSON object"},
	{"too many", MediaTypeIndex, `{"manifests":[` + strings.Repeat("0,", MaxDescriptors) + `0]}`, "more than 10000"},
	{"bad subject", MediaTypeImage, `{"subject":{"digest":7}}`, "subject has no digest"},
	{"bad subject of an unknown type", "application/vnd.acme+json", `{"subject":"x"}`, "subject is not a JSON object"},
	{"annotations with a subject", MediaTypeImage, `{"subject":` + desc(d1, 1) + `,"annotations":{"a":"` + strings.Repeat("x", MaxAnnotations) + `"}}`, "256 KiB"},
	{"annotation no text", MediaTypeImage, `{"annotations":{"a":1}}`, "not a text"},
	{"file url", MediaTypeImage, `{"layers":[{"digest":"` + d1 + `","size":1,"urls":["file:///etc/passwd"]}]}`, "http or https"},
	{"bad type", "text", `{}`, "media type"},
	{"header injection", "a/b\r\nX: y", `{}`, "media type"},
	{"mediaType no text", MediaTypeImage, `{"mediaType":7}`, "mediaType is not a text"},
}

func TestParseManifest(t *testing.T) {
	for _, tt := range manifestTests {
		t.Run(tt.name, func(t *testing.T) {
			m, err := ParseManifest(tt.contentType, []byte(tt.body))
			switch {
			case tt.refused == "" && err != nil:
				t.Fatalf("refused: %v", err)
			case tt.refused != "" && (CodeOf(err) != ManifestInvalid || !strings.Contains(err.Error(), tt.refused)):
				t.Fatalf("error %v, want %s with %q", err, ManifestInvalid, tt.refused)
			case err == nil && string(m.Body) != tt.body:
				t.Errorf("body changed to %s", m.Body)
			}
		})
	}
}

func TestManifestParts(t *testing.T) {
	body := `{"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/c","digest":"` + d1 + `","size":2},
		"layers":[` + desc(d2, 3) + `],"blobs":[` + desc(d3, 4) + `],"subject":` + desc(d2, 9) + `,"annotations":{"k":"v"}}`
	m, err := ParseManifest("", []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range m.Blobs {
		got = append(got, d.Digest.String())
	}
	if want := []string{d1, d2, d3}; !reflect.DeepEqual(got, want) {
		t.Errorf("blobs %v, want %v", got, want)
	}
	if m.Subject == nil || m.Subject.Digest.String() != d2 || m.Subject.Size != 9 {
		t.Errorf("subject %+v", m.Subject)
	}
	if m.ArtifactType != "application/c" || m.Annotations["k"] != "v" {
		t.Errorf("artifact type %q, annotations %v", m.ArtifactType, m.Annotations)
	}
}

// TestUnknownTypeKeepsParts makes sure that what Berth doesn't understand is not
// collected: a part without a size is a part.
func TestUnknownTypeKeepsParts(t *testing.T) {
	m, err := ParseManifest("application/vnd.acme+json", []byte(`{"layers":[{"digest":"`+d1+`"},8],"manifests":[`+desc(d2, 1)+`]}`))
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Blobs) != 1 || m.Blobs[0].Size != UnknownSize || len(m.Children) != 1 {
		t.Errorf("blobs %+v, children %+v", m.Blobs, m.Children)
	}
}

func FuzzParseManifest(f *testing.F) {
	for _, tt := range manifestTests {
		if len(tt.body) < 10_000 {
			f.Add(tt.contentType, []byte(tt.body))
		}
	}
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		m, err := ParseManifest(contentType, body)
		if err != nil {
			if CodeOf(err) != ManifestInvalid {
				t.Errorf("error %v is no %s", err, ManifestInvalid)
			}
			return
		}
		if !json.Valid(body) {
			t.Errorf("accepted what is no JSON")
		}
		// What another strict reader sees must be what was seen here.
		var other struct {
			MediaType string `json:"mediaType"`
			Subject   *struct {
				Digest string `json:"digest"`
			} `json:"subject"`
		}
		if err := json.Unmarshal(body, &other); err != nil {
			t.Skip() // encoding/json decodes what we leave alone
		}
		if other.MediaType != "" && other.MediaType != m.MediaType {
			t.Errorf("media type %q, encoding/json sees %q", m.MediaType, other.MediaType)
		}
		if (other.Subject == nil) != (m.Subject == nil) || m.Subject != nil && other.Subject.Digest != m.Subject.Digest.String() {
			t.Errorf("subject %+v, encoding/json sees %+v", m.Subject, other.Subject)
		}
	})
}

// TestErrorIs pins down what callers rely on: codes compare, wording doesn't.
func TestErrorIs(t *testing.T) {
	err := fmt.Errorf("look: %w", &Error{Code: BlobUnknown, Message: "some words"})
	if CodeOf(err) != BlobUnknown || CodeOf(fmt.Errorf("x")) != "" {
		t.Errorf("CodeOf(%v) = %q", err, CodeOf(err))
	}
}
