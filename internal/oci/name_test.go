package oci

import (
	"regexp"
	"strings"
	"testing"
)

// The grammars as the distribution spec writes them, to hold the hand-written
// parsers against.
var (
	specName   = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
	specTag    = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
	specDigest = regexp.MustCompile(`^(sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128})$`)
)

var names = []string{
	"a", "0", "library/alpine", "a.b", "a_b", "a__b", "a-b", "a---b", "a/b/c/d", "con/nul", "manifests", "blobs/uploads",
	"", "/", "a/", "/a", "a//b", ".a", "a.", "a..b", "a___b", "a_", "-a", "A", "a/B", "a b", "a%2fb", "../a", "a/../b", "ä", "a\x00", "K",
	"localhost:5000/a", strings.Repeat("a", 255), strings.Repeat("a", 256), "a/" + strings.Repeat("b", 253),
}

func TestParseRepo(t *testing.T) {
	for _, s := range names {
		checkRepo(t, s)
	}
}

func checkRepo(t *testing.T, s string) {
	t.Helper()
	want := specName.MatchString(s) && len(s) <= MaxRepo
	got, err := ParseRepo(s)
	if (err == nil) != want {
		t.Errorf("ParseRepo(%q): error %v, the spec's grammar says valid = %v", s, err, want)
	}
	if err == nil && got.String() != s {
		t.Errorf("ParseRepo(%q) = %q", s, got)
	}
	if err != nil && CodeOf(err) != NameInvalid {
		t.Errorf("ParseRepo(%q): code %q, want %q", s, CodeOf(err), NameInvalid)
	}
}

func FuzzParseRepo(f *testing.F) {
	for _, s := range names {
		f.Add(s)
	}
	f.Fuzz(checkRepo)
}

func checkRef(t *testing.T, s string) {
	t.Helper()
	isDigest := strings.Contains(s, ":")
	want := !isDigest && specTag.MatchString(s) || specDigest.MatchString(s)
	got, err := ParseRef(s)
	if (err == nil) != want {
		t.Errorf("ParseRef(%q): error %v, the spec's grammar says valid = %v", s, err, want)
	}
	if err == nil && (got.String() != s || got.Tag.IsZero() == got.Digest.IsZero()) {
		t.Errorf("ParseRef(%q) = %+v", s, got)
	}
	wantCode := TagInvalid
	if isDigest {
		wantCode = DigestInvalid
	}
	if err != nil && CodeOf(err) != wantCode {
		t.Errorf("ParseRef(%q): code %q, want %q", s, CodeOf(err), wantCode)
	}
}

var refs = []string{
	"latest", "V1", "v1", "_", "a.b-c_d", "aux", strings.Repeat("a", 128),
	"", ".latest", "-x", "a b", "a/b", "..%2f", "<script>", strings.Repeat("a", 129), "ä",
	"sha256:" + strings.Repeat("a", 64), "sha512:" + strings.Repeat("0", 128),
	"sha256:" + strings.Repeat("A", 64), "SHA256:" + strings.Repeat("a", 64), "sha256:" + strings.Repeat("a", 63), "sha512:" + strings.Repeat("a", 64),
	"sha256:" + strings.Repeat("g", 64), "md5:" + strings.Repeat("a", 32), "sha256:", ":", "sha256:baddigeststring", "sha384:" + strings.Repeat("a", 96),
}

func TestParseRef(t *testing.T) {
	for _, s := range refs {
		checkRef(t, s)
	}
}

func FuzzParseRef(f *testing.F) {
	for _, s := range refs {
		f.Add(s)
	}
	f.Fuzz(checkRef)
}

func TestDigest(t *testing.T) {
	for a, want := range map[Algorithm]string{
		SHA256: "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
		SHA512: "sha512:9b71d224bd62f3785d96d46ad3ea3d73319bfbc2890caadae2dff72519673ca72323c3d99ba5c11d7c7acc6e14b8c5da0c4663475c2e5c3adef46f73bcdec043",
	} {
		h := a.New()
		h.Write([]byte("hello"))
		if got := a.Digest(h); got.String() != want || got != a.FromBytes([]byte("hello")) {
			t.Errorf("%s of hello: %s, FromBytes %s, want %s", a, got, a.FromBytes([]byte("hello")), want)
		}
		d, err := ParseDigest(want)
		if err != nil || d.Algorithm() != a || string(a)+":"+d.Hex() != want {
			t.Errorf("ParseDigest(%s) = %s of %s, %v", want, d.Hex(), d.Algorithm(), err)
		}
	}
}

// TestFallbackTag has the first two examples of the spec's table.
func TestFallbackTag(t *testing.T) {
	for in, want := range map[string]string{
		"sha256:" + strings.Repeat("a", 64):  "sha256-" + strings.Repeat("a", 64),
		"sha512:" + strings.Repeat("a", 128): "sha512-" + strings.Repeat("a", 64),
	} {
		d, err := ParseDigest(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := d.FallbackTag().String(); got != want {
			t.Errorf("FallbackTag(%s) = %s, want %s", in, got, want)
		}
	}
}
