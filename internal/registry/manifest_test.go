package registry_test

import (
	"database/sql"
	"encoding/json"
	"net/url"
	"slices"
	"testing"

	"berth/internal/event"
	"berth/internal/oci"
	"berth/internal/registry"
)

// A doc is a manifest that is about to be written down.
type doc struct {
	mediaType    string // MediaTypeImage if it is empty
	config       *oci.Descriptor
	layers       []oci.Descriptor
	manifests    []oci.Descriptor
	subject      *oci.Descriptor
	artifactType string
	note         string // to make it different from others
}

func (d doc) manifest(t testing.TB) oci.Manifest {
	t.Helper()
	if d.mediaType == "" {
		d.mediaType = oci.MediaTypeImage
	}
	body := map[string]any{"schemaVersion": 2, "mediaType": d.mediaType, "annotations": map[string]string{"note": d.note}}
	if d.mediaType == oci.MediaTypeImage {
		if d.config == nil {
			d.config = &oci.Descriptor{MediaType: "application/vnd.oci.empty.v1+json", Digest: oci.SHA256.FromBytes([]byte("{}")), Size: 2}
		}
		body["config"], body["layers"] = d.config, append([]oci.Descriptor{}, d.layers...)
	} else {
		body["manifests"] = append([]oci.Descriptor{}, d.manifests...)
	}
	if d.subject != nil {
		body["subject"] = d.subject
	}
	if d.artifactType != "" {
		body["artifactType"] = d.artifactType
	}
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	m, err := oci.ParseManifest(d.mediaType, b)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// layer describes content as a layer.
func layer(content []byte) oci.Descriptor {
	return oci.Descriptor{MediaType: "application/vnd.oci.image.layer.v1.tar", Digest: oci.SHA256.FromBytes(content), Size: int64(len(content))}
}

// child describes a manifest as a part of an index, or as a subject.
func child(m oci.Manifest) oci.Descriptor {
	return oci.Descriptor{MediaType: m.MediaType, Digest: oci.SHA256.FromBytes(m.Body), Size: int64(len(m.Body))}
}

// image pushes its parts and returns the manifest of an image.
func (e *env) image(r oci.Repo, note string, layers ...[]byte) oci.Manifest {
	e.t.Helper()
	e.push(r, []byte("{}"))
	d := doc{note: note}
	for _, l := range layers {
		e.push(r, l)
		d.layers = append(d.layers, layer(l))
	}
	return d.manifest(e.t)
}

func (e *env) tryPut(r oci.Repo, m oci.Manifest, tags ...string) (registry.PutResult, error) {
	e.t.Helper()
	p := registry.Put{Repo: r, Manifest: m}
	for _, s := range tags {
		p.Tags = append(p.Tags, tag(e.t, s))
	}
	return e.core.PutManifest(e.t.Context(), p)
}

func (e *env) put(r oci.Repo, m oci.Manifest, tags ...string) oci.Digest {
	e.t.Helper()
	res, err := e.tryPut(r, m, tags...)
	if err != nil {
		e.t.Fatal(err)
	}
	return res.Digest
}

func (e *env) ref(s string) oci.Ref {
	e.t.Helper()
	ref, err := oci.ParseRef(s)
	if err != nil {
		e.t.Fatal(err)
	}
	return ref
}

func (e *env) wantManifest(r oci.Repo, ref string, want oci.Manifest) {
	e.t.Helper()
	m, err := e.core.Manifest(e.t.Context(), r, e.ref(ref))
	if err != nil {
		e.t.Errorf("manifest %s: %v", ref, err)
	} else if string(m.Body) != string(want.Body) || m.MediaType != want.MediaType {
		e.t.Errorf("manifest %s: got %s %s, want %s %s", ref, m.MediaType, m.Body, want.MediaType, want.Body)
	}
}

func (e *env) wantNoManifest(r oci.Repo, ref string, code oci.Code) {
	e.t.Helper()
	_, err := e.core.Manifest(e.t.Context(), r, e.ref(ref))
	wantCode(e.t, err, code)
}

// TestPutManifest is about what a put makes readable.
func TestPutManifest(t *testing.T) {
	a := repo(t, "a")
	tests := []struct {
		name   string
		digest func(body []byte) oci.Digest // what it is pushed as; nil: nothing
		tags   []string
		code   oci.Code
	}{
		{name: "by tag", tags: []string{"one"}},
		{name: "by several tags", tags: []string{"one", "two", "Three"}},
		{name: "by digest", digest: oci.SHA256.FromBytes},
		{name: "by digest with tags", digest: oci.SHA256.FromBytes, tags: []string{"one", "two"}},
		{name: "by sha512", digest: oci.SHA512.FromBytes},
		{name: "by sha512 with a tag", digest: oci.SHA512.FromBytes, tags: []string{"one"}},
		{name: "by a wrong digest", digest: func([]byte) oci.Digest { return oci.SHA256.FromBytes(nil) }, tags: []string{"one"}, code: oci.DigestInvalid},
		{name: "by a wrong sha512", digest: func([]byte) oci.Digest { return oci.SHA512.FromBytes(nil) }, code: oci.DigestInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := newEnv(t)
			m := e.image(a, "", randomBytes(10))
			p := registry.Put{Repo: a, Manifest: m}
			want := oci.SHA256.FromBytes(m.Body)
			if tt.digest != nil {
				p.Digest = tt.digest(m.Body)
				want = p.Digest
			}
			for _, s := range tt.tags {
				p.Tags = append(p.Tags, tag(t, s))
			}
			res, err := e.core.PutManifest(t.Context(), p)
			if tt.code != "" {
				wantCode(t, err, tt.code)
				e.wantNoManifest(a, want.String(), oci.ManifestUnknown)
				for _, s := range tt.tags {
					e.wantNoManifest(a, s, oci.ManifestUnknown)
				}
				return
			}
			if err != nil || res.Digest != want || len(res.Dangling) != 0 {
				t.Fatalf("got %+v, %v, want %s", res, err, want)
			}
			e.wantManifest(a, want.String(), m)
			for _, s := range tt.tags {
				e.wantManifest(a, s, m)
			}
		})
	}
}

// TestMissingParts is about manifests whose parts the repository doesn't have.
func TestMissingParts(t *testing.T) {
	a, b := repo(t, "a"), repo(t, "b")
	kept, gone := randomBytes(10), randomBytes(20)
	of := func(content []byte) oci.Digest { return oci.SHA256.FromBytes(content) }
	lose := func(e *env) {
		e.push(a, gone)
		if err := e.core.DeleteBlob(t.Context(), a, of(gone)); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name   string
		refuse bool
		before func(e *env)
		code   oci.Code // of the put; else it succeeds
		dangle bool
	}{
		{name: "never had", dangle: true},
		{name: "never had, which is refused", refuse: true, code: oci.ManifestBlobUnknown},
		{name: "others have it", before: func(e *env) { e.push(b, gone) }, dangle: true},
		{name: "others have it, which is refused", refuse: true, before: func(e *env) { e.push(b, gone) }, code: oci.ManifestBlobUnknown},
		{name: "has", refuse: true, before: func(e *env) { e.push(a, gone) }},
		{name: "had and lost", before: lose, code: oci.ManifestBlobUnknown},
		{name: "had and lost while others have it", before: func(e *env) { e.push(b, gone); lose(e) }, code: oci.ManifestBlobUnknown},
		{name: "pushed again", before: func(e *env) { lose(e); e.push(a, gone) }},
		{name: "mounted again", before: func(e *env) {
			lose(e)
			e.push(b, gone)
			if err := e.core.MountBlob(t.Context(), registry.Mount{From: b, To: a, Digest: of(gone)}); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "collected", before: func(e *env) {
			e.opts.Grace = 0
			e.restart()
			e.push(a, gone)
			if _, ended, err := e.db.CollectBlobs(t.Context(), 0, 100); err != nil || ended == 0 {
				t.Fatalf("collected %d, %v", ended, err)
			}
		}, code: oci.ManifestBlobUnknown},
		{name: "damaged", before: func(e *env) {
			e.damage(e.push(a, gone), e.blobs.Delete)
			_, err := e.core.Blob(t.Context(), a, of(gone))
			wantCode(t, err, oci.BlobUnknown)
		}, code: oci.ManifestBlobUnknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := newEnv(t)
			e.opts.RefuseMissing = tt.refuse
			e.restart()
			if tt.before != nil {
				tt.before(e)
			}
			e.image(a, "", kept)
			m := doc{layers: []oci.Descriptor{layer(kept), layer(gone), layer(gone)}}.manifest(t)
			res, err := e.tryPut(a, m, "x")
			if tt.code != "" {
				wantCode(t, err, tt.code)
				e.wantNoManifest(a, "x", oci.ManifestUnknown)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if tt.dangle != slices.Equal(res.Dangling, []oci.Digest{of(gone)}) {
				t.Errorf("got dangling %v, want it to be the layer: %v", res.Dangling, tt.dangle)
			}
			e.wantManifest(a, "x", m)
			if tt.dangle { // a reference is no right to read
				_, err := e.core.Blob(t.Context(), a, of(gone))
				wantCode(t, err, oci.BlobUnknown)
			}
		})
	}
}

// TestMissingChildren is the same for the manifests of an index.
func TestMissingChildren(t *testing.T) {
	a := repo(t, "a")
	e := newEnv(t)
	m := e.image(a, "child", randomBytes(10))
	index := doc{mediaType: oci.MediaTypeIndex, manifests: []oci.Descriptor{child(m)}}.manifest(t)
	res, err := e.tryPut(a, index, "sparse")
	if err != nil || !slices.Equal(res.Dangling, []oci.Digest{child(m).Digest}) {
		t.Fatalf("got %+v, %v, want the child to dangle", res, err)
	}
	if err := e.core.DeleteManifest(t.Context(), a, res.Digest); err != nil {
		t.Fatal(err)
	}
	d := e.put(a, m)
	if err := e.core.DeleteManifest(t.Context(), a, d); err != nil {
		t.Fatal(err)
	}
	_, err = e.tryPut(a, index, "sparse")
	wantCode(t, err, oci.ManifestBlobUnknown)
	e.put(a, m)
	e.put(a, index, "whole")
	e.wantManifest(a, "whole", index)
}

// TestSizes holds that a manifest must be right about what the repository has.
func TestSizes(t *testing.T) {
	a := repo(t, "a")
	content := randomBytes(10)
	e := newEnv(t)
	m := e.image(a, "", content)
	e.put(a, m)
	wrongLayer, wrongChild := layer(content), child(m)
	wrongLayer.Size++
	wrongChild.Size--
	for _, d := range []doc{
		{layers: []oci.Descriptor{wrongLayer}},
		{layers: []oci.Descriptor{layer(content), wrongLayer}},
		{mediaType: oci.MediaTypeIndex, manifests: []oci.Descriptor{wrongChild}},
	} {
		_, err := e.tryPut(a, d.manifest(t), "wrong")
		wantCode(t, err, oci.ManifestInvalid)
		e.wantNoManifest(a, "wrong", oci.ManifestUnknown)
	}
}

// TestUnknown tells a missing repository from a missing manifest.
func TestUnknown(t *testing.T) {
	a, none := repo(t, "a"), repo(t, "none")
	e := newEnv(t)
	d := e.put(a, e.image(a, ""), "x")
	for _, ref := range []string{"y", oci.SHA256.FromBytes([]byte("y")).String(), oci.SHA512.FromBytes(nil).String()} {
		e.wantNoManifest(a, ref, oci.ManifestUnknown)
		e.wantNoManifest(none, ref, oci.NameUnknown)
	}
	e.wantNoManifest(none, d.String(), oci.NameUnknown)
	_, err := e.core.Tags(t.Context(), none, registry.Page{Limit: 1})
	wantCode(t, err, oci.NameUnknown)
	_, err = e.core.Blob(t.Context(), none, d)
	wantCode(t, err, oci.BlobUnknown)
	wantCode(t, e.core.DeleteManifest(t.Context(), none, d), oci.NameUnknown)
	wantCode(t, e.core.DeleteManifest(t.Context(), a, oci.SHA256.FromBytes([]byte("y"))), oci.ManifestUnknown)
	wantCode(t, e.core.DeleteTag(t.Context(), none, tag(t, "x")), oci.NameUnknown)
	wantCode(t, e.core.DeleteTag(t.Context(), a, tag(t, "y")), oci.ManifestUnknown)
	wantCode(t, e.core.DeleteBlob(t.Context(), none, d), oci.BlobUnknown)
	for _, r := range []oci.Repo{a, none} {
		list, err := e.core.Referrers(t.Context(), r, oci.SHA256.FromBytes([]byte("y")), "", registry.Page{Limit: 9})
		if err != nil || len(list.Items) != 0 {
			t.Errorf("referrers of nothing in %s: %v, %v", r, list, err)
		}
	}
}

// sql changes the database file behind the registry's back, and begins anew: of
// what is in memory it does not know.
func (e *env) sql(text string, args ...any) {
	e.t.Helper()
	path := url.URL{Scheme: "file", Path: e.path, RawQuery: "_pragma=busy_timeout(10000)"}
	db, err := sql.Open("sqlite", path.String())
	if err != nil {
		e.t.Fatal(err)
	}
	defer db.Close()
	res, err := db.ExecContext(e.t.Context(), text, args...)
	if err != nil {
		e.t.Fatal(err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		e.t.Fatalf("%s: %d rows, error %v", text, n, err)
	}
	e.restart()
}

// TestDamagedManifest holds that a manifest is only served as it was pushed, and
// that pushing it again heals it.
func TestDamagedManifest(t *testing.T) {
	a := repo(t, "a")
	for _, change := range []string{
		`UPDATE manifests SET body = replace(body, 'note', 'nope') WHERE digest = ?`,
		`UPDATE manifests SET body = substr(body, 2) WHERE digest = ?`,
		`UPDATE manifests SET body = x'' WHERE digest = ?`,
	} {
		e := newEnv(t)
		m := e.image(a, "", randomBytes(10))
		d := e.put(a, m, "x")
		e.sql(change, d.String())
		e.wantNoManifest(a, "x", oci.ManifestUnknown)
		e.wantNoManifest(a, d.String(), oci.ManifestUnknown)
		e.restart()
		e.wantNoManifest(a, "x", oci.ManifestUnknown)
		e.put(a, m)
		e.wantManifest(a, "x", m)
		e.wantManifest(a, d.String(), m)
	}
}

// TestPutAgain holds that a put of what is there is right even if it costs
// nothing.
func TestPutAgain(t *testing.T) {
	a := repo(t, "a")
	e := newEnv(t)
	m, n := e.image(a, "m", randomBytes(10)), e.image(a, "n")
	e.put(a, m, "x", "y")
	e.put(a, n, "y")
	e.put(a, m, "x", "y")
	e.wantManifest(a, "y", m)
	e.put(a, n, "x")
	if err := e.core.DeleteTag(t.Context(), a, tag(t, "y")); err != nil {
		t.Fatal(err)
	}
	e.put(a, m, "y")
	e.wantManifest(a, "y", m)
	e.wantManifest(a, "x", n)
}

// TestPushedBy holds that what is pushed is recorded as the user's.
func TestPushedBy(t *testing.T) {
	a := repo(t, "a")
	e := newEnv(t)
	m := e.image(a, "")
	if _, err := e.core.As(event.Actor{Name: "alice"}).PutManifest(t.Context(), registry.Put{Repo: a, Manifest: m, Tags: []oci.Tag{tag(t, "x")}}); err != nil {
		t.Fatal(err)
	}
	e.sql(`UPDATE manifests SET pushed_by = '' WHERE pushed_by = 'alice'`)
	e.sql(`UPDATE tags SET moved_by = '' WHERE moved_by = 'alice'`)
}
