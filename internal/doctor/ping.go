package doctor

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// versionHeader is what old clients recognise a registry by.
const versionHeader = "Docker-Distribution-Api-Version"

// ping asks what every client asks first.
func (e *exam) ping(ctx context.Context) (ok bool) {
	const name = "GET /v2/"
	a, err := e.ask(ctx, question{method: http.MethodGet, path: "/v2/"})
	if err != nil {
		if strings.Contains(err.Error(), "malformed HTTP response") {
			e.found(name, tlsOnly, "the port speaks TLS, and the address says http://")
			return false
		}
		e.found(name, unreachable, fmt.Sprintf("no answer to GET /v2/: %v", cause(err)))
		return false
	}
	e.who(a)
	switch {
	case a.gateway():
		e.found(name, gatewayError, fmt.Sprintf("the proxy answers %s: it does not get through to the registry", a))
	case a.status == 400 && (strings.Contains(string(a.body), "HTTPS") || strings.Contains(string(a.body), "SSL-enabled")):
		e.found(name, tlsOnly, "the port speaks TLS, and the address says http://")
	case a.status/100 == 3:
		e.found(name, redirects, fmt.Sprintf("GET /v2/ is sent on to %s", printable(a.header.Get("Location"), 120)))
	case a.status == 404 && e.blocked(ctx):
		e.found(name, agentBlocked, "docker is answered 404, and other clients are not")
	case a.status == 404:
		e.found(name, notProxied, fmt.Sprintf("GET /v2/ is answered %s", a))
	case a.status == 401:
		e.fine(name, "asks for log-in")
		e.challenge = true
		e.version(name, a)
		e.readChallenge(ctx, a)
		return true
	case a.status == 200 && a.ofRegistry():
		e.fine(name, "open without log-in")
		e.version(name, a)
		return true
	case a.status == 200:
		e.found(name, noRegistry, fmt.Sprintf("GET /v2/ is answered with something else than a registry's {}: %s", a.words()))
	default:
		e.found(name, noRegistry, fmt.Sprintf("GET /v2/ is answered %s", a))
	}
	return false
}

// who finds out what answers.
func (e *exam) who(a answer) {
	server := a.header.Get("Server")
	e.report.Proxy = printable(server, 60)
	switch low := strings.ToLower(server); {
	case strings.Contains(low, "nginx"), strings.Contains(low, "openresty"):
		e.kind = "nginx"
	case strings.Contains(low, "apache"):
		e.kind = "Apache"
	case strings.Contains(low, "caddy"), strings.Contains(strings.ToLower(a.header.Get("Via")), "caddy"):
		e.kind = "Caddy"
	case strings.Contains(low, "cloudflare"):
		e.kind = "Cloudflare"
	}
	if e.report.Proxy == "" {
		e.report.Proxy = printable(a.header.Get("Via"), 60)
	}
	challenge := a.header.Get("Www-Authenticate")
	switch {
	case strings.HasPrefix(a.header.Get("Content-Security-Policy"), "default-src 'none'; sandbox"):
		e.report.Registry = "Berth"
	case strings.Contains(challenge, "harbor-registry"):
		e.report.Registry = "Harbor"
	}
}

// blocked reports whether the registry is there for clients other than docker.
func (e *exam) blocked(ctx context.Context) bool {
	a, err := e.ask(ctx, question{method: http.MethodGet, path: "/v2/", header: http.Header{"User-Agent": {"curl/8.5.0"}}})
	return err == nil && (a.status == 200 || a.status == 401)
}

// version looks for the header that names the API.
func (e *exam) version(check string, a answer) {
	switch got := a.header.Values(versionHeader); {
	case len(got) == 0:
		e.found(check, versionMissing, fmt.Sprintf("the answer %d comes without %s: registry/2.0", a.status, versionHeader))
	case len(got) > 1:
		e.hint(check, versionTwice, fmt.Sprintf("%s comes %d times", versionHeader, len(got)))
	}
}

// agents asks as other clients do: a proxy that turns some away may turn away
// too many.
func (e *exam) agents(ctx context.Context) {
	const name = "clients"
	for _, client := range []string{"containerd/1.7.27", "skopeo/1.18.0", "Go-http-client/1.1", "docker/1.13.1 go/go1.7.5"} {
		a, err := e.ask(ctx, question{method: http.MethodGet, path: "/v2/", header: http.Header{"User-Agent": {client}}})
		if err == nil && a.status != 200 && a.status != 401 {
			e.found(name, agentBlocked, fmt.Sprintf("%s is answered %s", client, a))
			return
		}
	}
	e.fine(name, "none is turned away for its name")
}

// A challenge is what a WWW-Authenticate header says.
type challenge struct {
	scheme string
	params map[string]string
}

// parseChallenge reads one challenge, as registries write it.
func parseChallenge(s string) challenge {
	scheme, rest, _ := strings.Cut(strings.TrimSpace(s), " ")
	c := challenge{scheme: strings.ToLower(scheme), params: make(map[string]string)}
	for rest != "" {
		key, after, ok := strings.Cut(rest, "=")
		if !ok {
			break
		}
		var value string
		if inner, quoted := strings.CutPrefix(after, `"`); quoted {
			value, after, _ = strings.Cut(inner, `"`)
			_, after, _ = strings.Cut(after, ",")
		} else {
			value, after, _ = strings.Cut(after, ",")
		}
		c.params[strings.ToLower(strings.TrimSpace(key))] = strings.TrimSpace(value)
		rest = after
	}
	return c
}

// readChallenge looks at how log-in is asked for.
func (e *exam) readChallenge(ctx context.Context, a answer) {
	const name = "how log-in is asked for"
	list := a.header.Values("Www-Authenticate")
	switch {
	case len(list) == 0:
		e.found(name, noChallenge, "the answer 401 comes without WWW-Authenticate")
		return
	case len(list) > 1:
		e.found(name, twoChallenges, fmt.Sprintf("the answer 401 asks %d times for log-in", len(list)))
		return
	}
	c := parseChallenge(list[0])
	switch c.scheme {
	case "basic":
		e.fine(name, "Basic, by "+e.checker(a))
	case "bearer":
		e.realm(ctx, name, c)
	default:
		e.found(name, noChallenge, fmt.Sprintf("log-in is asked for by %q, which docker does not know", printable(c.scheme, 20)))
	}
}

// checker says who asks for log-in.
func (e *exam) checker(a answer) string {
	if a.ofRegistry() {
		return "the registry"
	}
	return "the proxy"
}

// realm looks at the address where tokens are to be had.
func (e *exam) realm(ctx context.Context, name string, c challenge) {
	u, err := url.Parse(c.params["realm"])
	if err != nil || u.Host == "" {
		e.found(name, wrongRealm, fmt.Sprintf("tokens are to be had at %q, which is no address", printable(c.params["realm"], 120)))
		return
	}
	if e.base.Scheme == "https" && u.Scheme == "http" {
		e.found(name, wrongRealm, fmt.Sprintf("tokens are to be had at %s: docker would send the password unencrypted, if anybody answers there", printable(u.String(), 120)))
		return
	}
	q := u.Query()
	q.Set("service", c.params["service"])
	u.RawQuery = q.Encode()
	a, err := e.ask(ctx, question{method: http.MethodGet, to: u, secret: none})
	switch {
	case err != nil:
		e.found(name, wrongRealm, fmt.Sprintf("tokens are to be had at %s, where nobody answers: %v", printable(u.Host, 120), cause(err)))
	case a.status == 404:
		e.found(name, tokenNotProxied, fmt.Sprintf("tokens are to be had at %s, which is answered %s", printable(u.Path, 120), a))
	default:
		e.fine(name, "tokens are to be had at "+printable(u.Scheme+"://"+u.Host+u.Path, 120))
	}
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// logIn logs in as docker does, and looks at who refuses it.
func (e *exam) logIn(ctx context.Context) {
	const name = "log-in"
	secret := basic(e.o.User, e.o.Password)
	first, err := e.ask(ctx, question{method: http.MethodGet, path: "/v2/", secret: none})
	if err != nil {
		e.found(name, unreachable, cause(err).Error())
		return
	}
	if c := parseChallenge(first.header.Get("Www-Authenticate")); first.status == 401 && c.scheme == "bearer" {
		e.logInByToken(ctx, name, c)
		return
	}
	a, err := e.ask(ctx, question{method: http.MethodGet, path: "/v2/", secret: secret})
	if err != nil {
		e.found(name, unreachable, cause(err).Error())
		return
	}
	switch {
	case a.status == 200:
		e.login = secret
		e.who(a)
		e.fine(name, "as "+printable(e.o.User, 60))
		e.version(name, a)
		e.wrongPassword(ctx)
	case a.status == 500 && !a.ofRegistry(), a.status == 403 && !a.ofRegistry():
		e.found(name, passwordFile, fmt.Sprintf("log-in is answered %s by the proxy, where no log-in is answered %d", a, first.status))
	case a.status == 400 && strings.Contains(a.words(), "more than one Authorization"):
		e.found(name, authorizationTwice, fmt.Sprintf("log-in is answered %s", a))
	case a.status == 401 && a.ofRegistry() && !first.ofRegistry():
		e.found(name, twoCheckers, fmt.Sprintf("the proxy accepts the log-in, and then the registry refuses it: %s", a))
	case a.status == 401 && strings.Contains(a.words(), "log-in is required"):
		e.found(name, authorizationLost, "the registry answers as if nobody had logged in")
	case a.status == 401 && a.ofRegistry() && e.report.Registry != "Berth":
		e.found(name, wrongLogin, fmt.Sprintf("the registry refuses the log-in (%s), or the proxy takes the Authorization header away", a))
	case a.status == 401:
		e.found(name, wrongLogin, fmt.Sprintf("%s refuses the log-in: %s", e.checker(a), a))
	default:
		e.found(name, noRegistry, fmt.Sprintf("log-in is answered %s", a))
	}
}

// wrongPassword holds that log-in means something where it is asked for.
func (e *exam) wrongPassword(ctx context.Context) {
	const name = "a wrong password"
	if !e.challenge {
		return
	}
	a, err := e.ask(ctx, question{method: http.MethodGet, path: "/v2/", secret: basic(e.o.User, "not "+e.o.Password)})
	switch {
	case err != nil:
		e.found(name, unreachable, cause(err).Error())
	case a.status == 200:
		e.found(name, nobodyChecks, "a wrong password is accepted")
	default:
		e.fine(name, fmt.Sprintf("is answered %d", a.status))
	}
}

// logInByToken gets a token for the repository of the examination.
func (e *exam) logInByToken(ctx context.Context, name string, c challenge) {
	u, err := url.Parse(c.params["realm"])
	if err != nil || u.Host == "" || u.Scheme == "http" && e.base.Scheme == "https" {
		e.skip(name, "the address for tokens is not right")
		return
	}
	q := u.Query()
	q.Set("service", c.params["service"])
	q.Set("scope", "repository:"+Repository+":pull,push,delete")
	u.RawQuery = q.Encode()
	a, err := e.ask(ctx, question{method: http.MethodGet, to: u, secret: basic(e.o.User, e.o.Password)})
	if err != nil {
		e.found(name, wrongRealm, cause(err).Error())
		return
	}
	var t struct {
		Token       string
		AccessToken string `json:"access_token"`
	}
	if a.status != 200 || json.Unmarshal(a.body, &t) != nil || t.Token+t.AccessToken == "" {
		e.found(name, wrongLogin, fmt.Sprintf("the token server answers %s", a))
		return
	}
	if t.Token == "" {
		t.Token = t.AccessToken
	}
	secret := "Bearer " + t.Token
	if a, err = e.ask(ctx, question{method: http.MethodGet, path: "/v2/", secret: secret}); err != nil || a.status != 200 {
		e.found(name, authorizationLost, fmt.Sprintf("the token is answered %s", a))
		return
	}
	e.login = secret
	e.fine(name, "as "+printable(e.o.User, 60)+", by token")
}

// errorPages asks for what is not there: what is wrong stands in the registry's
// answer, and clients read it.
func (e *exam) errorPages(ctx context.Context) {
	const name = "errors"
	a, err := e.ask(ctx, question{method: http.MethodGet, path: "/v2/" + Repository + "/manifests/no-such-tag"})
	switch {
	case err != nil:
		e.found(name, unreachable, cause(err).Error())
	case a.status == 401 && e.login == "":
		e.skip(name, "log-in is needed: --user NAME --password-stdin")
	case a.status == 404 && !a.ofRegistry():
		e.found(name, errorsReplaced, fmt.Sprintf("what is not there is answered with a page that is not the registry's: %s", a.words()))
	case a.gateway():
		e.found(name, gatewayError, a.String())
	default:
		e.fine(name, "come through as the registry writes them")
	}
}
