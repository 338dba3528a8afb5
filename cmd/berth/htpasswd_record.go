package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"berth/internal/auth/htpasswd"
)

// makeHash hashes the password, which it asks for if need be.
func (a *apache) makeHash() (string, error) {
	costly := a.scheme == htpasswd.Bcrypt || a.scheme == htpasswd.SHA256Crypt || a.scheme == htpasswd.SHA512Crypt
	if a.cost != 0 && !costly {
		fmt.Fprint(a.stderr, "Warning: Ignoring -C/-r argument for this algorithm.\n")
		a.cost = 0
	}
	if a.refused != "" {
		return "", apacheFailed(apacheUnsupported, "%s, and Berth never accepts it: use -B", a.refused)
	}
	if err := a.getPassword(); err != nil {
		return "", err
	}
	if a.scheme == htpasswd.Bcrypt {
		if a.cost == 0 {
			a.cost = apacheDefaultCost
		}
		if a.cost < 4 || a.cost > 17 {
			return "", apacheFailed(apacheMismatch, "Unable to encode with bcrypt: Invalid argument")
		}
		if a.cost > htpasswd.MaxBcryptCost {
			fmt.Fprintf(a.stderr, "Warning: Berth refuses hashes with a cost above %d.\n", htpasswd.MaxBcryptCost)
		}
	}
	stored, err := htpasswd.Make(a.scheme, *a.password, a.cost)
	if _, ok := errors.AsType[*htpasswd.TooLongError](err); ok {
		return "", apacheFailed(apacheOverflow, "%v", err)
	}
	if err != nil {
		return "", apacheFailed(apacheMismatch, "%v", err)
	}
	return stored, nil
}

// getPassword makes sure that a.password is known.
func (a *apache) getPassword() error {
	if a.password != nil {
		return nil
	}
	password, err := a.readPassword()
	if err != nil {
		return err
	}
	a.password = &password
	return nil
}

func (a *apache) readPassword() (string, error) {
	tooLong := apacheFailed(apacheOverflow, "password too long (>%d)", apacheMaxText)
	if a.mode == apacheVerify {
		tooLong = &apacheError{apacheOverflow, fmt.Sprintf("password too long (>%d)\n", apacheMaxText)}
	}
	if a.from == fromStdin {
		data, err := io.ReadAll(io.LimitReader(a.stdin, apacheMaxText))
		if err != nil {
			return "", fmt.Errorf("read standard input: %w", err)
		}
		if len(data) >= apacheMaxText {
			return "", tooLong
		}
		text, _, _ := strings.Cut(string(data), "\x00")
		if line, ok := strings.CutSuffix(text, "\n"); ok {
			text = strings.TrimSuffix(line, "\r")
		}
		return text, nil
	}
	prompt := "New password: "
	if a.mode == apacheVerify {
		prompt = "Enter password: "
	}
	password, err := a.ask(prompt)
	if err != nil {
		return "", err
	}
	if len(password) > apacheMaxText {
		return "", tooLong
	}
	if a.mode == apacheVerify {
		return password, nil
	}
	again, err := a.ask("Re-type new password: ")
	if err != nil {
		return "", err
	}
	if again != password {
		return "", apacheFailed(apacheMismatch, "password verification error")
	}
	return password, nil
}

// ask asks at the terminal, or on standard error and input if there is none,
// as getpass does.
func (a *apache) ask(prompt string) (string, error) {
	if tty, done := terminal(a.stdin); tty != nil {
		defer done()
		return askTerminal(tty, promptTo(tty, a.stderr), prompt)
	}
	fmt.Fprint(a.stderr, prompt)
	line, err := a.lines.ReadString('\n')
	if err != nil && err != io.EOF {
		return "", fmt.Errorf("read standard input: %w", err)
	}
	return strings.TrimSuffix(line, "\n"), nil
}

// edit does to the file what was asked for.
func (a *apache) edit(stored string) error {
	doc := htpasswd.NewDocument()
	if a.mode != apacheCreate {
		var err error
		if doc, err = htpasswd.ReadDocument(a.path); err != nil {
			return apacheFailed(apacheFile, "unable to read file %s", a.path)
		}
	}
	found := false
	for _, e := range doc.Entries() {
		if e.Bad {
			return apacheFailed(apacheBadFile, "The file %s does not appear to be a valid htpasswd file.", a.path)
		}
		if e.User != a.user {
			continue
		}
		found = true
		switch a.mode {
		case apacheDelete:
			fmt.Fprint(a.stderr, "Deleting ")
		case apacheVerify:
			if err := a.verify(e); err != nil {
				return err
			}
		default:
			fmt.Fprint(a.stderr, "Updating ")
		}
	}
	switch {
	case !found && a.mode == apacheDelete:
		fmt.Fprintf(a.stderr, "User %s not found\n", a.user)
		return nil
	case !found && a.mode == apacheVerify:
		return &apacheError{apacheBadUser, fmt.Sprintf("User %s not found\n", a.user)}
	case a.mode == apacheVerify:
		fmt.Fprintf(a.stderr, "Password for user %s correct.\n", a.user)
		return nil
	case !found:
		fmt.Fprint(a.stderr, "Adding ")
	}
	fmt.Fprintf(a.stderr, "password for user %s\n", a.user)
	return a.save(doc, stored)
}

// verify checks the password against one line. Hashes that cannot be checked
// here are an error of their own, so that nobody takes them for a wrong password.
func (a *apache) verify(e htpasswd.Entry) error {
	if e.Stored == "" {
		return &apacheError{apacheBadFile, fmt.Sprintf("Empty hash for user %s\n", a.user)}
	}
	if err := a.getPassword(); err != nil {
		return err
	}
	h, err := e.Hash()
	if err != nil {
		return &apacheError{apacheGeneral, fmt.Sprintf("Could not verify password: %v\n", err)}
	}
	if !h.Matches(*a.password) {
		return &apacheError{apacheMismatch, "password verification failed\n"}
	}
	return nil
}

// save writes the file; one that is no regular file, such as /dev/stdout, is
// written to and not replaced.
func (a *apache) save(doc *htpasswd.Document, stored string) error {
	if a.mode == apacheDelete {
		doc.Remove(a.user)
	} else {
		doc.Set(a.user, stored)
	}
	err := func() error {
		if info, err := os.Stat(a.path); err == nil && !info.Mode().IsRegular() {
			return os.WriteFile(a.path, []byte(a.user+":"+stored+"\n"), 0o666)
		}
		return doc.Save(a.path, 0o666)
	}()
	if err != nil {
		return apacheFailed(apacheFile, "unable to update file %s\nhtpasswd: %v", a.path, err)
	}
	sayConverted(a.stderr, a.path, doc)
	return nil
}

// apacheMisused is the usage, behind a line that says what was wrong if
// Apache's has one.
func apacheMisused(line string) error { return &apacheError{apacheUsage, line + apacheUsageText} }

const apacheUsageText = `Usage:
	htpasswd [-cimB25dpsDv] [-C cost] [-r rounds] passwordfile username
	htpasswd -b[cmB25dpsDv] [-C cost] [-r rounds] passwordfile username password

	htpasswd -n[imB25dps] [-C cost] [-r rounds] username
	htpasswd -nb[mB25dps] [-C cost] [-r rounds] username password
 -c  Create a new file.
 -n  Don't update file; display results on stdout.
 -b  Use the password from the command line rather than prompting for it.
 -i  Read password from stdin without verification (for script usage).
 -m  Force MD5 hashing of the password (default).
 -2  Force SHA-256 hashing of the password (secure).
 -5  Force SHA-512 hashing of the password (secure).
 -B  Force bcrypt hashing of the password (very secure).
 -C  Set the computing time used for the bcrypt algorithm
     (higher is more secure but slower, default: 5, valid: 4 to 17).
 -r  Set the number of rounds used for the SHA-256, SHA-512 algorithms
     (higher is more secure but slower, default: 5000).
 -d  Force CRYPT hashing of the password (8 chars max, insecure).
 -s  Force SHA-1 hashing of the password (insecure).
 -p  Do not hash the password (plaintext, insecure).
 -D  Delete the specified user.
 -v  Verify password for the specified user.
On other systems than Windows and NetWare the '-p' flag will probably not work.
The SHA-1 algorithm does not use a salt and is less secure than the MD5 algorithm.
`
