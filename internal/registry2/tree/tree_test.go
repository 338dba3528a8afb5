package tree

import (
	"strings"
	"testing"

	"berth/internal/meta"
	"berth/internal/oci"
)

func TestParseLink(t *testing.T) {
	d := oci.SHA256.FromBytes([]byte("x"))
	for _, text := range []string{d.String(), d.String() + "\n", " \t" + d.String() + "\r\n"} {
		if got, err := parseLink([]byte(text)); err != nil || got != d {
			t.Errorf("%q: got %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "\n", "\x00", d.Hex(), d.String() + d.String(), strings.ToUpper(d.String()), "sha256:../../etc", "md5:00"} {
		if got, err := parseLink([]byte(text)); err == nil {
			t.Errorf("%q: got %s", text, got)
		}
	}
}

func FuzzParseLink(f *testing.F) {
	f.Add([]byte(oci.SHA256.FromBytes(nil).String() + "\n"))
	f.Add([]byte("sha256:"))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := parseLink(b)
		if err != nil {
			return
		}
		if strings.TrimSpace(string(b)) != d.String() {
			t.Errorf("%q became %s", b, d)
		}
		name := linkPath(meta.LinkName{Kind: meta.LayerLink, Name: d.String()})
		if strings.Contains(name, "..") {
			t.Errorf("%q became the path %s", b, name)
		}
	})
}
