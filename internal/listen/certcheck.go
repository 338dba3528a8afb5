package listen

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"time"
)

// expiresSoon is how long before its end a certificate is warned of.
const expiresSoon = 14 * 24 * time.Hour

// A pair is a certificate with its chain and its key, and what was seen when
// they were read.
type pair struct {
	cert      tls.Certificate
	certFile  string
	reordered bool // the server's certificate wasn't the first in its file
}

// warnings returns what will make clients refuse the certificate, or soon will,
// though it can be served. hosts are the names by which clients reach it.
func (p pair) warnings(now time.Time, hosts []string) []string {
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	leaf := p.cert.Leaf
	day := func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }

	if p.reordered {
		add("the server's certificate is not the first in its file: it is served first all the same, but other programs may refuse the file. " +
			"Put it before the intermediates")
	}
	switch left := leaf.NotAfter.Sub(now); {
	case left < 0:
		add("THE TLS CERTIFICATE HAS EXPIRED on %s: every client that checks it will refuse to connect. Renew it", day(leaf.NotAfter))
	case left < expiresSoon:
		add("the TLS certificate expires in %d days, on %s: renew it. The new files are read without a restart", int(left.Hours()/24), day(leaf.NotAfter))
	}
	if now.Before(leaf.NotBefore) {
		add("the TLS certificate is not valid before %s and it is %s now: clients will refuse it. Check the clock of this machine and the certificate",
			day(leaf.NotBefore), day(now))
	}
	if len(leaf.DNSNames)+len(leaf.IPAddresses) == 0 {
		add("the TLS certificate has no subject alternative name, only the common name %q, which docker and all Go clients ignore: "+
			"make one with a SAN (`berth tls self-signed` does)", leaf.Subject.CommonName)
	} else {
		for _, h := range hosts {
			if leaf.VerifyHostname(h) != nil {
				add("the TLS certificate is for %s and not for %s, by which clients are to reach this server: they will refuse it", names(leaf), h)
			}
		}
	}
	if len(leaf.ExtKeyUsage) > 0 && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageServerAuth) &&
		!slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny) {
		add("the TLS certificate is not meant for servers (its extended key usage lacks serverAuth): clients will refuse it")
	}
	if w := p.chainWarning(); w != "" {
		out = append(out, w)
	}
	return out
}

// chainWarning reports a chain that leads neither to a root of this system nor
// to a self-signed certificate in the file: most often a missing intermediate.
func (p pair) chainWarning() string {
	inFile := x509.NewCertPool()
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	noRoots := roots.Equal(x509.NewCertPool()) // as in an image made from scratch
	for _, der := range p.cert.Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			continue // match parsed all of them
		}
		if isSelfSigned(c) {
			roots.AddCert(c)
		} else {
			inFile.AddCert(c)
		}
	}
	leaf := p.cert.Leaf
	_, err = leaf.Verify(x509.VerifyOptions{
		Roots:         roots,
		Intermediates: inFile,
		CurrentTime:   leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore) / 2), // dates are looked at elsewhere
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err == nil || isSelfSigned(leaf) || noRoots && len(p.cert.Certificate) > 1 {
		return ""
	}
	return fmt.Sprintf("the certificates in the file don't lead to a root that this machine knows: the issuer %q is missing. "+
		"If that is an intermediate, append its certificate to the file (cat server.pem intermediate.pem > chain.pem); "+
		"if it is a root of your own, append it as well or ignore this", topIssuer(p.cert))
}

func isSelfSigned(c *x509.Certificate) bool {
	return string(c.RawIssuer) == string(c.RawSubject) && c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil
}

// topIssuer names who issued the last certificate that the chain reaches.
func topIssuer(t tls.Certificate) string {
	at := t.Leaf
	for range t.Certificate {
		next := issuerOf(at, t.Certificate)
		if next == nil {
			break
		}
		at = next
	}
	return at.Issuer.String()
}

func issuerOf(c *x509.Certificate, ders [][]byte) *x509.Certificate {
	for _, der := range ders {
		p, err := x509.ParseCertificate(der)
		if err == nil && string(p.RawSubject) == string(c.RawIssuer) && !p.Equal(c) {
			return p
		}
	}
	return nil
}
