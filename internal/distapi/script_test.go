package distapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"berth/internal/oci"
)

// TestScripts runs testdata/*.txtar, requests and what comes back, over the
// fake and over the real Core, so that neither has ways of its own.
//
// The comment of an archive is the script, its files are what the script sends
// (without the last newline). Lines of a script:
//
//	mode basic             the server: open, basic, or anonymous (see newBench)
//	as alice:secret        send these credentials from now on; "as -" sends none
//	> PUT /v2/…            a request, sent as it is written
//	> Name: value          a header of it
//	> body "text"          its body; or @file, or zero 1000 (so many spaces)
//	> chunked              send the body without its length
//	< 404 NAME_UNKNOWN     the status, and the code of the error
//	< Name: value          a header, exactly; several ones joined by " | "
//	< Name ~ text          a header that holds text
//	< !Name                no such header
//	< body "text"          the body; or @file, or empty, or ~ "text" that it holds
//	< $var = Name          keep a header; or "json key" of the body
//
// ${var} is replaced by what was kept, ${sha256:file}, ${sha512:file} and
// ${size:file} by what the file has.
func TestScripts(t *testing.T) {
	names, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	benches := map[string]func(testing.TB, string) *bench{"fake": newBench, "core": newCoreBench}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for over, bench := range benches {
			t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar")+"/"+over, func(t *testing.T) {
				s := script{T: t, newBench: bench, vars: map[string]string{}, files: map[string]string{}}
				s.run(strings.ReplaceAll(string(text), "\r\n", "\n"))
			})
		}
	}
}

// A script is a script that is running.
type script struct {
	*testing.T
	newBench func(testing.TB, string) *bench
	at       string // the line, for messages
	bench    *bench
	auth     string // the Authorization header
	vars     map[string]string
	files    map[string]string

	request *scriptRequest
	resp    *http.Response // nil until the request has been sent
	body    []byte
}

type scriptRequest struct {
	method, target string
	header         http.Header
	body           string
	chunked        bool
}

func (s *script) run(text string) {
	text = s.readFiles(text)
	for i, line := range strings.Split(text, "\n") {
		s.at = fmt.Sprintf("line %d: %s", i+1, line)
		verb, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch rest = s.expand(strings.TrimSpace(rest)); {
		case verb == "" || strings.HasPrefix(verb, "#"):
		case verb == "mode":
			s.bench = s.newBench(s.T, rest)
		case verb == "as":
			s.as(rest)
		case verb == ">":
			s.ask(rest)
		case verb == "<":
			s.expect(rest)
		default:
			s.Fatalf("%s: unknown", s.at)
		}
	}
	s.finish()
}

// readFiles takes the files of the archive off text.
func (s *script) readFiles(text string) string {
	parts := regexp.MustCompile(`(?m)^-- (\S+) --\n`).Split(text, -1)
	names := regexp.MustCompile(`(?m)^-- (\S+) --\n`).FindAllStringSubmatch(text, -1)
	for i, m := range names {
		s.files[m[1]] = strings.TrimSuffix(parts[i+1], "\n")
	}
	return parts[0]
}

func (s *script) expand(text string) string {
	return regexp.MustCompile(`\$\{[^}]*\}`).ReplaceAllStringFunc(text, func(m string) string {
		name := m[2 : len(m)-1]
		how, file, isFile := strings.Cut(name, ":")
		if !isFile {
			if v, ok := s.vars[name]; ok {
				return v
			}
			s.Fatalf("%s: no variable %s", s.at, name)
		}
		content, ok := s.files[file]
		switch {
		case !ok:
			s.Fatalf("%s: no file %s", s.at, file)
		case how == "size":
			return strconv.Itoa(len(content))
		}
		return must(oci.ParseAlgorithm(how)).FromBytes([]byte(content)).String()
	})
}

func (s *script) as(who string) {
	s.finish()
	user, password, _ := strings.Cut(who, ":")
	switch user {
	case "-":
		s.auth = ""
	case "bearer":
		s.auth = "Bearer " + password
	default:
		r := http.Request{Header: http.Header{}}
		r.SetBasicAuth(user, password)
		s.auth = r.Header.Get("Authorization")
	}
}

// ask reads a line about a request.
func (s *script) ask(line string) {
	first, rest, _ := strings.Cut(line, " ")
	switch {
	case strings.HasSuffix(first, ":"):
		key := http.CanonicalHeaderKey(strings.TrimSuffix(first, ":"))
		s.request.header[key] = append(s.request.header[key], rest)
	case first == "body":
		s.request.body = s.content(rest)
	case line == "chunked":
		s.request.chunked = true
	default:
		s.finish()
		s.request = &scriptRequest{method: first, target: rest, header: http.Header{}}
	}
}

func (s *script) content(text string) string {
	if name, ok := strings.CutPrefix(text, "@"); ok {
		content, ok := s.files[name]
		if !ok {
			s.Fatalf("%s: no file %s", s.at, name)
		}
		return content
	}
	if n, ok := strings.CutPrefix(text, "zero "); ok {
		return strings.Repeat(" ", must(strconv.Atoi(n)))
	}
	if text == "empty" {
		return ""
	}
	content, err := strconv.Unquote(text)
	if err != nil {
		s.Fatalf("%s: %v", s.at, err)
	}
	return content
}

// finish makes sure that no request is left without an answer.
func (s *script) finish() {
	if s.bench == nil {
		s.bench = s.newBench(s.T, "open")
	}
	if s.request != nil && s.resp == nil {
		s.Fatalf("%s: nothing was expected of %s %s", s.at, s.request.method, s.request.target)
	}
	s.request, s.resp = nil, nil
}

func (s *script) send() {
	q := s.request
	if s.auth != "" && q.header["Authorization"] == nil {
		q.header.Set("Authorization", s.auth)
	}
	var body io.Reader
	if q.body != "" || q.chunked {
		body = strings.NewReader(q.body)
	}
	if q.chunked {
		body = struct{ io.Reader }{body}
	}
	s.resp, s.body = s.bench.send(s.T, q.method, q.target, q.header, body)
	s.checkAlways()
}

// checkAlways checks what every answer must have.
func (s *script) checkAlways() {
	for key, want := range map[string]string{
		"Docker-Distribution-Api-Version": "registry/2.0", "X-Content-Type-Options": "nosniff", "Vary": "Authorization, Accept",
	} {
		if got := s.resp.Header.Get(key); got != want {
			s.Errorf("%s: %s: got %q, want %q", s.at, key, got, want)
		}
	}
	if !strings.Contains(s.resp.Header.Get("Content-Security-Policy"), "sandbox") || s.resp.Header.Get("Cache-Control") == "" {
		s.Errorf("%s: got headers %v", s.at, s.resp.Header)
	}
	if s.request.method == "HEAD" && len(s.body) > 0 {
		s.Errorf("%s: a HEAD with a body", s.at)
	}
	if s.resp.StatusCode < 400 {
		return
	}
	if s.resp.Header.Get("Cache-Control") != "no-store" || s.resp.Header.Get("Content-Type") != "application/json" {
		s.Errorf("%s: got an error with headers %v", s.at, s.resp.Header)
	}
	if s.request.method != "HEAD" {
		s.code()
	}
}

// code returns the code of the error that the answer must be.
func (s *script) code() string {
	var got struct {
		Errors []struct{ Code, Message string }
	}
	if err := json.Unmarshal(s.body, &got); err != nil || len(got.Errors) != 1 || got.Errors[0].Code == "" || got.Errors[0].Message == "" {
		s.Fatalf("%s: got body %q, want one error with a code and a message", s.at, s.body)
	}
	return got.Errors[0].Code
}

// expect reads a line about an answer.
func (s *script) expect(line string) {
	if s.request == nil {
		s.Fatalf("%s: no request", s.at)
	}
	first, rest, _ := strings.Cut(line, " ")
	if s.resp == nil {
		s.send()
		if got := strconv.Itoa(s.resp.StatusCode); got != first {
			s.Fatalf("%s: got status %s\n%v\n%s", s.at, got, s.resp.Header, s.body)
		}
		if rest != "" && s.code() != rest {
			s.Fatalf("%s: got code %s", s.at, s.code())
		}
		return
	}
	key := strings.TrimSuffix(strings.TrimPrefix(first, "!"), ":")
	got := strings.Join(s.resp.Header.Values(key), " | ")
	if key == "Content-Length" && s.resp.ContentLength >= 0 {
		got = strconv.FormatInt(s.resp.ContentLength, 10)
	}
	switch {
	case first == "body" && strings.HasPrefix(rest, "~ "):
		if want := s.content(rest[2:]); !bytes.Contains(s.body, []byte(want)) {
			s.Errorf("%s: got body %.2000q", s.at, s.body)
		}
	case first == "body":
		if want := s.content(rest); string(s.body) != want {
			s.Errorf("%s: got body %.2000q", s.at, s.body)
		}
	case strings.HasPrefix(first, "$"):
		s.keep(first[1:], strings.TrimPrefix(rest, "= "))
	case strings.HasPrefix(first, "!"):
		if len(s.resp.Header.Values(key)) > 0 {
			s.Errorf("%s: got %q", s.at, got)
		}
	case strings.HasPrefix(rest, "~ "):
		if !strings.Contains(got, rest[2:]) {
			s.Errorf("%s: got %q", s.at, got)
		}
	case got != rest:
		s.Errorf("%s: got %q", s.at, got)
	}
}

// keep keeps a header, or a value of the body.
func (s *script) keep(name, from string) {
	value := s.resp.Header.Get(from)
	if key, ok := strings.CutPrefix(from, "json "); ok {
		var object map[string]any
		if err := json.Unmarshal(s.body, &object); err != nil {
			s.Fatalf("%s: %v", s.at, err)
		}
		value = fmt.Sprint(object[key])
	}
	if value == "" {
		s.Fatalf("%s: there is no %s", s.at, from)
	}
	s.vars[name] = value
}
