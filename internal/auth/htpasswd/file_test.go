package htpasswd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/internal/auth"
)

// A bench is a File over a file in a directory of its own, with a clock that
// only the test moves and a log that the test reads.
type bench struct {
	*File
	t    *testing.T
	path string
	log  *bytes.Buffer

	mu   sync.Mutex
	time time.Time
}

func newBench(t *testing.T, text string) *bench {
	t.Helper()
	return newBenchAt(t, writeFile(t, text))
}

func newBenchAt(t *testing.T, path string) *bench {
	t.Helper()
	b := &bench{t: t, path: path, log: new(bytes.Buffer), time: time.Now()}
	f, err := New(t.Context(), Options{Path: b.path, Log: slog.New(slog.NewTextHandler(b.log, nil)), Now: b.now})
	if err != nil {
		t.Fatal(err)
	}
	b.File = f
	t.Cleanup(func() {
		for _, secret := range []string{bcOfP, shaOfP, desText, bcOfP[7:], "hunter2"} {
			if strings.Contains(b.log.String(), secret) {
				t.Errorf("the log tells %q:\n%s", secret, b.log)
			}
		}
	})
	return b
}

func (b *bench) now() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.time
}

func (b *bench) wait(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.time = b.time.Add(d)
}

// rewrite puts another text into the file.
func (b *bench) rewrite(text string) {
	b.t.Helper()
	if err := os.WriteFile(b.path, []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) from(address, user, password string) error {
	b.t.Helper()
	who, err := b.Authenticate(b.t.Context(), auth.Credentials{User: user, Password: password, Address: netip.MustParseAddr(address)})
	if err == nil && who.Name != user {
		b.t.Errorf("got principal %+v, want %q", who, user)
	}
	if err != nil && !who.Anonymous() {
		b.t.Errorf("got principal %+v with an error", who)
	}
	return err
}

func (b *bench) login(user, password string) error {
	b.t.Helper()
	return b.from("10.0.0.1", user, password)
}

// outcomeOf names what an Authenticator returned.
func outcomeOf(err error) string {
	_, throttled := errors.AsType[*auth.ThrottledError](err)
	switch {
	case err == nil:
		return "in"
	case throttled:
		return "throttled"
	case errors.Is(err, auth.ErrNotMine):
		return "unknown"
	case errors.Is(err, auth.ErrRejected):
		return "rejected"
	}
	return err.Error()
}

func (b *bench) want(want string, err error) {
	b.t.Helper()
	if got := outcomeOf(err); got != want {
		b.t.Errorf("got %s, want %s", got, want)
	}
}

func TestAuthenticate(t *testing.T) {
	b := newBench(t, strings.Join([]string{
		"bob:" + bcOfP, "sha:" + shaOfP, "des:" + desText, "plain:hunter2", "上海:" + bcOfP, "noise",
	}, "\n"))
	tests := []struct{ name, user, password, want string }{
		{"right", "bob", "p", "in"},
		{"right again", "bob", "p", "in"},
		{"weak hash", "sha", "p", "in"},
		{"not ASCII", "上海", "p", "in"},
		{"wrong", "bob", "q", "rejected"},
		{"empty password", "bob", "", "rejected"},
		{"with NUL", "bob", "p\x00p", "rejected"},
		{"the hash", "bob", bcOfP, "rejected"},
		{"long", "bob", strings.Repeat("p", 100_000), "rejected"},
		{"nobody", "eve", "p", "unknown"},
		{"no name", "", "p", "unknown"},
		{"other case", "Bob", "p", "unknown"},
		{"DES crypt", "des", "p", "unknown"},
		{"the DES hash", "des", desText, "unknown"},
		{"clear text", "plain", "hunter2", "unknown"},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := b.from(fmt.Sprintf("10.0.1.%d", i), tt.user, tt.password)
			if got := outcomeOf(err); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if err != nil && err.Error() != auth.ErrRejected.Error() {
				t.Errorf("the error tells more than it must: %v", err)
			}
			if err != nil && !errors.Is(err, auth.ErrRejected) {
				t.Errorf("not a rejection: %v", err)
			}
		})
	}
	for _, want := range []string{"line 3: DES crypt", "line 4: clear text", "line 6: there is no colon", `weak="line 2"`} {
		if !strings.Contains(b.log.String(), want) {
			t.Errorf("the log does not tell %q:\n%s", want, b.log)
		}
	}
	if n := strings.Count(b.log.String(), "level=WARN"); n != 2 {
		t.Errorf("got %d warnings, want 2:\n%s", n, b.log)
	}
	s := b.Status()
	if s.Users != 3 || s.Weak != 1 || len(s.Problems) != 3 || s.Err != nil {
		t.Errorf("got status %+v", s)
	}
}

func TestNewRefuses(t *testing.T) {
	dir := t.TempDir()
	tests := []struct {
		name, path string
		want       []string
	}{
		{"missing", filepath.Join(dir, "none"), []string{"does not exist", "berth htpasswd add"}},
		{"directory", dir, []string{"is a directory", "-v", "remove the directory"}},
		{"empty", writeFile(t, ""), []string{"is empty", "berth htpasswd add"}},
		{"comments only", writeFile(t, "# a\n\n"), []string{"only blank lines and comments"}},
		{"no usable line", writeFile(t, "a:"+desText+"\nb:hunter2\nc\n"), []string{"line 1: DES", "line 2: clear text", "line 3: there is no colon"}},
		{"costs too much", writeFile(t, "a:$2y$15$"+bcOfP[7:]+"\n"), []string{"line 1", "cost above 14"}},
		{"too many rounds", writeFile(t, "a:$5$rounds=2000000$x$"+strings.Repeat("a", 43)), []string{"line 1", "rounds"}},
		{"too large", writeFile(t, strings.Repeat("#\n", maxFile/2+1)), []string{"larger than 16 MiB"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := New(t.Context(), Options{Path: tt.path})
			if err == nil {
				t.Fatal("got no error")
			}
			for _, want := range append(tt.want, tt.path) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %q, want it to tell %q", err, want)
				}
			}
			if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), desText) {
				t.Errorf("the error tells what the file has: %v", err)
			}
		})
	}
	if err := explain("users", fs.ErrPermission); !strings.Contains(err.Error(), "chown") {
		t.Errorf("no permission: got %q", err)
	}
}

func TestReload(t *testing.T) {
	bob, eve := "bob:"+bcOfP+"\n", "eve:"+shaOfP+"\n"
	tests := []struct {
		name  string
		after string
		want  map[string]string // user -> outcome with the password p
	}{
		{"added", bob + eve, map[string]string{"bob": "in", "eve": "in"}},
		{"removed", eve, map[string]string{"bob": "unknown", "eve": "in"}},
		{"other password", "bob:" + madeText(t, "q") + "\n", map[string]string{"bob": "rejected"}},
		{"locked out", "bob:!\n" + eve, map[string]string{"bob": "unknown"}},
		{"bad lines", "x\n" + bob, map[string]string{"bob": "in"}},
		{"empty", "", map[string]string{"bob": "in", "eve": "unknown"}},
		{"no user", "# nobody\nx\n", map[string]string{"bob": "in"}},
		{"same text", bob, map[string]string{"bob": "in"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, bob)
			b.want("in", b.login("bob", "p")) // remembered from here on
			b.rewrite(tt.after)
			b.wait(time.Second)
			for user, want := range tt.want {
				b.want(want, b.login(user, "p"))
				if got := b.Known(auth.Principal{Name: user}); got != (want == "in" || want == "rejected") {
					t.Errorf("known %s: got %v", user, got)
				}
			}
		})
	}
}

func madeText(t *testing.T, password string) string {
	t.Helper()
	text, err := Make(Bcrypt, password, minBcryptCost)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestReloadAtOnce holds that nobody who was added or got a new password waits
// for the next second, even if the file system's clock stands still.
func TestReloadAtOnce(t *testing.T) {
	b := newBench(t, "bob:"+madeText(t, "p")+"\n")
	b.want("in", b.login("bob", "p"))
	b.want("unknown", b.login("eve", "p"))
	b.rewrite("bob:" + madeText(t, "q") + "\neve:" + shaOfP + "\n")
	b.want("in", b.login("eve", "p"))
	b.want("in", b.login("bob", "q"))
	b.want("rejected", b.login("bob", "p"))

	info, err := os.Stat(b.path)
	if err != nil {
		t.Fatal(err)
	}
	b.rewrite("bob:" + madeText(t, "r") + "\neve:" + shaOfP + "\n") // same size
	if err := os.Chtimes(b.path, time.Time{}, info.ModTime()); err != nil {
		t.Fatal(err)
	}
	b.want("in", b.login("bob", "r"))
}

// TestReloadOld changes a file whose times lie in the past, as copied files
// have, so that only what stat says can tell.
func TestReloadOld(t *testing.T) {
	path := writeFile(t, "bob:"+madeText(t, "a")+"\n")
	old := time.Now().Add(-time.Hour)
	set := func(path string, at time.Time) {
		t.Helper()
		if err := os.Chtimes(path, time.Time{}, at); err != nil {
			t.Fatal(err)
		}
	}
	set(path, old)
	b := newBenchAt(t, path)
	b.want("in", b.login("bob", "a"))

	b.rewrite("bob:" + madeText(t, "b") + "\n")
	set(path, old.Add(time.Minute))
	b.wait(time.Second)
	b.want("rejected", b.login("bob", "a")) // by its time
	b.want("in", b.login("bob", "b"))

	b.rewrite("bob:" + madeText(t, "c") + "\n\n")
	set(path, old.Add(time.Minute))
	b.wait(time.Second)
	b.want("in", b.login("bob", "c")) // by its size

	other := writeFile(t, "bob:"+madeText(t, "d")+"\n\n")
	set(other, old.Add(time.Minute))
	if err := os.Rename(other, path); err != nil {
		t.Fatal(err)
	}
	b.wait(time.Second)
	b.want("in", b.login("bob", "d")) // by being another file
}

// TestLastGood keeps the last good file, says so once, and takes the next good one.
func TestLastGood(t *testing.T) {
	b := newBench(t, "bob:"+bcOfP+"\n")
	breaks := []struct {
		name string
		do   func() error
		want string
	}{
		{"removed", func() error { return os.Remove(b.path) }, "does not exist"},
		{"a directory", func() error { return os.Mkdir(b.path, 0o700) }, "is a directory"},
		{"empty", func() error { return errors.Join(os.Remove(b.path), os.WriteFile(b.path, nil, 0o600)) }, "is empty"},
		{"rubbish", func() error { return os.WriteFile(b.path, []byte("\x00\xff\n\x01"), 0o600) }, "no line that can log anybody in"},
	}
	for _, br := range breaks {
		if err := br.do(); err != nil {
			t.Fatal(err)
		}
		b.log.Reset()
		for range 3 {
			b.wait(time.Second)
			b.want("in", b.login("bob", "p"))
			b.want("unknown", b.login("eve", "x"))
		}
		if err := b.Status().Err; err == nil || !strings.Contains(err.Error(), br.want) {
			t.Errorf("%s: got status %v", br.name, err)
		}
		if n := strings.Count(b.log.String(), "level=ERROR"); n != 1 || !strings.Contains(b.log.String(), br.want) {
			t.Errorf("%s: got %d errors in the log, want one:\n%s", br.name, n, b.log)
		}
		b.wait(time.Minute) // forgive eve
	}
	b.rewrite("bob:" + bcOfP + "\n")
	b.wait(time.Second)
	b.want("in", b.login("bob", "p"))
	if err := b.Status().Err; err != nil {
		t.Errorf("got status %v after the file was mended", err)
	}
	if !strings.Contains(b.log.String(), "in use again") {
		t.Errorf("the log does not tell that the file is good again:\n%s", b.log)
	}
}

// TestRemembered counts hashes: one credential costs one, until five minutes
// have passed or the file changed.
func TestRemembered(t *testing.T) {
	b := newBench(t, "bob:"+bcOfP+"\n")
	hashed := func(want int64, doing string) {
		t.Helper()
		b.want("in", b.login("bob", "p"))
		if got := b.Status().Hashed; got != want {
			t.Errorf("%s: got %d hashes, want %d", doing, got, want)
		}
	}
	hashed(1, "first")
	hashed(1, "again")
	b.wait(freshFor - time.Second)
	hashed(1, "just within the time")
	b.wait(time.Second)
	hashed(2, "after the time")
	hashed(2, "again")
	b.rewrite("bob:" + bcOfP + "\neve:" + bcOfP + "\n")
	b.wait(time.Second)
	hashed(3, "after a change of the file")
	b.want("in", b.from("10.0.0.99", "bob", "p"))
	hashed(3, "from another address")
	b.want("rejected", b.login("bob", "P"))
	hashed(4, "another password")
	b.want("rejected", b.login("bob", "P"))
	hashed(5, "a wrong password is never remembered")
}

// TestRememberedMeanwhile checks a credential that another connection had
// checked since this one looked: nothing is left to do.
func TestRememberedMeanwhile(t *testing.T) {
	b := newBench(t, "bob:"+bcOfP+"\n")
	b.want("in", b.login("bob", "p"))
	c := auth.Credentials{User: "bob", Password: "p"}
	key, u := b.lookup(c)
	if err := b.check(t.Context(), attempt{c, u, key, stranger, b.now()}, netip.Addr{}); err != nil || b.Status().Hashed != 1 {
		t.Errorf("got %v and %d hashes, want 1", err, b.Status().Hashed)
	}
}

// TestTogether sends the same new credential on many connections at once: one
// hash, and nobody is throttled for it.
func TestTogether(t *testing.T) {
	b := newBench(t, "bob:"+bcOfP+"\n")
	var wg sync.WaitGroup
	errs := make([]error, 5*failuresAtOnce)
	for i := range errs {
		wg.Go(func() { errs[i] = b.login("bob", "p") })
	}
	wg.Wait()
	for _, err := range errs {
		b.want("in", err)
	}
	if got := b.Status().Hashed; got != 1 {
		t.Errorf("got %d hashes, want 1", got)
	}
}

func TestThrottle(t *testing.T) {
	b := newBench(t, "bob:"+bcOfP+"\neve:"+bcOfP+"\n")
	b.want("in", b.login("bob", "p"))
	for _, user := range []string{"bob", "eve", "nobody"} {
		want := "rejected"
		if user == "nobody" {
			want = "unknown"
		}
		for i := range failuresAtOnce {
			b.want(want, b.login(user, fmt.Sprint("wrong", i)))
		}
		before := b.Status().Hashed
		b.want("throttled", b.login(user, "wrong"))
		if b.Status().Hashed != before {
			t.Error("a throttled log-in was hashed")
		}
	}
	b.want("in", b.login("bob", "p"))                             // remembered
	b.want("throttled", b.login("eve", "p"))                      // right, but never seen
	b.want("in", b.from("10.0.0.2", "eve", "p"))                  // from elsewhere
	b.want("in", b.login("eve", "p"))                             // and so remembered
	b.want("throttled", b.from("::ffff:10.0.0.1", "nobody", "p")) // the same address

	b.wait(failureEvery)
	b.want("unknown", b.login("nobody", "wrong"))
	err := b.login("nobody", "wrong")
	throttled, ok := errors.AsType[*auth.ThrottledError](err)
	if !ok || throttled.RetryAfterSeconds != 10 {
		t.Errorf("got %v, want to be told to wait 10 s", err)
	}
	b.wait(failuresAtOnce * failureEvery)
	for range failuresAtOnce {
		b.want("unknown", b.login("nobody", "wrong"))
	}
	b.want("throttled", b.login("nobody", "wrong"))
}

// TestKnownIsNotThrottled holds that a credential that was good before, and has
// to be checked again, is not throttled for the guesses of others.
func TestKnownIsNotThrottled(t *testing.T) {
	b := newBench(t, "bob:"+bcOfP+"\n")
	b.want("in", b.login("bob", "p"))
	guess := func() {
		for i := range failuresAtOnce {
			b.want("rejected", b.login("bob", fmt.Sprint(i)))
		}
		b.want("throttled", b.login("bob", "wrong"))
	}
	guess()
	b.rewrite("bob:" + bcOfP + "\neve:" + bcOfP + "\n")
	b.wait(time.Second)
	b.want("throttled", b.login("bob", "wrong"))
	b.want("in", b.login("bob", "p"))

	b.wait(24 * time.Hour)
	guess()
	b.want("in", b.login("bob", "p"))

	b.rewrite("bob:" + madeText(t, "p") + "\n") // the same password, but nobody knows that
	b.wait(time.Second)
	b.want("throttled", b.login("bob", "p"))
}

// TestRightLoginsAreFree makes many right log-ins that are not remembered.
func TestRightLoginsAreFree(t *testing.T) {
	b := newBench(t, "bob:"+bcOfP+"\n")
	for range 3 * failuresAtOnce {
		b.want("in", b.login("bob", "p"))
		b.wait(freshFor)
	}
	for i := range failuresAtOnce {
		b.want("rejected", b.login("bob", fmt.Sprint(i)))
	}
}

// TestSpent holds that whoever is rejected has cost the work of the dearest
// hash of the file, known or not; TestWork holds that this adds up.
func TestSpent(t *testing.T) {
	b := newBench(t, "bob:"+bcOfP+"\nsha:"+shaOfP+"\n")
	var spent []string
	b.spend = func(w work, password string, done Hash) {
		spent = append(spent, fmt.Sprint(w.bcrypt, " ", password, " ", done.scheme))
	}
	b.want("rejected", b.login("bob", "x"))
	b.want("rejected", b.login("sha", "x"))
	b.want("unknown", b.login("eve", "x"))
	b.want("in", b.login("bob", "p"))
	if got, want := strings.Join(spent, ", "), "4 x bcrypt, 4 x SHA-1, 4 x scheme 0"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestMAC holds that no two credentials have one key.
func TestMAC(t *testing.T) {
	b := newBench(t, "bob:"+bcOfP+"\n")
	seen := make(map[credentialKey]string)
	for _, parts := range [][]string{{"ab", "c"}, {"a", "bc"}, {"abc"}, {"abc", ""}, {"", "abc"}, {"a\x00b", "c"}, {"a", "b\x00c"}} {
		key, name := b.mac(parts...), fmt.Sprintf("%q", parts)
		if seen[key] != "" {
			t.Errorf("%s and %s have the same key", name, seen[key])
		}
		seen[key] = name
	}
	if other := newBench(t, "bob:"+bcOfP+"\n"); other.mac("a") == b.mac("a") {
		t.Error("two processes have the same key")
	}
}

// TestGivingUp holds that a caller that goes away while waiting gets its own
// error, costs no failure, and leaves the others in the queue.
func TestGivingUp(t *testing.T) {
	b := newBench(t, "bob:"+bcOfP+"\n")
	b.hashing = newPool(0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 2 * failuresAtOnce {
		_, err := b.Authenticate(ctx, auth.Credentials{User: "bob", Password: "p", Address: netip.MustParseAddr("10.0.0.1")})
		if !errors.Is(err, context.Canceled) || errors.Is(err, auth.ErrRejected) {
			t.Fatalf("got %v, want that the context was canceled", err)
		}
	}
	b.hashing.release()
	b.want("in", b.login("bob", "p"))
}

// TestConcurrently is for the race detector: log-ins of all kinds while the
// file changes.
func TestConcurrently(t *testing.T) {
	b := newBench(t, "bob:"+bcOfP+"\n")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 20 {
				address := fmt.Sprintf("10.0.%d.%d", i, n)
				if err := b.from(address, "bob", "p"); err != nil {
					t.Errorf("bob: %v", err)
				}
				if err := b.from(address, "bob", fmt.Sprint(n%3)); !errors.Is(err, auth.ErrRejected) {
					t.Errorf("wrong password: %v", err)
				}
				b.wait(time.Second)
				b.Status()
			}
		})
	}
	wg.Go(func() {
		for n := range 20 {
			b.rewrite("bob:" + bcOfP + "\n" + strings.Repeat("eve:"+shaOfP+"\n", n%3))
		}
	})
	wg.Wait()
}
