package main

import (
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
)

// A blob with its digest. Its bytes are in two parts, so that large ones share
// all but their end.
type blob struct {
	base, tail []byte
	digest     string
}

func (b blob) size() int64 { return int64(len(b.base) + len(b.tail)) }

// whole is a blob of some bytes.
func whole(data []byte) blob { return blob{base: data, digest: digestOf(data)} }

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// A stock makes blobs of a size that differ in their last bytes only. Of what
// they share the hash is computed once, so that a new blob costs the client next
// to nothing. The registries know nothing of that: they hash every byte.
type stock struct {
	mu    sync.Mutex
	bases map[int]*base
}

type base struct {
	data  []byte
	state []byte // of a hash that has read data
}

func newStock() *stock { return &stock{bases: make(map[int]*base)} }

const tailSize = 8

// blob returns one of a size, another for each seed.
func (s *stock) blob(size int, seed uint64) blob {
	b := s.base(size - tailSize)
	tail := binary.LittleEndian.AppendUint64(nil, seed)
	h := sha256.New()
	_ = h.(encoding.BinaryUnmarshaler).UnmarshalBinary(b.state)
	h.Write(tail)
	return blob{b.data, tail, "sha256:" + hex.EncodeToString(h.Sum(nil))}
}

func (s *stock) base(size int) *base {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.bases[size]; b != nil {
		return b
	}
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], uint64(size))
	b := &base{data: make([]byte, size)}
	_, _ = rand.NewChaCha8(key).Read(b.data)
	h := sha256.New()
	h.Write(b.data)
	b.state, _ = h.(encoding.BinaryMarshaler).MarshalBinary()
	s.bases[size] = b
	return b
}

// The media types that are used.
const (
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	configType   = "application/vnd.oci.image.config.v1+json"
	layerType    = "application/vnd.oci.image.layer.v1.tar+gzip"
	artifactType = "application/vnd.example.bench"
)

// An image is a config, layers and a manifest.
type image struct {
	parts    []blob // the config is the first
	manifest blob
}

type descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int64  `json:"size"`
}

type manifestJSON struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	ArtifactType  string            `json:"artifactType,omitempty"`
	Config        descriptor        `json:"config"`
	Layers        []descriptor      `json:"layers"`
	Subject       *descriptor       `json:"subject,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// image makes one of so many layers, 256 at most, of a size, another for each
// seed.
func (s *stock) image(layers, size int, seed uint64) image {
	i := image{parts: []blob{whole(fmt.Appendf(nil, `{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":[]},"seed":%d}`, seed))}}
	for n := range layers {
		i.parts = append(i.parts, s.blob(size, seed<<8|uint64(n)))
	}
	i.manifest = i.with(func(*manifestJSON) {})
	return i
}

// with is a manifest of the parts of i that is changed.
func (i image) with(change func(*manifestJSON)) blob {
	d := manifestJSON{SchemaVersion: 2, MediaType: manifestType, Config: descriptor{configType, i.parts[0].digest, i.parts[0].size()}, Layers: []descriptor{}}
	for _, b := range i.parts[1:] {
		d.Layers = append(d.Layers, descriptor{layerType, b.digest, b.size()})
	}
	change(&d)
	data, _ := json.Marshal(d)
	return whole(data)
}

// another makes another image of the same parts.
func (i image) another(n uint64) image {
	return image{i.parts, i.with(func(d *manifestJSON) { d.Annotations = map[string]string{"n": fmt.Sprint(n)} })}
}

// referrer makes an artifact whose subject is i.
func (i image) referrer(n uint64) image {
	r := image{parts: i.parts[:1]}
	r.manifest = r.with(func(d *manifestJSON) {
		d.ArtifactType = artifactType
		d.Subject = &descriptor{manifestType, i.manifest.digest, i.manifest.size()}
		d.Annotations = map[string]string{"n": fmt.Sprint(n)}
	})
	return r
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
	a, err := c.want(201, request{method: "PUT", path: "/v2/" + repo + "/manifests/" + ref, contentType: manifestType, body: i.manifest})
	if err == nil && string(a.header[hDigest]) != i.manifest.digest {
		err = fmt.Errorf("the manifest was stored as %s, and is %s", a.header[hDigest], i.manifest.digest)
	}
	return err
}

// pull does what a client does: the manifest by its tag, then every part.
func (i image) pull(c *conn, repo, tag string) error {
	a, err := c.want(200, request{method: "GET", path: "/v2/" + repo + "/manifests/" + tag, accept: manifestType})
	if err == nil && string(a.header[hDigest]) != i.manifest.digest {
		err = errors.New("the manifest of another image came")
	}
	if err == nil {
		err = i.manifest.came(c, a)
	}
	for n := 0; err == nil && n < len(i.parts); n++ {
		b := i.parts[n]
		if a, err = c.want(200, request{method: "GET", path: "/v2/" + repo + "/blobs/" + b.digest}); err == nil {
			err = b.came(c, a)
		}
	}
	return err
}

// came checks that b was the body of an answer: its size always, every byte if
// the connection verifies.
func (b blob) came(c *conn, a reply) error {
	if a.size != b.size() {
		return fmt.Errorf("%s: got %d bytes, want %d", b.digest, a.size, b.size())
	}
	if c.verify && "sha256:"+hex.EncodeToString(a.sum[:]) != b.digest {
		return fmt.Errorf("%s: got other bytes than were pushed", b.digest)
	}
	return nil
}
