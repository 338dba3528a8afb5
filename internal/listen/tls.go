package listen

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"slices"
	"strings"
)

// TLSOptions are what NewTLSConfig needs.
type TLSOptions struct {
	// Certificate returns the certificate for a handshake.
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)

	// MinVersion is the oldest version spoken: tls.VersionTLS12, also when 0, or
	// tls.VersionTLS13.
	MinVersion uint16

	// Ciphers are the suites of TLS 1.2 that are spoken; none means Go's choice.
	// Those of TLS 1.3 are always on.
	Ciphers []uint16

	// ClientCAs are files in PEM form with the certificates of who may sign the
	// certificates of clients.
	ClientCAs []string

	// ClientAuth is what is asked of clients.
	ClientAuth tls.ClientAuthType

	// Challenge, if it isn't empty, is a protocol by which a certificate authority
	// looks who answers here. It is offered besides those of HTTP, without asking
	// for a client's certificate, and nothing is served over it.
	Challenge string

	Log *slog.Logger // gets a warning where settings exclude HTTP/2; nil discards
}

// http2Suites are those of which HTTP/2 needs one, as long as TLS 1.2 is spoken
// (RFC 9113, section 9.2.2).
func http2Suites() []uint16 {
	return []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
}

// NewTLSConfig returns the configuration of a server. The error names each file
// that can't be used.
func NewTLSConfig(o TLSOptions) (*tls.Config, error) {
	c := &tls.Config{
		MinVersion:     max(tls.VersionTLS12, o.MinVersion),
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: o.Certificate,
		CipherSuites:   o.Ciphers,
		ClientAuth:     o.ClientAuth,
	}
	var problems []error
	if len(o.ClientCAs) > 0 {
		c.ClientCAs = x509.NewCertPool()
	}
	for _, file := range o.ClientCAs {
		certs, err := readAuthorities(file)
		problems = append(problems, err)
		for _, cert := range certs {
			c.ClientCAs.AddCert(cert)
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	has := func(id uint16) bool { return slices.Contains(c.CipherSuites, id) }
	if len(c.CipherSuites) > 0 && c.MinVersion < tls.VersionTLS13 && !slices.ContainsFunc(http2Suites(), has) {
		c.NextProtos = slices.DeleteFunc(c.NextProtos, func(p string) bool { return p == "h2" })
		cmp.Or(o.Log, slog.New(slog.DiscardHandler)).Warn("HTTP/2 is off, since the chosen TLS ciphers hold none that it needs",
			"add", strings.Join([]string{tls.CipherSuiteName(http2Suites()[0]), tls.CipherSuiteName(http2Suites()[1])}, " or "))
	}
	if o.Challenge != "" {
		c.GetConfigForClient = challenged(o.Challenge, c.Clone())
		c.NextProtos = append(c.NextProtos, o.Challenge)
	}
	return c, nil
}

// challenged returns what chooses the configuration for a client: another one if
// it speaks nothing but the protocol of challenges.
func challenged(protocol string, c *tls.Config) func(*tls.ClientHelloInfo) (*tls.Config, error) {
	c.NextProtos, c.ClientAuth = []string{protocol}, tls.NoClientCert
	return func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if slices.Equal(hello.SupportedProtos, []string{protocol}) {
			return c, nil
		}
		return nil, nil
	}
}

// readAuthorities reads the certificates of a file.
func readAuthorities(file string) ([]*x509.Certificate, error) {
	const what = "client CA"
	blocks, _, err := readPEM(what, file)
	if err != nil {
		return nil, err
	}
	certs, err := parseAuthorities(blocks)
	switch {
	case err != nil:
		return nil, &fileError{what, file, "holds a certificate that can't be read: " + err.Error(), "Replace it", err}
	case len(certs) == 0:
		return nil, &fileError{what, file, "holds no certificate in PEM form",
			"Write the certificate of who signs your clients' certificates into it (-----BEGIN CERTIFICATE-----)", nil}
	}
	return certs, nil
}

func parseAuthorities(blocks []*pem.Block) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for _, b := range blocks {
		if b.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, err
		}
		certs = append(certs, cert)
	}
	return certs, nil
}
