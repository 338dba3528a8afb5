package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"berth/internal/auth/htpasswd"
)

// TestFirstPasswords holds that the password which is made lets the user docker
// in, that nobody else can read it and no log has it, and that a file which is
// there in any form is left alone.
func TestFirstPasswords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "auth", "htpasswd")
	var logged bytes.Buffer
	log := slog.New(slog.NewTextHandler(&logged, nil))
	if err := firstPasswords(path, log); err != nil {
		t.Fatal(err)
	}
	told, err := os.ReadFile(path + ".docker")
	if err != nil {
		t.Fatal(err)
	}
	user, password, _ := strings.Cut(strings.TrimSpace(string(told)), ":")
	doc, err := htpasswd.ReadDocument(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := verifyUser(doc, user, password); err != nil || user != "docker" || len(password) < 20 {
		t.Errorf("the user %q with %d bytes of password: %v", user, len(password), err)
	}
	if strings.Contains(logged.String(), password) || !strings.Contains(logged.String(), path+".docker") {
		t.Errorf("logged %s", logged.String())
	}
	for _, name := range []string{path, path + ".docker"} {
		if info, err := os.Stat(name); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}

	before, logged := told, bytes.Buffer{}
	if err := firstPasswords(path, slog.New(slog.NewTextHandler(&logged, nil))); err != nil || logged.Len() != 0 {
		t.Errorf("the second time: %v, logged %s", err, logged.String())
	}
	if after, err := os.ReadFile(path + ".docker"); err != nil || !bytes.Equal(after, before) {
		t.Errorf("another password the second time: %v", err)
	}
	if err := firstPasswords(filepath.Dir(path), log); err != nil {
		t.Errorf("a directory, which has a message of its own later: %v", err)
	}
	if err := firstPasswords("", log); err != nil {
		t.Errorf("without log-in: %v", err)
	}
}
