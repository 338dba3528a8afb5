package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"berth/internal/bundle"
	"berth/internal/oci"
)

// An importer stores the images of a bundle.
type importer struct {
	c        *adminClient
	b        *bundle.Bundle
	out      io.Writer
	progress *progress
}

// run stores all images, after it has seen that each of them is complete.
func (p *importer) run(ctx context.Context, list []target) error {
	all := make([]bundle.Contents, len(list))
	for i, t := range list {
		var err error
		if all[i], err = p.b.Contents(t.image.Root); err != nil {
			return err
		}
		if err := p.missing(ctx, t.repo, all[i]); err != nil {
			return err
		}
		p.progress.expect(all[i].Bytes)
	}
	for i, t := range list {
		if err := p.image(ctx, t, all[i]); err != nil {
			return fmt.Errorf("%s: %w", t, err)
		}
	}
	return nil
}

// String names a target as docker would, without the host.
func (t target) String() string {
	if len(t.tags) > 0 {
		return t.repo.String() + ":" + t.tags[0].String()
	}
	return t.repo.String() + "@" + t.image.Root.Digest.String()
}

// missing refuses an image some of whose blobs are neither in the bundle nor in
// the repository. Layers that live elsewhere by design may be missing.
func (p *importer) missing(ctx context.Context, repo oci.Repo, c bundle.Contents) error {
	for _, d := range c.Missing {
		if isElsewhere(d) {
			continue
		}
		if has, err := p.has(ctx, repo, d.Digest); err != nil || !has {
			return errors.Join(err, fmt.Errorf("blob %s is not in it: the bundle is incomplete, make it again", d.Digest))
		}
	}
	return nil
}

// image stores one image: its blobs, then its manifests, each behind its parts.
func (p *importer) image(ctx context.Context, t target, c bundle.Contents) error {
	sent := 0
	for _, d := range c.Blobs {
		stored, err := p.blob(ctx, t.repo, d)
		if err != nil {
			return err
		}
		if stored {
			sent++
		}
	}
	for _, d := range c.Manifests {
		var tags []oci.Tag
		if d.Digest == t.image.Root.Digest {
			tags = t.tags
		}
		if err := p.manifest(ctx, t.repo, d, tags); err != nil {
			return err
		}
	}
	p.progress.clear()
	names := t.repo.String()
	for i, tag := range t.tags {
		names += map[bool]string{true: ":", false: ", "}[i == 0] + tag.String()
	}
	fmt.Fprintf(p.out, "imported %s %s (%d blobs sent, %d were there)\n", names, t.image.Root.Digest, sent, len(c.Blobs)-sent)
	if len(t.tags) == 0 {
		p.progress.line("it has no tag: pull it as " + t.String())
	}
	if n := len(c.Elsewhere); n > 0 {
		p.progress.line(fmt.Sprintf("%d of the images that its index lists are not in the source, so they can't be pulled from here", n))
	}
	return nil
}

// has reports whether a repository has a blob.
func (p *importer) has(ctx context.Context, repo oci.Repo, d oci.Digest) (bool, error) {
	resp, err := p.send(ctx, http.MethodHead, "/v2/"+repo.String()+"/blobs/"+d.String(), nil, nil)
	if err != nil {
		return false, err
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK, nil
}

// blob stores a blob unless it is there, and reports whether it had to be sent.
// It asks for it to be mounted from wherever it is, and to be told before it
// sends anything whether that has worked.
func (p *importer) blob(ctx context.Context, repo oci.Repo, d oci.Descriptor) (bool, error) {
	has, err := p.has(ctx, repo, d.Digest)
	if err != nil {
		return false, err
	}
	if has {
		p.progress.add(d.Size)
		return false, nil
	}
	content, size, err := p.b.Blob(d.Digest)
	if err != nil {
		return false, err
	}
	defer content.Close()
	body := &counter{Reader: content, progress: p.progress}
	path := "/v2/" + repo.String() + "/blobs/uploads/?mount=" + d.Digest.String() + "&digest=" + d.Digest.String()
	resp, err := p.send(ctx, http.MethodPost, path, &payload{body, size}, map[string]string{
		"Content-Type": "application/octet-stream", "Expect": "100-continue",
	})
	if err != nil {
		return false, fmt.Errorf("send blob %s: %w", d.Digest, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		err := readError(resp)
		if resp.StatusCode == http.StatusBadRequest && strings.Contains(err.Error(), d.Digest.String()) {
			err = fmt.Errorf("the source is damaged, make it again: %w", err)
		}
		return false, fmt.Errorf("blob %s: %w", d.Digest, err)
	}
	if body.n.Load() == 0 && size > 0 {
		p.progress.add(size)
		return false, nil
	}
	p.progress.sent(d)
	return true, nil
}

// manifest stores a manifest under its digest and the tags.
func (p *importer) manifest(ctx context.Context, repo oci.Repo, at oci.Descriptor, tags []oci.Tag) error {
	m, err := p.b.Manifest(at)
	if err != nil {
		return err
	}
	query := url.Values{}
	for _, t := range tags {
		query.Add("tag", t.String())
	}
	path := "/v2/" + repo.String() + "/manifests/" + at.Digest.String()
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	resp, err := p.send(ctx, http.MethodPut, path, &payload{bytes.NewReader(m.Body), int64(len(m.Body))},
		map[string]string{"Content-Type": m.MediaType})
	if err != nil {
		return fmt.Errorf("send manifest %s: %w", at.Digest, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		return fmt.Errorf("manifest %s: %w", at.Digest, readError(resp))
	}
	return nil
}

// A payload is the body of a request and its length.
type payload struct {
	io.Reader
	size int64
}

func (p *importer) send(ctx context.Context, method, path string, body *payload, header map[string]string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://berth"+path, nil)
	if err != nil {
		return nil, err
	}
	if body != nil && body.size > 0 {
		req.Body, req.ContentLength = io.NopCloser(body.Reader), body.size
	}
	for key, value := range header {
		req.Header.Set(key, value)
	}
	return p.c.http.Do(req)
}

// readError reads an answer that is no success.
func readError(resp *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read the registry's answer: %w", err)
	}
	return answerError(resp.StatusCode, body)
}
