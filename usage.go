package berth

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"

	"berth/internal/meta"
	"berth/internal/oci"
	"berth/internal/usage"
)

// meter returns what finds out what takes the space.
func (s *Server) meter() *usage.Meter {
	return &usage.Meter{Records: s.meta, Objects: s.blobs, Disk: s.disk, Now: s.now}
}

// disk tells of the space under the data directory and the database. What can't be
// found out is 0: the rest is worth knowing all the same.
func (s *Server) disk(context.Context) usage.Disk {
	d := usage.Disk{Reserve: int64(s.cfg.Storage.Reserve), Database: s.databaseBytes()}
	if free, total, err := s.blobs.Space(); err == nil {
		d.Free, d.Total = free, total
	}
	files, _ := os.ReadDir(s.snapshots.Dir)
	for _, f := range files {
		d.Copies += fileSize(filepath.Join(s.snapshots.Dir, f.Name()))
	}
	return d
}

// databaseBytes is how large the database is with its log.
func (s *Server) databaseBytes() int64 {
	return fileSize(s.cfg.Database.Path) + fileSize(s.cfg.Database.Path+"-wal")
}

func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// A dfLine is what the action df tells: repositories one by one, and in the end
// the whole.
type dfLine struct {
	Repository *usage.Repository `json:"repository,omitempty"`
	Layers     []usage.Layer     `json:"layers,omitempty"` // of the repository that was asked for
	Registry   *usage.Report     `json:"registry,omitempty"`
}

// maxLayers is how many layers can be asked for.
const maxLayers = 1000

// df is an action: it tells what takes the space. Its parameters are repository,
// empty for all, and layers, how many of the largest are listed.
func (s *Server) df(ctx context.Context, parameters url.Values, tell func(any) error) error {
	layers, err := strconv.Atoi(parameters.Get("layers"))
	if err != nil || layers < 0 || layers > maxLayers {
		return fmt.Errorf("%q is no number of layers: write one from 0 to %d", parameters.Get("layers"), maxLayers)
	}
	m := s.meter()
	if name := parameters.Get("repository"); name != "" {
		repo, err := oci.ParseRepo(name)
		if err != nil {
			return err
		}
		line := dfLine{Repository: &usage.Repository{}}
		if *line.Repository, err = m.Repository(ctx, repo); err != nil {
			return unknownRepo(repo, err)
		}
		if line.Layers, err = m.Layers(ctx, repo, layers); err != nil {
			return err
		}
		return tell(line)
	}
	everything := func(oci.Repo) bool { return true }
	for after, more := "", true; more; more = after != "" {
		var list []usage.Repository
		if list, after, err = m.Repositories(ctx, after, 100, everything); err != nil {
			return err
		}
		for i := range list {
			if err := tell(dfLine{Repository: &list[i]}); err != nil {
				return err
			}
		}
	}
	report, err := m.Registry(ctx, layers)
	if err != nil {
		return err
	}
	return tell(dfLine{Registry: &report})
}

// unknownRepo words that there is no such repository, and leaves other errors as
// they are.
func unknownRepo(repo oci.Repo, err error) error {
	if errors.Is(err, meta.ErrNotFound) {
		return fmt.Errorf("there is no repository %s: `berth ls` lists those there are", repo)
	}
	return err
}
