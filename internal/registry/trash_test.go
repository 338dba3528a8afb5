package registry_test

import (
	"strings"
	"testing"
	"time"

	"berth/internal/meta"
	"berth/internal/oci"
	"berth/internal/registry"
)

// TestDeleteRepo deletes a repository, while an upload to it is running, and
// brings it back with its signature.
func TestDeleteRepo(t *testing.T) {
	a := repo(t, "a")
	content := randomBytes(10)
	e := newEnv(t)
	e.trash = time.Hour
	e.restart()
	m := e.image(a, "", content)
	d := e.put(a, m, "x")
	signature := doc{mediaType: oci.MediaTypeImage, subject: new(child(m)), note: "signature"}.manifest(t)
	e.put(a, signature)
	u := e.start(a)
	id, err := e.core.DeleteRepo(t.Context(), a)
	if err != nil || id == 0 {
		t.Fatalf("got entry %d, %v", id, err)
	}
	e.wantNoManifest(a, "x", oci.NameUnknown)
	if _, err := e.core.DeleteRepo(t.Context(), a); oci.CodeOf(err) != oci.NameUnknown {
		t.Errorf("again: got %v, want %s", err, oci.NameUnknown)
	}
	if err := u.Append(t.Context(), 0, strings.NewReader("new")); err != nil {
		t.Error(err)
	}
	if err := u.Commit(t.Context(), oci.SHA256.FromBytes([]byte("new"))); err != nil {
		t.Error(err)
	}
	if _, err := e.tryPut(a, m, "x"); oci.CodeOf(err) != oci.ManifestBlobUnknown {
		t.Errorf("a push under way: got %v, want %s", err, oci.ManifestBlobUnknown)
	}
	steps := 0
	r, err := e.core.Restore(t.Context(), meta.Restore{ID: id}, func(int) error { steps++; return nil })
	if err != nil || r.Manifests != 2 || r.TagCount != 1 || steps == 0 {
		t.Errorf("got %+v after %d steps, %v", r, steps, err)
	}
	e.wantManifest(a, "x", m)
	e.wantBlob(a, layer(content).Digest, content)
	e.wantReferrers(a, d, "", 10, signature)
	if _, err := e.core.Restore(t.Context(), meta.Restore{ID: id}, nil); oci.CodeOf(err) != oci.ManifestUnknown {
		t.Errorf("again: got %v, want %s", err, oci.ManifestUnknown)
	}
	e.opts.Deletion = registry.DeletionOff
	e.restart()
	if _, err := e.core.DeleteRepo(t.Context(), a); oci.CodeOf(err) != oci.Unsupported {
		t.Errorf("deletion is off: got %v, want %s", err, oci.Unsupported)
	}
}

// TestRestoreRefused holds that what comes back is whole: what has been damaged
// in the trash is named, and a push of it helps.
func TestRestoreRefused(t *testing.T) {
	a := repo(t, "a")
	content := randomBytes(10)
	e := newEnv(t)
	e.trash = time.Hour
	e.restart()
	m := e.image(a, "", content)
	d := e.put(a, m, "x")
	if err := e.core.DeleteManifest(t.Context(), a, d); err != nil {
		t.Fatal(err)
	}
	l := layer(content).Digest
	rec, err := e.db.FindContent(t.Context(), l)
	if err == nil {
		err = e.db.MarkDamaged(t.Context(), l, rec.Key)
	}
	if err != nil {
		t.Fatal(err)
	}
	found, err := e.core.FindTrash(t.Context(), meta.TrashWhat{Repo: a, Ref: e.ref("x")})
	if err != nil {
		t.Fatal(err)
	}
	restore := func() error {
		_, err := e.core.Restore(t.Context(), meta.Restore{ID: found.ID}, nil)
		return err
	}
	if err := restore(); oci.CodeOf(err) != oci.ManifestBlobUnknown || !strings.Contains(err.Error(), l.String()) {
		t.Errorf("got %v, want %s that names %s", err, oci.ManifestBlobUnknown, l)
	}
	e.wantNoManifest(a, "x", oci.ManifestUnknown)
	e.push(a, content)
	if err := restore(); err != nil {
		t.Fatal(err)
	}
	e.wantManifest(a, "x", m)
	e.wantBlob(a, l, content)
}
