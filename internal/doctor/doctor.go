// Package doctor examines a registry from where its clients are, through
// whatever proxy is in front, and says what to change where.
//
// It asks what docker asks, looks at what comes back, and leaves nothing behind:
// the uploads that it begins are cancelled. It knows registries from outside
// only, so it examines others than Berth as well.
package doctor

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Repository is where the examination begins uploads, which it cancels.
const Repository = "berth-doctor/probe"

// Options say what is examined.
type Options struct {
	URL            *url.URL       // of the registry, without /v2/
	Guessed        bool           // nobody wrote the scheme: http is tried after https
	User, Password string         // both empty: without log-in
	Roots          *x509.CertPool // who is trusted; nil means whom this machine trusts
	Insecure       bool           // send the password even if the certificate is wrong
	Repo           string         // where to look for something to pull; empty: anywhere
	Max            int64          // the largest size of a body that is asked for; 0: 10 GiB
	Send           int64          // how many bytes are really sent; 0: 2 MiB
	Timeout        time.Duration  // for one question; 0: 10 s
	Now            func() time.Time
}

// An Outcome is what became of a check.
type Outcome string

// The outcomes of a [Check].
const (
	OK        Outcome = "ok"
	Problem   Outcome = "problem"
	Hint      Outcome = "hint"
	NotTested Outcome = "not tested"
)

// A Check is one thing that was looked at.
type Check struct {
	Name    string  `json:"name"`
	Outcome Outcome `json:"outcome"`
	Detail  string  `json:"detail,omitempty"`
}

// A Finding is something to change.
type Finding struct {
	ID     string   `json:"id"`
	Level  Outcome  `json:"level"` // Problem or Hint
	Saw    string   `json:"saw"`
	Breaks string   `json:"breaks"` // what it does to clients
	Change []Change `json:"change"`
}

// A Change says what to write where.
type Change struct {
	Where string `json:"where"` // nginx, Apache, Caddy, Berth, docker, …
	What  string `json:"what"`
}

// A Report is what the examination found.
type Report struct {
	Address  string    `json:"address"`
	Proxy    string    `json:"proxy"`    // what answers, as far as it says so
	Registry string    `json:"registry"` // what is behind it, as far as it shows
	Checks   []Check   `json:"checks"`
	Findings []Finding `json:"findings"`
}

// Problems reports whether anything was found that keeps clients from working.
func (r *Report) Problems() bool {
	for _, f := range r.Findings {
		if f.Level == Problem {
			return true
		}
	}
	return false
}

// An exam is an examination under way.
type exam struct {
	o      Options
	base   *url.URL
	client *http.Client // speaks HTTP/2 where the server does, as docker
	plain  *http.Client // HTTP/1.1 alone
	report Report
	kind   string // of the proxy: nginx, Apache, Caddy, or empty

	login     string // the Authorization header that is sent, once it is known
	challenge bool   // log-in is asked for
	uploads   []*url.URL
}

// Examine examines a registry. It fails for nothing that it finds, only when
// ctx ends.
func Examine(ctx context.Context, o Options) (*Report, error) {
	o.Max = cmp.Or(o.Max, 10<<30)
	o.Send = cmp.Or(o.Send, 2<<20)
	o.Timeout = cmp.Or(o.Timeout, 10*time.Second)
	if o.Now == nil {
		o.Now = time.Now
	}
	base := *o.URL
	base.Path = strings.TrimSuffix(base.Path, "/")
	e := &exam{o: o, base: &base, report: Report{Checks: []Check{}, Findings: []Finding{}}}
	defer e.close()
	e.run(ctx)
	e.report.Address = e.base.String()
	return &e.report, ctx.Err()
}

// run makes the checks in the order in which a client would meet what they find.
// One that the others cannot do without ends it.
func (e *exam) run(ctx context.Context) {
	trusted, ok := e.reach(ctx)
	if !ok {
		return
	}
	e.connect()
	if !e.ping(ctx) {
		return
	}
	e.agents(ctx)
	switch {
	case e.o.User == "":
	case !trusted && !e.o.Insecure:
		e.skip("log-in", "the password is not sent to a server whose certificate is not right; --insecure sends it all the same")
	default:
		e.logIn(ctx)
	}
	e.errorPages(ctx)
	e.push(ctx)
	e.pull(ctx)
}

// connect makes the clients. That the certificate is right has been looked at by
// then; if it isn't, the rest is examined all the same.
func (e *exam) connect() {
	e.client, e.plain = e.newClient("h2", "http/1.1"), e.newClient("http/1.1")
}

func (e *exam) newClient(protocols ...string) *http.Client {
	var p http.Protocols
	p.SetHTTP1(true)
	p.SetHTTP2(len(protocols) > 1)
	return &http.Client{
		Transport: &http.Transport{
			TLSClientConfig:       &tls.Config{InsecureSkipVerify: true, NextProtos: protocols},
			Protocols:             &p,
			DisableCompression:    true,
			ExpectContinueTimeout: 3 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// close takes back what the examination has begun, whatever happened.
func (e *exam) close() {
	ctx, cancel := context.WithTimeout(context.Background(), e.o.Timeout)
	defer cancel()
	for _, u := range e.uploads {
		e.cancelOne(ctx, u) // it expires otherwise
	}
	if e.client != nil {
		e.client.CloseIdleConnections()
		e.plain.CloseIdleConnections()
	}
}

func (e *exam) note(name string, outcome Outcome, detail string) {
	e.report.Checks = append(e.report.Checks, Check{Name: name, Outcome: outcome, Detail: detail})
}

func (e *exam) fine(name, detail string) { e.note(name, OK, detail) }
func (e *exam) skip(name, why string)    { e.note(name, NotTested, why) }

// found notes a problem under the name of the check that found it.
func (e *exam) found(name string, id trouble, saw string) {
	e.add(name, Problem, id, saw)
}

// hint notes what should be known and breaks nothing.
func (e *exam) hint(name string, id trouble, saw string) {
	e.add(name, Hint, id, saw)
}

func (e *exam) add(name string, level Outcome, id trouble, saw string) {
	e.note(name, level, saw)
	for _, f := range e.report.Findings {
		if f.ID == string(id) {
			return
		}
	}
	m := mends()[id]
	e.report.Findings = append(e.report.Findings, Finding{ID: string(id), Level: level, Saw: saw, Breaks: m.breaks, Change: m.changes(e.kind)})
}
