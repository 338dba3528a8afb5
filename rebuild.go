package berth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"berth/config"
	"berth/internal/blob/fsblob"
	"berth/internal/meta/sqlmeta"
)

// PrepareRebuild makes the data directory ready to begin without its database:
// one that is damaged is put aside, under the name that is returned, and the next
// Open starts from the newest good snapshot and from the tree of registry:2, as
// far as there are any. It is an error if the database is good, or in use.
func PrepareRebuild(ctx context.Context, cfg config.Config) (aside string, err error) {
	if cfg, err = absolute(cfg); err != nil {
		return "", err
	}
	lock, err := fsblob.LockDir(cfg.Data)
	if err != nil {
		return "", fmt.Errorf("stop the server first: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	aside, err = sqlmeta.PutAside(ctx, cfg.Database.Path, time.Now())
	if errors.Is(err, sqlmeta.ErrGood) {
		return "", fmt.Errorf("%w: berth fsck --repair repairs what is wrong with its records; to begin without it all the same, move it away", err)
	}
	return aside, err
}
