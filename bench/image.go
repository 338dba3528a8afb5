package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
)

// A blob with its digest.
type blob struct {
	data   []byte
	digest string
}

// newBlob makes a blob that differs for each seed.
func newBlob(size int, seed uint64) blob {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	b := make([]byte, size)
	_, _ = rand.NewChaCha8(key).Read(b)
	return blob{b, digestOf(b)}
}

const manifestType = "application/vnd.oci.image.manifest.v1+json"

// An image is a config, layers and a manifest.
type image struct {
	parts    []blob // the config is the first
	manifest []byte
	digest   string
}

type descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int    `json:"size"`
}

// newImage makes an image of so many layers of a size.
func newImage(layers, size int, seed uint64) image {
	config := fmt.Appendf(nil, `{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":[]},"seed":%d}`, seed)
	i := image{parts: []blob{{config, digestOf(config)}}}
	var list []descriptor
	for n := range layers {
		b := newBlob(size, seed<<8+uint64(n))
		i.parts = append(i.parts, b)
		list = append(list, descriptor{"application/vnd.oci.image.layer.v1.tar+gzip", b.digest, size})
	}
	i.manifest, _ = json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": manifestType,
		"config": descriptor{"application/vnd.oci.image.config.v1+json", i.parts[0].digest, len(config)},
		"layers": list,
	})
	i.digest = digestOf(i.manifest)
	return i
}

// push does what a client does: it asks for each part, uploads what is not
// there, and puts the manifest under a tag.
func (i image) push(c *conn, repo, tag string) error {
	for _, b := range i.parts {
		has, err := c.hasBlob(repo, b.digest)
		if err == nil && !has {
			err = c.pushBlob(repo, b, patched)
		}
		if err != nil {
			return err
		}
	}
	return i.put(c, repo, tag)
}

func (i image) put(c *conn, repo, ref string) error {
	a, err := c.want(http.StatusCreated, request{method: "PUT", path: "/v2/" + repo + "/manifests/" + ref, contentType: manifestType, body: i.manifest})
	if err == nil && a.header.Get("Docker-Content-Digest") != i.digest {
		err = fmt.Errorf("the manifest was stored as %s, and is %s", a.header.Get("Docker-Content-Digest"), i.digest)
	}
	return err
}

// pull does what a client does: the manifest by its tag, then every part.
func (i image) pull(c *conn, repo, tag string) error {
	a, err := c.want(http.StatusOK, request{method: "GET", path: "/v2/" + repo + "/manifests/" + tag, accept: manifestType, keep: true})
	if err == nil && digestOf(a.body) != i.digest {
		err = fmt.Errorf("%s:%s: got other bytes than were pushed", repo, tag)
	}
	if err != nil {
		return err
	}
	for _, b := range i.parts {
		a, err := c.want(http.StatusOK, request{method: "GET", path: "/v2/" + repo + "/blobs/" + b.digest})
		if err == nil && a.size != int64(len(b.data)) {
			err = fmt.Errorf("blob %s: got %d bytes, want %d", b.digest, a.size, len(b.data))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
