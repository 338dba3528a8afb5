package sqlmeta

import (
	"cmp"
	"slices"
	"time"

	"berth/internal/meta"
)

// claimIdle claims at most limit uploads that nobody has saved since before.
func (l *ledger) claimIdle(before int64, limit int) []*running {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.claimSome(limit, func(r *running) bool { return r.saved <= before && !r.ending })
}

// claimEmpty claims at most limit uploads that were begun until before and of which
// nothing is recorded. To look through all of them takes long; having done so in
// vain, it does not again for a second.
func (l *ledger) claimEmpty(before int64, limit int) []*running {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.ticks()
	if l.vain > now {
		return nil
	}
	list := l.claimSome(limit, func(r *running) bool { return r.Size == 0 && r.saved <= before && !r.ending })
	if len(list) == 0 {
		l.vain = now + int64(time.Second)
	}
	return list
}

// claimSome claims at most limit of the uploads that ok chooses, those first that
// were saved first. The lock is held.
func (l *ledger) claimSome(limit int, ok func(*running) bool) []*running {
	list := l.choose(limit, ok, bySaved)
	for _, r := range list {
		r.ending = true
	}
	return list
}

// list returns at most limit of the uploads that ok chooses, in an order, as they
// are now.
func (l *ledger) list(limit int, ok func(*running) bool, order func(a, b *running) int) []*running {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.choose(limit, ok, order)
	for i, r := range list {
		as := *r
		list[i] = &as
	}
	return list
}

// choose is list without copies. It takes no more memory than a few times what it
// returns. The lock is held.
func (l *ledger) choose(limit int, ok func(*running) bool, order func(a, b *running) int) []*running {
	var list []*running
	cut := func() {
		slices.SortFunc(list, order)
		list = list[:min(len(list), limit)]
	}
	var last *running // of as many as are asked for: none behind it counts
	for _, r := range l.all {
		if !ok(r) || last != nil && order(r, last) > 0 {
			continue
		}
		if list = append(list, r); len(list) > 2*limit+64 {
			cut()
			if last = nil; limit > 0 {
				last = list[limit-1]
			}
		}
	}
	cut()
	return list
}

func bySaved(a, b *running) int { return cmp.Or(cmp.Compare(a.saved, b.saved), byID(a, b)) }
func byID(a, b *running) int    { return cmp.Compare(a.ID, b.ID) }

// behind lists at most limit uploads behind after, by their identifiers.
func (l *ledger) behind(after meta.UploadID, limit int) []*running {
	return l.list(limit, func(r *running) bool { return r.ID > after }, byID)
}
