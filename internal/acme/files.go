package acme

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/acme"
)

// maxFile is the largest file that is read, in bytes.
const maxFile = 1 << 20

// checkCache makes the directory, and makes sure that it can be written to: what
// couldn't be kept would be asked for anew at every start, until the server has
// enough of it.
func checkCache(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the directory for what comes by ACME: %w: let this user write there, or choose another one (http.tls.acme.cache)", err)
	}
	f, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		return fmt.Errorf("the directory for what comes by ACME can't be written to: %w: let this user write there, or choose another one (http.tls.acme.cache)", err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// isKept reports whether the directory holds a certificate for a host that is
// still good.
func isKept(dir, host string, now time.Time) bool {
	data, err := readFile(filepath.Join(dir, host))
	if err != nil {
		return false
	}
	pair, err := tls.X509KeyPair(data, data)
	if err != nil || pair.Leaf == nil {
		return false
	}
	return pair.Leaf.VerifyHostname(host) == nil && pair.Leaf.PublicKeyAlgorithm == x509.ECDSA &&
		now.After(pair.Leaf.NotBefore) && now.Before(pair.Leaf.NotAfter)
}

func readFile(file string) ([]byte, error) {
	fi, err := os.Stat(file)
	switch {
	case err != nil:
		return nil, err
	case fi.IsDir():
		return nil, fmt.Errorf("%s is a directory: name the file in it", file)
	case fi.Size() > maxFile:
		return nil, fmt.Errorf("%s is larger than 1 MiB: this can't be the right file", file)
	}
	return os.ReadFile(file)
}

// newClient returns a client for the ACME server, which trusts the authority in
// a file besides those of the system, and notes what the server complains about.
func newClient(caFile string) (*http.Client, *reasons, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if caFile != "" {
		data, err := readFile(caFile)
		if err != nil {
			return nil, nil, fmt.Errorf("the authority of the ACME server (http.tls.acme.ca): %w", err)
		}
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM(data) {
			return nil, nil, fmt.Errorf("the authority of the ACME server (http.tls.acme.ca): %s holds no certificate in PEM form", caFile)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	r := &reasons{next: transport, hosts: map[string]problem{}}
	return &http.Client{Transport: r, Timeout: time.Minute}, r, nil
}

// readBinding reads the key of an external account binding. Errors don't repeat
// it.
func readBinding(id, file string) (*acme.ExternalAccountBinding, error) {
	if id == "" && file == "" {
		return nil, nil
	}
	data, err := readFile(file)
	if err != nil {
		return nil, fmt.Errorf("the key of the external account binding (http.tls.acme.eab_key): %w", err)
	}
	// Operators hand it out in both alphabets, padded or not.
	text := strings.NewReplacer("+", "-", "/", "_", "=", "").Replace(strings.TrimSpace(string(data)))
	key, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(key) == 0 {
		return nil, fmt.Errorf("the key of the external account binding (http.tls.acme.eab_key): %s holds no base64: copy it from the ACME server's operator as it is", file)
	}
	return &acme.ExternalAccountBinding{KID: id, Key: key}, nil
}
