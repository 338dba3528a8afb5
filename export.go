package berth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"berth/internal/blob"
	"berth/internal/blob/fsblob"
	"berth/internal/oci"
	"berth/internal/registry2/tree"
)

// exportMark is a file that says that a folder is an export of Berth's, and
// whether it is complete.
const exportMark = "berth-export.json"

// An exportLine is what the action export-registry2 tells: how far it is.
type exportLine struct {
	tree.ExportReport
	Linked int `json:"linked"`
	Copied int `json:"copied"`
}

// exportRegistry2 is an action: everything is written into the folder dir as a
// registry:2 has it. With dry it is only counted; copy makes files of their own
// where they could be shared; delete takes away what an earlier export has and
// this registry no longer.
func (s *Server) exportRegistry2(ctx context.Context, parameters url.Values, tell func(any) error) error {
	if err := s.awaitAdopted(ctx, func(any) error { return nil }); err != nil {
		return err
	}
	x := &exportContents{}
	e := tree.Exporter{Records: s.meta}
	line := func(r tree.ExportReport) exportLine { return exportLine{r, x.linked, x.copied} }
	e.Tell = func(r tree.ExportReport) error {
		r.Problems = nil
		return tell(line(r))
	}
	if parameters.Get("dry") != "" {
		r, err := e.Run(ctx)
		return errors.Join(err, tell(line(r)))
	}
	dir := parameters.Get("dir")
	if err := s.prepareExport(dir); err != nil {
		return err
	}
	linking := fsblob.LinkFiles
	if parameters.Get("copy") != "" {
		linking = fsblob.CopyFiles
	}
	if parameters.Get("delete") != "" {
		e.Extra = tree.RemoveExtra
	}
	r, err := s.export(ctx, &e, x, dir, linking)
	if err != nil {
		return err
	}
	return tell(line(r))
}

func (s *Server) export(ctx context.Context, e *tree.Exporter, x *exportContents, dir string, l fsblob.Linking) (r tree.ExportReport, err error) {
	if err := markExport(dir, false); err != nil {
		return r, err
	}
	if x.export, err = s.blobs.Export(dir, l); err != nil {
		return r, err
	}
	defer x.export.Close()
	if e.To, err = tree.Open(dir); err != nil {
		return r, err
	}
	defer e.To.Close()
	e.Contents = x
	if r, err = e.Run(ctx); err != nil {
		return r, fmt.Errorf("the export is not complete; the same command goes on: %w", err)
	}
	return r, markExport(dir, true)
}

// prepareExport makes the folder, and refuses one that holds something else.
func (s *Server) prepareExport(dir string) error {
	if !filepath.IsAbs(dir) {
		return errors.New("the folder to export to must be given by its whole path")
	}
	if rel, err := filepath.Rel(s.cfg.Data, filepath.Clean(dir)); err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return fmt.Errorf("%s is in the data directory %s: name a folder outside of it; registry2.shadow keeps a tree inside it", dir, s.cfg.Data)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the folder to export to: %w", err)
	}
	if _, err := os.Lstat(filepath.Join(dir, exportMark)); err == nil {
		return nil
	}
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		if e.Name() != "lost+found" {
			return fmt.Errorf("%s is neither empty nor an earlier export of Berth's: name a new folder", dir)
		}
	}
	return nil
}

// markExport writes the mark.
func markExport(dir string, complete bool) error {
	text, err := json.Marshal(map[string]bool{"complete": complete})
	if err != nil {
		return err
	}
	path := filepath.Join(dir, exportMark)
	if err := os.WriteFile(path+".tmp", append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}

// exportContents counts what becomes of content.
type exportContents struct {
	export         *fsblob.Export
	linked, copied int
}

// Give implements tree.Exports.
func (x *exportContents) Give(ctx context.Context, key blob.Key, size int64) (oci.Digest, error) {
	d, t, err := x.export.Give(ctx, key, size)
	switch {
	case err != nil:
	case t == fsblob.Linked:
		x.linked++
	case t == fsblob.Copied:
		x.copied++
	}
	return d, err
}

// PutData implements tree.Exports.
func (x *exportContents) PutData(ctx context.Context, d oci.Digest, content []byte) error {
	return x.export.PutData(ctx, d, content)
}
