package listen

import (
	"bytes"
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestParseHost(t *testing.T) {
	tests := []struct{ in, want, err string }{
		{"registry.example.com", "registry.example.com", ""},
		{"Registry.Example.com.", "registry.example.com", ""},
		{"registry:5000", "registry:5000", ""},
		{"*.example.com", "*.example.com", ""},
		{"192.168.1.20", "192.168.1.20", ""},
		{"192.168.1.20:5000", "192.168.1.20:5000", ""},
		{"::1", "[::1]", ""},
		{"[2001:DB8::1]:5000", "[2001:db8::1]:5000", ""},
		{"https://registry.example.com", "", "only its name"},
		{"registry/example", "", "only its name"},
		{"fe80::1%eth0", "", "zone"},
		{"bücher.example", "", "xn--"},
		{"-a.example", "", "neither"},
		{"a..example", "", "neither"},
		{"192.168.1.256", "", "neither"},
		{"registry:port", "", "port"},
		{"", "", "neither"},
		{"a.*.example", "", "neither"},
	}
	for _, tt := range tests {
		got, err := ParseHost(tt.in)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("ParseHost(%q): got %v and %v, want an error with %q", tt.in, got, err, tt.err)
			}
			continue
		}
		if err != nil || got.String() != tt.want {
			t.Errorf("ParseHost(%q): got %q and %v, want %q", tt.in, got, err, tt.want)
		}
	}
}

func FuzzParseHost(f *testing.F) {
	for _, s := range []string{"a.example:1", "[::1]:5000", "*.a", "1.2.3.4", "[", "::ffff:1.2.3.4"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h, err := ParseHost(s)
		if err != nil {
			return
		}
		again, err := ParseHost(h.String())
		if err != nil || again != h {
			t.Errorf("ParseHost(%q) is %+v, and its text %q parses to %+v and %v", s, h, h, again, err)
		}
		if strings.ContainsAny(h.String(), "/\\ \n\"'`$;&|<>") {
			t.Errorf("%q became %q, which isn't safe to show in a command", s, h)
		}
	})
}

func hosts(t *testing.T, ss ...string) []Host {
	t.Helper()
	var hs []Host
	for _, s := range ss {
		h, err := ParseHost(s)
		if err != nil {
			t.Fatal(err)
		}
		hs = append(hs, h)
	}
	return hs
}

func TestMakeSelfSigned(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "berth-tls")
	made, err := MakeSelfSigned(dir, hosts(t, "registry.example:5000", "192.0.2.7", "::1"), KeepExisting, now)
	if err != nil {
		t.Fatal(err)
	}
	if !made.NewCA {
		t.Error("the first authority isn't called new")
	}
	verify(t, made, "registry.example", "192.0.2.7", "::1")
	for _, f := range []string{filepath.Join(dir, authorityKey), made.Key} {
		fi, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		if got := fi.Mode().Perm(); runtime.GOOS != "windows" && got != 0o600 {
			t.Errorf("mode of %s: got %o, want 600", f, got)
		}
	}
	before := readAll(t, dir)
	if _, err := MakeSelfSigned(dir, hosts(t, "other.example"), KeepExisting, now); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second time: got %v, want %v", err, fs.ErrExist)
	}
	if !bytes.Equal(before, readAll(t, dir)) {
		t.Error("a refused run changed files")
	}

	made, err = MakeSelfSigned(dir, hosts(t, "other.example"), ReplaceExisting, now)
	if err != nil {
		t.Fatal(err)
	}
	if made.NewCA {
		t.Error("the authority was made anew")
	}
	verify(t, made, "other.example")
	if _, err := MakeSelfSigned(dir, hosts(t, "late.example"), ReplaceExisting, now.AddDate(11, 0, 0)); err == nil {
		t.Error("with an expired authority: got no error")
	}
	if err := os.Remove(filepath.Join(dir, authorityKey)); err != nil {
		t.Fatal(err)
	}
	_, err = MakeSelfSigned(dir, hosts(t, "other.example"), ReplaceExisting, now)
	if err == nil {
		t.Fatal("without the authority's key: got no error")
	}
	wantAll(t, err.Error(), authorityKey, "does not exist", "--dir")
}

// verify checks the files as a client that trusts ca.crt alone would.
func verify(t *testing.T, made SelfSigned, names ...string) {
	t.Helper()
	p, err := readPair(made.Cert, made.Key)
	if err != nil {
		t.Fatal(err)
	}
	if w := p.warnings(now, names); len(w) > 0 {
		t.Errorf("the certificate just made is warned of: %q", w)
	}
	ca, err := readCertFile(made.CA)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca[0])
	for _, n := range names {
		if _, err := p.cert.Leaf.Verify(x509.VerifyOptions{DNSName: n, Roots: roots, CurrentTime: now}); err != nil {
			t.Errorf("as %s: %v", n, err)
		}
	}
	if got := p.cert.Leaf.NotAfter.Sub(p.cert.Leaf.NotBefore).Hours() / 24; got > leafDays {
		t.Errorf("the certificate is valid for %.1f days, want at most %d", got, leafDays)
	}
}

// readAll returns the content of all files of dir, one after the other.
func readAll(t *testing.T, dir string) []byte {
	t.Helper()
	var all []byte
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all = append(append(all, e.Name()...), b...)
	}
	return all
}
