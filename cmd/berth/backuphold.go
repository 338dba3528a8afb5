package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"berth/internal/backup"
)

// A heldBackup is a backup for which the registry keeps everything that its copy
// of the database names.
type heldBackup struct {
	c    *adminClient
	line struct {
		Database string // of the copy, from the data directory
		Head     backup.Manifest
	}
	ctx    context.Context // ends, with a cause, when the registry does not keep it any more
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when the registry has let go
}

// holdBackup begins one.
func holdBackup(ctx context.Context, c *adminClient) (*heldBackup, error) {
	h := &heldBackup{c: c, done: make(chan struct{})}
	h.ctx, h.cancel = context.WithCancelCause(ctx)
	begun := make(chan error, 1)
	go func() {
		defer close(h.done)
		err := c.act(h.ctx, "backup", func(line json.RawMessage) error {
			err := json.Unmarshal(line, &h.line)
			if err == nil && h.line.Head.Format != backup.Format {
				err = fmt.Errorf("the registry runs another version of Berth (%s): use the berth of that version", h.line.Head.Berth)
			}
			begun <- err
			return err
		})
		if err == nil {
			err = errors.New("the registry has ended the backup")
		}
		h.cancel(err)
		select {
		case begun <- err: // it could not even begin
		default:
		}
	}()
	if err := <-begun; err != nil {
		return nil, err
	}
	return h, nil
}

func (h *heldBackup) id() string { return "?id=" + string(h.line.Head.ID) }

// alive tells the registry that the backup goes on.
func (h *heldBackup) alive(ctx context.Context) error {
	return h.c.act(ctx, "backup-alive"+h.id(), ignore)
}

// end lets the registry delete things again, and returns what became of the
// backup, which ended with err.
func (h *heldBackup) end(ctx context.Context, err error) error {
	if cause := context.Cause(h.ctx); err != nil && cause != nil {
		err = cause
	}
	if h.ctx.Err() == nil {
		_ = h.c.act(ctx, "backup-end"+h.id(), ignore) // it ends with the connection as well
	}
	h.cancel(nil)
	<-h.done
	return err
}
