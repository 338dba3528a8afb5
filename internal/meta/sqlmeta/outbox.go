package sqlmeta

import (
	"context"
	"sync"
	"sync/atomic"

	"berth/internal/event"
	"berth/internal/meta"
)

// maxNoted bounds how many noted events are kept in memory.
const maxNoted = 10_000

// An outbox is what the process keeps of the outbox in memory: who reads it, and
// events that were noted and not yet recorded.
type outbox struct {
	need    atomic.Int32 // the most that a reader needs (meta.Need); 0 without readers
	dropped atomic.Int64

	readers sync.Mutex // held while they change, so that need is right
	flush   sync.Mutex // held while noted events are recorded, once each

	mu    sync.Mutex
	noted []event.Event // in order, until they are recorded
	news  chan struct{} // closed when events are recorded; nil while nobody waits
}

func openOutbox(ctx context.Context, q querier) (*outbox, error) {
	o := &outbox{}
	need, err := greatestNeed(ctx, q)
	o.need.Store(need)
	return o, err
}

func greatestNeed(ctx context.Context, q querier) (int32, error) {
	var need int32
	err := q.each(ctx, `SELECT need FROM event_readers WHERE name > ''`, nil, func(scan func(...any) error) error {
		var n int32
		err := scan(&n)
		need = max(need, n)
		return err
	})
	return need, err
}

// wants reports whether anybody reads events of an action.
func (o *outbox) wants(a event.Action) bool {
	need := meta.NeedNews
	if a == event.Collect {
		need = meta.NeedAll
	}
	return o.need.Load() >= int32(need)
}

// tell wakes those who wait for events.
func (o *outbox) tell() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.news != nil {
		close(o.news)
		o.news = nil
	}
}

// waiting reports whether there are noted events.
func (o *outbox) waiting() bool {
	if o.need.Load() == 0 {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.noted) > 0
}

// EventNews implements meta.Outbox.
func (db *DB) EventNews() <-chan struct{} {
	o := db.outbox
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.news == nil {
		o.news = make(chan struct{})
	}
	return o.news
}

// NoteEvent implements meta.EventNotes.
func (db *DB) NoteEvent(e event.Event) {
	o := db.outbox
	if !o.wants(e.Action) {
		return
	}
	if e.ID == "" {
		e.ID = event.NewID()
	}
	if e.Time.IsZero() {
		e.Time = db.opts.Now()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.noted) >= maxNoted {
		o.dropped.Add(1)
		return
	}
	o.noted = append(o.noted, e)
}

// DroppedEvents implements meta.EventNotes.
func (db *DB) DroppedEvents() int64 { return db.outbox.dropped.Load() }

// FlushEvents implements meta.EventNotes. Events leave the memory once they are
// committed, and not before.
func (db *DB) FlushEvents(ctx context.Context) error {
	o := db.outbox
	o.flush.Lock()
	defer o.flush.Unlock()
	o.mu.Lock()
	list := o.noted // only its end changes meanwhile
	o.mu.Unlock()
	if len(list) == 0 {
		return nil
	}
	err := db.mutate(ctx, relaxed, func(ctx context.Context, t *tx) error {
		for _, e := range list {
			if err := t.record(ctx, e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.noted = o.noted[len(list):]; len(o.noted) == 0 {
		o.noted = nil // and with it the memory of those that went
	}
	return nil
}
