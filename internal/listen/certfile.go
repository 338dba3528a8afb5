package listen

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"unicode/utf16"
)

// maxPEM is the largest certificate or key file that is read, in bytes.
const maxPEM = 1 << 20

var (
	errHoldsKey  = errors.New("holds a private key and no certificate")
	errHoldsCert = errors.New("holds a certificate and no private key")
)

// A fileError is something wrong with one file, with what to do about it.
type fileError struct {
	what, file, wrong, mend string
	err                     error
}

func (e *fileError) Error() string {
	return fmt.Sprintf("TLS %s file %s: %s. %s", e.what, e.file, e.wrong, e.mend)
}

func (e *fileError) Unwrap() error { return e.err }

const (
	certificateFile = "certificate"
	keyFile         = "key"
)

// readPEM reads the blocks of a file. The text may be in any encoding that
// editors and shells of Windows leave behind.
func readPEM(what, file string) ([]*pem.Block, []byte, error) {
	text, err := readSmall(file)
	if err != nil {
		return nil, nil, explainRead(what, file, err)
	}
	text = toUTF8(text)
	rest := text
	var blocks []*pem.Block
	for {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			return blocks, text, nil
		}
		blocks = append(blocks, b)
	}
}

func readSmall(file string) ([]byte, error) {
	fi, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if fi.IsDir() {
		return nil, errIsDirectory
	}
	if fi.Size() > maxPEM {
		return nil, errTooLarge
	}
	return os.ReadFile(file)
}

var (
	errIsDirectory = errors.New("is a directory")
	errTooLarge    = errors.New("is larger than 1 MiB")
)

func explainRead(what, file string, err error) error {
	e := &fileError{what: what, file: file, err: err}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.wrong, e.mend = "does not exist", "Check the path; in a container, check that the directory is mounted"
	case errors.Is(err, errIsDirectory):
		e.wrong, e.mend = "is a directory", "Name the file in it. (docker's -v makes a directory of a path that isn't there on the host)"
	case errors.Is(err, fs.ErrPermission):
		e.wrong = "can't be read"
		e.mend = fmt.Sprintf("Let the user this program runs as%s read it: chown or chmod it", userNumber())
	case errors.Is(err, errTooLarge):
		e.wrong, e.mend = err.Error(), "This can't be the right file"
	default:
		e.wrong, e.mend = err.Error(), "Check the file"
	}
	return e
}

// userNumber names the user of this process, where users have numbers.
func userNumber() string {
	if uid := os.Getuid(); uid >= 0 {
		return fmt.Sprintf(" (uid %d)", uid)
	}
	return ""
}

// toUTF8 takes a byte order mark off, and turns UTF-16 with one into UTF-8.
func toUTF8(b []byte) []byte {
	if rest, ok := bytes.CutPrefix(b, []byte("\xef\xbb\xbf")); ok {
		return rest
	}
	var order binary.ByteOrder
	switch {
	case bytes.HasPrefix(b, []byte("\xff\xfe")):
		order = binary.LittleEndian
	case bytes.HasPrefix(b, []byte("\xfe\xff")):
		order = binary.BigEndian
	default:
		return b
	}
	var units []uint16
	for b = b[2:]; len(b) >= 2; b = b[2:] {
		units = append(units, order.Uint16(b))
	}
	return []byte(string(utf16.Decode(units)))
}

// readCertFile reads the certificates of a file, in their order.
func readCertFile(file string) ([]*x509.Certificate, error) {
	blocks, text, err := readPEM(certificateFile, file)
	if err != nil {
		return nil, err
	}
	var certs []*x509.Certificate
	hasKey := false
	for _, b := range blocks {
		hasKey = hasKey || strings.HasSuffix(b.Type, "PRIVATE KEY")
		if b.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, &fileError{certificateFile, file, fmt.Sprintf("its certificate no. %d is broken (%v)", len(certs)+1, err),
				"Copy the file again from where it was made", err}
		}
		certs = append(certs, c)
	}
	switch {
	case len(certs) > 0:
		return certs, nil
	case hasKey:
		return nil, &fileError{certificateFile, file, errHoldsKey.Error(), "Name the certificate's file here", errHoldsKey}
	default:
		return nil, noPEM(certificateFile, file, text, blocks)
	}
}

// readKeyFile reads the first private key of a file.
func readKeyFile(file string) (crypto.Signer, error) {
	blocks, text, err := readPEM(keyFile, file)
	if err != nil {
		return nil, err
	}
	hasCert := false
	for _, b := range blocks {
		hasCert = hasCert || b.Type == "CERTIFICATE"
		if !strings.HasSuffix(b.Type, "PRIVATE KEY") {
			continue
		}
		if b.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(b.Headers["Proc-Type"], "ENCRYPTED") {
			return nil, &fileError{what: keyFile, file: file, wrong: "is protected by a pass phrase, which nobody can type when a server starts",
				mend: fmt.Sprintf("Make a copy without one: openssl pkey -in %s -out key.pem", file)}
		}
		key, err := parseKey(b.Bytes)
		if err != nil {
			return nil, &fileError{keyFile, file, fmt.Sprintf("its private key is broken or of an unknown kind (%v)", err),
				"RSA, ECDSA and Ed25519 keys in PEM are read", err}
		}
		return key, nil
	}
	if hasCert {
		return nil, &fileError{keyFile, file, errHoldsCert.Error(), "Name the key's file here", errHoldsCert}
	}
	return nil, noPEM(keyFile, file, text, blocks)
}

// noPEM says what a file is that holds nothing of what was looked for.
func noPEM(what, file string, text []byte, blocks []*pem.Block) error {
	e := &fileError{what: what, file: file, wrong: "is not PEM (text with lines such as -----BEGIN CERTIFICATE-----)",
		mend: "Get the PEM form of it"}
	switch {
	case len(bytes.TrimSpace(text)) == 0:
		e.wrong, e.mend = "is empty", "Copy the file again from where it was made"
	case len(blocks) > 0:
		e.wrong = fmt.Sprintf("holds a %q and no %s", strings.ToLower(blocks[0].Type), what)
		e.mend = "Name the right file"
	case text[0] == 0x30: // the ASN.1 SEQUENCE that DER and PKCS #12 begin with
		e.wrong = "is in a binary form"
		e.mend = "Turn it into PEM: " + derMend(what, file, text)
	}
	return e
}

func derMend(what, file string, der []byte) string {
	if _, err := x509.ParseCertificate(der); err == nil {
		return fmt.Sprintf("openssl x509 -inform der -in %s -out cert.pem", file)
	}
	if _, err := parseKey(der); err == nil {
		return fmt.Sprintf("openssl pkey -inform der -in %s -out key.pem", file)
	}
	if what == keyFile {
		return fmt.Sprintf("openssl pkcs12 -in %s -nodes -nocerts -out key.pem", file)
	}
	return fmt.Sprintf("openssl pkcs12 -in %s -nokeys -out cert.pem", file)
}

// parseKey reads a private key in any of the forms that PEM files hold.
func parseKey(der []byte) (crypto.Signer, error) {
	if k, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return k, nil
	}
	if k, err := x509.ParseECPrivateKey(der); err == nil {
		return k, nil
	}
	k, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	s, ok := k.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%T can't sign", k)
	}
	return s, nil
}

// match puts a certificate and its key together. The certificate of the key is
// served first, wherever it stands in the file.
func match(certFile string, certs []*x509.Certificate, keyFile string, key crypto.Signer) (pair, error) {
	at := -1
	for i, c := range certs {
		if pub, ok := c.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); ok && pub.Equal(key.Public()) {
			at = i
			break
		}
	}
	if at < 0 {
		return pair{}, fmt.Errorf("TLS key file %s does not belong to the certificate in %s (for %s, made %s): "+
			"the two were made at different times or for different names. Name the key that was made with this certificate",
			keyFile, certFile, names(certs[0]), certs[0].NotBefore.UTC().Format("2006-01-02"))
	}
	p := pair{certFile: certFile, reordered: at > 0}
	p.cert = tls.Certificate{PrivateKey: key, Leaf: certs[at], Certificate: [][]byte{certs[at].Raw}}
	for i, c := range certs {
		if i != at {
			p.cert.Certificate = append(p.cert.Certificate, c.Raw)
		}
	}
	return p, nil
}

// names says whom a certificate is for.
func names(c *x509.Certificate) string {
	all := append([]string(nil), c.DNSNames...)
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	switch {
	case len(all) > 0:
		return strings.Join(all, ", ")
	case c.Subject.CommonName != "":
		return c.Subject.CommonName
	default:
		return "no name"
	}
}
