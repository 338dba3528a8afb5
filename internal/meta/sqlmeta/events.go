package sqlmeta

import (
	"context"
	"time"

	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

// record writes an event into the transaction, if anybody reads such events.
func (t *tx) record(ctx context.Context, e event.Event) error {
	if !t.outbox.wants(e.Action) {
		return nil
	}
	if e.ID == "" {
		e.ID = event.NewID()
	}
	at := t.wall()
	if !e.Time.IsZero() {
		at = e.Time.UnixMicro()
	}
	_, err := t.exec(ctx, `INSERT INTO events (id, ticks, time_us, action, kind, repo, from_repo, digest, media_type, size, tag,
		by_name, by_addr, by_host, by_method, by_agent, by_request, by_base, by_via)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)`,
		e.ID, t.ticks(), at, string(e.Action), string(e.Kind), e.Repo.String(), e.From.String(), digestText(e.Digest), e.MediaType, e.Size, e.Tag.String(),
		e.By.Name, e.By.Addr, e.By.Host, e.By.Method, e.By.UserAgent, e.By.RequestID, e.By.Base, e.By.Via)
	if err == nil {
		t.recorded++
	}
	return err
}

// digestText is empty for no digest.
func digestText(d oci.Digest) string {
	if d.IsZero() {
		return ""
	}
	return d.String()
}

// Events implements meta.Outbox.
func (db *DB) Events(ctx context.Context, after int64, limit int) ([]event.Event, error) {
	var list []event.Event
	err := db.reader.each(ctx, `SELECT seq, id, time_us, action, kind, repo, from_repo, digest, media_type, size, tag,
		by_name, by_addr, by_host, by_method, by_agent, by_request, by_base, by_via FROM events WHERE seq > $1 ORDER BY seq LIMIT $2`,
		args{after, limit}, func(scan func(...any) error) error {
			e, err := scanEvent(scan)
			list = append(list, e)
			return err
		})
	if err != nil {
		return nil, err
	}
	return list, nil
}

func scanEvent(scan func(...any) error) (event.Event, error) {
	var e event.Event
	var at int64
	var repo, from, digest, tag string
	err := scan(&e.Seq, &e.ID, &at, &e.Action, &e.Kind, &repo, &from, &digest, &e.MediaType, &e.Size, &tag,
		&e.By.Name, &e.By.Addr, &e.By.Host, &e.By.Method, &e.By.UserAgent, &e.By.RequestID, &e.By.Base, &e.By.Via)
	if err != nil {
		return event.Event{}, err
	}
	e.Time = time.UnixMicro(at).UTC()
	if e.Repo, err = oci.ParseRepo(repo); err != nil {
		return event.Event{}, err
	}
	if from != "" {
		e.From, err = oci.ParseRepo(from)
	}
	if err == nil && digest != "" {
		e.Digest, err = oci.ParseDigest(digest)
	}
	if err == nil && tag != "" {
		e.Tag, err = oci.ParseTag(tag)
	}
	return e, err
}

const sqlLastEvent = `SELECT COALESCE(MAX(seq), 0) FROM events`

// Subscribe implements meta.Outbox.
func (db *DB) Subscribe(ctx context.Context, name string, need meta.Need) (int64, error) {
	o := db.outbox
	o.readers.Lock()
	defer o.readers.Unlock()
	var seq int64
	err := db.write(ctx, durable, func(ctx context.Context, t *tx) error {
		if err := t.get(ctx, sqlLastEvent, nil, &seq); err != nil {
			return err
		}
		err := t.get(ctx, `INSERT INTO event_readers (name, seq, need) VALUES ($1, $2, $3)
			ON CONFLICT (name) DO UPDATE SET need = excluded.need RETURNING seq`, args{name, seq, int(need)}, &seq)
		if err != nil {
			return err
		}
		// Already here, so that no mutation behind this one is missed. If this one is
		// undone, there are events too many for a while, and none too few.
		if now := o.need.Load(); int32(need) > now {
			o.need.Store(int32(need))
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return seq, db.refreshNeed(ctx)
}

// Unsubscribe implements meta.Outbox.
func (db *DB) Unsubscribe(ctx context.Context, name string) error {
	o := db.outbox
	o.readers.Lock()
	defer o.readers.Unlock()
	err := db.write(ctx, durable, func(ctx context.Context, t *tx) error {
		_, err := t.exec(ctx, `DELETE FROM event_readers WHERE name = $1`, name)
		return err
	})
	if err != nil {
		return err
	}
	return db.refreshNeed(ctx)
}

// refreshNeed is called with the readers locked, after they have changed.
func (db *DB) refreshNeed(ctx context.Context) error {
	need, err := greatestNeed(ctx, db.reader)
	if err == nil {
		db.outbox.need.Store(need)
	}
	return err
}

// Advance implements meta.Outbox.
func (db *DB) Advance(ctx context.Context, name string, seq int64) error {
	return db.write(ctx, relaxed, func(ctx context.Context, t *tx) error {
		n, err := t.exec(ctx, `UPDATE event_readers SET seq = $2 WHERE name = $1`, name, seq)
		if err == nil && n == 0 {
			err = meta.ErrNotFound
		}
		return err
	})
}

// EventReaders implements meta.EventNotes.
func (db *DB) EventReaders(ctx context.Context) ([]meta.Reader, error) {
	var last int64
	if err := db.reader.get(ctx, sqlLastEvent, nil, &last); err != nil {
		return nil, err
	}
	return readersBehind(ctx, db.reader, last)
}

func readersBehind(ctx context.Context, q querier, last int64) ([]meta.Reader, error) {
	var list []meta.Reader
	err := q.each(ctx, `SELECT name, seq, need FROM event_readers WHERE name > '' ORDER BY name`, nil, func(scan func(...any) error) error {
		var r meta.Reader
		err := scan(&r.Name, &r.Seq, &r.Need)
		r.Behind = max(0, last-r.Seq)
		list = append(list, r)
		return err
	})
	return list, err
}

// TrimEvents implements meta.Outbox.
func (db *DB) TrimEvents(ctx context.Context, age time.Duration, limit int) (meta.Trimmed, error) {
	if old, err := db.oldEvents(ctx, db.reader, age, limit); err != nil || old == 0 {
		return meta.Trimmed{}, err
	}
	var res meta.Trimmed
	err := db.write(ctx, relaxed, func(ctx context.Context, t *tx) error {
		res = meta.Trimmed{Lost: make(map[string]int64)}
		last, err := db.oldEvents(ctx, t, age, limit)
		if err != nil || last == 0 {
			return err
		}
		list, err := readersBehind(ctx, t, last)
		if err != nil {
			return err
		}
		for _, r := range list {
			if err := t.passOver(ctx, r, last, res.Lost); err != nil {
				return err
			}
		}
		n, err := t.exec(ctx, `DELETE FROM events WHERE seq <= $1`, last)
		res.Events = int(n)
		return err
	})
	if err != nil {
		return meta.Trimmed{}, err
	}
	return res, nil
}

// oldEvents returns the number of the last of the events that may go, 0 if none
// may.
func (db *DB) oldEvents(ctx context.Context, q querier, age time.Duration, limit int) (int64, error) {
	list, err := readersBehind(ctx, q, 0)
	if err != nil {
		return 0, err
	}
	until := int64(1<<63 - 1)
	for _, r := range list {
		if r.Need == meta.NeedAll {
			until = min(until, r.Seq)
		}
	}
	var last int64
	// In the order in which they were recorded, ticks only grow.
	err = q.each(ctx, `SELECT seq, ticks FROM events WHERE seq <= $1 ORDER BY seq LIMIT $2`, args{until, limit}, func(scan func(...any) error) error {
		var seq, ticks int64
		err := scan(&seq, &ticks)
		if ticks <= db.ago(age) {
			last = seq
		}
		return err
	})
	return last, err
}

// passOver moves a reader behind the events up to last, which it has not read
// and which go, and adds how many those are to lost.
func (t *tx) passOver(ctx context.Context, r meta.Reader, last int64, lost map[string]int64) error {
	if r.Seq >= last {
		return nil
	}
	var n int64
	if err := t.get(ctx, `SELECT count(*) FROM events WHERE seq > $1 AND seq <= $2`, args{r.Seq, last}, &n); err != nil {
		return err
	}
	if n > 0 {
		lost[r.Name] = n
	}
	_, err := t.exec(ctx, `UPDATE event_readers SET seq = $2 WHERE name = $1`, r.Name, last)
	return err
}
