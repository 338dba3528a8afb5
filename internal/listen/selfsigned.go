package listen

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	authorityYears = 10
	leafDays       = 825 // Apple's systems refuse longer ones, of private authorities as well
)

// The files of a self-signed certificate.
const (
	authorityCert = "ca.crt"
	authorityKey  = "ca.key"
	serverCert    = "cert.pem"
	serverKey     = "key.pem"
)

// An Authority is a certificate authority of one's own: what clients are told
// to trust.
type Authority struct {
	Cert *x509.Certificate
	key  crypto.Signer
}

// MakeCA makes an authority that is valid for ten years.
func MakeCA(now time.Time) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key of the authority: %w", err)
	}
	// Clients tell authorities apart by their names, so each gets one of its own.
	name := "Berth private CA " + now.UTC().Format("2006-01-02") + " " + strings.ToLower(rand.Text()[:6])
	t := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name, Organization: []string{"Berth"}},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.AddDate(authorityYears, 0, 0),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	return sign(t, t, key, key)
}

// MakeCertificate makes a certificate for hosts, each a DNS name or an IP
// address, that is valid for 825 days.
func (a *Authority) MakeCertificate(hosts []string, now time.Time) (tls.Certificate, error) {
	if len(hosts) == 0 {
		return tls.Certificate{}, errors.New("a certificate needs at least one name or IP address")
	}
	if now.After(a.Cert.NotAfter) {
		return tls.Certificate{}, fmt.Errorf("the authority expired on %s: make a new one in another directory", a.Cert.NotAfter.UTC().Format("2006-01-02"))
	}
	t := &x509.Certificate{
		Subject:     pkix.Name{Organization: []string{"Berth"}},
		NotBefore:   now.Add(-time.Hour),
		NotAfter:    now.AddDate(0, 0, leafDays).Add(-time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, h := range hosts {
		if ip, err := netip.ParseAddr(h); err == nil {
			t.IPAddresses = append(t.IPAddresses, net.IP(ip.AsSlice()))
			continue
		}
		t.DNSNames = append(t.DNSNames, h)
	}
	if len(hosts[0]) <= 64 { // the upper bound of a common name
		t.Subject.CommonName = hosts[0]
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make key: %w", err)
	}
	leaf, err := sign(t, a.Cert, key, a.key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{
		Certificate: [][]byte{leaf.Cert.Raw, a.Cert.Raw},
		PrivateKey:  key,
		Leaf:        leaf.Cert,
	}, nil
}

// sign makes a certificate for key from t, signed by parent's key.
func sign(t, parent *x509.Certificate, key, parentKey crypto.Signer) (*Authority, error) {
	der, err := x509.CreateCertificate(rand.Reader, t, parent, key.Public(), parentKey)
	if err != nil {
		return nil, fmt.Errorf("sign certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read certificate just made: %w", err)
	}
	return &Authority{Cert: cert, key: key}, nil
}

// Overwrite says what SelfSigned does with a server certificate that is there.
type Overwrite int

// What SelfSigned may do with the files of a server certificate.
const (
	KeepExisting Overwrite = iota
	ReplaceExisting
)

// SelfSigned are the files that MakeSelfSigned made.
type SelfSigned struct {
	CA, Cert, Key string // paths
	NewCA         bool   // the authority is new: clients have to be told of it
	NotAfter      time.Time
}

// MakeSelfSigned makes a certificate for hosts in dir: ca.crt, ca.key, cert.pem
// (with the authority behind it) and key.pem. An authority that is in dir is
// used again, so that clients which trust it trust the new certificate too.
// Keys have mode 0600.
//
// The authority is never overwritten, cert.pem and key.pem only with
// ReplaceExisting; otherwise the error wraps fs.ErrExist.
func MakeSelfSigned(dir string, hosts []Host, how Overwrite, now time.Time) (SelfSigned, error) {
	made := SelfSigned{CA: filepath.Join(dir, authorityCert), Cert: filepath.Join(dir, serverCert), Key: filepath.Join(dir, serverKey)}
	if how == KeepExisting {
		for _, f := range []string{made.Cert, made.Key} {
			if _, err := os.Lstat(f); err == nil {
				return SelfSigned{}, fmt.Errorf("%s: %w", f, fs.ErrExist)
			}
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return SelfSigned{}, err
	}
	ca, isNew, err := authorityIn(dir, now)
	if err != nil {
		return SelfSigned{}, err
	}
	names := make([]string, 0, len(hosts))
	for _, h := range hosts {
		names = append(names, h.Name)
	}
	cert, err := ca.MakeCertificate(names, now)
	if err != nil {
		return SelfSigned{}, err
	}
	made.NewCA, made.NotAfter = isNew, cert.Leaf.NotAfter
	return made, writeServer(made, cert)
}

// authorityIn reads the authority in dir, or makes one there, and reports
// whether it made it.
func authorityIn(dir string, now time.Time) (*Authority, bool, error) {
	certFile, keyFile := filepath.Join(dir, authorityCert), filepath.Join(dir, authorityKey)
	_, certErr := os.Lstat(certFile)
	_, keyErr := os.Lstat(keyFile)
	if errors.Is(certErr, fs.ErrNotExist) && errors.Is(keyErr, fs.ErrNotExist) {
		ca, err := MakeCA(now)
		if err != nil {
			return nil, false, err
		}
		return ca, true, writeAuthority(ca, certFile, keyFile)
	}
	p, err := readPair(certFile, keyFile)
	if err != nil {
		return nil, false, fmt.Errorf("use the authority in %s: %w. Use another --dir to begin with a new authority", dir, err)
	}
	key, ok := p.cert.PrivateKey.(crypto.Signer)
	if !ok || !p.cert.Leaf.IsCA {
		return nil, false, fmt.Errorf("%s is not the certificate of an authority: use another --dir", certFile)
	}
	return &Authority{Cert: p.cert.Leaf, key: key}, false, nil
}

func writeAuthority(ca *Authority, certFile, keyFile string) error {
	key, err := keyPEM(ca.key)
	if err != nil {
		return err
	}
	if err := writeNew(keyFile, key, 0o600); err != nil {
		return err
	}
	return writeNew(certFile, certPEM(ca.Cert.Raw), 0o644)
}

// writeServer puts the key, then the certificate into place. A server that
// reads them in between sees a pair that doesn't match and looks again.
func writeServer(made SelfSigned, cert tls.Certificate) error {
	key, err := keyPEM(cert.PrivateKey)
	if err != nil {
		return err
	}
	if err := replace(made.Key, key, 0o600); err != nil {
		return err
	}
	return replace(made.Cert, certPEM(cert.Certificate...), 0o644)
}

func certPEM(ders ...[]byte) []byte {
	var b bytes.Buffer
	for _, der := range ders {
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: der}) // a Buffer never fails
	}
	return b.Bytes()
}

func keyPEM(key crypto.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// writeNew writes a file that must not be there yet.
func writeNew(name string, data []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

// replace puts a file into the place of name in one step.
func replace(name string, data []byte, mode fs.FileMode) error {
	tmp := name + "." + strings.ToLower(rand.Text()[:8])
	if err := writeNew(tmp, data, mode); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	if err := os.Rename(tmp, name); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return nil
}
