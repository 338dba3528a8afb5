package sqlmeta

import (
	"context"
	"sync"
)

// When the log is folded into the database file, in pages of the log: looked at
// every so many commits, and not begun for less than that.
const (
	foldLook = 32
	foldFrom = 3000
)

// A folder keeps the log short without keeping those waiting who write. SQLite
// would do all of it at the end of the commit that makes the log too long.
// Instead, most is done by a connection that reads, beside the writer. The writer
// only does the rest: what was written meanwhile. When nothing is left, its next
// commit begins the log anew.
type folder struct {
	pool *reader // whose connections do it

	commits int        // the leader's
	busy    sync.Mutex // held while the log is being folded, and for ever once the database is closed
}

// look is called by the leader after a commit.
func (w *writer) look(ctx context.Context) {
	f := &w.folder
	if f.commits++; f.pool == nil || f.commits%foldLook != 0 {
		return
	}
	var failed, inLog, moved int64
	err := w.session.get(ctx, "PRAGMA wal_checkpoint(NOOP)", nil, &failed, &inLog, &moved)
	if err == nil && inLog-moved >= foldFrom && f.busy.TryLock() {
		go w.fold(ctx)
	}
}

// fold folds what there is. What fails is tried again after some commits: nothing
// is lost, the log has it.
func (w *writer) fold(ctx context.Context) {
	defer w.folder.busy.Unlock()
	const fold = "PRAGMA wal_checkpoint(PASSIVE)"
	var failed, inLog, moved int64
	if w.folder.pool.pool.QueryRowContext(ctx, fold).Scan(&failed, &inLog, &moved) != nil {
		return
	}
	_ = w.do(ctx, outside, func(ctx context.Context, t *tx) error {
		return t.s.get(ctx, fold, nil, &failed, &inLog, &moved)
	})
}
