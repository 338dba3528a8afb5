package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// soon is how long before its end a certificate is worth a hint.
const soon = 14 * 24 * time.Hour

// reach opens a connection and looks at the certificate. trusted says that the
// certificate is right, or that there is no need of one; ok that there is
// somebody to go on with.
func (e *exam) reach(ctx context.Context) (trusted, ok bool) {
	const name = "connection"
	host, port := e.base.Hostname(), e.base.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[e.base.Scheme]
	}
	conn, err := e.dial(ctx, net.JoinHostPort(host, port))
	if err != nil {
		if d, ok := errors.AsType[*net.DNSError](err); ok {
			e.found(name, unknownName, fmt.Sprintf("the name %s is not known: %s", host, d.Err))
			return false, false
		}
		e.found(name, unreachable, fmt.Sprintf("nobody answers at %s: %v", net.JoinHostPort(host, port), cause(err)))
		return false, false
	}
	conn.Close()
	if e.base.Scheme == "https" {
		trusted, ok = e.certificate(ctx, net.JoinHostPort(host, port))
		if ok || e.base.Scheme == "https" {
			return trusted, ok
		}
	}
	return e.plainHTTP(ctx, host)
}

func (e *exam) dial(ctx context.Context, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: e.o.Timeout}
	return d.DialContext(ctx, "tcp", addr)
}

// cause leaves out what the sentence around it says already.
func cause(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}

// plainHTTP looks at an address that begins with http://.
func (e *exam) plainHTTP(_ context.Context, host string) (trusted, ok bool) {
	const name = "connection"
	if a, err := netip.ParseAddr(host); host == "localhost" || err == nil && a.IsLoopback() {
		e.fine(name, "plain HTTP, which docker accepts from this machine")
		return true, true
	}
	e.found(name, plain, "the registry is reached by plain HTTP")
	return true, true
}

// certificate looks at how the server speaks TLS. If it doesn't and nobody wrote
// https://, plain HTTP it is.
func (e *exam) certificate(ctx context.Context, addr string) (trusted, ok bool) {
	const name = "certificate"
	state, err := e.handshake(ctx, addr, &tls.Config{})
	if err != nil {
		var not tls.RecordHeaderError
		if errors.As(err, &not) {
			if e.o.Guessed {
				e.base.Scheme = "http"
				return true, false
			}
			e.found(name, noTLS, "the port answers in plain HTTP where TLS is expected")
			return false, false
		}
		e.found(name, unreachable, fmt.Sprintf("no TLS with %s: %v", addr, cause(err)))
		return false, false
	}
	if id, saw := e.judge(state.PeerCertificates); id != "" {
		e.found(name, id, saw)
	} else {
		leaf := state.PeerCertificates[0]
		trusted = true
		detail := fmt.Sprintf("%s, until %s, %s", tls.VersionName(state.Version), leaf.NotAfter.Format(time.DateOnly), protocol(state.NegotiatedProtocol))
		if left := leaf.NotAfter.Sub(e.o.Now()); left < soon && leaf.NotAfter.Sub(leaf.NotBefore) > 2*soon {
			e.hint(name, expiresSoon, "the certificate ends in "+left.Round(time.Hour).String())
		} else {
			e.fine(name, detail)
		}
	}
	if _, err := e.handshake(ctx, addr, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}); err == nil {
		e.hint("old TLS", oldTLS, "the server still speaks TLS 1.0 or 1.1")
	}
	return trusted, true
}

func protocol(negotiated string) string {
	if negotiated == "h2" {
		return "HTTP/2"
	}
	return "HTTP/1.1"
}

// handshake believes any certificate: what is wrong with it is to be told.
func (e *exam) handshake(ctx context.Context, addr string, conf *tls.Config) (tls.ConnectionState, error) {
	ctx, cancel := context.WithTimeout(ctx, e.o.Timeout)
	defer cancel()
	conf.InsecureSkipVerify = true
	conf.ServerName = e.base.Hostname()
	conf.NextProtos = []string{"h2", "http/1.1"}
	d := tls.Dialer{Config: conf}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState(), nil
}

// judge says what is wrong with the certificates that a server sent; an empty id
// means nothing is.
func (e *exam) judge(chain []*x509.Certificate) (id trouble, saw string) {
	leaf, now := chain[0], e.o.Now()
	switch {
	case now.After(leaf.NotAfter):
		return expired, "the certificate ended on " + leaf.NotAfter.UTC().Format(time.RFC1123)
	case now.Before(leaf.NotBefore):
		return expired, "the certificate begins on " + leaf.NotBefore.UTC().Format(time.RFC1123) + ", which is in the future by this machine's clock"
	}
	if err := leaf.VerifyHostname(e.base.Hostname()); err != nil {
		return wrongName, fmt.Sprintf("the certificate is for %s", names(leaf))
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: e.o.Roots, Intermediates: between, CurrentTime: now})
	if err == nil {
		return "", ""
	}
	last := chain[len(chain)-1]
	switch {
	case signedByItself(leaf):
		return selfSigned, "the certificate is signed by itself"
	case signedByItself(last):
		return privateCA, fmt.Sprintf("the certificate comes from an authority that this machine does not know: %s", printable(last.Subject.String(), 80))
	case e.o.Roots != nil || len(last.IssuingCertificateURL) > 0:
		return chainBroken, fmt.Sprintf("the server sends %d certificate(s), and the one of %s is missing among them", len(chain), printable(last.Issuer.String(), 80))
	}
	return privateCA, fmt.Sprintf("the certificate comes from %s, which this machine does not know, or the server leaves out the intermediate certificate", printable(last.Issuer.String(), 80))
}

func signedByItself(c *x509.Certificate) bool {
	return string(c.RawSubject) == string(c.RawIssuer) && c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil
}

// names lists what a certificate is for.
func names(c *x509.Certificate) string {
	var list []string
	list = append(list, c.DNSNames...)
	for _, ip := range c.IPAddresses {
		list = append(list, ip.String())
	}
	if len(list) == 0 {
		return "nobody: it has no subject alternative name, and its common name " + printable(c.Subject.CommonName, 60) + " does not count"
	}
	text := list[0]
	for i, n := range list[1:] {
		if i == 5 {
			return text + " and others"
		}
		text += ", " + n
	}
	return printable(text, 200)
}
