package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"berth/internal/bundle"
	"berth/internal/oci"
)

func newExportOCICommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "oci FOLDER|FILE.tar|- repository[:tag|@digest] ...",
		Short: "Write images as an OCI layout",
		Long: "export oci writes images with all their platforms into a folder, to which it adds, or\n" +
			"into a tar archive: berth import, skopeo (oci:, oci-archive:), crane and others read both. A\n" +
			"repository alone means all its tags.",
		Example: "  berth export oci ./layout app:1\n  berth export oci app.tar team/app:1 team/app:2\n  berth export oci - app:1 | ssh other berth import - app",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 {
				return usageError{errors.New("export oci needs a folder or an archive to write, and what to write into it")}
			}
			return nil
		},
	}
	referrers := cmd.Flags().Bool("referrers", false, "write what refers to the images, too, such as signatures")
	configured := addConfigFlags(cmd, "data")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return withAdmin(cmd, configured, func(ctx context.Context, c *adminClient) error {
			to, err := openExport(args[0], cmd.OutOrStdout())
			if err != nil {
				return err
			}
			e := &exporter{c: c, w: to.Writer, progress: newProgress(cmd.ErrOrStderr()), done: map[oci.Digest]bool{}}
			if *referrers {
				e.referrers = e.referrersOf
			}
			return to.finish(e.all(ctx, args[1:]))
		})
	}
	return cmd
}

// An exportTo is what is being written.
type exportTo struct {
	*bundle.Writer
	file *os.File // to be renamed to path; nil if there is none
	path string
}

func openExport(path string, stdout io.Writer) (*exportTo, error) {
	switch {
	case path == "-":
		return &exportTo{Writer: bundle.WriteArchive(stdout)}, nil
	case !strings.HasSuffix(path, ".tar"):
		w, err := bundle.WriteFolder(path)
		return &exportTo{Writer: w}, err
	}
	f, err := os.Create(path + ".part")
	if err != nil {
		return nil, err
	}
	return &exportTo{Writer: bundle.WriteArchive(f), file: f, path: path}, nil
}

// finish makes what was written visible, if nothing went wrong.
func (e *exportTo) finish(err error) error {
	if err == nil {
		err = e.Close()
	} else {
		e.Abort()
	}
	if e.file == nil {
		return err
	}
	if err == nil {
		err = e.file.Sync()
	}
	if err = errors.Join(err, e.file.Close()); err != nil {
		return errors.Join(err, os.Remove(e.file.Name()))
	}
	return os.Rename(e.file.Name(), e.path)
}

// An exporter writes images.
type exporter struct {
	c         *adminClient
	w         *bundle.Writer
	progress  *progress
	done      map[oci.Digest]bool
	referrers func(context.Context, oci.Repo, oci.Digest) error // nil leaves them out
}

func (e *exporter) all(ctx context.Context, names []string) error {
	tagged := map[oci.Tag]string{}
	for _, name := range names {
		repo, ref, err := parseTarget(name)
		if err != nil {
			return err
		}
		refs := []oci.Ref{ref}
		if ref == (oci.Ref{}) {
			if refs, err = e.tags(ctx, repo); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		for _, ref := range refs {
			if other, taken := tagged[ref.Tag]; taken && !ref.Tag.IsZero() && other != repo.String() {
				return usageError{fmt.Errorf("%s and %s both have %s, and a layout knows no repositories: write them to two", other, repo, ref.Tag)}
			}
			tagged[ref.Tag] = repo.String()
			if err := e.image(ctx, repo, ref); err != nil {
				return fmt.Errorf("%s: %w", repo.String()+":"+ref.String(), err)
			}
		}
	}
	return nil
}

func (e *exporter) tags(ctx context.Context, repo oci.Repo) ([]oci.Ref, error) {
	names, err := e.c.tags(ctx, repo)
	if err != nil {
		return nil, err
	}
	var refs []oci.Ref
	for _, name := range names {
		tag, err := oci.ParseTag(name)
		if err != nil {
			return nil, err
		}
		refs = append(refs, oci.Ref{Tag: tag})
	}
	return refs, nil
}

// image writes one image and enters it into the index.
func (e *exporter) image(ctx context.Context, repo oci.Repo, ref oci.Ref) error {
	m, d, err := e.c.manifest(ctx, repo, ref.String())
	if err != nil {
		return err
	}
	if err := e.manifest(ctx, repo, m, d); err != nil {
		return err
	}
	if err := e.w.Image(m.Descriptor(d), ref.Tag); err != nil {
		return err
	}
	e.progress.line(fmt.Sprintf("exported %s %s", repo.String()+":"+ref.String(), d))
	return nil
}

// manifest writes a manifest behind everything that it needs. Children of an
// index that the repository doesn't have are left out, as they are there.
func (e *exporter) manifest(ctx context.Context, repo oci.Repo, m oci.Manifest, d oci.Digest) error {
	if e.done[d] {
		return nil
	}
	e.done[d] = true
	for _, child := range m.Children {
		below, _, err := e.c.manifest(ctx, repo, child.Digest.String())
		if isUnknown(err) {
			e.progress.line("the repository has no " + child.Digest.String() + ", which " + d.String() + " lists")
			continue
		}
		if err == nil {
			err = e.manifest(ctx, repo, below, child.Digest)
		}
		if err != nil {
			return err
		}
	}
	for _, b := range m.Blobs {
		if err := e.blob(ctx, repo, b); err != nil {
			return err
		}
	}
	if e.referrers != nil {
		if err := e.referrers(ctx, repo, d); err != nil {
			return err
		}
	}
	if e.w.Has(d, int64(len(m.Body))) {
		return nil
	}
	return e.w.Blob(d, int64(len(m.Body)), bytes.NewReader(m.Body))
}

// referrersOf writes what refers to d.
func (e *exporter) referrersOf(ctx context.Context, repo oci.Repo, d oci.Digest) error {
	return e.c.pages(ctx, "/v2/"+repo.String()+"/referrers/"+d.String(), func(body []byte) error {
		var index struct{ Manifests []struct{ Digest string } }
		if err := json.Unmarshal(body, &index); err != nil {
			return err
		}
		for _, item := range index.Manifests {
			m, found, err := e.c.manifest(ctx, repo, item.Digest)
			if err == nil {
				err = e.manifest(ctx, repo, m, found)
			}
			if err == nil {
				err = e.w.Image(m.Descriptor(found), oci.Tag{})
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// blob writes a blob.
func (e *exporter) blob(ctx context.Context, repo oci.Repo, b oci.Descriptor) error {
	if e.w.Has(b.Digest, b.Size) {
		return nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://berth/v2/"+repo.String()+"/blobs/"+b.Digest.String(), nil)
	if err != nil {
		return err
	}
	resp, err := e.c.http.Do(req)
	if err != nil {
		return fmt.Errorf("ask the registry: %w", err)
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotFound && isElsewhere(b):
		return nil
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("blob %s: %w", b.Digest, readError(resp))
	}
	e.progress.expect(resp.ContentLength)
	return e.w.Blob(b.Digest, resp.ContentLength, &counter{Reader: resp.Body, progress: e.progress})
}

// isElsewhere reports whether a layer lives outside of registries by design.
func isElsewhere(d oci.Descriptor) bool {
	return strings.Contains(d.MediaType, "foreign") || strings.Contains(d.MediaType, "nondistributable")
}
