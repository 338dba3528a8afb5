package acme

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"

	"golang.org/x/crypto/acme"
)

// maxAnswer is how much of an answer is looked at, in bytes.
const maxAnswer = 64 << 10

// A problem is what an ACME server complains about (RFC 8555, section 6.7).
type problem struct {
	Type   string `json:"type"`
	Detail string `json:"detail"`
}

// reasons note why the server could not verify a host: the manager says only
// that no way is left.
type reasons struct {
	next http.RoundTripper

	mu    sync.Mutex
	hosts map[string]problem
}

// RoundTrip sends a request, and looks at the answer in passing.
func (r *reasons) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := r.next.RoundTrip(req)
	if err != nil || !strings.Contains(resp.Header.Get("Content-Type"), "json") {
		return resp, err
	}
	head, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), failing{err}, resp.Body), resp.Body}
	if host, p, ok := readAuthorization(head); ok {
		r.mu.Lock()
		r.hosts[host] = p
		r.mu.Unlock()
	}
	return resp, nil
}

// failing is a reader that ends with an error, if there was one.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	return 0, io.EOF
}

// readAuthorization returns for which host an answer says that a challenge has
// failed, and why.
func readAuthorization(answer []byte) (host string, p problem, ok bool) {
	var a struct {
		Identifier struct {
			Value string `json:"value"`
		} `json:"identifier"`
		Challenges []struct {
			Type  string   `json:"type"`
			Error *problem `json:"error"`
		} `json:"challenges"`
	}
	if json.Unmarshal(answer, &a) != nil {
		return "", problem{}, false
	}
	for _, c := range a.Challenges {
		if c.Error != nil {
			return a.Identifier.Value, problem{Type: c.Error.Type, Detail: c.Type + ": " + c.Error.Detail}, true
		}
	}
	return "", problem{}, false
}

// forget forgets why an earlier attempt has failed.
func (r *reasons) forget(host string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.hosts, func(h string, _ problem) bool { return h == host })
}

// explain returns why there is no certificate for a host, and what to do.
func (r *reasons) explain(host string, err error) (reason, advice string) {
	r.mu.Lock()
	p, noted := r.hosts[host]
	r.mu.Unlock()
	if e, ok := errors.AsType[*acme.Error](err); ok {
		p, noted = problem{Type: e.ProblemType, Detail: e.Detail}, true
	}
	if noted {
		return p.Detail, adviceFor(strings.TrimPrefix(p.Type, "urn:ietf:params:acme:error:"))
	}
	unknown, certainly := errors.AsType[x509.UnknownAuthorityError](err)
	_, dns := errors.AsType[*net.DNSError](err)
	_, network := errors.AsType[net.Error](err)
	switch {
	case certainly && unknown.Cert != nil:
		return err.Error(), "the certificate of the ACME server itself is of an authority that this machine doesn't know: name the file with it in http.tls.acme.ca"
	case dns:
		return err.Error(), "this machine can't resolve the name of the ACME server: check http.tls.acme.directory and the DNS of this machine"
	case network, errors.Is(err, context.DeadlineExceeded):
		return err.Error(), "this machine can't reach the ACME server: check http.tls.acme.directory, the firewall, and HTTPS_PROXY if a proxy is needed"
	}
	return err.Error(), "see the reason"
}

// adviceFor returns what to do about a problem, by the last part of its type.
func adviceFor(kind string) string {
	switch kind {
	case "connection", "tls":
		return "the ACME server connects to this host on port 443 (tls-alpn-01) and port 80 (http-01): lead one of them here, through firewalls and routers, without a proxy that ends TLS in between"
	case "dns":
		return "the name must lead to this machine from everywhere: make an A record (and an AAAA record only if IPv6 works) for it"
	case "unauthorized", "incorrectResponse":
		return "another server answers for this name: check that its DNS records, the AAAA record too, and the port forwarding lead to this machine"
	case "caa":
		return "a CAA record of the domain forbids this authority: add it there, or use another one (http.tls.acme.directory)"
	case "rateLimited":
		return "there were too many certificates or failures for this name: wait as long as it says, and keep http.tls.acme.cache between starts"
	case "rejectedIdentifier", "malformed", "unsupportedIdentifier":
		return "this authority gives no certificates for this name: public ones want a public name, not one such as registry.local"
	case "externalAccountRequired":
		return "this authority wants an account that was made before: set http.tls.acme.eab_id and http.tls.acme.eab_key to what it gave you"
	case "badCSR", "badSignatureAlgorithm", "badPublicKey":
		return "this authority doesn't accept the kind of key: ask its operator whether ECDSA P-256 is allowed"
	case "invalidContact", "unsupportedContact":
		return "this authority doesn't accept the address in http.tls.acme.email: correct or remove it"
	case "accountDoesNotExist":
		return "this authority doesn't know the account in http.tls.acme.cache, which may be another authority's: move the directory away, and a new one is made"
	case "userActionRequired":
		return "this authority has new terms to agree to: follow the link in the reason"
	}
	return "see the reason"
}
