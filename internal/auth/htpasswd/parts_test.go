package htpasswd

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestPoolOrder lets many wait for one place: known ones come first, then
// each address in turn.
func TestPoolOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(1)
		ctx := t.Context()
		if err := p.acquire(ctx, stranger, netip.Addr{}); err != nil {
			t.Fatal(err)
		}
		var got []string
		var wg sync.WaitGroup
		wait := func(name string, level trust, from string) {
			wg.Go(func() {
				if err := p.acquire(ctx, level, netip.MustParseAddr(from)); err != nil {
					t.Error(err)
				}
				got = append(got, name) // only one holds the place
				p.release()
			})
			synctest.Wait()
		}
		for i := range 3 {
			wait(fmt.Sprint("guess", i), stranger, "10.0.0.1")
		}
		wait("newcomer", stranger, "10.0.0.2")
		wait("other", stranger, "10.0.0.2")
		wait("known", known, "10.0.0.1")
		p.release()
		wg.Wait()
		want := []string{"known", "guess0", "newcomer", "guess1", "other", "guess2"}
		if !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		if p.free != 1 || len(p.strangers)+len(p.turns)+len(p.known) != 0 {
			t.Errorf("left over: %+v", p)
		}
	})
}

// TestPoolAbandoned holds that whoever gives up leaves no place taken.
func TestPoolAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(1)
		here := netip.MustParseAddr("10.0.0.1")
		if err := p.acquire(t.Context(), stranger, here); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		served := 0
		var wg sync.WaitGroup
		for i := range 6 {
			own := ctx
			if i%2 == 0 {
				own = t.Context()
			}
			wg.Go(func() {
				if err := p.acquire(own, trust(i%2), here); err == nil {
					served++ // only one holds the place
					p.release()
				}
			})
			synctest.Wait()
		}
		cancel()
		synctest.Wait()
		p.release()
		wg.Wait()
		if served != 3 || p.free != 1 || len(p.strangers)+len(p.turns)+len(p.known) != 0 {
			t.Errorf("got %d served, want 3; left over: %+v", served, p)
		}
	})
}

func TestFlights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f flights
		var key flightKey
		checks := 0
		slow := func(err error) func() error {
			return func() error {
				checks++
				time.Sleep(time.Second)
				return err
			}
		}
		together := func(first, others error) []error {
			checks = 0
			errs := make([]error, 5)
			var wg sync.WaitGroup
			for i := range errs {
				wg.Go(func() {
					if i == 0 {
						errs[i] = f.do(t.Context(), key, slow(first))
						return
					}
					errs[i] = f.do(t.Context(), key, slow(others))
				})
				synctest.Wait()
			}
			wg.Wait()
			return errs
		}
		wrong := errors.New("wrong")
		for i, err := range together(wrong, nil) {
			if err != wrong {
				t.Errorf("caller %d got %v, want the first one's", i, err)
			}
		}
		if checks != 1 {
			t.Errorf("got %d checks of five equal ones, want 1", checks)
		}
		// The first caller goes away: one of the others checks for all.
		errs := together(fmt.Errorf("wait: %w", context.Canceled), nil)
		if !errors.Is(errs[0], context.Canceled) || errors.Join(errs[1:]...) != nil || checks != 2 {
			t.Errorf("got %v in %d checks", errs, checks)
		}
		if len(f.running) != 0 {
			t.Errorf("left over: %v", f.running)
		}
	})
}

// TestFlightsOwnContext holds that a caller does not wait longer than it wants.
func TestFlightsOwnContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f flights
		go f.do(t.Context(), flightKey{}, func() error { time.Sleep(time.Hour); return nil })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := f.do(ctx, flightKey{}, func() error { return nil }); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		time.Sleep(time.Hour) // let the first one end
	})
}

// TestFlightsPanic holds that nobody gets in because a check panicked.
func TestFlightsPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f flights
		go func() {
			defer func() { recover() }()
			f.do(t.Context(), flightKey{}, func() error { time.Sleep(time.Second); panic("bug") })
		}()
		synctest.Wait()
		if err := f.do(t.Context(), flightKey{}, func() error { return nil }); err == nil {
			t.Error("got in on a check that panicked")
		}
	})
}

func TestMemory(t *testing.T) {
	var m memory
	start := time.Unix(1_000_000, 0)
	key := credentialKey{1}
	check := func(doing string, at time.Time, want trust) {
		t.Helper()
		if got := m.trust(key, at); got != want {
			t.Errorf("%s: got %v, want %v", doing, got, want)
		}
	}
	check("never seen", start, stranger)
	m.remember(key, start)
	check("at once", start, fresh)
	check("just before the end", start.Add(freshFor-1), fresh)
	check("old", start.Add(freshFor), known)
	check("very old", start.Add(knownFor), stranger)
	check("from the future", start.Add(-1), stranger)
	m.distrust()
	check("after a change", start, known)
	m.remember(key, start)
	check("checked again", start, fresh)
}

// TestMemoryBounded pushes much through and holds that what is in use stays.
func TestMemoryBounded(t *testing.T) {
	var m memory
	now := time.Unix(1_000_000, 0)
	used, unused := credentialKey{1}, credentialKey{2}
	m.remember(used, now)
	m.remember(unused, now)
	for i := range 5 * maxRemembered {
		m.remember(credentialKey{3, byte(i), byte(i >> 8), byte(i >> 16)}, now)
		if i%1000 == 0 && m.trust(used, now) != fresh {
			t.Fatalf("forgot what is in use after %d", i)
		}
	}
	if m.trust(unused, now) != stranger {
		t.Error("remembers everything")
	}
	if n := len(m.young) + len(m.old); n > 2*maxRemembered {
		t.Errorf("remembers %d", n)
	}
}

func TestThrottleBounded(t *testing.T) {
	var th throttle
	now := time.Unix(1_000_000, 0)
	for i := range 5 * maxBuckets {
		key := bucketKey{user: credentialKey{byte(i), byte(i >> 8), byte(i >> 16)}}
		if err := th.reserve(key, now); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(th.young) + len(th.old); n > 2*maxBuckets {
		t.Errorf("holds %d buckets", n)
	}
}

func TestNetwork(t *testing.T) {
	for address, want := range map[string]string{
		"10.1.2.3":            "10.1.2.3",
		"::ffff:10.1.2.3":     "10.1.2.3",
		"2001:db8:1:2:3::4":   "2001:db8:1:2::",
		"fe80::1%eth0":        "fe80::",
		"2001:db8:1:2:ffff::": "2001:db8:1:2::",
	} {
		if got := network(netip.MustParseAddr(address)); got.String() != want {
			t.Errorf("%s: got %v, want %s", address, got, want)
		}
	}
	if got := network(netip.Addr{}); got.IsValid() {
		t.Errorf("no address: got %v", got)
	}
}

func TestJoinFew(t *testing.T) {
	got := joinFew(strings.Split("abcdefg", ""))
	if want := "a; b; c; d; e; …"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
