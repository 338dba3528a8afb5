package fsblob

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"syscall"

	"berth/internal/blob"
)

// quarantineDir is where damaged objects are kept, out of everybody's way, until
// the operator has no more use for them: <algorithm>-<hex>-<id>, or <id> of one
// that was never finished.
const quarantineDir = "berth/quarantine"

// quarantinePath returns where the object of key goes. Adopted files are
// registry:2's and stay.
func quarantinePath(key blob.Key) (from, to string, ok bool) {
	if key.Check() == nil {
		return uploadPath(key), quarantineDir + "/" + string(key), true
	}
	o, err := parseFinished(key)
	if err != nil {
		return "", "", false
	}
	return o.path(), quarantineDir + "/" + strings.ReplaceAll(string(key), "/", "-"), true
}

// parseQuarantined reads a name that quarantinePath gives.
func parseQuarantined(name string) (blob.Object, bool) {
	if key := blob.Key(name); key.Check() == nil {
		return blob.Object{Key: key, Begun: key}, true
	}
	o, err := parseFinished(blob.Key(strings.ReplaceAll(name, "-", "/")))
	if err != nil {
		return blob.Object{}, false
	}
	return blob.Object{Key: o.key(), Begun: o.id, Finished: true, Digest: o.digest}, true
}

// Quarantine implements blob.Inspector. A second name that registry:2 knows goes
// away: it would find the damaged bytes there.
func (s *Store) Quarantine(ctx context.Context, key blob.Key) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	from, to, ok := quarantinePath(key)
	if !ok || s.d.throughLink(parentOf(from)) {
		return false, nil
	}
	if err := s.quarantine(key, from, to); isMissing(err) || errors.Is(err, syscall.ENOTDIR) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("move damaged object %s to %s: %w", key, quarantineDir, mark(err))
	}
	return true, nil
}

func (s *Store) quarantine(key blob.Key, from, to string) error {
	if _, err := s.d.lstat(from); err != nil {
		return err
	}
	if err := s.makeDir(quarantineDir, privateDir); err != nil {
		return err
	}
	if o, err := parseFinished(key); err == nil {
		if err := s.conceal(o); err != nil {
			return err
		}
	}
	if err := s.d.rename(from, to); err != nil {
		return err
	}
	if err := s.d.syncDir(quarantineDir); err != nil {
		return err
	}
	return s.d.syncDir(parentOf(from))
}

// Quarantined implements blob.Inspector.
func (s *Store) Quarantined(ctx context.Context) iter.Seq2[blob.Object, error] {
	return func(yield func(blob.Object, error) bool) {
		err := s.names(ctx, quarantineDir, func(name string) error {
			o, ok := parseQuarantined(name)
			if !ok {
				return nil
			}
			if info, err := s.d.lstat(quarantineDir + "/" + name); err == nil {
				o.Size, o.ModTime = info.Size(), info.ModTime()
			}
			if !yield(o, nil) {
				return errStop
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStop) {
			yield(blob.Object{}, fmt.Errorf("list the quarantine: %w", mark(err)))
		}
	}
}

// EmptyQuarantine implements blob.Inspector. A folder that stood in the place of
// an object goes with all that is in it.
func (s *Store) EmptyQuarantine(ctx context.Context) error {
	err := s.names(ctx, quarantineDir, func(name string) error {
		if _, ok := parseQuarantined(name); !ok {
			return nil
		}
		return s.d.do("remove", quarantineDir+"/"+name, func() error { return s.d.root.RemoveAll(quarantineDir + "/" + name) })
	})
	if err != nil {
		return fmt.Errorf("empty the quarantine: %w", mark(err))
	}
	return nil
}
