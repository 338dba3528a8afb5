package listen

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestNewTLSConfig(t *testing.T) {
	const (
		good    = tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
		without = tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
	)
	tests := []struct {
		name    string
		options TLSOptions
		version uint16
		h2      bool
	}{
		{"nothing said", TLSOptions{}, tls.VersionTLS12, true},
		{"older than there is", TLSOptions{MinVersion: tls.VersionTLS10}, tls.VersionTLS12, true},
		{"the newest", TLSOptions{MinVersion: tls.VersionTLS13}, tls.VersionTLS13, true},
		{"a cipher that HTTP/2 takes", TLSOptions{Ciphers: []uint16{without, good}}, tls.VersionTLS12, true},
		{"none that HTTP/2 takes", TLSOptions{Ciphers: []uint16{without}}, tls.VersionTLS12, false},
		{"none, but TLS 1.3 alone", TLSOptions{Ciphers: []uint16{without}, MinVersion: tls.VersionTLS13}, tls.VersionTLS13, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var log bytes.Buffer
			tt.options.Log = slog.New(slog.NewTextHandler(&log, nil))
			c, err := NewTLSConfig(tt.options)
			if err != nil {
				t.Fatal(err)
			}
			if h2 := slices.Contains(c.NextProtos, "h2"); c.MinVersion != tt.version || h2 != tt.h2 {
				t.Errorf("got version %x, HTTP/2 %v; want %x, %v", c.MinVersion, h2, tt.version, tt.h2)
			}
			if warned := strings.Contains(log.String(), "HTTP/2 is off"); warned == tt.h2 {
				t.Errorf("HTTP/2 is %v and the log says %q", tt.h2, &log)
			}
		})
	}
}

// TestCiphersAreSpoken holds that a server speaks the chosen suite of TLS 1.2 and
// no other, over HTTP/1.1 where HTTP/2 needs another.
func TestCiphersAreSpoken(t *testing.T) {
	certs, tc := selfSigned(t)
	config, err := NewTLSConfig(TLSOptions{Certificate: certs.Get, Ciphers: []uint16{tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256}})
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, ServerOptions{TLS: config}, hello)
	tc.MaxVersion = tls.VersionTLS12
	resp, err := client(t, tc).Get("https://" + s.addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if got := resp.TLS.CipherSuite; got != tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 || resp.ProtoMajor != 1 {
		t.Errorf("got %s over %s", tls.CipherSuiteName(got), resp.Proto)
	}
	tc = tc.Clone()
	tc.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
	if _, err := client(t, tc).Get("https://" + s.addr); err == nil {
		t.Error("another suite is spoken")
	}
}

// TestClientCertificates has each way to ask for a certificate, and who comes
// in by it.
func TestClientCertificates(t *testing.T) {
	ca, other := issue(t, nil, "CA", authority), issue(t, nil, "other CA", authority)
	forClients := func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }
	known, stranger := issue(t, &ca, "client", forClients), issue(t, &other, "client", forClients)
	server := issue(t, &ca, "server", nil)
	dir := writeFiles(t, map[string]string{"ca.pem": ca.certPEM()})
	certs, tc := selfSigned(t)
	tests := []struct {
		name                            string
		auth                            tls.ClientAuthType
		none, known, stranger, isServer bool // who comes in
	}{
		{"none", tls.NoClientCert, true, true, true, true},
		{"request", tls.RequestClientCert, true, true, true, true},
		{"require", tls.RequireAnyClientCert, false, true, true, true},
		{"verify", tls.VerifyClientCertIfGiven, true, true, false, false},
		{"require and verify", tls.RequireAndVerifyClientCert, false, true, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			config, err := NewTLSConfig(TLSOptions{Certificate: certs.Get, ClientAuth: tt.auth, ClientCAs: []string{filepath.Join(dir, "ca.pem")}})
			if err != nil {
				t.Fatal(err)
			}
			s := serve(t, ServerOptions{TLS: config}, hello)
			shows := func(want bool, who string, list ...party) {
				t.Helper()
				c := tc.Clone()
				for _, p := range list {
					// Whatever authorities the server names: a hostile client doesn't care.
					c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
						return &tls.Certificate{Certificate: [][]byte{p.cert.Raw}, PrivateKey: p.key}, nil
					}
				}
				resp, err := client(t, c).Get("https://" + s.addr)
				if err == nil {
					_ = resp.Body.Close()
				}
				if got := err == nil; got != want {
					t.Errorf("%s: got in: %v (%v), want %v", who, got, err, want)
				}
			}
			shows(tt.none, "no certificate")
			shows(tt.known, "one of ours", known)
			shows(tt.stranger, "one of another authority", stranger)
			shows(tt.isServer, "one for servers", server)
		})
	}
}

// TestChallengeProtocol holds that a challenge is answered without a client's
// certificate, and that nobody is served over it.
func TestChallengeProtocol(t *testing.T) {
	ca := issue(t, nil, "CA", authority)
	dir := writeFiles(t, map[string]string{"ca.pem": ca.certPEM()})
	certs, tc := selfSigned(t)
	config, err := NewTLSConfig(TLSOptions{
		Certificate: certs.Get, Challenge: "challenge/1",
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: []string{filepath.Join(dir, "ca.pem")},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, ServerOptions{TLS: config}, hello)
	for _, protocols := range [][]string{{"challenge/1"}, {"challenge/1", "http/1.1"}, {"http/1.1"}, nil} {
		tc := tc.Clone()
		tc.NextProtos = protocols
		c, err := tls.Dial("tcp", s.addr, tc)
		if err != nil {
			t.Fatalf("%q: %v", protocols, err) // with TLS 1.3 the refusal comes behind the handshake
		}
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		b, _ := io.ReadAll(c)
		if len(b) > 0 {
			t.Errorf("%q: served %q", protocols, b)
		}
		if agreed := c.ConnectionState().NegotiatedProtocol; len(protocols) == 1 && agreed != protocols[0] {
			t.Errorf("%q: agreed on %q", protocols, agreed)
		}
		_ = c.Close()
	}
}

func TestClientCAErrors(t *testing.T) {
	ca := issue(t, nil, "CA", authority)
	dir := writeFiles(t, map[string]string{
		"good.pem": utf16LE(ca.certPEM()), "empty.pem": "", "key.pem": ca.keyPEM(t),
		"broken.pem": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
	})
	load := func(names ...string) (*tls.Config, error) {
		var files []string
		for _, n := range names {
			files = append(files, filepath.Join(dir, n))
		}
		return NewTLSConfig(TLSOptions{ClientCAs: files, ClientAuth: tls.RequireAndVerifyClientCert})
	}
	if c, err := load("good.pem"); err != nil || c.ClientCAs == nil {
		t.Errorf("a file of Windows: got %v", err)
	}
	_, err := load("missing.pem", "empty.pem", "key.pem", "broken.pem", "good.pem")
	if err == nil {
		t.Fatal("got no error")
	}
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want it to wrap %v", err, fs.ErrNotExist)
	}
	wantAll(t, err.Error(), "missing.pem: does not exist", "empty.pem: holds no certificate", "key.pem: holds no certificate", "broken.pem: holds a certificate that can't be read")
}

// TestProtocols has what is spoken without TLS and with HTTP/2 switched off.
func TestProtocols(t *testing.T) {
	certs, tc := selfSigned(t)
	echo := func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) }
	h1 := serve(t, ServerOptions{TLS: tlsConfig(t, certs), HTTP1: true}, echo)
	h2c := serve(t, ServerOptions{H2C: true}, echo)
	plain := serve(t, ServerOptions{}, echo)
	prior := new(http.Protocols)
	prior.SetUnencryptedHTTP2(true)
	prefers := &http.Client{Transport: &http.Transport{Protocols: prior}}
	tests := []struct {
		name, url string
		client    *http.Client
		want      string // nothing: no answer
	}{
		{"HTTP/2 is off", "https://" + h1.addr, client(t, tc), "HTTP/1.1"},
		{"HTTP/2 without TLS", "http://" + h2c.addr, prefers, "HTTP/2.0"},
		{"HTTP/1 beside it", "http://" + h2c.addr, client(t, nil), "HTTP/1.1"},
		{"HTTP/2 without TLS is off", "http://" + plain.addr, prefers, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			resp, err := tt.client.Get(tt.url)
			if err != nil {
				if tt.want != "" {
					t.Error(err)
				}
				return
			}
			b, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if string(b) != tt.want {
				t.Errorf("got %q, want %q", b, tt.want)
			}
		})
	}
}
