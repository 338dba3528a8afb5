package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"berth/internal/auth/htpasswd"
)

// A logger is what a step before the start says something to.
type logger interface{ Warn(msg string, args ...any) }

// firstPasswords makes the password file if it is not there, as registry:2 does:
// with the user docker and a random password. That is written to a file beside
// it which its owner alone can read, and not to the log, which many can.
func firstPasswords(path string, log logger) error {
	if path == "" {
		return nil
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return nil // whatever is wrong with it is said by who reads it
	}
	const user = "docker"
	password := rand.Text()
	hash, err := htpasswd.Make(htpasswd.Bcrypt, password, htpasswd.DefaultBcryptCost)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("there is no password file %s, and its folder can't be made: %w", path, err)
	}
	told := path + ".docker"
	if err := writeSecret(told, user+":"+password+"\n"); err != nil {
		return fmt.Errorf("there is no password file %s, and none can be made beside it: make it with `berth htpasswd add %s USER`: %w", path, path, err)
	}
	doc := htpasswd.NewDocument()
	doc.Set(user, hash)
	if err := doc.Save(path, 0o600); err != nil {
		return fmt.Errorf("there is no password file: %w", err)
	}
	log.Warn("there was no password file: made one with the user docker; the password is in the other file: read it, and remove it",
		"file", path, "password", told)
	return nil
}

// writeSecret writes a file that nobody else can read, in the place of what is
// there.
func writeSecret(path, text string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-") // 0600
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if serr := f.Sync(); err == nil {
		err = serr
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
