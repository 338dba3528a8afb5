package acme

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/acme"
)

var now = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// keep puts a certificate for a host into dir, as autocert keeps it.
func keep(t *testing.T, dir, file, host string, rsaKey bool, until time.Time) {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(7), DNSNames: []string{host}, NotBefore: until.Add(-2 * time.Hour), NotAfter: until}
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var signer any = e
	var public any = e.Public()
	if rsaKey {
		r, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		signer, public = r, r.Public()
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, signer)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(signer)
	if err != nil {
		t.Fatal(err)
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	if err := os.WriteFile(filepath.Join(dir, file), text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestGet holds that a handshake never waits and never makes the server be asked,
// whoever asks for what.
func TestGet(t *testing.T) {
	dir := t.TempDir()
	now := time.Now() // the manager has no other clock
	keep(t, dir, "good.example.test", "good.example.test", false, now.Add(time.Hour))
	keep(t, dir, "old.example.test", "old.example.test", false, now.Add(-time.Minute))
	keep(t, dir, "other.example.test", "someone.example.test", false, now.Add(time.Hour))
	keep(t, dir, "rsa.example.test", "rsa.example.test", true, now.Add(time.Hour))
	c, err := New(Options{
		Hosts: []string{"good.example.test", "old.example.test", "other.example.test", "rsa.example.test", "new.example.test"},
		Cache: dir, Directory: "https://127.0.0.1:1/nobody",
	})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, server string
		protocols    []string
		want         string // of the error; nothing: there is a certificate
	}{
		{"kept", "good.example.test", nil, ""},
		{"in capitals", "Good.Example.TEST.", []string{"h2"}, ""},
		{"without a name", "", nil, ""},
		{"expired", "old.example.test", nil, "no certificate for old.example.test yet"},
		{"of another host", "other.example.test", nil, "no certificate for other.example.test yet"},
		{"of another kind", "rsa.example.test", nil, "no certificate for rsa.example.test yet"},
		{"not there", "new.example.test", nil, "no certificate for new.example.test yet"},
		{"not ours", "evil.example.test", nil, "none of the hosts"},
		{"a path", "../good.example.test", nil, "none of the hosts"},
		{"a challenge that is none", "good.example.test", []string{Protocol}, "no token cert"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cert, err := c.Get(&tls.ClientHelloInfo{ServerName: tt.server, SupportedProtos: tt.protocols})
			switch {
			case tt.want == "" && (err != nil || cert.Leaf.DNSNames[0] != "good.example.test"):
				t.Errorf("got %v", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	plain := file("plain", "secret, but no base64")
	tests := []struct {
		name    string
		options Options
		want    string
	}{
		{"a cache that is a file", Options{Cache: plain}, "http.tls.acme.cache"},
		{"no authority", Options{Cache: dir, CAFile: filepath.Join(dir, "missing")}, "http.tls.acme.ca"},
		{"an authority that is none", Options{Cache: dir, CAFile: plain}, "no certificate in PEM form"},
		{"no key", Options{Cache: dir, EABID: "k", EABFile: filepath.Join(dir, "missing")}, "http.tls.acme.eab_key"},
		{"a key that is none", Options{Cache: dir, EABID: "k", EABFile: plain}, "holds no base64"},
		{"an empty key", Options{Cache: dir, EABID: "k", EABFile: file("empty", "\n")}, "holds no base64"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.options.Hosts = []string{"a.example.test"}
			_, err := New(tt.options)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the error tells the key: %v", err)
			}
		})
	}
	for _, text := range []string{"_-8=", "/+8", " _-8\r\n"} {
		b, err := readBinding("k", file("eab", text))
		if err != nil || string(b.Key) != "\xff\xef" {
			t.Errorf("%q: got %v, %v", text, b, err)
		}
	}
}

func TestExplain(t *testing.T) {
	const urn = "urn:ietf:params:acme:error:"
	noted := func(kind string) *reasons {
		host, p, ok := readAuthorization([]byte(`{"identifier":{"type":"dns","value":"a.example"},"challenges":[{"type":"http-01"},{"type":"tls-alpn-01","error":{"type":"` + urn + kind + `","detail":"it says why"}}]}`))
		if !ok {
			t.Fatal("the answer was not understood")
		}
		return &reasons{hosts: map[string]problem{host: p}}
	}
	none := &reasons{}
	lost := errors.New("no viable challenge type found")
	tests := []struct {
		name           string
		reasons        *reasons
		err            error
		reason, advice string
	}{
		{"nobody answers", noted("connection"), lost, "tls-alpn-01: it says why", "port 443"},
		{"no such name", noted("dns"), lost, "it says why", "A record"},
		{"another server", noted("unauthorized"), lost, "it says why", "another server"},
		{"forbidden", noted("caa"), lost, "it says why", "CAA"},
		{"something new", noted("x"), lost, "it says why", "see the reason"},
		{"too often", none, &acme.Error{ProblemType: urn + "rateLimited", Detail: "wait"}, "wait", "acme.cache"},
		{"a name for nobody", none, &acme.Error{ProblemType: urn + "rejectedIdentifier", Detail: "no"}, "no", "public name"},
		{"no account", none, &acme.Error{ProblemType: urn + "externalAccountRequired", Detail: "no"}, "no", "eab_id"},
		{"the server's name", none, &net.DNSError{Err: "no such host", Name: "acme.example"}, "acme.example", "resolve"},
		{"no answer", none, context.DeadlineExceeded, "deadline", "can't reach"},
		{"anything else", none, lost, "viable", "see the reason"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			reason, advice := tt.reasons.explain("a.example", tt.err)
			if !strings.Contains(reason, tt.reason) || !strings.Contains(advice, tt.advice) {
				t.Errorf("got %q and %q, want %q and %q", reason, advice, tt.reason, tt.advice)
			}
		})
	}
	r := noted("dns")
	r.forget("a.example")
	if reason, _ := r.explain("a.example", lost); reason != lost.Error() {
		t.Errorf("an earlier reason is given again: %q", reason)
	}
}

func TestOverdue(t *testing.T) {
	cert := func(life time.Duration) *tls.Certificate {
		return &tls.Certificate{Leaf: &x509.Certificate{NotBefore: now, NotAfter: now.Add(life)}}
	}
	const day = 24 * time.Hour
	tests := []struct {
		life, age time.Duration
		want      bool
	}{
		{90 * day, 60 * day, false}, {90 * day, 69 * day, false}, {90 * day, 71 * day, true},
		{6 * day, 4 * day, false}, {6 * day, 5 * day, true}, {365 * day, 344 * day, false}, {365 * day, 346 * day, true},
	}
	for _, tt := range tests {
		if got := overdue(cert(tt.life), now.Add(tt.age)); got != tt.want {
			t.Errorf("%v after %v: got %v, want %v", tt.life, tt.age, got, tt.want)
		}
	}
}

func FuzzReadAuthorization(f *testing.F) {
	f.Add([]byte(`{"identifier":{"value":"a"},"challenges":[{"type":"x","error":{"type":"y","detail":"z"}}]}`))
	f.Add([]byte(`{"challenges":[null,{"error":null}]}`))
	f.Fuzz(func(t *testing.T, answer []byte) {
		if host, p, ok := readAuthorization(answer); !ok && (host != "" || p != problem{}) {
			t.Errorf("%q: got %q, %v without an error in it", answer, host, p)
		}
	})
}
