package oci

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
)

// decoded is parseWhole as encoding/json does it: slowly, and without our own way
// to take JSON apart.
func decoded(raw []byte) (o object, err error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return nil, fmt.Errorf("no object")
	}
	for dec.More() {
		tok, err := dec.Token()
		key, ok := tok.(string)
		if err != nil || !ok {
			return nil, fmt.Errorf("no key")
		}
		for _, m := range o {
			if m.key == key {
				return nil, fmt.Errorf("twice")
			}
		}
		for _, k := range topKeys {
			if k != key && strings.EqualFold(k, key) {
				return nil, fmt.Errorf("folds")
			}
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, err
		}
		o = append(o, member{key, value})
	}
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("more behind it")
	}
	return o, nil
}

// FuzzParseObject compares how JSON is taken apart here with what encoding/json
// makes of it.
func FuzzParseObject(f *testing.F) {
	for _, tt := range manifestTests {
		if len(tt.body) < 10_000 {
			f.Add([]byte(tt.body))
		}
	}
	for _, body := range []string{
		" {\r\n\t\"a\" : [ 1 , -2.5e3, true,null , \"\\\"]}\\\\\" ] , \"\\u0061b\":{\"c\":[{},[]]} } ",
		`{"":"","\ud800":"\ud83d\ude00","x":"` + "\u2028é" + `"}`,
		`{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":1,"k":1,"h":2}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := parseWhole(body, topKeys)
		if err != nil && (strings.Contains(err.Error(), "UTF-8") || strings.Contains(err.Error(), "nested")) {
			return
		}
		want, other := decoded(body)
		if (err == nil) != (other == nil) {
			t.Fatalf("error %v, encoding/json says %v", err, other)
		}
		if err != nil {
			return
		}
		compareObjects(t, got, want)
		for _, m := range got {
			compareValue(t, m.value)
		}
	})
}

func compareObjects(t *testing.T, got, want object) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d members, encoding/json sees %d", len(got), len(want))
	}
	for i := range got {
		if got[i].key != want[i].key || string(got[i].value) != string(want[i].value) {
			t.Errorf("member %q is %s, encoding/json sees %q as %s", got[i].key, got[i].value, want[i].key, want[i].value)
		}
	}
}

// compareValue compares what text and parseArray make of a value.
func compareValue(t *testing.T, raw json.RawMessage) {
	t.Helper()
	var s string
	err := json.Unmarshal(raw, &s)
	if got, ok := text(raw); ok != (err == nil) || ok && got != s {
		t.Errorf("the text of %s is %q, %v; encoding/json sees %q, %v", raw, got, ok, s, err)
	}
	items, ok := parseArray(raw)
	var want []json.RawMessage
	if err := json.Unmarshal(raw, &want); string(raw) != "null" && ok != (err == nil) || len(items) != len(want) {
		t.Fatalf("%s has %d items, %v; encoding/json sees %d, %v", raw, len(items), ok, len(want), err)
	}
	for i := range items {
		if string(items[i]) != string(want[i]) {
			t.Errorf("an item is %s, encoding/json sees %s", items[i], want[i])
		}
	}
}

// TestDescriptorsDoNotMix holds that a descriptor has nothing of the one before it,
// in whose memory it is read.
func TestDescriptorsDoNotMix(t *testing.T) {
	full := `{"mediaType":"a/b","digest":"` + d1 + `","size":1,"artifactType":"c/d","urls":["https://example.com"],"annotations":{"k":"v"}}`
	m, err := ParseManifest(MediaTypeImage, []byte(`{"layers":[`+full+`,{"size":2,"digest":"`+d2+`"},`+full+`]}`))
	if err != nil {
		t.Fatal(err)
	}
	first := Descriptor{MediaType: "a/b", Digest: Digest{d1}, Size: 1, ArtifactType: "c/d", URLs: []string{"https://example.com"}, Annotations: map[string]string{"k": "v"}}
	if want := []Descriptor{first, {Digest: Digest{d2}, Size: 2}, first}; !reflect.DeepEqual(m.Blobs, want) {
		t.Errorf("layers %+v, want %+v", m.Blobs, want)
	}
}

// TestParseManifestAllocations holds that reading an image of ten layers takes
// little more memory than what it returns.
func TestParseManifestAllocations(t *testing.T) {
	body := tenLayers()
	n := testing.AllocsPerRun(100, func() {
		if _, err := ParseManifest(MediaTypeImage, body); err != nil {
			t.Fatal(err)
		}
	})
	if n > 32 {
		t.Errorf("%v allocations, want at most 32", n)
	}
}

func tenLayers() []byte {
	var layers []string
	for i := range 10 {
		layers = append(layers, fmt.Sprintf(`{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:%064x","size":%d}`, i, 1000+i))
	}
	return []byte(`{"schemaVersion":2,"mediaType":"` + MediaTypeImage + `","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"` + d1 +
		`","size":7},"layers":[` + strings.Join(layers, ",") + `],"annotations":{"org.opencontainers.image.created":"2026-01-01T00:00:00Z"}}`)
}

// BenchmarkParseManifest reads an image of ten layers.
func BenchmarkParseManifest(b *testing.B) {
	body := tenLayers()
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := ParseManifest(MediaTypeImage, body); err != nil {
			b.Fatal(err)
		}
	}
}
