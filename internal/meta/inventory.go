package meta

import (
	"context"

	"berth/internal/oci"
)

// Inventory lists all that a repository has, for whoever copies it elsewhere.
// Lists are by digest, begin behind after and hold at most limit.
type Inventory interface {
	RepoBlobs(ctx context.Context, repo oci.Repo, after string, limit int) ([]Blob, error)
	RepoManifests(ctx context.Context, repo oci.Repo, after string, limit int) ([]Manifest, error)
}
