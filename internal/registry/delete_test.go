package registry_test

import (
	"errors"
	"strings"
	"testing"

	"berth/internal/oci"
	"berth/internal/registry"
)

// TestDeletionOff holds that deletion is one switch, for tags too.
func TestDeletionOff(t *testing.T) {
	a := repo(t, "a")
	e := newEnv(t)
	m := e.image(a, "")
	d := e.put(a, m, "x")
	loose := e.push(a, randomBytes(10))
	e.opts.Deletion = registry.DeletionOff
	e.restart()
	for name, err := range map[string]error{
		"blob":             e.core.DeleteBlob(t.Context(), a, loose),
		"manifest":         e.core.DeleteManifest(t.Context(), a, d),
		"tag":              e.core.DeleteTag(t.Context(), a, tag(t, "x")),
		"missing tag":      e.core.DeleteTag(t.Context(), a, tag(t, "y")),
		"missing manifest": e.core.DeleteManifest(t.Context(), repo(t, "b"), d),
	} {
		if oci.CodeOf(err) != oci.Unsupported || !strings.Contains(err.Error(), "delete.enabled") {
			t.Errorf("%s: got %v, want %s that names the setting", name, err, oci.Unsupported)
		}
	}
	e.wantManifest(a, "x", m)
}

// TestInUse holds that what a live manifest of the repository needs stays, and
// that the refusal says who needs it.
func TestInUse(t *testing.T) {
	a, b := repo(t, "a"), repo(t, "b")
	content := randomBytes(10)
	e := newEnv(t)
	m := e.image(a, "", content)
	d := e.put(a, m)
	index := doc{mediaType: oci.MediaTypeIndex, manifests: []oci.Descriptor{child(m)}}.manifest(t)
	top := doc{mediaType: oci.MediaTypeIndex, manifests: []oci.Descriptor{child(index)}, note: "top"}.manifest(t)
	e.put(a, index)
	e.put(a, top, "x")
	e.push(b, content)
	l, config := layer(content).Digest, oci.SHA256.FromBytes([]byte("{}"))
	del := func(d oci.Digest) error { return e.core.DeleteManifest(t.Context(), a, d) }
	for _, tt := range []struct {
		name   string
		err    error
		holder oci.Digest
	}{
		{"layer", e.core.DeleteBlob(t.Context(), a, l), d},
		{"config", e.core.DeleteBlob(t.Context(), a, config), d},
		{"image", del(d), child(index).Digest},
		{"index", del(child(index).Digest), child(top).Digest},
	} {
		got, ok := errors.AsType[*oci.Error](tt.err)
		if !ok || got.Code != oci.Unsupported || !strings.Contains(got.Message, tt.holder.String()) {
			t.Errorf("%s: got %v, want %s that names %s", tt.name, tt.err, oci.Unsupported, tt.holder)
		}
	}
	if err := e.core.DeleteBlob(t.Context(), b, l); err != nil {
		t.Errorf("in a repository without manifests: %v", err)
	}
	e.wantBlob(a, l, content)
	for _, gone := range []oci.Digest{child(top).Digest, child(index).Digest, d} {
		if err := del(gone); err != nil {
			t.Fatal(err)
		}
		e.wantNoManifest(a, gone.String(), oci.ManifestUnknown)
		wantCode(t, del(gone), oci.ManifestUnknown)
	}
	e.wantNoManifest(a, "x", oci.ManifestUnknown)
	if err := e.core.DeleteBlob(t.Context(), a, l); err != nil {
		t.Fatal(err)
	}
	_, err := e.core.Blob(t.Context(), a, l)
	wantCode(t, err, oci.BlobUnknown)
	wantCode(t, e.core.DeleteBlob(t.Context(), a, l), oci.BlobUnknown)
}

// TestSubjectIsNoNeed holds that a subject may go before who refers to it.
func TestSubjectIsNoNeed(t *testing.T) {
	a := repo(t, "a")
	e := newEnv(t)
	m := e.image(a, "")
	subject := child(m)
	signature := doc{subject: &subject, artifactType: "application/x.sig"}.manifest(t)
	d := e.put(a, m)
	e.put(a, signature, "sig")
	if err := e.core.DeleteManifest(t.Context(), a, d); err != nil {
		t.Fatal(err)
	}
	e.wantManifest(a, "sig", signature)
	e.put(a, m)
	e.wantReferrers(a, d, "", 9, signature)
}

// TestDeleteTag holds that a tag goes alone, and a manifest with its tags.
func TestDeleteTag(t *testing.T) {
	a := repo(t, "a")
	e := newEnv(t)
	m := e.image(a, "", randomBytes(10))
	d := e.put(a, m, "x", "y")
	if err := e.core.DeleteTag(t.Context(), a, tag(t, "x")); err != nil {
		t.Fatal(err)
	}
	e.wantNoManifest(a, "x", oci.ManifestUnknown)
	wantCode(t, e.core.DeleteTag(t.Context(), a, tag(t, "x")), oci.ManifestUnknown)
	e.wantManifest(a, "y", m)
	e.wantManifest(a, d.String(), m)
	if err := e.core.DeleteManifest(t.Context(), a, d); err != nil {
		t.Fatal(err)
	}
	e.wantNoManifest(a, "y", oci.ManifestUnknown)
	list, err := e.core.Tags(t.Context(), a, registry.Page{Limit: 9})
	if err != nil || len(list.Items) != 0 {
		t.Errorf("got tags %v, %v, want none", list.Items, err)
	}
}
