// Package webhook sends events to an endpoint by HTTP, in the envelope that
// registry:2 has.
//
// An Endpoint is an event.Sink: it makes one attempt. That events come in order,
// that they come again after a failure, and from where on after a restart is the
// business of an event.Dispatcher.
package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"sync"
	"time"

	"berth/internal/event"
	"berth/internal/oci"
)

// SignatureHeader holds "sha256=" and the HMAC of the body, in hexadecimal, if
// the endpoint has a secret.
const SignatureHeader = "X-Berth-Signature-256"

// Options are what New needs. Name, URL, Timeout, Threshold, Backoff and Log
// must be set.
type Options struct {
	Name    string
	URL     string        // with http or https; a user and password in it are sent as Basic credentials
	Headers http.Header   // in addition, or instead of those that are sent anyway
	Timeout time.Duration // of one attempt

	Threshold int           // failures in a row, before there are pauses
	Backoff   time.Duration // the length of a pause

	IgnoreMediaTypes []string
	IgnoreActions    []string
	Repositories     func(oci.Repo) bool // of which it is told; nil means of all

	// Secret is a file with the key of the signature. It is read for every
	// delivery, so that it can be changed at any time. White space around the key
	// does not count. Empty means no signature.
	Secret string

	// Manifest returns the body of a manifest, whose parts are listed then; an
	// error that is fs.ErrNotExist if it has gone. nil means that nothing is
	// listed.
	Manifest func(context.Context, oci.Repo, oci.Digest) ([]byte, error)

	Source Source
	Log    *slog.Logger
}

// A Source is the registry that sends events.
type Source struct {
	Addr       string // host:port
	InstanceID string // another one after every start
}

// An Endpoint sends events to one URL.
type Endpoint struct {
	o      Options
	client *http.Client

	mu      sync.Mutex
	numbers Numbers
	last    int64 // the Seq of the last event that was counted
	warned  bool  // that it answers with an address
}

var _ event.Sink = (*Endpoint)(nil)

// Numbers count what an endpoint did, as registry:2 does.
type Numbers struct {
	Events    int64            // that were to be sent
	Successes int64            // attempts that were accepted
	Failures  int64            // attempts that were answered otherwise
	Errors    int64            // attempts without an answer
	Statuses  map[string]int64 // answers, such as "200 OK"
}

// New returns an endpoint. It fails if there is to be a signature and no key for
// it.
func New(o Options) (*Endpoint, error) {
	e := &Endpoint{o: o, numbers: Numbers{Statuses: make(map[string]int64)}}
	if _, err := e.key(); err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxResponseHeaderBytes = 64 << 10
	transport.DisableCompression = true
	e.client = &http.Client{
		Transport: transport,
		Timeout:   o.Timeout,
		// Whoever answers may not say where events go.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return e, nil
}

// Numbers returns what the endpoint has done so far.
func (e *Endpoint) Numbers() Numbers {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := e.numbers
	n.Statuses = maps.Clone(n.Statuses)
	return n
}

// Wants reports whether the endpoint is told of an event.
func (e *Endpoint) Wants(ev event.Event) bool {
	return ev.Action != event.Collect &&
		!slices.Contains(e.o.IgnoreActions, string(ev.Action)) &&
		!slices.Contains(e.o.IgnoreMediaTypes, mediaType(ev)) &&
		(e.o.Repositories == nil || e.o.Repositories(ev.Repo))
}

// Backoff says how long to wait after so many failures in a row: not at all
// before the threshold is reached, and always as long from then on.
func (e *Endpoint) Backoff(failures int) time.Duration {
	if failures < e.o.Threshold {
		return 0
	}
	return e.o.Backoff
}

// Deliver makes one attempt to send the events in one request. Everything
// between 200 and 399 accepts them, but for an answer that says to send them
// elsewhere.
func (e *Endpoint) Deliver(ctx context.Context, batch []event.Event) error {
	e.countEvents(batch)
	body, err := e.encode(ctx, batch)
	if err != nil {
		e.countError()
		return err
	}
	req, err := e.request(ctx, body)
	if err != nil {
		e.countError()
		return err
	}
	resp, err := e.client.Do(req)
	if err != nil {
		e.countError()
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // without the URL, which may hold a secret
		}
		return fmt.Errorf("send to endpoint %q: %w", e.o.Name, err)
	}
	defer resp.Body.Close()
	io.CopyN(io.Discard, resp.Body, 64<<10) // so that the connection can be used again
	err = e.judge(resp.StatusCode)
	e.countAnswer(statusLine(resp.StatusCode), err)
	return err
}

// request makes the request that carries body.
func (e *Endpoint) request(ctx context.Context, body []byte) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.o.URL, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("the URL of endpoint %q is none", e.o.Name) // and may hold a secret
	}
	req.Header.Set("Content-Type", MediaType)
	req.Header.Set("User-Agent", "berth")
	for name, values := range e.o.Headers {
		req.Header[http.CanonicalHeaderKey(name)] = values
	}
	key, err := e.key()
	if err != nil || key == nil {
		return req, err
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(body)
	req.Header.Set(SignatureHeader, "sha256="+hex.EncodeToString(mac.Sum(nil)))
	return req, nil
}

// key reads the key of the signature; nil if there shall be none.
func (e *Endpoint) key() ([]byte, error) {
	if e.o.Secret == "" {
		return nil, nil
	}
	b, err := os.ReadFile(e.o.Secret)
	if err != nil {
		return nil, fmt.Errorf("read the secret of endpoint %q: %w", e.o.Name, err)
	}
	if b = bytes.TrimSpace(b); len(b) == 0 {
		return nil, fmt.Errorf("the secret of endpoint %q is empty: write one into %s, such as the output of openssl rand -hex 32", e.o.Name, e.o.Secret)
	}
	return b, nil
}

// judge returns an error if the answer does not accept the events.
//
// 302 and 303 are what web applications answer to a form that they have taken;
// registry:2 then fetches what they point to, and has delivered nothing else
// either. 301, 307 and 308 mean that nobody has looked at the events.
func (e *Endpoint) judge(code int) error {
	switch {
	case code < 200 || code >= 400:
		return fmt.Errorf("endpoint %q answers %s", e.o.Name, statusLine(code))
	case code == http.StatusMovedPermanently || code == http.StatusTemporaryRedirect || code == http.StatusPermanentRedirect:
		return fmt.Errorf("endpoint %q answers %s, which is not followed: give it the URL that it points to", e.o.Name, statusLine(code))
	case code == http.StatusFound || code == http.StatusSeeOther:
		e.warnOnce(statusLine(code))
	}
	return nil
}

// statusLine is an answer in our words, whatever the endpoint's are.
func statusLine(code int) string { return fmt.Sprintf("%d %s", code, http.StatusText(code)) }

func (e *Endpoint) warnOnce(status string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.warned {
		return
	}
	e.warned = true
	e.o.Log.Warn("an endpoint answers with another address; this counts as delivered and is not followed", "endpoint", e.o.Name, "status", status)
}

// countEvents counts events that come for the first time.
func (e *Endpoint) countEvents(batch []event.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, ev := range batch {
		if ev.Seq > e.last {
			e.last = ev.Seq
			e.numbers.Events++
		}
	}
}

// countError counts an attempt that was not answered.
func (e *Endpoint) countError() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.numbers.Errors++
}

// countAnswer counts an attempt that was answered.
func (e *Endpoint) countAnswer(status string, refused error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.numbers.Statuses[status]++
	if refused != nil {
		e.numbers.Failures++
		return
	}
	e.numbers.Successes++
}
