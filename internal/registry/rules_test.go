package registry_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"berth/internal/oci"
	"berth/internal/registry"
)

// withURL returns an image whose layer lives at a URL.
func withURL(t *testing.T, u string) oci.Manifest {
	t.Helper()
	const config = `"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2}`
	layer := oci.SHA256.FromBytes([]byte(u)).String()
	return parse(t, oci.MediaTypeImage, `{"schemaVersion":2,`+config+`,"layers":[{"mediaType":"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
		"digest":"`+layer+`","size":10,"urls":["`+u+`"]}]}`)
}

func parse(t *testing.T, mediaType, text string) oci.Manifest {
	t.Helper()
	m, err := oci.ParseManifest(mediaType, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestURLRules holds which URLs of layers are accepted.
func TestURLRules(t *testing.T) {
	re := func(s string) []*regexp.Regexp { return []*regexp.Regexp{regexp.MustCompile(s)} }
	for name, tt := range map[string]struct {
		rules           registry.Manifests
		good, elsewhere bool
	}{
		"all":            {registry.Manifests{}, true, true},
		"none":           {registry.Manifests{RefuseURLs: true}, false, false},
		"none but some":  {registry.Manifests{RefuseURLs: true, AllowURLs: re("good")}, false, false},
		"some":           {registry.Manifests{AllowURLs: re("^https://good\\.example/")}, true, false},
		"all but some":   {registry.Manifests{DenyURLs: re("bad")}, true, false},
		"some but some":  {registry.Manifests{AllowURLs: re("example"), DenyURLs: re("good")}, false, true},
		"one of several": {registry.Manifests{AllowURLs: append(re("other"), re("good")...)}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			e.opts.Manifests = tt.rules
			e.restart()
			for u, want := range map[string]bool{"https://good.example/x": tt.good, "https://bad.example/x": tt.elsewhere} {
				_, err := e.core.PutManifest(t.Context(), registry.Put{Repo: repo(t, "a"), Manifest: withURL(t, u)})
				if (err == nil) != want {
					t.Errorf("%s: got %v, want it to be accepted: %v", u, err, want)
				}
				if err != nil && (oci.CodeOf(err) != oci.ManifestInvalid || !strings.Contains(err.Error(), "manifests.urls")) {
					t.Errorf("%s: got %v, want %s that names the setting", u, err, oci.ManifestInvalid)
				}
			}
		})
	}
}

// TestPlatforms holds which children an index needs to have in its repository.
func TestPlatforms(t *testing.T) {
	a := repo(t, "a")
	for name, tt := range map[string]struct {
		platforms []string
		want      bool // without linux/arm64
	}{
		"none":    {nil, true},
		"another": {[]string{"linux/amd64", "linux/s390x"}, true},
		"it":      {[]string{"linux/amd64", "linux/arm64"}, false},
		"all":     {[]string{registry.AllPlatforms}, false},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			e.opts.Manifests.Platforms = tt.platforms
			e.restart()
			amd, arm := e.image(a, "amd"), e.image(a, "arm")
			e.put(a, amd)
			entry := func(m oci.Manifest, arch string) map[string]any {
				d := child(m)
				return map[string]any{"mediaType": d.MediaType, "digest": d.Digest, "size": d.Size,
					"platform": map[string]string{"os": "linux", "architecture": arch}}
			}
			text, err := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": []any{entry(amd, "amd64"), entry(arm, "arm64")}})
			if err != nil {
				t.Fatal(err)
			}
			put := registry.Put{Repo: a, Manifest: parse(t, oci.MediaTypeIndex, string(text))}
			_, err = e.core.PutManifest(t.Context(), put)
			if (err == nil) != tt.want || err != nil && oci.CodeOf(err) != oci.ManifestBlobUnknown {
				t.Errorf("without arm64: got %v, want it to be accepted: %v", err, tt.want)
			}
			e.put(a, arm)
			if _, err := e.core.PutManifest(t.Context(), put); err != nil {
				t.Errorf("with all: %v", err)
			}
		})
	}
}
