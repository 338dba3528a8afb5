package listen

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf16"
)

// now is the time in which the certificates of these tests live.
var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// A party is a certificate with its key.
type party struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func (p party) certPEM() string { return string(certPEM(p.cert.Raw)) }

func (p party) keyPEM(t *testing.T) string {
	t.Helper()
	b, err := keyPEM(p.key)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// issue makes a certificate; change alters it before it is signed. Without an
// issuer it signs itself.
func issue(t *testing.T, issuer *party, name string, change func(*x509.Certificate)) party {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: now.AddDate(0, -1, 0), NotAfter: now.AddDate(1, 0, 0),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if change != nil {
		change(c)
	}
	parent := party{c, key}
	if issuer != nil {
		parent = *issuer
	}
	made, err := sign(c, parent.cert, key, parent.key)
	if err != nil {
		t.Fatal(err)
	}
	return party{made.Cert, key}
}

func authority(c *x509.Certificate) {
	c.IsCA, c.BasicConstraintsValid = true, true
	c.DNSNames, c.ExtKeyUsage = nil, nil
}

// writeFiles writes name-content pairs into a new directory and returns it.
func writeFiles(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func utf16LE(s string) string {
	b := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune(s)) {
		b = append(b, byte(u), byte(u>>8))
	}
	return string(b)
}

func TestLoadCertificatesErrors(t *testing.T) {
	a, b := issue(t, nil, "a.example", nil), issue(t, nil, "b.example", nil)
	legacy := &pem.Block{Type: "EC PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-128-CBC,00"}, Bytes: []byte("x")}
	dir := writeFiles(t, map[string]string{
		"a.crt": a.certPEM(), "a.key": a.keyPEM(t), "b.key": b.keyPEM(t),
		"empty": " \n", "text": "hello", "a.der": string(a.cert.Raw),
		"pfx":     "\x30\x82\x01\x01\x02\x01\x03",
		"broken":  "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
		"badkey":  "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
		"pkcs8":   "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
		"legacy":  string(pem.EncodeToMemory(legacy)),
		"request": "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
		"large":   strings.Repeat("x", maxPEM+1),
	})
	tests := []struct {
		name, cert, key string
		want            []string
	}{
		{"missing", "no.crt", "a.key", []string{"certificate file", "no.crt", "does not exist", "mounted"}},
		{"both missing", "no.crt", "no.key", []string{"no.crt", "no.key"}},
		{"directory", ".", "a.key", []string{"is a directory"}},
		{"empty", "empty", "a.key", []string{"empty", "is empty"}},
		{"not PEM", "text", "a.key", []string{"is not PEM", "BEGIN CERTIFICATE"}},
		{"DER", "a.der", "a.key", []string{"binary", "openssl x509 -inform der"}},
		{"PKCS #12", "pfx", "pfx", []string{"openssl pkcs12", "-nokeys -out cert.pem", "-nocerts -out key.pem"}},
		{"broken certificate", "broken", "a.key", []string{"certificate no. 1 is broken"}},
		{"request", "request", "a.key", []string{`holds a "certificate request"`}},
		{"too large", "large", "a.key", []string{"larger than 1 MiB"}},
		{"swapped", "a.key", "a.crt", []string{"swapped", "a.key", "a.crt"}},
		{"key in both", "a.key", "a.key", []string{"holds a private key and no certificate"}},
		{"certificate in both", "a.crt", "a.crt", []string{"holds a certificate and no private key"}},
		{"broken key", "a.crt", "badkey", []string{"private key is broken"}},
		{"encrypted key", "a.crt", "pkcs8", []string{"pass phrase", "openssl pkey -in"}},
		{"encrypted key, old form", "a.crt", "legacy", []string{"pass phrase", "openssl pkey -in"}},
		{"key of another certificate", "a.crt", "b.key", []string{"b.key does not belong to the certificate in", "a.crt", "for a.example"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := LoadCertificates(CertificateOptions{CertFile: filepath.Join(dir, tt.cert), KeyFile: filepath.Join(dir, tt.key)})
			if err == nil {
				t.Fatal("got no error")
			}
			wantAll(t, err.Error(), tt.want...)
			if strings.Contains(err.Error(), "BEGIN PRIVATE") {
				t.Errorf("the error shows a key: %v", err)
			}
		})
	}
}

func TestLoadCertificatesUnreadable(t *testing.T) {
	if runtime.GOOS == "windows" || os.Getuid() == 0 {
		// As root every file can be read: the wording alone is tested.
		wantAll(t, explainRead(keyFile, "x.key", os.ErrPermission).Error(), "x.key", "can't be read", "chmod")
		return
	}
	a := issue(t, nil, "a.example", nil)
	dir := writeFiles(t, map[string]string{"a.crt": a.certPEM(), "a.key": a.keyPEM(t)})
	if err := os.Chmod(filepath.Join(dir, "a.key"), 0); err != nil {
		t.Fatal(err)
	}
	_, err := LoadCertificates(CertificateOptions{CertFile: filepath.Join(dir, "a.crt"), KeyFile: filepath.Join(dir, "a.key")})
	if err == nil {
		t.Fatal("got no error")
	}
	wantAll(t, err.Error(), "a.key", "can't be read", fmt.Sprintf("uid %d", os.Getuid()))
}

func TestLoadCertificatesWarnings(t *testing.T) {
	root := issue(t, nil, "Root", authority)
	inter := issue(t, &root, "Intermediate", authority)
	leaf := issue(t, &inter, "a.example", nil)
	self := func(change func(*x509.Certificate)) party { return issue(t, nil, "a.example", change) }
	tests := []struct {
		name  string
		leaf  party
		chain string // the content of the file; empty means the leaf alone
		hosts []string
		want  []string // parts of the only warning; nil means none
	}{
		{"whole chain", leaf, leaf.certPEM() + inter.certPEM() + root.certPEM(), []string{"a.example"}, nil},
		{"Windows line ends and UTF-16", leaf, utf16LE(strings.ReplaceAll(leaf.certPEM()+inter.certPEM()+root.certPEM(), "\n", "\r\n")), nil, nil},
		{"byte order mark", leaf, "\xef\xbb\xbf" + leaf.certPEM() + inter.certPEM() + root.certPEM(), nil, nil},
		{"self-signed", self(nil), "", []string{"A.example"}, nil},
		{"missing intermediate", leaf, "", nil, []string{"don't lead to a root", "CN=Intermediate", "cat "}},
		{"leaf not first", leaf, root.certPEM() + inter.certPEM() + leaf.certPEM(), nil, []string{"not the first in its file"}},
		{"expired", self(func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Hour) }), "", nil, []string{"HAS EXPIRED", "2026-11-23 11:00 UTC"}},
		{"not yet valid", self(func(c *x509.Certificate) { c.NotBefore = now.Add(time.Hour) }), "", nil, []string{"not valid before 2026-11-23 13:00 UTC", "clock"}},
		{"expires soon", self(func(c *x509.Certificate) { c.NotAfter = now.AddDate(0, 0, 13) }), "", nil, []string{"expires in 13 days", "2026-12-06"}},
		{"only a common name", self(func(c *x509.Certificate) { c.DNSNames = nil }), "", []string{"a.example"}, []string{"no subject alternative name", `"a.example"`}},
		{"wrong name", self(nil), "", []string{"a.example", "192.0.2.7"}, []string{"is for a.example and not for 192.0.2.7"}},
		{"for clients", self(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), "", nil, []string{"serverAuth"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.chain == "" {
				tt.chain = tt.leaf.certPEM()
			}
			dir := writeFiles(t, map[string]string{"crt": tt.chain, "key": tt.leaf.keyPEM(t)})
			var log bytes.Buffer
			c, err := LoadCertificates(CertificateOptions{
				CertFile: filepath.Join(dir, "crt"), KeyFile: filepath.Join(dir, "key"), ExpectHosts: tt.hosts,
				Log: slog.New(slog.NewTextHandler(&log, nil)), Now: func() time.Time { return now },
			})
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Count(log.String(), "\n"); got != min(1, len(tt.want)) {
				t.Errorf("got %d warnings, want %d:\n%s", got, min(1, len(tt.want)), &log)
			}
			wantAll(t, strings.ReplaceAll(log.String(), `\"`, `"`), tt.want...)
			if served, _ := c.Get(nil); !bytes.Equal(served.Certificate[0], tt.leaf.cert.Raw) {
				t.Error("the certificate served first is not the server's")
			}
		})
	}
}

// TestCertificatesRun replaces files under a running watch, in the fake time of
// a bubble.
func TestCertificatesRun(t *testing.T) {
	a, b := issue(t, nil, "a.example", nil), issue(t, nil, "b.example", nil)
	dir := writeFiles(t, map[string]string{"crt": a.certPEM(), "key": a.keyPEM(t)})
	put := func(name, content string) {
		t.Helper()
		if err := replace(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		var log syncBuffer
		c, err := LoadCertificates(CertificateOptions{
			CertFile: filepath.Join(dir, "crt"), KeyFile: filepath.Join(dir, "key"), Log: slog.New(slog.NewTextHandler(&log, nil)),
			Now: func() time.Time { return now },
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _ = c.Run(ctx) }()
		check := func(step, name string, logged int) {
			t.Helper()
			time.Sleep(21 * time.Second) // four polls
			synctest.Wait()
			if got, _ := c.Get(nil); got.Leaf.Subject.CommonName != name {
				t.Errorf("%s: got the certificate of %s, want %s", step, got.Leaf.Subject.CommonName, name)
			}
			lines := log.take()
			if got := strings.Count(lines, "\n"); got != logged {
				t.Errorf("%s: got %d log lines, want %d:\n%s", step, got, logged, lines)
			}
		}
		check("unchanged", "a.example", 0)
		put("crt", b.certPEM())
		check("half replaced", "a.example", 1)
		put("key", b.keyPEM(t))
		check("replaced", "b.example", 1)
		put("crt", "garbage")
		check("broken", "b.example", 1)
		_ = os.Remove(filepath.Join(dir, "key"))
		check("removed", "b.example", 1)
		put("crt", a.certPEM())
		put("key", a.keyPEM(t))
		check("whole again", "a.example", 1)
		put("key", "garbage")
		if err := c.Reload(); err == nil {
			t.Error("Reload of a broken pair: got no error")
		}
		cancel()
		synctest.Wait()
	})
}

// A syncBuffer may be written to while it is read.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// take returns what was written since the last call.
func (b *syncBuffer) take() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.b.String()
	b.b.Reset()
	return s
}

// TestReloadDropsNothing changes the certificate under load: every request is
// answered, and new connections see each of the certificates.
func TestReloadDropsNothing(t *testing.T) {
	dir := t.TempDir()
	makePair := func() SelfSigned {
		made, err := MakeSelfSigned(dir, []Host{{Name: "127.0.0.1"}}, ReplaceExisting, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	made := makePair()
	certs, err := LoadCertificates(CertificateOptions{CertFile: made.Cert, KeyFile: made.Key})
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(made.CA)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	s := serve(t, ServerOptions{TLS: tlsConfig(t, certs)}, hello)

	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	for range 2 {
		kept := client(t, &tls.Config{RootCAs: pool})
		fresh := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}}
		for _, hc := range []*http.Client{kept, fresh} {
			load.Go(func() {
				for ctx.Err() == nil {
					resp, err := hc.Get("https://" + s.addr)
					if err != nil {
						t.Errorf("during reload: %v", err)
						return
					}
					if b, err := io.ReadAll(resp.Body); string(b) != "hello" || err != nil {
						t.Errorf("during reload: got %q and %v", b, err)
					}
					_ = resp.Body.Close()
				}
			})
		}
	}
	seen := map[string]bool{}
	for range 10 {
		makePair()
		if err := certs.Reload(); err != nil {
			t.Fatal(err)
		}
		c, err := tls.Dial("tcp", s.addr, &tls.Config{RootCAs: pool})
		if err != nil {
			t.Fatal(err)
		}
		seen[c.ConnectionState().PeerCertificates[0].SerialNumber.String()] = true
		_ = c.Close()
	}
	stop()
	load.Wait()
	if len(seen) != 10 {
		t.Errorf("new connections saw %d different certificates, want 10", len(seen))
	}
}

func FuzzToUTF8(f *testing.F) {
	f.Add([]byte(utf16LE("-----BEGIN")))
	f.Add([]byte("\xfe\xff\x00-\x00"))
	f.Add([]byte("\xef\xbb\xbf-"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if got := toUTF8(b); len(got) > 3*len(b) {
			t.Errorf("%d bytes became %d", len(b), len(got))
		}
	})
}
