package clients

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"berth/test/realtest"
)

const user, password = "ada", "correct horse, battery: staple"

// passwordFile makes a password file with Apache's htpasswd, as tutorials do.
func passwordFile(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "users")
	realtest.NewCLI(t, "htpasswd").Run("-Bbc", file, user, password)
	return file
}

// TestLogIn has each client come without log-in, with a wrong password, and
// with the right one.
func TestLogIn(t *testing.T) {
	reg := start(t, realtest.Options{Args: []string{"--htpasswd", passwordFile(t)}})
	r := reader{client: reg.Client, url: reg.URL, user: user, password: password}
	for name, maker := range makers() {
		t.Run(name, func(t *testing.T) {
			p := maker(t, plainHTTP, nil, realtest.NewLayout(t, realtest.Image{Seed: seed("log-in " + name)}))
			repo := "private/" + name
			ref := reg.Addr + "/" + repo + ":1.0.0"
			said := refused(t)(p.push(ref))
			if name == "docker" { // people search for these words
				wantText(t, said, "no basic auth credentials")
			}
			said, err := p.login(reg.Addr, user, "a wrong password")
			if p.checksNoPassword && err == nil {
				said, err = p.push(ref)
			}
			if err == nil {
				t.Errorf("a wrong password was good: %s", said)
			}
			said = must(t)(p.login(reg.Addr, user, password))
			if name != "crane" && name != "regctl" {
				wantText(t, said, "Login Succeeded")
			}
			must(t)(p.push(ref))
			r.mustBeWhole(t, repo, "1.0.0")
			must(t)(p.pull(ref))
			if !reg.Log.Await(func(l *realtest.Log) bool { return pushedBy(l, repo) == user }) {
				t.Errorf("the log says that %q pushed %s", pushedBy(reg.Log, repo), repo)
			}
		})
	}
	if reg.Log.Contains(password) || reg.Log.Contains("a wrong password") {
		t.Error("there is a password in the log")
	}
}

// pushedBy returns the user of the last push to repo.
func pushedBy(l *realtest.Log, repo string) string {
	who := "nobody"
	for _, r := range l.Requests("PUT", "/v2/"+repo+"/manifests/") {
		if r.Status == 201 {
			who = r.User
		}
	}
	return who
}

// TestAnonymousPull has each client fail to push without log-in where only
// pulling is open to all, push once it is logged in, and pull in any case.
func TestAnonymousPull(t *testing.T) {
	reg := start(t, realtest.Options{Args: []string{"--htpasswd", passwordFile(t), "--anonymous", "pull"}})
	for name, maker := range makers() {
		t.Run(name, func(t *testing.T) {
			layout := realtest.NewLayout(t, realtest.Image{Seed: seed("anonymous " + name)})
			ref := reg.Addr + "/open/" + name + ":1.0.0"
			p := maker(t, plainHTTP, nil, layout)
			refused(t)(p.push(ref))
			must(t)(p.login(reg.Addr, user, password))
			must(t)(p.push(ref))
			readerOf(reg).mustBeWhole(t, "open/"+name, "1.0.0")
			must(t)(p.pull(ref))
			p.logout(reg.Addr)
			must(t)(p.pull(ref))
			refused(t)(p.push(reg.Addr + "/open/" + name + ":2.0.0"))
		})
	}
	if got := readerOf(reg).status(t, "POST", "/v2/open/x/blobs/uploads/"); got != 401 {
		t.Errorf("a push without log-in is answered with %d, want 401", got)
	}
}

// TestUsersChange edits the password file while docker uses the registry.
func TestUsersChange(t *testing.T) {
	file := passwordFile(t)
	reg := start(t, realtest.Options{Args: []string{"--htpasswd", file}})
	docker, htpasswd := realtest.Docker(t), realtest.NewCLI(t, "htpasswd")
	wantText(t, docker.Fails("login", "-u", "grace", "-p", "hopper", reg.Addr), "nauthorized")

	htpasswd.Run("-Bb", file, "grace", "hopper")
	soon(t, "the new user may log in", func() bool {
		_, err := docker.Try("login", "-u", "grace", "-p", "hopper", reg.Addr)
		return err == nil
	})
	ref := docker.Build(reg.Addr+"/users/app:v1", realtest.Image{Seed: 77})
	docker.Run("push", ref)

	berth(t).Run("htpasswd", "-D", file, "grace")
	soon(t, "the removed user is out", func() bool {
		_, err := docker.Try("push", ref)
		return err != nil
	})
	docker.Fails("login", "-u", "grace", "-p", "hopper", reg.Addr)
	docker.Run("login", "-u", user, "-p", password, reg.Addr)
	docker.Run("push", ref)
}

// soon waits for something to become true within the seconds that people have
// patience for.
func soon(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 100 {
		if ok() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Errorf("after seconds it is still not so that %s", what)
}

// TestWindowsPasswordFile logs in with a file that PowerShell's > has written.
func TestWindowsPasswordFile(t *testing.T) {
	line := berth(t).Out("htpasswd", "-Bbn", user, password)
	text := utf16.Encode([]rune("\ufeff" + strings.TrimSpace(line) + "\r\n\r\n"))
	bytes := make([]byte, 0, 2*len(text))
	for _, u := range text {
		bytes = binary.LittleEndian.AppendUint16(bytes, u)
	}
	file := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(file, bytes, 0o600); err != nil {
		t.Fatal(err)
	}
	reg := start(t, realtest.Options{Args: []string{"--htpasswd", file}})
	docker := realtest.Docker(t)
	docker.Fails("login", "-u", user, "-p", "wrong", reg.Addr)
	wantText(t, docker.Input(password).Run("login", "-u", user, "--password-stdin", reg.Addr), "Login Succeeded")
	docker.Run("push", docker.Build(reg.Addr+"/windows/app:v1", realtest.Image{Seed: 78}))
}
