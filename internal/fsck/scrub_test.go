package fsck_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/blob"
	"berth/internal/fsck"
)

// A logged collects log lines.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// scrub runs a Scrubber in the bubble of a test for some time.
func (e *env) scrub(s *fsck.Scrubber, long time.Duration) {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), long)
	defer cancel()
	if err := s.Run(ctx); err != nil {
		e.t.Error(err)
	}
}

func (e *env) scrubber(to *logged) *fsck.Scrubber {
	return &fsck.Scrubber{
		Records: e.db, Blobs: e.blobs, Every: 24 * time.Hour, Rate: 64 << 10, Now: time.Now,
		Open: func(time.Time) bool { return true }, Log: slog.New(slog.NewTextHandler(to, nil)),
	}
}

func flip(file string, at int64) error {
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt([]byte{0xff}, at)
	return err
}

// TestScrub holds that a round finds blobs and manifests whose bytes have changed,
// takes them out of service, says so, and goes on; that clients heal them; and
// that the next round begins when it is due.
func TestScrub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t)
		i, good := e.image("team/app"), e.image("team/good")
		if err := flip(e.file(i.blobs[1].Digest), 5); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(e.file(i.blobs[2].Digest)); err != nil {
			t.Fatal(err)
		}
		e.sql(`UPDATE manifests SET body = x'7b7d' WHERE digest = ?`, i.manifest.String())
		var log logged
		s := e.scrubber(&log)
		e.scrub(s, 10*time.Minute)
		if got := s.Stats(); got.Damaged != 3 || got.Objects != 8 || got.Unreadable != 0 || got.Finished == 0 {
			t.Errorf("got %+v, want 3 damaged among 8", got)
		}
		for _, want := range []string{i.blobs[1].Digest.String(), i.blobs[2].Digest.String(), i.manifest.String(), "team/app", "is missing", "quarantined=true"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("%q is not in the log:\n%s", want, log.String())
			}
		}
		if blobs, manifests, err := e.db.CountDamaged(t.Context()); blobs != 2 || manifests != 1 || err != nil {
			t.Errorf("%d blobs and %d manifests are recorded as damaged, %v", blobs, manifests, err)
		}
		if n := e.files("berth/quarantine"); n != 1 {
			t.Errorf("%d files in the quarantine, want 1", n)
		}
		if err := e.pullable(good); err != nil {
			t.Error(err)
		}
		e.again(i)
		e.scrub(s, 10*time.Minute)
		if got := s.Stats(); got.Damaged != 3 || got.Objects != 8 {
			t.Errorf("got %+v before the next round is due", got)
		}
		if blobs, manifests, err := e.db.CountDamaged(t.Context()); blobs+manifests != 0 || err != nil {
			t.Errorf("%d blobs and %d manifests are recorded as damaged after they were pushed, %v", blobs, manifests, err)
		}
		e.clean("after it was pushed again")
		e.scrub(s, 24*time.Hour)
		if got := s.Stats(); got.Damaged != 3 || got.Objects != 16 {
			t.Errorf("got %+v after the next round", got)
		}
	})
}

// TestScrubGoesOn holds that a round goes on where it was when the process ended,
// keeps to its rate, and leaves the time outside of its window alone.
func TestScrubGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t)
		var total int64
		for n := range 10 {
			i := e.image(fmt.Sprintf("team/app%d", n))
			total += int64(len(i.body))
			for _, d := range i.blobs {
				total += d.Size
			}
		}
		var log logged
		shut := e.scrubber(&log)
		shut.Open = func(time.Time) bool { return false }
		e.scrub(shut, time.Hour)
		if got := shut.Stats(); got != (fsck.Stats{}) {
			t.Errorf("got %+v outside of the window", got)
		}
		rounds, bytes, objects := 0, int64(0), int64(0)
		began := time.Now()
		for ; ; rounds++ {
			s := e.scrubber(&log)
			e.scrub(s, time.Minute+3*time.Second)
			bytes, objects = bytes+s.Stats().Bytes, objects+s.Stats().Objects
			if s.Stats().Finished != 0 {
				break
			}
			if rounds > 100 {
				t.Fatal("it comes to no end")
			}
		}
		if rounds < 3 || objects > 40+int64(rounds) {
			t.Errorf("%d objects were read in %d pieces, want 40 and those that were cut", objects, rounds)
		}
		if most := time.Since(began).Seconds() * (64 << 10); float64(bytes) > most || bytes < total {
			t.Errorf("read %d bytes of %d, want at most %.0f", bytes, total, most)
		}
	})
}

// A failing store cannot read one object.
type failing struct {
	fsck.Store
	key    blob.Key
	broken atomic.Bool
}

func (f *failing) OpenOnce(ctx context.Context, key blob.Key) (blob.Reader, error) {
	if f.broken.Load() && key == f.key {
		return nil, &os.PathError{Op: "read", Path: string(key), Err: syscall.EIO}
	}
	return f.Store.OpenOnce(ctx, key)
}

func (f *failing) Open(ctx context.Context, key blob.Key) (blob.Reader, error) {
	if f.broken.Load() && key == f.key {
		return nil, &os.PathError{Op: "open", Path: string(key), Err: os.ErrPermission}
	}
	return f.Store.Open(ctx, key)
}

// TestUnreadable holds that what cannot be read is told, is not taken for damaged,
// and is tried again.
func TestUnreadable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t)
		i := e.image("team/app")
		b, err := e.db.FindContent(t.Context(), i.blobs[1].Digest)
		if err != nil {
			t.Fatal(err)
		}
		store := &failing{Store: e.blobs, key: b.Key}
		store.broken.Store(true)
		c := e.checker()
		c.Blobs = store
		var found []fsck.Finding
		_, err = c.Run(t.Context(), fsck.Options{Repair: fsck.RepairSafely, ReadData: 100, Tell: func(f fsck.Finding) error { found = append(found, f); return nil }})
		if err != nil || kinds(found) != "blob-unreadable" || found[0].Cured || !strings.Contains(found[0].Detail, "permission") {
			t.Errorf("found %+v, %v", found, err)
		}
		var log logged
		s := e.scrubber(&log)
		s.Blobs = store
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		if got := s.Stats(); got.Unreadable != 1 || got.Damaged != 0 || !strings.Contains(log.String(), "does not prove") {
			t.Errorf("got %+v\n%s", got, log.String())
		}
		if err := e.pullable(i); err != nil {
			t.Errorf("it is not served any more: %v", err)
		}
		store.broken.Store(false)
		read := s.Stats().Objects
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := s.Stats(); got.Objects != read+1 || got.Unreadable != 1 {
			t.Errorf("got %+v, want one more read than %d", got, read)
		}
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}
