package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"berth/internal/oci"
)

// An adminClient talks to a registry as its operator does: without log-in, over
// the admin socket of the running server or, if none runs, to the data
// directory opened by this very process.
type adminClient struct {
	http     *http.Client
	close    func() error
	progress *progress // how far an action has come is shown here
}

// newAdminClient makes a client whose connections come from dial.
func newAdminClient(dial func(context.Context) (net.Conn, error), close func() error) *adminClient {
	transport := &http.Transport{
		DialContext:           func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		ExpectContinueTimeout: time.Minute,
		WriteBufferSize:       64 << 10,
	}
	return &adminClient{http: &http.Client{Transport: transport}, close: close, progress: newProgress(io.Discard)}
}

func (c *adminClient) Close() error {
	c.http.CloseIdleConnections()
	return c.close()
}

// do sends a request and reads the whole answer. An answer that is no success is
// an error with the registry's own words.
func (c *adminClient) do(ctx context.Context, method, path string) (*http.Response, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://berth"+path, nil)
	if err != nil {
		return nil, nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, nil, fmt.Errorf("ask the registry: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, nil, fmt.Errorf("read the registry's answer: %w", err)
	}
	if resp.StatusCode >= 300 {
		return nil, nil, answerError(resp.StatusCode, body)
	}
	return resp, body, nil
}

// maxAnswer bounds what is read of one answer: a manifest or a page of a list.
const maxAnswer = 16 << 20

// answerError turns an OCI error answer into an error.
func answerError(status int, body []byte) error {
	var answer struct {
		Errors []struct {
			Code    oci.Code `json:"code"`
			Message string   `json:"message"`
		} `json:"errors"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || len(answer.Errors) == 0 {
		return fmt.Errorf("the registry answered %d %s", status, http.StatusText(status))
	}
	var all error
	for _, e := range answer.Errors {
		all = errors.Join(all, &answeredError{e.Code, e.Message})
	}
	return all
}

// An answeredError is one that the registry has answered with.
type answeredError struct {
	code    oci.Code
	message string
}

func (e *answeredError) Error() string { return e.message }

// isUnknown reports whether a manifest that was asked for is not there.
func isUnknown(err error) bool {
	e, ok := errors.AsType[*answeredError](err)
	return ok && e.code == oci.ManifestUnknown
}

// pages calls each for the answers of a list, following its Link headers.
func (c *adminClient) pages(ctx context.Context, path string, each func(body []byte) error) error {
	for path != "" {
		resp, body, err := c.do(ctx, http.MethodGet, path)
		if err != nil {
			return err
		}
		if err := each(body); err != nil {
			return err
		}
		path = nextPage(resp.Header.Get("Link"))
	}
	return nil
}

// nextPage returns the target of a Link header whose relation is "next".
func nextPage(link string) string {
	target, rest, ok := strings.Cut(strings.TrimPrefix(link, "<"), ">")
	if !ok || !strings.Contains(rest, `rel="next"`) {
		return ""
	}
	return target
}

// repos lists all repositories.
func (c *adminClient) repos(ctx context.Context) (list []string, err error) {
	err = c.pages(ctx, "/v2/_catalog", func(body []byte) error {
		var page struct{ Repositories []string }
		defer func() { list = append(list, page.Repositories...) }()
		return json.Unmarshal(body, &page)
	})
	return list, err
}

// tags lists all tags of a repository.
func (c *adminClient) tags(ctx context.Context, repo oci.Repo) (list []string, err error) {
	err = c.pages(ctx, "/v2/"+repo.String()+"/tags/list", func(body []byte) error {
		var page struct{ Tags []string }
		defer func() { list = append(list, page.Tags...) }()
		return json.Unmarshal(body, &page)
	})
	return list, err
}

// manifest fetches a manifest and says which digest it has.
func (c *adminClient) manifest(ctx context.Context, repo oci.Repo, ref string) (oci.Manifest, oci.Digest, error) {
	resp, body, err := c.do(ctx, http.MethodGet, "/v2/"+repo.String()+"/manifests/"+url.PathEscape(ref))
	if err != nil {
		return oci.Manifest{}, oci.Digest{}, err
	}
	d, err := oci.ParseDigest(resp.Header.Get("Docker-Content-Digest"))
	if err != nil {
		return oci.Manifest{}, d, err
	}
	m, err := oci.ParseManifest(resp.Header.Get("Content-Type"), bytes.Clone(body))
	return m, d, err
}

// delete deletes a tag or a manifest.
func (c *adminClient) delete(ctx context.Context, repo oci.Repo, ref oci.Ref) error {
	_, _, err := c.do(ctx, http.MethodDelete, "/v2/"+repo.String()+"/manifests/"+url.PathEscape(ref.String()))
	return err
}

// parseTarget reads repository, repository:tag or repository@digest.
func parseTarget(s string) (repo oci.Repo, ref oci.Ref, err error) {
	name, digest, byDigest := strings.Cut(s, "@")
	var tag string
	if !byDigest {
		name, tag, _ = strings.Cut(s, ":")
	}
	if repo, err = oci.ParseRepo(name); err != nil {
		return repo, ref, targetError(s, err)
	}
	switch {
	case byDigest:
		ref.Digest, err = oci.ParseDigest(digest)
	case strings.Contains(s, ":"):
		ref.Tag, err = oci.ParseTag(tag)
	}
	if err != nil {
		return repo, ref, targetError(s, err)
	}
	return repo, ref, nil
}

func targetError(s string, err error) error {
	message := err.Error()
	if e, ok := errors.AsType[*oci.Error](err); ok {
		message = e.Message
	}
	return usageError{fmt.Errorf("%s: %s (write repository, repository:tag or repository@digest, without the host)", s, message)}
}
