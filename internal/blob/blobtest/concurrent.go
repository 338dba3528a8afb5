package blobtest

import (
	"context"
	"errors"
	"io/fs"
	"sync"
	"testing"

	"berth/internal/blob"
	"berth/internal/oci"
)

// each runs f n times at once and reports what they return.
func each(t *testing.T, n int, f func(i int) error) {
	t.Helper()
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			if err := f(i); err != nil {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	close(start)
	wg.Wait()
}

func testManyWriters(t *testing.T, p *place) {
	each(t, 16, func(i int) error {
		for j := range 4 {
			content := bytesOf(uint64(100*i+j), 1000*i+j)
			key, err := store(t, p.Store, blob.NewKey(), content)
			if err != nil {
				return err
			}
			if err := check(t, p.Store, key, content); err != nil {
				return err
			}
		}
		return nil
	})
	if n := len(p.list()); n != 64 {
		t.Errorf("got %d objects, want 64", n)
	}
}

// testSameDigest is a team that pushes one new base image at once.
func testSameDigest(t *testing.T, p *place) {
	content := bytesOf(30, 200_000)
	keys := make([]blob.Key, 8)
	each(t, len(keys), func(i int) error {
		var err error
		keys[i], err = store(t, p.Store, blob.NewKey(), content)
		return err
	})
	seen := make(map[blob.Key]bool)
	for _, key := range keys {
		p.has(key, content)
		if seen[key] {
			t.Errorf("key %s was given twice", key)
		}
		seen[key] = true
	}
	each(t, len(keys)-1, func(i int) error { return p.Delete(t.Context(), keys[i]) })
	p.has(keys[len(keys)-1], content)
	if n := len(p.list()); n != 1 {
		t.Errorf("got %d objects, want 1", n)
	}
}

// testCommitDeleteStorm commits and deletes objects of one digest at the same
// time: what one does to directories must not hurt the other.
func testCommitDeleteStorm(t *testing.T, p *place) {
	content := []byte("here and gone")
	each(t, 8, func(int) error {
		for range 25 {
			key, err := store(t, p.Store, blob.NewKey(), content)
			if err != nil {
				return err
			}
			if err := check(t, p.Store, key, content); err != nil {
				return err
			}
			if err := p.Delete(t.Context(), key); err != nil {
				return err
			}
		}
		return nil
	})
	p.empty()
}

// A ledger stands for the database: which keys are recorded.
type ledger struct {
	mu   sync.Mutex
	keys map[blob.Key]bool
}

func (l *ledger) change(remove, add blob.Key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.keys, remove)
	if add != "" {
		l.keys[add] = true
	}
}

func (l *ledger) known(_ context.Context, k blob.Key) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.keys[k], nil
}

// upload does what a registry does: record, create, write, commit, record,
// settle; or give up at some point.
func (l *ledger) upload(t *testing.T, s blob.Store, content []byte, giveUp int) (blob.Key, error) {
	key := blob.NewKey()
	l.change("", key)
	w, err := s.Create(t.Context(), key)
	if err != nil {
		return "", err
	}
	defer w.Close()
	if _, err := w.Write(content); err != nil {
		return "", err
	}
	if giveUp == 1 {
		l.change(key, "")
		return "", s.Delete(t.Context(), key)
	}
	final, err := w.Commit(t.Context(), oci.SHA256.FromBytes(content))
	if err != nil {
		return "", err
	}
	if giveUp == 2 {
		l.change(key, "")
		return "", s.Delete(t.Context(), key)
	}
	l.change(key, final)
	if err := w.Settle(t.Context()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	return final, nil
}

func testRecoverBeside(t *testing.T, p *place) {
	r, ok := p.Store.(blob.Recoverer)
	if !ok {
		t.Skip("the store has nothing to recover")
	}
	l := &ledger{keys: make(map[blob.Key]bool)}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			if err := r.Recover(t.Context(), l.known); err != nil {
				t.Errorf("Recover: %v", err)
				return
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	each(t, 4, func(i int) error {
		for j := range 30 {
			content := bytesOf(uint64(1000*i+j), 5000)
			final, err := l.upload(t, p.Store, content, j%3)
			if err != nil {
				return err
			}
			if final != "" {
				if err := check(t, p.Store, final, content); err != nil {
					return err
				}
			}
		}
		return nil
	})
	close(stop)
	wg.Wait()
	p.recover(mapKeys(l.keys)...)
	if got := len(p.list()); got != 4*10 {
		t.Errorf("got %d objects, want %d", got, 4*10)
	}
}

func mapKeys(m map[blob.Key]bool) []blob.Key {
	var keys []blob.Key
	for k := range m {
		keys = append(keys, k)
	}
	return keys
}
