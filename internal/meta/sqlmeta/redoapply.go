package sqlmeta

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strconv"
)

// errUnlike says that records do not continue what is in the database.
var errUnlike = errors.New("the database is not as the recorded changes found it")

// replayPragmas are those of a connection that repeats changes: what follows from
// one by a foreign key is recorded, too.
func replayPragmas() []string {
	return append(commonPragmas(), "journal_mode(wal)", "synchronous(full)", "foreign_keys(off)", "wal_autocheckpoint(0)",
		"cache_spill(-"+strconv.Itoa(writerMost)+")")
}

// replay repeats those of the records that the database does not have, in one
// transaction that waits for the disk, and calls last, if there is one, before it is
// committed. All records are of one run and follow each other.
func replay(ctx context.Context, c driver.Connector, records []redoRecord, last func() error) error {
	s, err := openSession(ctx, c, sqliteDialect())
	if err != nil {
		return err
	}
	err = s.do(ctx, s.dialect.begin)
	if err == nil {
		err = repeat(ctx, s, records)
		if err == nil && last != nil {
			err = last()
		}
		if err == nil {
			err = s.do(ctx, "COMMIT")
		}
	}
	return errors.Join(err, s.close()) // which undoes what is not committed
}

func repeat(ctx context.Context, s *session, records []redoRecord) error {
	var run, seq int64
	if err := s.get(ctx, sqlRedo, nil, &run, &seq); err != nil {
		return err
	}
	tables, err := readTables(ctx, s)
	if err != nil {
		return err
	}
	for _, r := range records {
		switch {
		case r.run != run || r.seq > seq+1:
			return fmt.Errorf("%w: it has number %d of run %d, and the next is %d of run %d", errUnlike, seq, run, r.seq, r.run)
		case r.seq <= seq:
			continue
		case r.err != nil:
			return fmt.Errorf("recorded change %d: %w", r.seq, r.err)
		}
		for _, c := range r.changes {
			if err := repeatRow(ctx, s, tables[c.table], c); err != nil {
				return fmt.Errorf("repeat recorded change %d of table %s: %w", r.seq, c.table, err)
			}
		}
		seq = r.seq
	}
	_, err = s.exec(ctx, sqlRedoSeq, args{run, seq})
	return err
}

// repeatRow repeats what happened to a row, exactly once.
func repeatRow(ctx context.Context, s *session, t *table, c rowChange) error {
	if t == nil {
		return errUnlike
	}
	if c.op == rowUpdate && len(c.cols) == 0 {
		return nil
	}
	text, a, err := t.statement(c)
	if err != nil {
		return err
	}
	res, err := s.exec(ctx, text, a)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return errors.Join(err, errUnlike)
	}
	return nil
}

const (
	sqlRedo      = `SELECT run, seq FROM redo WHERE id = 1`
	sqlRedoSeq   = `UPDATE redo SET seq = $2 WHERE id = 1 AND run = $1`
	sqlRedoClaim = `UPDATE redo SET run = $1, seq = 0 WHERE id = 1`
)

// redoExt is what stands behind the name of the database in that of the file of
// records.
const redoExt = "-redo"

// recoverRedo repeats what a process that was killed, or the loss of power, has left
// in the file of records and not in the database. What another database's file
// says, or one of another time, is left alone.
func (db *DB) recoverRedo(ctx context.Context, first *sql.DB) error {
	version, err := schemaVersion(ctx, first)
	newest, nerr := newestSchema()
	if err = errors.Join(err, nerr); err != nil || version < redoSchema || version > newest {
		return err
	}
	var run, seq int64
	if err := first.QueryRowContext(ctx, sqlRedo).Scan(&run, &seq); err != nil {
		return err
	}
	list, err := db.writer.redo.read(run)
	if err != nil || len(list) == 0 || list[0].seq > seq+1 || list[len(list)-1].seq <= seq {
		return err
	}
	db.writer.redo.spared = true // if there is any room behind
	err = db.writer.replay(ctx, list)
	db.writer.redo.spared = false
	switch {
	case db.writer.isFull(err):
		return fmt.Errorf("changes that were acknowledged are in %s, and the disk has no room to bring them into the database; "+
			"they are not lost: make some megabytes of room and start again: %w", db.path+redoExt, err)
	case err != nil:
		return fmt.Errorf("changes that were acknowledged are in %s and cannot be brought into the database; "+
			"with that file moved away it starts without them: %w", db.path+redoExt, err)
	}
	return nil
}

// redoSchema is the version of the schema that has the table of records.
const redoSchema = 9
