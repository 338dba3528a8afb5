package fsck_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"berth/internal/blob"
	"berth/internal/blob/fsblob"
	"berth/internal/fsck"
	"berth/internal/gc"
	"berth/internal/meta/sqlmeta"
	"berth/internal/oci"
	"berth/internal/registry"
)

// An env is a registry in a data directory.
type env struct {
	t         *testing.T
	dir       string
	db        *sqlmeta.DB
	blobs     *fsblob.Store
	core      *registry.Core
	collector *gc.Collector
	n         int
}

const (
	grace = time.Hour
	delay = time.Minute
)

func newEnv(t *testing.T) *env {
	t.Helper()
	e := &env{t: t, dir: t.TempDir()}
	var err error
	if e.blobs, err = fsblob.Open(fsblob.Options{Dir: e.dir}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.blobs.Close() })
	e.open(sqlmeta.Options{Grace: grace, Delay: delay})
	return e
}

// open opens the database.
func (e *env) open(o sqlmeta.Options) {
	e.t.Helper()
	o.Path, o.Memory = filepath.Join(e.dir, "berth.db"), 1<<20
	var err error
	if e.db, err = sqlmeta.Open(e.t.Context(), o); err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { e.db.Close() })
	log := slog.New(slog.DiscardHandler)
	e.core = registry.New(registry.Options{Blobs: e.blobs, Records: e.db, Log: log, Deletion: registry.DeletionOn, Grace: o.Grace})
	e.collector = &gc.Collector{Records: e.db, Blobs: e.blobs, Log: log}
}

func repo(t *testing.T, name string) oci.Repo {
	t.Helper()
	r, err := oci.ParseRepo(name)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (e *env) push(to oci.Repo, content string) oci.Descriptor {
	e.t.Helper()
	d, err := pushBlob(e.t.Context(), e.core, to, content)
	if err != nil {
		e.t.Fatal(err)
	}
	return d
}

func pushBlob(ctx context.Context, core *registry.Core, to oci.Repo, content string) (oci.Descriptor, error) {
	d := oci.Descriptor{MediaType: "application/octet-stream", Digest: oci.SHA256.FromBytes([]byte(content)), Size: int64(len(content))}
	u, err := core.StartUpload(ctx, to, oci.SHA256)
	if err == nil {
		err = u.Append(ctx, 0, bytes.NewReader([]byte(content)))
	}
	if err == nil {
		err = u.Commit(ctx, d.Digest)
	}
	return d, err
}

// body is an image manifest that needs the blobs, the first as its config.
func body(subject string, blobs ...oci.Descriptor) []byte {
	part := func(d oci.Descriptor) string {
		return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, d.MediaType, d.Digest, d.Size)
	}
	var layers []string
	for _, d := range blobs[1:] {
		layers = append(layers, part(d))
	}
	if subject != "" {
		subject = fmt.Sprintf(`,"subject":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":%q,"size":1}`, subject)
	}
	return []byte(fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":%s,"layers":[%s]%s}`,
		part(blobs[0]), strings.Join(layers, ","), subject))
}

func (e *env) put(to oci.Repo, tag string, text []byte) oci.Digest {
	e.t.Helper()
	d, err := putManifest(e.t.Context(), e.core, to, tag, text)
	if err != nil {
		e.t.Fatal(err)
	}
	return d
}

func putManifest(ctx context.Context, core *registry.Core, to oci.Repo, tag string, text []byte) (oci.Digest, error) {
	m, err := oci.ParseManifest("", text)
	if err != nil {
		return oci.Digest{}, err
	}
	p := registry.Put{Repo: to, Manifest: m}
	if tag != "" {
		t, err := oci.ParseTag(tag)
		if err != nil {
			return oci.Digest{}, err
		}
		p.Tags = []oci.Tag{t}
	}
	res, err := core.PutManifest(ctx, p)
	return res.Digest, err
}

// An image is one that was pushed.
type image struct {
	repo     oci.Repo
	manifest oci.Digest
	body     []byte
	blobs    []oci.Descriptor
	contents []string
}

// image pushes an image of a config and two layers.
func (e *env) image(name string) image {
	e.t.Helper()
	e.n++
	i := image{repo: repo(e.t, name)}
	for _, what := range []string{"config", "layer one", "layer two"} {
		content := strings.Repeat(fmt.Sprintf("%s of %s %d ", what, name, e.n), 2000)
		i.contents = append(i.contents, content)
		i.blobs = append(i.blobs, e.push(i.repo, content))
	}
	i.body = body("", i.blobs...)
	i.manifest = e.put(i.repo, "v1", i.body)
	return i
}

// again pushes an image again, as a client does that finds parts of it missing.
func (e *env) again(i image) {
	e.t.Helper()
	for n, d := range i.blobs {
		b, err := e.core.Blob(e.t.Context(), i.repo, d.Digest)
		if err == nil {
			b.Close()
			continue
		}
		e.push(i.repo, i.contents[n])
	}
	e.put(i.repo, "v1", i.body)
}

// pullable says whether a client can pull the image whole.
func (e *env) pullable(i image) error {
	ctx := e.t.Context()
	tag, err := oci.ParseTag("v1")
	if err != nil {
		return err
	}
	m, err := e.core.Manifest(ctx, i.repo, oci.Ref{Tag: tag})
	if err != nil {
		return err
	}
	if !bytes.Equal(m.Body, i.body) {
		return fmt.Errorf("manifest of %s: other bytes", i.repo)
	}
	for n, d := range i.blobs {
		b, err := e.core.Blob(ctx, i.repo, d.Digest)
		if err != nil {
			return fmt.Errorf("blob %d of %s: %w", n, i.repo, err)
		}
		var got bytes.Buffer
		_, err = got.ReadFrom(b)
		b.Close()
		if err != nil || got.String() != i.contents[n] {
			return fmt.Errorf("blob %d of %s: other bytes, %v", n, i.repo, err)
		}
	}
	return nil
}

// file is the path of a blob's object.
func (e *env) file(d oci.Digest) string {
	e.t.Helper()
	b, err := e.db.FindContent(e.t.Context(), d)
	if err != nil {
		e.t.Fatal(err)
	}
	hex := d.Hex()
	return filepath.Join(e.dir, "docker/registry/v2/blobs", string(d.Algorithm()), hex[:2], hex, filepath.Base(string(b.Key)))
}

// sql changes the database behind its owner's back.
func (e *env) sql(text string, args ...any) {
	e.t.Helper()
	path := url.URL{Scheme: "file", Path: filepath.Join(e.dir, "berth.db"), RawQuery: "_pragma=busy_timeout(10000)"}
	db, err := sql.Open("sqlite", path.String())
	if err != nil {
		e.t.Fatal(err)
	}
	defer db.Close()
	res, err := db.ExecContext(e.t.Context(), text, args...)
	if err != nil {
		e.t.Fatalf("%s: %v", text, err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		e.t.Fatalf("%s changed %d rows, %v", text, n, err)
	}
}

func (e *env) checker() *fsck.Checker {
	return &fsck.Checker{Records: e.db, Mender: e.db, Blobs: e.blobs}
}

// check runs a check and returns what it found, without what is only worth
// knowing.
func (e *env) check(o fsck.Options) []fsck.Finding {
	e.t.Helper()
	all, _ := e.checkAll(o)
	var problems []fsck.Finding
	for _, f := range all {
		if f.Weight == fsck.Problem {
			problems = append(problems, f)
		}
	}
	return problems
}

func (e *env) checkAll(o fsck.Options) ([]fsck.Finding, fsck.Summary) {
	e.t.Helper()
	var found []fsck.Finding
	o.Tell = func(f fsck.Finding) error { found = append(found, f); return nil }
	sum, err := e.checker().Run(e.t.Context(), o)
	if err != nil {
		e.t.Fatal(err)
	}
	return found, sum
}

// clean fails if anything is wrong.
func (e *env) clean(when string) {
	e.t.Helper()
	for _, f := range e.check(fsck.Options{ReadData: 100}) {
		e.t.Errorf("%s: found %s %s%s%s %s %s", when, f.Kind, f.Repository, f.Tag, f.Digest, f.Key, f.Detail)
	}
}

// kinds lists the kinds of findings.
func kinds(list []fsck.Finding) string {
	var names []string
	for _, f := range list {
		names = append(names, string(f.Kind))
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// files counts what is below a folder of the data directory.
func (e *env) files(dir string) int {
	e.t.Helper()
	n := 0
	err := filepath.WalkDir(filepath.Join(e.dir, dir), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
		}
		if os.IsNotExist(err) {
			return nil
		}
		return err
	})
	if err != nil {
		e.t.Fatal(err)
	}
	return n
}

// bytes returns the contents of all files below the data directory's objects,
// uploads and quarantine.
func (e *env) bytes() map[string]bool {
	e.t.Helper()
	found := map[string]bool{}
	for _, dir := range []string{"docker", "berth"} {
		err := filepath.WalkDir(filepath.Join(e.dir, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			b, err := os.ReadFile(path)
			found[string(b)] = true
			return err
		})
		if err != nil {
			e.t.Fatal(err)
		}
	}
	return found
}

// orphan makes an object that no record names.
func (e *env) orphan(content string) oci.Digest {
	e.t.Helper()
	w, err := e.blobs.Create(e.t.Context(), blob.NewKey())
	if err != nil {
		e.t.Fatal(err)
	}
	defer w.Close()
	if _, err := w.Write([]byte(content)); err != nil {
		e.t.Fatal(err)
	}
	d := oci.SHA256.FromBytes([]byte(content))
	if _, err := w.Commit(e.t.Context(), d); err != nil {
		e.t.Fatal(err)
	}
	if err := w.Settle(e.t.Context()); err != nil {
		e.t.Fatal(err)
	}
	return d
}
