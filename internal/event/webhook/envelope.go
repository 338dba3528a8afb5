package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"berth/internal/event"
)

// MediaType is the type of an envelope.
const MediaType = "application/vnd.docker.distribution.events.v2+json"

// The envelope is registry:2's (distribution v3, notifications/event.go), which
// its receivers know: the names, and which fields are there when they are empty.
type envelope struct {
	Events []record `json:"events,omitempty"`
}

type record struct {
	ID        string    `json:"id,omitempty"`
	Timestamp time.Time `json:"timestamp"`
	Action    string    `json:"action,omitempty"`
	Target    target    `json:"target"`
	Request   request   `json:"request"`
	Actor     actor     `json:"actor"`
	Source    source    `json:"source"`
}

type target struct {
	Descriptor
	Length         int64        `json:"length,omitempty"`
	Repository     string       `json:"repository,omitempty"`
	FromRepository string       `json:"fromRepository,omitempty"`
	URL            string       `json:"url,omitempty"`
	Tag            string       `json:"tag,omitempty"`
	References     []Descriptor `json:"references,omitempty"`
}

// A Descriptor names content, as in a manifest.
type Descriptor struct {
	MediaType    string            `json:"mediaType"`
	Digest       string            `json:"digest"`
	Size         int64             `json:"size"`
	URLs         []string          `json:"urls,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	Data         []byte            `json:"data,omitempty"`
	Platform     *Platform         `json:"platform,omitempty"`
	ArtifactType string            `json:"artifactType,omitempty"`
}

// A Platform is what an image of an index runs on.
type Platform struct {
	Architecture string   `json:"architecture"`
	OS           string   `json:"os"`
	OSVersion    string   `json:"os.version,omitempty"`
	OSFeatures   []string `json:"os.features,omitempty"`
	Variant      string   `json:"variant,omitempty"`
}

type request struct {
	ID        string `json:"id"`
	Addr      string `json:"addr,omitempty"`
	Host      string `json:"host,omitempty"`
	Method    string `json:"method"`
	UserAgent string `json:"useragent"`
}

type actor struct {
	Name string `json:"name,omitempty"`
}

type source struct {
	Addr       string `json:"addr,omitempty"`
	InstanceID string `json:"instanceID,omitempty"`
}

// blobType is the media type of every blob: what it is, only manifests know.
const blobType = "application/octet-stream"

// encode writes the envelope of events.
func (e *Endpoint) encode(ctx context.Context, batch []event.Event) ([]byte, error) {
	var env envelope
	for _, ev := range batch {
		r := record{
			ID: ev.ID, Timestamp: ev.Time, Action: string(ev.Action),
			Target:  target{Repository: ev.Repo.String()},
			Request: request{ev.By.RequestID, ev.By.Addr, ev.By.Host, ev.By.Method, ev.By.UserAgent},
			Actor:   actor{ev.By.Name},
			Source:  source{e.o.Source.Addr, e.o.Source.InstanceID},
		}
		if err := e.describe(ctx, &r.Target, ev); err != nil {
			return nil, err
		}
		env.Events = append(env.Events, r)
	}
	return json.MarshalIndent(env, "", "   ")
}

// describe fills in what the event is about.
func (e *Endpoint) describe(ctx context.Context, t *target, ev event.Event) error {
	if ev.Kind == event.Tag {
		t.Tag = ev.Tag.String() // and no digest
		return nil
	}
	t.Digest = ev.Digest.String()
	if ev.Action == event.Delete {
		return nil
	}
	t.Size, t.Length, t.MediaType = ev.Size, ev.Size, mediaType(ev)
	place := "blobs"
	if ev.Kind == event.Manifest {
		place, t.Tag = "manifests", ev.Tag.String()
		if err := e.addReferences(ctx, t, ev); err != nil {
			return err
		}
	}
	if !ev.From.IsZero() {
		t.FromRepository = ev.From.String()
	}
	if ev.By.Base != "" {
		t.URL = strings.Join([]string{ev.By.Base, "v2", ev.Repo.String(), place, ev.Digest.String()}, "/")
	}
	return nil
}

// mediaType is what stands in the target of an event, and what is compared with
// the types that an endpoint ignores.
func mediaType(ev event.Event) string {
	switch {
	case ev.Action == event.Delete || ev.Kind == event.Tag:
		return ""
	case ev.Kind == event.Blob:
		return blobType
	default:
		return ev.MediaType
	}
}

// addReferences lists what the manifest names, if it is still there.
func (e *Endpoint) addReferences(ctx context.Context, t *target, ev event.Event) error {
	if e.o.Manifest == nil {
		return nil
	}
	body, err := e.o.Manifest(ctx, ev.Repo, ev.Digest)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read manifest %s: %w", ev.Digest, err)
	}
	t.References = references(body)
	return nil
}

// references lists what a manifest names as registry:2 does: the config, then
// the layers, or the manifests of an index. What cannot be read so, because it
// is some other kind of object, has none.
func references(body []byte) []Descriptor {
	var m struct {
		Config    *Descriptor  `json:"config"`
		Layers    []Descriptor `json:"layers"`
		Manifests []Descriptor `json:"manifests"`
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return nil
	}
	var list []Descriptor
	if m.Config != nil {
		list = append(list, *m.Config)
	}
	return append(append(list, m.Layers...), m.Manifests...)
}
