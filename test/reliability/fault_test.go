package reliability

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/test/realtest"
)

// inject makes system calls of a running server fail, as strace writes it, until
// the function that it returns is called.
func inject(t *testing.T, reg *realtest.Registry, what string) (end func()) {
	t.Helper()
	calls, _, _ := strings.Cut(what, ":")
	cmd := exec.Command(realtest.Tool(t, "strace"), "-f", "-p", strconv.Itoa(reg.Pid()), "-o", "/dev/null", "-e", "trace="+calls, "-e", "inject="+what)
	said, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(said)
	if !lines.Scan() || !strings.Contains(lines.Text(), "attached") {
		t.Fatalf("strace says %q", lines.Text())
	}
	var drained sync.WaitGroup
	drained.Go(func() {
		for lines.Scan() {
		}
	})
	var once sync.Once
	end = func() {
		once.Do(func() {
			cmd.Process.Signal(os.Interrupt) // it lets go of the server
			// Of a server that has ended it does not always let go.
			patience := 20 * time.Second
			if !reg.Running() {
				patience = 200 * time.Millisecond
			}
			timeout := time.AfterFunc(patience, func() { cmd.Process.Kill() })
			defer timeout.Stop()
			drained.Wait()
			cmd.Wait()
		})
	}
	t.Cleanup(end)
	return end
}

// A fault is a kind of failing system call.
type fault struct {
	inject string
	want   []int // the statuses that what fails may be answered with; nil if nothing has to fail
	broken bool  // connections may break, too
}

func faults() []fault {
	return []fault{
		{inject: "fsync,fdatasync:error=EIO", want: []int{500}},
		{inject: "fsync,fdatasync:error=EIO:when=3+4", want: []int{500}},
		{inject: "fsync,fdatasync:error=ENOSPC", want: []int{507}},
		// SQLite does not tell why a sync failed, and when it is found out another one does not.
		{inject: "fsync,fdatasync:error=ENOSPC:when=2+3", want: []int{500, 507}},
		{inject: "pwrite64:error=EIO", want: []int{500}},
		{inject: "pwrite64:error=EIO:when=20+30", want: []int{500}},
		{inject: "pwrite64:error=ENOSPC", want: []int{507}},
		{inject: "pwrite64:error=ENOSPC:when=20+30", want: []int{507}},
		{inject: "linkat:error=EIO", want: []int{500}},
		{inject: "linkat:error=ENOSPC", want: []int{507}},
		{inject: "openat,openat2:error=EIO", want: []int{500}},
		{inject: "openat,openat2:error=ENOSPC", want: []int{507}},
		{inject: "openat,openat2:error=EMFILE", want: []int{503}},
		{inject: "openat,openat2:error=ENFILE:when=3+2", want: []int{503}},
		{inject: "mkdirat:error=ENOSPC", want: []int{507}},
		{inject: "mkdirat:error=EIO", want: []int{500}},
		{inject: "pread64:error=EIO", want: []int{500}},
		{inject: "unlinkat:error=EIO"},
		{inject: "ftruncate:error=EIO"},
		// Not write: the Go runtime wakes itself up with it, and ends the process
		// when that fails, which outside of strace it cannot.
		{inject: "read:error=EIO:when=4+5", broken: true},
		{inject: "accept4:error=EMFILE:when=1..3", broken: true},
	}
}

// TestFailingCalls makes system calls of the running server fail under load: it
// lives, says what is wrong, keeps what it acknowledged, and works again when
// the calls do, without a restart.
func TestFailingCalls(t *testing.T) {
	realtest.Root(t)
	reg := realtest.Start(t, realtest.Options{Env: quiet()})
	c := newClient(t, reg.URL)
	all := map[string]*ledger{}
	s := seed(t)
	for i, f := range faults() {
		ok := t.Run(f.inject, func(t *testing.T) { all[f.inject] = underFault(t, reg, c, f, s+uint64(i)) })
		if !ok && !reg.Running() {
			t.Fatalf("the server is gone\n%s", reg.Log.Tail(40))
		}
	}
	reg.Kill()
	reg.Restart()
	together := newLedger()
	for _, l := range all {
		if l != nil {
			together.join(l)
		}
	}
	if err := inspect(t.Context(), c, together, everything, uploadsMayGo).err(); err != nil {
		t.Errorf("after a kill at the end: %v", err)
	}
	if bad := badFiles(t, reg.Dir); len(bad) > 0 {
		t.Errorf("files that are not what their names say: %v", bad)
	}
}

// join adds what another ledger knows.
func (l *ledger) join(other *ledger) {
	for k, v := range other.facts {
		l.set(k, v)
	}
	for d, parts := range other.parts {
		l.parts[d] = parts
	}
}

// underFault pushes while calls work, while they fail, and when they work again.
func underFault(t *testing.T, reg *realtest.Registry, c *client, f fault, seed uint64) *ledger {
	t.Helper()
	l := newLedger()
	ld := newLoad(c, l, seed, 6, 1<<18)
	for _, w := range ld.workers { // apart from those of the other faults
		for i, repo := range w.repos {
			w.repos[i] = fmt.Sprintf("f%d/%s", seed, repo)
		}
	}
	steps(t, ld, 10, fault{})
	end := inject(t, reg, f.inject)
	seen := steps(t, ld, 25, f)
	end()
	if f.want != nil && len(seen) == 0 {
		t.Error("nothing failed")
	}
	for _, status := range seen {
		if f.want != nil && !slices.Contains(f.want, status) {
			t.Errorf("got the statuses %v, want none but %v", seen, f.want)
		}
	}
	if !reg.Running() {
		t.Fatal("the server has ended")
	}
	c.http.CloseIdleConnections()
	if err := inspect(t.Context(), c, l, everything, uploadsMayGo).amongOthers(); err != nil {
		t.Errorf("when the calls work again: %v", err)
	}
	steps(t, ld, 10, fault{})
	return l
}

// steps lets every client do n things at most, up to the first that fails, and
// returns the statuses of those, which must be as f says.
func steps(t *testing.T, ld *load, n int, f fault) []int {
	t.Helper()
	var mu sync.Mutex
	var seen []int
	each(ld.workers, func(w *worker) {
		for range n {
			err := w.step(context.WithoutCancel(t.Context()))
			if err == nil {
				continue
			}
			r, ok := errors.AsType[*refusal](err)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case ok && f.want != nil && r.status >= 500:
				seen = append(seen, r.status)
			case ok && f.inject != "" && r.status >= 400:
				seen = append(seen, r.status)
			case ok || !f.broken || strings.Contains(err.Error(), "Timeout"):
				t.Errorf("client %d: %v", w.id, err)
			}
			return
		}
	})
	slices.Sort(seen)
	return slices.Compact(seen)
}
