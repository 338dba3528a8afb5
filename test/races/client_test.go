package races

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// A client speaks to one registry.
type client struct {
	url  string
	http *http.Client
}

func newClient(t *testing.T, url string) *client {
	t.Helper()
	tr := &http.Transport{MaxIdleConnsPerHost: 32}
	t.Cleanup(tr.CloseIdleConnections)
	return &client{url: url, http: &http.Client{Transport: tr, Timeout: time.Minute}}
}

// newOperator returns a client of the admin socket in a data directory.
func newOperator(t *testing.T, dir string) *client {
	t.Helper()
	socket := filepath.Join(dir, "berth", "admin.sock")
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return &client{url: "http://berth", http: &http.Client{Transport: tr, Timeout: time.Minute}}
}

// An answer is a response that has been read whole.
type answer struct {
	status int
	code   string // of the first error
	header http.Header
	body   []byte
}

// do sends a request and wants one of the statuses.
func (c *client) do(ctx context.Context, method, path, mediaType string, body []byte, want ...int) (answer, error) {
	url := path
	if strings.HasPrefix(url, "/") {
		url = c.url + url
	}
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if mediaType != "" {
		req.Header.Set("Content-Type", mediaType)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode, header: resp.Header}
	if a.body, err = io.ReadAll(resp.Body); err != nil {
		return a, fmt.Errorf("%s %s: %w", method, path, err)
	}
	if a.status >= 400 && method != http.MethodHead {
		var e struct {
			Errors []struct{ Code, Message string }
		}
		if err := json.Unmarshal(a.body, &e); err != nil || len(e.Errors) == 0 || e.Errors[0].Code == "" {
			return a, fmt.Errorf("%s %s: answer %d is not OCI JSON: %q", method, path, a.status, a.body)
		}
		a.code = e.Errors[0].Code
	}
	if !slices.Contains(want, a.status) {
		return a, fmt.Errorf("%s %s: %d %s", method, path, a.status, a.body)
	}
	return a, nil
}

func blobPath(repo, d string) string       { return "/v2/" + repo + "/blobs/" + d }
func manifestPath(repo, ref string) string { return "/v2/" + repo + "/manifests/" + ref }

// read gets what has the digest d, and reports whether it is there. Wrong bytes
// are an error.
func (c *client) read(ctx context.Context, path, d string) (bool, error) {
	a, err := c.do(ctx, http.MethodGet, path, "", nil, 200, 404)
	if err != nil || a.status == 404 {
		return false, err
	}
	return true, a.is(path, d)
}

// is wants the body to be what has the digest d.
func (a answer) is(path, d string) error {
	if sum := sha256.Sum256(a.body); "sha256:"+hex.EncodeToString(sum[:]) != d {
		return fmt.Errorf("GET %s: %d bytes with the digest sha256:%x", path, len(a.body), sum)
	}
	return nil
}

// strings returns the list under a key of the answer.
func (a answer) strings(key string) ([]string, error) {
	page := map[string]json.RawMessage{}
	var list []string
	err := json.Unmarshal(a.body, &page)
	if err == nil && page[key] != nil {
		err = json.Unmarshal(page[key], &list)
	}
	return list, err
}

// upload pushes a blob in one of the ways that there are.
func (c *client) upload(ctx context.Context, repo string, it *item, way int) error {
	start := "/v2/" + repo + "/blobs/uploads/"
	if way == 0 {
		_, err := c.do(ctx, http.MethodPost, start+"?digest="+it.digest, "application/octet-stream", it.body, 201)
		return err
	}
	a, err := c.do(ctx, http.MethodPost, start, "", nil, 202)
	if err != nil {
		return err
	}
	return c.finish(ctx, a.header.Get("Location"), it, way)
}

func (c *client) finish(ctx context.Context, location string, it *item, way int) error {
	rest := it.body
	if way == 2 {
		a, err := c.do(ctx, http.MethodPatch, location, "application/octet-stream", rest[:len(rest)/2], 202)
		if err != nil {
			return err
		}
		location, rest = a.header.Get("Location"), rest[len(rest)/2:]
	}
	glue := "?"
	if strings.Contains(location, "?") {
		glue = "&"
	}
	_, err := c.do(ctx, http.MethodPut, location+glue+"digest="+it.digest, "application/octet-stream", rest, 201)
	return err
}

// act has the server do something, with a line of JSON for each thing told.
func (c *client) act(ctx context.Context, name string) ([]byte, error) {
	a, err := c.do(ctx, http.MethodPost, "/admin/"+name, "", nil, 200)
	if err != nil {
		return nil, err
	}
	if !bytes.HasSuffix(bytes.TrimSpace(a.body), []byte(`{"done":true}`)) {
		return a.body, errors.New(name + ": " + string(a.body))
	}
	return a.body, nil
}
