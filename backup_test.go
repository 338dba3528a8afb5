package berth

import (
	"context"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/backup"
	"berth/internal/blob"
)

// TestBackupWait holds how a backup ends: when it says so, with its operator, or
// when nothing is heard of it for too long, but not while it goes on.
func TestBackupWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Server
		begin := func(ctx context.Context) (url.Values, chan error) {
			id := blob.NewKey()
			taken, result := s.backups.add(id), make(chan error, 1)
			go func() {
				err := taken.wait(ctx)
				s.backups.remove(id)
				result <- err
			}()
			return url.Values{"id": {string(id)}}, result
		}
		p, result := begin(t.Context())
		for range 4 { // for longer than it may be quiet
			time.Sleep(backupIdle - time.Second)
			if err := s.backupAlive(t.Context(), p, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.backupEnd(t.Context(), p, nil); err != nil {
			t.Fatal(err)
		}
		if err := <-result; err != nil {
			t.Errorf("ended by itself: got %v", err)
		}

		p, result = begin(t.Context())
		if err := <-result; err == nil || !strings.Contains(err.Error(), "was given up") {
			t.Errorf("quiet for too long: got %v", err)
		}
		for name, do := range map[string]action{"alive": s.backupAlive, "end": s.backupEnd} {
			if err := do(t.Context(), p, nil); err == nil || !strings.Contains(err.Error(), "run the same command again") {
				t.Errorf("%s after it was given up: got %v", name, err)
			}
		}

		ctx, cancel := context.WithCancel(t.Context())
		_, result = begin(ctx)
		cancel()
		if err := <-result; !errors.Is(err, context.Canceled) {
			t.Errorf("the operator has gone: got %v", err)
		}
	})
}

// TestOrigin holds that a registry's origin is its own and stays.
func TestOrigin(t *testing.T) {
	origin := func(dir string) string {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(dir, ownDir), 0o700); err != nil {
			t.Fatal(err)
		}
		s := &Server{}
		s.cfg.Data = dir
		id, err := s.origin()
		if err != nil || blob.Key(id).Check() != nil {
			t.Fatalf("got %q, %v", id, err)
		}
		return id
	}
	one, two := t.TempDir(), t.TempDir()
	first := origin(one)
	if again := origin(one); again != first {
		t.Errorf("got %s, then %s", first, again)
	}
	if other := origin(two); other == first {
		t.Error("two registries have one origin")
	}
	if err := os.WriteFile(filepath.Join(one, filepath.FromSlash(backup.OriginName)), []byte("?"), 0o600); err != nil {
		t.Fatal(err)
	}
	if again := origin(one); again == first {
		t.Error("what can't be read was believed")
	}
}
