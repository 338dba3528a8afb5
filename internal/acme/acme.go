// Package acme gets certificates from an ACME server, such as Let's Encrypt, and
// has them renewed.
//
// It answers the server's challenges over TLS (tls-alpn-01) and http (http-01),
// and serves nothing else. What it keeps has the form that registry:2 keeps it
// in (an autocert.DirCache), so that an account and certificates move over.
package acme

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

// Protocol is what a TLS server must offer besides its own protocols, so that
// challenges can be answered there.
const Protocol = acme.ALPNProto

// Options are what New needs.
type Options struct {
	Hosts     []string // the names to get certificates for, in lower case
	Email     string   // of whom the server may write to; may be empty
	Directory string   // the URL of the server
	Cache     string   // the directory to keep the account and certificates in

	CAFile  string // with the authority of the server itself, if it is a private one
	EABID   string // key id of an external account binding, which some servers want
	EABFile string // with its key, in base64url

	Log *slog.Logger // nil discards

	// Now tells the time, Every is how often Run looks whether a certificate was
	// renewed or should have been: 1 min.
	Now   func() time.Time
	Every time.Duration
}

// Certificates are those of the hosts of a server. All methods may be called
// concurrently.
type Certificates struct {
	opts    Options
	manager *autocert.Manager
	reasons *reasons

	mu    sync.Mutex
	ready map[string]bool // hosts that have a certificate
}

// New reads what is kept, and the files. It asks the server for nothing: Run
// does.
func New(o Options) (*Certificates, error) {
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	o.Every = cmp.Or(o.Every, time.Minute)
	if o.Now == nil {
		o.Now = time.Now
	}
	if err := checkCache(o.Cache); err != nil {
		return nil, err
	}
	client, reasons, err := newClient(o.CAFile)
	if err != nil {
		return nil, err
	}
	binding, err := readBinding(o.EABID, o.EABFile)
	if err != nil {
		return nil, err
	}
	c := &Certificates{opts: o, reasons: reasons, ready: map[string]bool{}}
	c.manager = &autocert.Manager{
		Prompt:                 autocert.AcceptTOS,
		Cache:                  autocert.DirCache(o.Cache),
		HostPolicy:             c.policy,
		Client:                 &acme.Client{DirectoryURL: o.Directory, HTTPClient: client, UserAgent: "berth"},
		Email:                  o.Email,
		ExternalAccountBinding: binding,
	}
	for _, h := range o.Hosts {
		c.ready[h] = isKept(o.Cache, h, o.Now())
	}
	return c, nil
}

// policy lets the manager get certificates for our hosts alone. host may have a
// port, where it comes from a request.
func (c *Certificates) policy(_ context.Context, host string) error {
	if !slices.Contains(c.opts.Hosts, bare(host)) {
		return fmt.Errorf("%q is none of the hosts that certificates are got for", host)
	}
	return nil
}

// bare returns the name in host, without a port, in lower case.
func bare(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// Get returns the certificate for a handshake. It never waits for the server: a
// host that has none yet can't be connected to. A client that names no host gets
// the certificate of the first.
func (c *Certificates) Get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if slices.Equal(hello.SupportedProtos, []string{Protocol}) {
		return c.manager.GetCertificate(hello) // the answer to a challenge, if there is one
	}
	name := cmp.Or(bare(hello.ServerName), c.opts.Hosts[0])
	c.mu.Lock()
	ready, ours := c.ready[name]
	c.mu.Unlock()
	switch {
	case !ours:
		return nil, fmt.Errorf("%q is none of the hosts that certificates are got for", name)
	case !ready:
		return nil, fmt.Errorf("there is no certificate for %s yet", name)
	}
	return c.manager.GetCertificate(asks(name))
}

// asks returns the hello of a client that takes the one kind of certificate that
// is got: with an ECDSA key, which every docker understands.
func asks(host string) *tls.ClientHelloInfo {
	return &tls.ClientHelloInfo{ServerName: host, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}}
}

// Handler answers challenges over http, which then are used besides those over
// TLS, and sends everything else on to https. base is the address there, such as
// https://registry.example.com:5000; empty means port 443 of the host that was
// asked for. It must be called before Run.
func (c *Certificates) Handler(base string) http.Handler {
	return c.manager.HTTPHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		to := base
		if host := bare(r.Host); to == "" && c.policy(r.Context(), host) == nil {
			to = "https://" + host
		}
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			http.Error(w, "Use https.", http.StatusBadRequest)
		case to == "":
			http.Error(w, "This is another host.", http.StatusMisdirectedRequest)
		default:
			http.Redirect(w, r, to+r.URL.RequestURI(), http.StatusPermanentRedirect)
		}
	}))
}

// Run gets the certificates that are missing and watches over their renewal,
// until ctx ends. It returns nil.
func (c *Certificates) Run(ctx context.Context) error {
	var hosts sync.WaitGroup
	for _, h := range c.opts.Hosts {
		hosts.Go(func() {
			if c.obtain(ctx, h) {
				c.watch(ctx, h)
			}
		})
	}
	hosts.Wait()
	return nil
}

// The pauses behind the first failure and behind the others. Let's Encrypt takes
// five failures an hour for a host, and one attempt may fail in two ways.
const (
	firstPause = 5 * time.Minute
	pause      = time.Hour
)

// obtain gets the certificate of a host, however often it has to try. It reports
// whether there is one: not if ctx has ended.
func (c *Certificates) obtain(ctx context.Context, host string) bool {
	next := firstPause
	for {
		cert, err := c.ask(ctx, host)
		switch {
		case ctx.Err() != nil:
			return false
		case err == nil:
			c.mu.Lock()
			known := c.ready[host]
			c.ready[host] = true
			c.mu.Unlock()
			if !known {
				c.opts.Log.Info("got a certificate by ACME", "host", host, "expires", cert.Leaf.NotAfter)
			}
			return true
		}
		if wait, limited := acme.RateLimit(err); limited {
			next = max(next, wait)
		}
		c.fail("can't get a certificate by ACME", host, err, "next", next.String())
		if !sleep(ctx, next) {
			return false
		}
		next = pause
	}
}

// ask asks the manager for the certificate of a host. It doesn't wait for an
// answer for longer than ctx lasts.
func (c *Certificates) ask(ctx context.Context, host string) (*tls.Certificate, error) {
	type answer struct {
		cert *tls.Certificate
		err  error
	}
	done := make(chan answer, 1)
	c.reasons.forget(host)
	go func() {
		cert, err := c.manager.GetCertificate(asks(host))
		done <- answer{cert, err}
	}()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case a := <-done:
		return a.cert, a.err
	}
}

// watch logs when the certificate of a host was renewed, and once a day that it
// should have been: the manager, which renews it, says nothing.
func (c *Certificates) watch(ctx context.Context, host string) {
	last, warned := time.Time{}, time.Time{}
	for {
		cert, err := c.manager.GetCertificate(asks(host))
		now := c.opts.Now()
		switch {
		case err != nil:
			c.fail("can't renew a certificate by ACME", host, err)
		case !last.IsZero() && !cert.Leaf.NotAfter.Equal(last):
			c.opts.Log.Info("a certificate was renewed by ACME", "host", host, "expires", cert.Leaf.NotAfter)
		case overdue(cert, now) && now.Sub(warned) >= 24*time.Hour:
			warned = now
			c.fail("a certificate should have been renewed by ACME", host, errNotRenewed, "expires", cert.Leaf.NotAfter)
		}
		if err == nil {
			last = cert.Leaf.NotAfter
		}
		if !sleep(ctx, c.opts.Every) {
			return
		}
	}
}

var errNotRenewed = errors.New("it was not renewed")

// overdue reports whether a certificate should have been renewed for a while: it
// is when a third of its life is left, but not more than 30 days.
func overdue(cert *tls.Certificate, now time.Time) bool {
	life := cert.Leaf.NotAfter.Sub(cert.Leaf.NotBefore)
	return now.After(cert.Leaf.NotAfter.Add(-min(life/3, 30*24*time.Hour) * 2 / 3))
}

// fail logs what went wrong with a host, and what to do about it.
func (c *Certificates) fail(what, host string, err error, more ...any) {
	reason, advice := c.reasons.explain(host, err)
	c.opts.Log.Error(what, append([]any{"host", host, "reason", reason, "advice", advice}, more...)...)
}

// sleep waits, and reports whether ctx has not ended meanwhile.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
