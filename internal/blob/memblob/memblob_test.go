package memblob_test

import (
	"errors"
	"testing"

	"berth/internal/blob"
	"berth/internal/blob/blobtest"
	"berth/internal/blob/memblob"
	"berth/internal/oci"
)

func TestStore(t *testing.T) {
	blobtest.Run(t, func(*testing.T) blobtest.Place {
		s := memblob.New()
		return func() blob.Store { return s }
	})
}

func BenchmarkStore(b *testing.B) {
	blobtest.Benchmark(b, func(*testing.B) blobtest.Place {
		return func() blob.Store { return memblob.New() }
	})
}

// TestFaulty checks that each of the four fates is what Inject says.
func TestFaulty(t *testing.T) {
	broken := errors.New("broken")
	digest := oci.SHA256.FromBytes([]byte("x"))
	for _, apply := range []bool{true, false} {
		for _, fault := range []error{nil, broken} {
			for _, op := range []string{"Create", "Write", "Commit", "Settle", "Delete"} {
				inner, key := memblob.New(), blob.NewKey()
				s := blobtest.Faulty(inner, func(o string, _ int) (bool, error) {
					if o == op {
						return apply, fault
					}
					return true, nil
				})
				size, got := walk(t, s, inner, op, key, digest)
				if !errors.Is(got, fault) || fault == nil && got != nil {
					t.Errorf("%s, applied %v: got error %v, want %v", op, apply, got, fault)
				}
				effect := map[string]bool{"Create": size >= 0, "Write": size == 1, "Delete": size < 0}[op]
				must := apply || op == "Create" && fault == nil
				if (op == "Create" || op == "Write" || op == "Delete") && effect != must {
					t.Errorf("%s, applied %v, error %v: done %v, want %v", op, apply, fault, effect, must)
				}
			}
		}
	}
}

// walk stores x, up to op, and returns the size that inner has afterwards,
// -1 for no object, and the error of op.
func walk(t *testing.T, s blob.Store, inner *memblob.Store, op string, key blob.Key, d oci.Digest) (int64, error) {
	size := func() int64 {
		for o := range inner.List(t.Context()) {
			return o.Size
		}
		return -1
	}
	w, err := s.Create(t.Context(), key)
	if op == "Create" || err != nil {
		return size(), err
	}
	defer w.Close()
	_, err = w.Write([]byte("x"))
	if op == "Write" || err != nil {
		return size(), err
	}
	final, err := w.Commit(t.Context(), d)
	if op == "Commit" || err != nil {
		return size(), err
	}
	err = w.Settle(t.Context())
	if op == "Settle" || err != nil {
		return size(), err
	}
	err = s.Delete(t.Context(), final)
	return size(), err
}

// TestFaultyPasses runs the suite through a Faulty that does nothing.
func TestFaultyPasses(t *testing.T) {
	blobtest.Run(t, func(*testing.T) blobtest.Place {
		s := memblob.New()
		return func() blob.Store {
			return blobtest.Faulty(s, func(string, int) (bool, error) { return true, nil })
		}
	})
}
