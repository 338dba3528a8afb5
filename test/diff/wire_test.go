package diff

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A request is one step. In its path, {u} is where the upload of the step before
// goes on; {u} may be followed by ?digest=….
type request struct {
	id     string // unique; what the table of differences names
	method string
	path   string
	body   string
	kind   string // Content-Type
	header map[string]string
	login  string // "", "right", "wrong"
}

// A registry is one that requests are sent to.
type registry struct {
	addr   string
	client *http.Client
	upload string // where the last upload goes on
}

// An answer is what is compared: everything of a response that clients read,
// with what must differ (ids, dates) made equal.
type answer struct {
	status int
	fields map[string]string // headers, and what the body says
}

// headers are those that are compared.
func headers() []string {
	return []string{"Content-Type", "Content-Length", "Docker-Content-Digest", "Docker-Distribution-Api-Version", "Docker-Upload-Uuid",
		"Etag", "Link", "Location", "Range", "Content-Range", "Www-Authenticate", "Allow"}
}

// send sends a step and reads the answer.
func (r *registry) send(t *testing.T, q request) answer {
	t.Helper()
	path := q.path
	if rest, ok := strings.CutPrefix(path, "{u}"); ok {
		path = r.upload
		if rest != "" {
			path += map[bool]string{true: "&", false: "?"}[strings.Contains(path, "?")] + strings.TrimPrefix(rest, "?")
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), q.method, "http://"+r.addr+path, strings.NewReader(q.body))
	if err != nil {
		t.Fatal(err)
	}
	if q.kind != "" {
		req.Header.Set("Content-Type", q.kind)
	}
	for k, v := range q.header {
		req.Header.Set(k, v)
	}
	switch q.login {
	case "right":
		req.SetBasicAuth(name, password)
	case "wrong":
		req.SetBasicAuth(name, "wrong")
	}
	resp, err := r.client.Do(req)
	if err != nil {
		t.Fatalf("%s: %v", q.id, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		body = []byte("less than Content-Length says")
	} else if err != nil {
		t.Fatalf("%s: %v", q.id, err)
	}
	if l := resp.Header.Get("Location"); l != "" && strings.Contains(l, "/uploads/") {
		r.upload = l
	}
	return read(q, resp, body)
}

// read makes an answer of a response.
func read(q request, resp *http.Response, body []byte) answer {
	a := answer{status: resp.StatusCode, fields: make(map[string]string)}
	failed := resp.StatusCode >= 400
	for _, h := range headers() {
		if v := resp.Header.Values(h); len(v) > 0 {
			a.fields[h] = plain(h, strings.Join(v, " | "))
		}
	}
	if v, _, ok := strings.Cut(a.fields["Content-Type"], ";"); ok {
		a.fields["Content-Type"] = v // charset=utf-8 is what JSON is anyway
	}
	if failed || q.method != "HEAD" && !strings.Contains(q.path, "/manifests/") && !strings.Contains(q.path, "/blobs/sha") {
		delete(a.fields, "Content-Length") // of texts, which are each one's own
	}
	switch {
	case q.method == "HEAD":
	case failed:
		a.fields["code"] = codes(body)
	case strings.HasSuffix(a.fields["Content-Type"], "json") && !strings.Contains(q.path, "/manifests/"):
		a.fields["body"] = compact(body)
	default:
		a.fields["body"] = string(body)
	}
	return a
}

// plain replaces what differs from one answer to the next.
func plain(header, v string) string {
	if header == "Docker-Upload-Uuid" {
		return "ID"
	}
	if header == "Allow" {
		methods := strings.Split(v, ", ")
		slices.Sort(methods)
		return strings.Join(methods, ", ")
	}
	if header == "Location" {
		if u, err := url.Parse(v); err == nil {
			v = u.Path
		}
		v = regexp.MustCompile(`/uploads/[^/?]+`).ReplaceAllString(v, "/uploads/ID")
	}
	return v
}

// codes lists the codes of an error.
func codes(body []byte) string {
	var e struct{ Errors []struct{ Code string } }
	if json.Unmarshal(body, &e) != nil || len(e.Errors) == 0 {
		return "not an error of the API"
	}
	var list []string
	for _, one := range e.Errors {
		list = append(list, one.Code)
	}
	slices.Sort(list)
	return strings.Join(slices.Compact(list), ",")
}

func compact(body []byte) string {
	var b bytes.Buffer
	if json.Compact(&b, body) != nil {
		return string(body)
	}
	return b.String()
}

// differences compares two answers, field by field.
func differences(real, berth answer) map[string][2]string {
	d := make(map[string][2]string)
	if real.status != berth.status {
		d["status"] = [2]string{fmt.Sprint(real.status), fmt.Sprint(berth.status)}
	}
	for _, fields := range []map[string]string{real.fields, berth.fields} {
		for k := range fields {
			if real.fields[k] != berth.fields[k] {
				d[k] = [2]string{real.fields[k], berth.fields[k]}
			}
		}
	}
	return d
}

func digest(s string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(s))) }

func digest512(s string) string { return fmt.Sprintf("sha512:%x", sha512.Sum512([]byte(s))) }

// shorten keeps messages of the test readable.
func shorten(s string) string {
	s = cmp.Or(s, "(none)")
	if len(s) > 100 {
		return s[:100] + "…"
	}
	return s
}
