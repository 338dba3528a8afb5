package reliability

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/test/realtest"
)

// berth runs the program and returns its exit code, or -1 if it was killed, and
// what it wrote.
func berth(t *testing.T, args ...string) (code int, output string) {
	t.Helper()
	cmd := exec.Command(realtest.Berth(t), args...)
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return e.ExitCode(), string(out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return 0, string(out)
}

// mustBerth is berth for what must succeed.
func mustBerth(t *testing.T, args ...string) string {
	t.Helper()
	code, out := berth(t, args...)
	if code != 0 {
		t.Fatalf("berth %s: exit code %d\n%s", strings.Join(args, " "), code, out)
	}
	return out
}

// certain returns a copy of what l knows and nobody has changed, or tried to,
// since what was known at before, at which time nothing in l was fresh.
func (l *ledger) certain(before *ledger) *ledger {
	after := l.clone()
	for k := range after.fresh {
		delete(after.facts, k)
	}
	for _, open := range []map[*operation]bool{before.open, after.open} {
		for op := range open {
			for k := range op.changes {
				delete(after.facts, k)
			}
		}
	}
	clear(after.open)
	clear(after.fresh)
	return after
}

// settled begins a new time: what changes from now on is fresh.
func (l *ledger) settled() *ledger {
	l.Lock()
	clear(l.fresh)
	l.Unlock()
	return l.clone()
}

// wantRestored restores a backup and wants a registry that serves what is in l,
// holds nothing that is broken, and knows nothing of the machine it came from.
func wantRestored(t *testing.T, from string, l *ledger) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "restored")
	mustBerth(t, "restore", from, "--data", dir)
	if bad := badFiles(t, dir); len(bad) > 0 {
		t.Errorf("files that are not what their names say: %v", bad)
	}
	mustBerth(t, "fsck", "--read-data", "--data", dir)
	reg := realtest.Start(t, realtest.Options{Dir: dir, Env: quiet()})
	in := &inspection{c: newClient(t, reg.URL), l: l, uploads: uploadsMayGo, partial: true}
	f := in.run(t.Context(), everything)
	if err := f.err(); err != nil {
		t.Errorf("restored from %s: %v", filepath.Base(from), err)
	}
	reg.Stop()
}

// TestBackupInStorm takes backups of each form while clients push, move and
// delete and garbage goes as fast as it can. Each holds everything that was
// acknowledged before it began, and nothing broken.
func TestBackupInStorm(t *testing.T) {
	env := collecting()
	cr := newCrash(t, "", seed(t), uploadsStay, settings{env: env, collect: true, largest: 256 << 10}, new(stats))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	result := make(chan error, 1)
	go func() { result <- cr.load.run(ctx) }()
	l := cr.load.ledger
	more := func(n int) {
		t.Helper()
		begun := l.clone().tally.manifests
		if !await(func() bool { return l.clone().tally.manifests >= begun+n }) {
			t.Fatalf("the clients do not get on\n%s", cr.reg.Log.Tail(20))
		}
	}
	dir := filepath.Join(t.TempDir(), "backup")
	var taken []string
	var known []*ledger
	for i := range 3 {
		more(20)
		to := dir
		if i == 1 {
			to += ".tar"
		}
		before := l.settled()
		mustBerth(t, "backup", to, "--data", cr.reg.Dir)
		known = append(known, l.certain(before))
		if i == 2 { // the folder is looked at after both backups into it
			mustBerth(t, "backup", "--verify", to)
		}
		taken = append(taken, to)
	}
	stop()
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	for i := 1; i < 3; i++ {
		if len(known[i].facts) < 20 {
			t.Errorf("only %d facts are certain", len(known[i].facts))
		}
		wantRestored(t, taken[i], known[i])
	}
	cr.compare(sinceLast)
	collected(cr) // everything that was held is let go
	if left := files(t, filepath.Join(cr.reg.Dir, "berth", "backups")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// filled starts a server and pushes n images to it.
func filled(t *testing.T, dir string, n int, env ...string) (*realtest.Registry, *filler) {
	t.Helper()
	reg := realtest.Start(t, realtest.Options{Dir: dir, Env: append(quiet(), env...)})
	f := &filler{c: newClient(t, reg.URL), l: newLedger(), acked: map[string]bool{}}
	for range n {
		if err := f.push(t.Context(), "app", 20_000); err != nil {
			t.Fatal(err)
		}
	}
	return reg, f
}

// killed runs berth and lets happen be called after some of the time that it
// takes, if it has not ended by then. It returns how it ended.
func killed(t *testing.T, after time.Duration, happen func(*exec.Cmd), args ...string) (output string, ended error) {
	t.Helper()
	cmd := exec.Command(realtest.Berth(t), args...)
	cmd.Dir = t.TempDir()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err := <-done:
		return out.String(), err
	case <-time.After(after):
		happen(cmd)
	}
	err := <-done
	return out.String(), err
}

func killIt(cmd *exec.Cmd) { _ = cmd.Process.Kill() }

// TestBackupKilled kills the command, and the server under it, at any moment:
// the folder always holds a whole backup, and the next run goes on.
func TestBackupKilled(t *testing.T) {
	reg, f := filled(t, "", 10)
	rng := newRand(seed(t), 1)
	to := filepath.Join(t.TempDir(), "backup")
	begin := time.Now()
	mustBerth(t, "backup", to, "--data", reg.Dir)
	takes := time.Since(begin)
	whole := f.l.clone()
	kills, done := 0, 0
	for i := range count(t, "BERTH_TEST_KILLS", 8) {
		for range 3 {
			if err := f.push(t.Context(), "app", 20_000); err != nil {
				t.Fatal(err)
			}
		}
		server := i%3 == 2
		out, err := killed(t, time.Duration(rng.Int64N(int64(2*takes))), func(cmd *exec.Cmd) {
			if server {
				reg.Kill()
				return
			}
			killIt(cmd)
		}, "backup", to, "--data", reg.Dir)
		if server && !reg.Running() {
			reg.Restart()
			reg.AwaitReady()
		}
		if err != nil {
			kills++
		} else {
			done++
			whole = f.l.clone()
		}
		if code, out := berth(t, "backup", "--verify", to); code != 0 {
			t.Fatalf("after %d kills: %s", kills, out)
		}
		if server && err != nil && !strings.Contains(out, "run the same command again") && !strings.Contains(out, "cut off") && !strings.Contains(out, "ask the registry") {
			t.Errorf("the server was killed, and the command says: %s", out)
		}
	}
	t.Logf("%d were killed, %d were not", kills, done)
	wantRestored(t, to, whole)
	mustBerth(t, "backup", to, "--data", reg.Dir)
	wantRestored(t, to, f.l.clone())
	if left := files(t, filepath.Join(reg.Dir, "berth", "backups")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if left := files(t, filepath.Join(to, "berth", "uploads")); len(left) > 0 {
		t.Errorf("left behind in the backup: %v", left)
	}
}

// TestRestoreKilled kills restores at any moment: no server starts from half of
// one, and the same command goes on.
func TestRestoreKilled(t *testing.T) {
	reg, f := filled(t, "", 25)
	dir := t.TempDir()
	froms := []string{filepath.Join(dir, "backup"), filepath.Join(dir, "backup.tar")}
	for _, from := range froms {
		mustBerth(t, "backup", from, "--data", reg.Dir)
	}
	rng := newRand(seed(t), 1)
	begin := time.Now()
	mustBerth(t, "restore", froms[0], "--data", filepath.Join(dir, "first"))
	takes := time.Since(begin)
	for _, from := range froms {
		to := filepath.Join(dir, "to", filepath.Ext(from), "data")
		var err error
		for n := 0; ; n++ {
			var out string
			out, err = killed(t, time.Duration(rng.Int64N(int64(takes)*3/4)), killIt, "restore", from, "--data", to)
			if err == nil || n >= 5 {
				if err != nil {
					out = mustBerth(t, "restore", from, "--data", to)
				}
				if !strings.Contains(out, "restored into") {
					t.Errorf("got %s", out)
				}
				break
			}
			if _, err := os.Stat(filepath.Join(to, "berth", "berth.db")); !errors.Is(err, fs.ErrNotExist) {
				break // all but the last step was done
			}
			if code, out := berth(t, "ls", "--data", to); code != 1 || !strings.Contains(out, "run berth restore again") && !strings.Contains(out, "there is no registry") {
				if _, err := os.Stat(filepath.Join(to, "berth", "restoring.json")); err == nil {
					t.Fatalf("half a restore was started: %d %s", code, out)
				}
				// It was killed before it had begun, and ls has made a new registry.
				if err := os.RemoveAll(to); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err != nil {
			_, _ = berth(t, "restore", from, "--data", to) // it may have been in its last step
		}
		again := realtest.Start(t, realtest.Options{Dir: to, Env: quiet()})
		in := &inspection{c: newClient(t, again.URL), l: f.l.clone(), uploads: uploadsMayGo, partial: true}
		if err := in.run(t.Context(), everything).err(); err != nil {
			t.Error(err)
		}
		again.Stop()
	}
}

// TestBackupOfDamage damages blobs under a running server: a backup names them,
// marks them here and there, and holds the rest; pushing heals both.
func TestBackupOfDamage(t *testing.T) {
	reg, f := filled(t, "", 6)
	harm := []func(string) error{
		func(p string) error { // a bit flips: the size stays
			b, err := os.ReadFile(p)
			if err == nil {
				b[len(b)/2] ^= 1
				err = os.WriteFile(p, b, 0o600)
			}
			return err
		},
		func(p string) error { return os.Truncate(p, 5) },
		os.Remove,
	}
	damaged := map[string]bool{}
	for p, d := range blobFiles(t, reg.Dir) {
		if len(damaged) == len(harm) {
			break
		}
		if err := harm[len(damaged)](p); err != nil {
			t.Fatal(err)
		}
		damaged[d] = true
	}
	dir := t.TempDir()
	for _, name := range []string{"backup", "backup.tar"} {
		to := filepath.Join(dir, name)
		code, out := berth(t, "backup", to, "--data", reg.Dir)
		if code != 3 || !strings.Contains(out, "3 blobs are damaged and not in the backup") {
			t.Fatalf("exit code %d: %s", code, out)
		}
		for d := range damaged {
			if name == "backup" && !strings.Contains(out, d+" of app: it") {
				t.Errorf("%s is not named: %s", d, out)
			}
			if has, err := f.c.has(t.Context(), blobPath("app", d)); err != nil || has {
				t.Errorf("%s is served all the same (%v)", d, err)
			}
		}
		if code, out := berth(t, "backup", "--verify", to); code != 3 {
			t.Errorf("verify: exit code %d: %s", code, out)
		}
		data := filepath.Join(dir, "of-"+name)
		if code, out := berth(t, "restore", to, "--data", data); code != 3 || !strings.Contains(out, "restored into") {
			t.Errorf("restore: exit code %d: %s", code, out)
		}
		if bad := badFiles(t, data); len(bad) > 0 {
			t.Errorf("damage was restored: %v", bad)
		}
	}
	f.n = 0
	for range 6 { // the same content again
		if err := f.push(t.Context(), "app", 20_000); err != nil {
			t.Fatal(err)
		}
	}
	mustBerth(t, "backup", filepath.Join(dir, "backup"), "--data", reg.Dir)
	wantRestored(t, filepath.Join(dir, "backup"), f.l.clone())
}
