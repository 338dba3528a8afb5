package sqlmeta

import (
	"context"
	"sync"

	"berth/internal/meta/hot"
)

// maxUncommitted bounds how many keys are remembered as uncommitted. Beyond that
// everything counts as changed.
const maxUncommitted = 8192

// An uncommitted is what was changed by batches that are answered and not committed
// yet: what the database, to whoever reads it, does not say as it is. The writer
// adds to it before it answers, and empties it when the database says all.
type uncommitted struct {
	mu    sync.RWMutex // held for moments only
	keys  map[hot.Key]struct{}
	all   bool
	round uint64 // how often it was emptied
}

// add adds what a batch has changed.
func (u *uncommitted) add(c *changes) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.keys == nil {
		u.keys = make(map[hot.Key]struct{})
	}
	for i := range c.list {
		u.keys[c.list[i].key] = struct{}{}
	}
	u.all = u.all || c.all || len(u.keys) > maxUncommitted
	if u.all {
		clear(u.keys)
	}
}

// empty says that all of it is committed.
func (u *uncommitted) empty() {
	u.mu.Lock()
	defer u.mu.Unlock()
	clear(u.keys)
	u.all = false
	u.round++
}

// now returns the round, which has to be asked for before the database is.
func (u *uncommitted) now() uint64 {
	u.mu.RLock()
	defer u.mu.RUnlock()
	return u.round
}

// none reports whether none of the keys has been among it since that round was the
// present one, however short. So the database said of them what there was.
func (u *uncommitted) none(round uint64, keys []hot.Key) bool {
	u.mu.RLock()
	defer u.mu.RUnlock()
	if u.round != round || u.all {
		return false
	}
	if len(u.keys) > 0 {
		for _, k := range keys {
			if _, is := u.keys[k]; is {
				return false
			}
		}
	}
	return true
}

// only calls ask, which asks q for nothing but the values of the keys that it
// returns, and of its own keys what it has found may depend. It does not wait for
// the writer, and does not make it commit, unless one of those keys is uncommitted:
// then ask is called again when nothing is. What ask finds it must set anew each
// time, and keep only when only has returned.
func (r *reader) only(ctx context.Context, ask func(q querier) ([]hot.Key, error)) error {
	if r.uncommitted == nil {
		_, err := ask(r)
		return err
	}
	for range 2 { // a commit that comes between is rare, and a second one more so
		round := r.uncommitted.now()
		keys, err := ask(asItIs{r})
		if err != nil && !isNotFound(err) {
			return err
		}
		if r.uncommitted.none(round, keys) {
			return err
		}
		if r.uncommitted.now() == round {
			break
		}
	}
	_, err := ask(r)
	return err
}
