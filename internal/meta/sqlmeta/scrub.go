package sqlmeta

import (
	"context"
	"time"

	"berth/internal/meta"
)

var _ meta.Scrubbing = (*DB)(nil)

// ScrubState implements meta.Scrubbing.
func (db *DB) ScrubState(ctx context.Context) (meta.ScrubState, error) {
	var s meta.ScrubState
	var began, finished int64
	err := db.reader.get(ctx, `SELECT cursor, began_us, finished_us, bytes, bad, unread FROM scrub WHERE id = 1`, nil,
		&s.Cursor, &began, &finished, &s.Bytes, &s.Bad, &s.Unread)
	s.Began, s.Finished = optionalTime(began), optionalTime(finished)
	return s, err
}

// optionalTime reads microseconds since 1970 of which 0 stands for no time.
func optionalTime(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

func optionalMicros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// SaveScrub implements meta.Scrubbing. Like the clock it is no change that is
// worth a snapshot.
func (db *DB) SaveScrub(ctx context.Context, s meta.ScrubState) error {
	return db.writer.do(ctx, relaxed, func(ctx context.Context, t *tx) error {
		_, err := t.exec(ctx, `UPDATE scrub SET cursor = $1, began_us = $2, finished_us = $3, bytes = $4, bad = $5, unread = $6 WHERE id = 1`,
			s.Cursor, optionalMicros(s.Began), optionalMicros(s.Finished), s.Bytes, s.Bad, s.Unread)
		return err
	})
}

// NoteManifest implements meta.Scrubbing.
func (db *DB) NoteManifest(ctx context.Context, id int64) error {
	return db.write(ctx, relaxed, func(ctx context.Context, t *tx) error {
		_, err := t.exec(ctx, `INSERT INTO damaged_manifests (manifest_id) SELECT id FROM manifests WHERE id = $1 ON CONFLICT DO NOTHING`, id)
		return err
	})
}

// ForgetManifest implements meta.Scrubbing.
func (db *DB) ForgetManifest(ctx context.Context, id int64) error {
	return db.write(ctx, relaxed, func(ctx context.Context, t *tx) error {
		_, err := t.exec(ctx, `DELETE FROM damaged_manifests WHERE manifest_id = $1`, id)
		return err
	})
}

// NotedManifests implements meta.Scrubbing.
func (db *DB) NotedManifests(ctx context.Context, limit int) ([]int64, error) {
	var list []int64
	err := db.reader.each(ctx, `SELECT manifest_id FROM damaged_manifests ORDER BY manifest_id LIMIT $1`, args{limit}, func(scan func(...any) error) error {
		var id int64
		err := scan(&id)
		list = append(list, id)
		return err
	})
	return list, err
}

// CountDamaged implements meta.Scrubbing.
func (db *DB) CountDamaged(ctx context.Context) (blobs, manifests int64, err error) {
	err = db.reader.get(ctx, `SELECT (SELECT count(*) FROM blobs WHERE damaged = 1), (SELECT count(*) FROM damaged_manifests)`, nil, &blobs, &manifests)
	return blobs, manifests, err
}
