package ops

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"
)

// A Check is something that is looked at again and again.
type Check struct {
	Name      string        // as it is shown; of several of one name the later get a number
	Interval  time.Duration // between two looks
	Timeout   time.Duration // of one look, however it hangs; 0: the interval
	Threshold int           // how many looks in a row must fail; less than 1 is 1

	// Effect says what happens when it has failed.
	Effect Effect

	// Look returns nil if all is well. It is not called again while a call hangs.
	Look func(context.Context) error
}

// An Effect is what a failing check does.
type Effect int

// The effects.
const (
	NotReady Effect = iota // readiness fails
	Closed                 // and every request is refused: see Health.Open
)

// Watch looks at the checks, at once and then at their intervals, until ctx
// ends. What they find becomes part of h. That a check begins or ceases to fail
// is logged.
func (h *Health) Watch(ctx context.Context, checks []Check, log *slog.Logger) {
	var group sync.WaitGroup
	names := map[string]int{}
	for _, c := range checks {
		if names[c.Name]++; names[c.Name] > 1 {
			c.Name = fmt.Sprintf("%s (%d)", c.Name, names[c.Name])
		}
		if c.Timeout == 0 {
			c.Timeout = c.Interval
		}
		group.Go(func() { h.watch(ctx, c, log) })
	}
	group.Wait()
}

func (h *Health) watch(ctx context.Context, c Check, log *slog.Logger) {
	tick := time.NewTicker(c.Interval)
	defer tick.Stop()
	failures, failed := 0, false
	var look lookout
	for {
		err := look.once(ctx, c)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			failures = 0
		} else {
			failures++
		}
		switch {
		case err != nil && failures >= max(1, c.Threshold):
			if !failed {
				log.Error("a health check fails", "check", c.Name, "error", err)
			}
			failed = true
			h.setCheck(c, err.Error())
		case err == nil && failed:
			log.Info("a health check is good again", "check", c.Name)
			failed = false
			h.setCheck(c, "")
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// A lookout looks, and remembers the look that hangs.
type lookout struct{ hanging chan error }

// errHangs says that a look takes too long.
var errHangs = errors.New("no answer for too long")

// once looks once. While an earlier look hangs, that is an error, and nothing
// new is begun.
func (l *lookout) once(ctx context.Context, c Check) error {
	timer := time.NewTimer(c.Timeout)
	defer timer.Stop()
	if l.hanging == nil {
		done := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(ctx, c.Timeout)
			defer cancel()
			done <- c.Look(ctx)
		}()
		l.hanging = done
	}
	select {
	case err := <-l.hanging:
		l.hanging = nil
		return err
	case <-timer.C:
		return errHangs
	case <-ctx.Done():
		return ctx.Err()
	}
}

// FileAbsent fails while there is a file at path: who looks after the registry
// takes it out of service by making the file.
func FileAbsent(path string) func(context.Context) error {
	return func(context.Context) error {
		_, err := os.Stat(path)
		switch {
		case err == nil:
			return errors.New("file exists")
		case errors.Is(err, fs.ErrNotExist):
			return nil
		}
		return err
	}
}

// Answers fails unless a HEAD request is answered with the status.
func Answers(address string, header http.Header, status int) func(context.Context) error {
	client := &http.Client{}
	return func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodHead, address, nil)
		if err != nil {
			return err
		}
		for key, values := range header {
			for _, v := range values {
				req.Header.Add(key, v)
			}
		}
		if host := req.Header.Get("Host"); host != "" {
			req.Host = host
		}
		resp, err := client.Do(req)
		if err != nil {
			return err // it holds the address, without a password
		}
		resp.Body.Close()
		if resp.StatusCode != status {
			return fmt.Errorf("%s answered %d, want %d", Redacted(address), resp.StatusCode, status)
		}
		return nil
	}
}

// Accepts fails unless a TCP connection to the address can be made.
func Accepts(address string) func(context.Context) error {
	return func(ctx context.Context) error {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return conn.Close()
	}
}

// Redacted returns a URL without its password.
func Redacted(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "(a malformed URL)"
	}
	return u.Redacted()
}
