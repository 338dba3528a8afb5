package listen

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// CertificateOptions are what LoadCertificates needs.
type CertificateOptions struct {
	CertFile string // PEM: the server's certificate, then its intermediates
	KeyFile  string // PEM: its private key

	// ExpectHosts are the names or addresses by which clients reach the server,
	// without a port. A certificate that isn't valid for one is warned of.
	ExpectHosts []string

	// Every is how often Run looks whether the files have changed: 5 s.
	Every time.Duration

	Log *slog.Logger     // gets warnings about the certificate; nil discards
	Now func() time.Time // nil means time.Now
}

// Certificates hold the TLS certificate of a server, and read it anew when its
// files change. Running connections keep the one they began with.
//
// All methods may be called concurrently.
type Certificates struct {
	opts    CertificateOptions
	current atomic.Pointer[tls.Certificate]

	mu     sync.Mutex
	loaded [2]fs.FileInfo // the files as they were when last read
	failed string         // the text of the last failure, "" after a success
	logged bool           // whether that failure was logged
	warned time.Time      // when the certificate was last checked for warnings
}

// LoadCertificates reads the files. The error names everything that is wrong
// with them, each with the file and the mend. What only looks wrong, such as a
// certificate that has expired, is logged as a warning.
func LoadCertificates(o CertificateOptions) (*Certificates, error) {
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	o.Every = cmp.Or(o.Every, 5*time.Second)
	if o.Now == nil {
		o.Now = time.Now
	}
	c := &Certificates{opts: o}
	if err := c.Reload(); err != nil {
		return nil, err
	}
	return c, nil
}

// Get returns the certificate for a handshake: always the last good one.
func (c *Certificates) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.current.Load(), nil
}

// NotAfter returns when the certificate in use expires.
func (c *Certificates) NotAfter() time.Time { return c.current.Load().Leaf.NotAfter }

// Reload reads the files now. When they can't be used, the last good
// certificate stays in use and the error says why.
func (c *Certificates) Reload() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reload()
}

// reload does what Reload says; mu is held.
func (c *Certificates) reload() error {
	// Looked at before reading: a change in between is then seen as one.
	c.loaded = c.stat()
	p, err := readPair(c.opts.CertFile, c.opts.KeyFile)
	if err != nil {
		return err
	}
	c.current.Store(&p.cert)
	c.warn(p)
	return nil
}

// warn logs what looks wrong with p; mu is held.
func (c *Certificates) warn(p pair) {
	c.warned = c.opts.Now()
	for _, w := range p.warnings(c.warned, c.opts.ExpectHosts) {
		c.opts.Log.Warn(w, "file", c.opts.CertFile)
	}
}

// Run reads the files anew whenever they change, until ctx ends. Once a day it
// repeats the warnings, so that an expiry isn't only told to who starts the
// server. It returns nil.
func (c *Certificates) Run(ctx context.Context) error {
	t := time.NewTicker(c.opts.Every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			c.poll()
		}
	}
}

// poll looks whether the files have changed and reads them if so. A pair that
// can't be used is tried again at each poll, and logged at the second: the two
// files of a good pair are seldom replaced in the same moment.
func (c *Certificates) poll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed == "" && same(c.loaded, c.stat()) {
		if c.opts.Now().Sub(c.warned) >= 24*time.Hour {
			c.warn(pair{cert: *c.current.Load(), certFile: c.opts.CertFile})
		}
		return
	}
	err := c.reload()
	switch {
	case err == nil:
		c.opts.Log.Info("the TLS certificate was read anew", "file", c.opts.CertFile, "expires", c.NotAfter())
		c.failed, c.logged = "", false
	case err.Error() != c.failed:
		c.failed, c.logged = err.Error(), false
	case !c.logged:
		c.opts.Log.Error("the TLS certificate has changed and can't be used; the last good one stays in use", "error", err)
		c.logged = true
	}
}

func (c *Certificates) stat() [2]fs.FileInfo {
	var infos [2]fs.FileInfo
	for i, name := range []string{c.opts.CertFile, c.opts.KeyFile} {
		// Links are followed, as Kubernetes replaces secrets by turning one.
		if fi, err := os.Stat(name); err == nil {
			infos[i] = fi
		}
	}
	return infos
}

// same reports whether a and b are the same files, unchanged. A file that isn't
// there is the same as one that isn't there.
func same(a, b [2]fs.FileInfo) bool {
	for i := range a {
		if a[i] == nil || b[i] == nil {
			if a[i] != b[i] {
				return false
			}
			continue
		}
		if !os.SameFile(a[i], b[i]) || a[i].Size() != b[i].Size() || !a[i].ModTime().Equal(b[i].ModTime()) {
			return false
		}
	}
	return true
}

// readPair reads a certificate and its key. The error joins everything that is
// wrong with either.
func readPair(certFile, keyFile string) (pair, error) {
	certs, certErr := readCertFile(certFile)
	key, keyErr := readKeyFile(keyFile)
	if certErr != nil || keyErr != nil {
		return pair{}, explainPair(certFile, keyFile, certErr, keyErr)
	}
	return match(certFile, certs, keyFile, key)
}

// explainPair joins two errors, unless together they mean that the files were
// given in the wrong order.
func explainPair(certFile, keyFile string, certErr, keyErr error) error {
	if errors.Is(certErr, errHoldsKey) && errors.Is(keyErr, errHoldsCert) {
		return fmt.Errorf("TLS certificate and key are swapped: %s holds a private key and %s a certificate. Exchange the two settings",
			certFile, keyFile)
	}
	return errors.Join(certErr, keyErr)
}
