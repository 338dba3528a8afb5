package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// agent is what the examination calls itself: it has to look like docker to a
// proxy that looks.
const agent = "docker/27.5.1 go/go1.22.11 (berth-doctor)"

// maxAnswer is how much of an answer is read.
const maxAnswer = 4 << 20

// A question is a request.
type question struct {
	method string
	path   string   // below the address of the registry, with the query; or
	to     *url.URL // the whole address
	header http.Header
	body   io.Reader
	length int64 // of the body; -1: not told
	client *http.Client
	secret string // another Authorization header than that of the log-in; "none": none
}

// none asks without log-in.
const none = "none"

// An answer is a response, read.
type answer struct {
	status int
	header http.Header
	body   []byte
	length int64 // as the header says; -1 if it doesn't
	proto  string
}

// ask sends a request and reads the answer.
func (e *exam) ask(ctx context.Context, q question) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, e.o.Timeout)
	defer cancel()
	req, err := e.request(ctx, q)
	if err != nil {
		return answer{}, err
	}
	client := q.client
	if client == nil {
		client = e.client
	}
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	return read(resp)
}

func (e *exam) request(ctx context.Context, q question) (*http.Request, error) {
	to := e.at(q.path)
	if q.to != nil {
		to = q.to.String()
	}
	req, err := http.NewRequestWithContext(ctx, q.method, to, q.body)
	if err != nil {
		return nil, err
	}
	if q.body != nil {
		req.ContentLength = q.length
		req.Header.Set("Content-Type", "application/octet-stream")
	}
	req.Header.Set("User-Agent", agent)
	for k, v := range q.header {
		req.Header[k] = v
	}
	secret := q.secret
	if secret == "" {
		secret = e.login
	}
	if secret != "" && secret != none {
		req.Header.Set("Authorization", secret)
	}
	return req, nil
}

// at returns the address of a path of the registry.
func (e *exam) at(path string) string {
	return e.base.Scheme + "://" + e.base.Host + e.base.EscapedPath() + path
}

func read(resp *http.Response) (answer, error) {
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode, header: resp.Header, length: resp.ContentLength, proto: resp.Proto}
	if resp.Header.Get("Content-Length") == "" {
		a.length = -1
	}
	var err error
	a.body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return a, err
}

// String is how an answer is shown: its status, and what it says in a few words.
func (a answer) String() string {
	text := fmt.Sprintf("%d %s", a.status, http.StatusText(a.status))
	if words := a.words(); words != "" {
		text += " (" + words + ")"
	}
	return text
}

// words returns the message of the registry's error, or what another error page
// begins with.
func (a answer) words() string {
	if code, message := a.problem(); code != "" {
		return printable(strings.TrimSuffix(code+": "+message, ": "), 120)
	}
	text := string(a.body)
	if _, title, ok := strings.Cut(text, "<title>"); ok {
		text, _, _ = strings.Cut(title, "</title>")
	}
	text, _, _ = strings.Cut(strings.TrimSpace(text), "\n")
	if text == "{}" || strings.Contains(a.header.Get("Content-Type"), "octet-stream") {
		return ""
	}
	return printable(text, 80)
}

// printable keeps an answer from playing with the terminal.
func printable(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == 0xfffd || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return -1
		}
		return r
	}, s)
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

// problem returns the code and the message of an error that a registry made, and
// nothing for any other answer.
func (a answer) problem() (code, message string) {
	var e struct {
		Errors []struct{ Code, Message string }
	}
	if json.Unmarshal(a.body, &e) != nil || len(e.Errors) == 0 {
		return "", ""
	}
	return e.Errors[0].Code, e.Errors[0].Message
}

// ofRegistry reports whether an answer comes from a registry: what else is
// between could have made any other.
func (a answer) ofRegistry() bool {
	code, _ := a.problem()
	return code != "" || bytes.Equal(bytes.TrimSpace(a.body), []byte("{}"))
}

// gateway reports whether a proxy says that it doesn't get an answer.
func (a answer) gateway() bool {
	return !a.ofRegistry() && (a.status == 502 || a.status == 503 || a.status == 504)
}
