package listen

import (
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// TestReadLimit holds that a read ends at the deadline that was set last, whatever
// the socket still has, and not before.
func TestReadLimit(t *testing.T) {
	const ages = 1000 * time.Second
	in := func(d time.Duration) time.Time { return time.Now().Add(d) }
	past := time.Unix(1, 0)
	for name, tt := range map[string]struct {
		set  func() []time.Time
		want time.Duration // after which a read ends; 0 is at once, ages is never
	}{
		"none":                    {func() []time.Time { return nil }, ages},
		"one":                     {func() []time.Time { return []time.Time{in(7 * time.Second)} }, 7 * time.Second},
		"later":                   {func() []time.Time { return []time.Time{in(7 * time.Second), in(20 * time.Second)} }, 20 * time.Second},
		"earlier":                 {func() []time.Time { return []time.Time{in(20 * time.Second), in(7 * time.Second)} }, 7 * time.Second},
		"taken away":              {func() []time.Time { return []time.Time{in(7 * time.Second), {}} }, ages},
		"past":                    {func() []time.Time { return []time.Time{in(7 * time.Second), past} }, 0},
		"past and taken away":     {func() []time.Time { return []time.Time{past, {}} }, ages},
		"past and set again":      {func() []time.Time { return []time.Time{past, in(9 * time.Second)} }, 9 * time.Second},
		"past, taken away, early": {func() []time.Time { return []time.Time{past, {}, in(2 * time.Second)} }, 2 * time.Second},
		"past, taken away, late":  {func() []time.Time { return []time.Time{past, {}, in(10 * time.Second), {}, in(120 * time.Second)} }, 120 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				defer theirs.Close()
				c := &conn{Conn: ours, expect: anyProtocol, release: func() {}}
				defer c.Close()
				for _, at := range tt.set() {
					if err := c.SetReadDeadline(at); err != nil {
						t.Fatal(err)
					}
				}
				began := time.Now()
				go func() {
					time.Sleep(ages)
					theirs.Write([]byte("x"))
				}()
				_, err := c.Read(make([]byte, 1))
				if took := time.Since(began); took != tt.want || (err == nil) != (tt.want == ages) || err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("the read ended after %s with %v, want it after %s", took, err, tt.want)
				}
				theirs.SetDeadline(time.Unix(1, 0))
				time.Sleep(2 * ages)
			})
		})
	}
}

// TestReadLimitEnds holds that a read that waits is ended by a deadline in the past,
// however often, as net/http does after every request.
func TestReadLimitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		c := &conn{Conn: ours, expect: anyProtocol, release: func() {}}
		defer c.Close()
		for range 3 {
			ended := make(chan error)
			go func() {
				_, err := c.Read(make([]byte, 1))
				ended <- err
			}()
			synctest.Wait()
			c.SetReadDeadline(time.Unix(1, 0))
			if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("the read ended with %v", err)
			}
			c.SetReadDeadline(time.Time{})
			c.SetReadDeadline(time.Now().Add(time.Minute))
		}
	})
}
