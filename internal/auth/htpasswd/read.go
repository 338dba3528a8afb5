package htpasswd

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// maxFile is the largest file that is read, in bytes: room for 200,000 users.
const maxFile = 16 << 20

// read returns the content of the file and what the file system says of it.
// Its errors say what to do.
func read(path string) ([]byte, fs.FileInfo, error) {
	if err := mustBeRegular(path); err != nil { // before Open, which would wait at a pipe
		return nil, nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, explain(path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, explain(path, err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, nil, explain(path, err)
	}
	if len(data) > maxFile {
		return nil, nil, fmt.Errorf("password file %s is larger than %d MiB: is it the right file?", path, maxFile>>20)
	}
	return data, info, nil
}

func mustBeRegular(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return explain(path, err)
	case info.IsDir():
		return fmt.Errorf("password file %s is a directory. Docker makes one when the file given to -v is not there: stop the container, "+
			"remove the directory on the host, make the file with `berth htpasswd add FILE USER` and start again", path)
	case !info.Mode().IsRegular():
		return fmt.Errorf("password file %s is not a regular file: name a file that can be read again when it changes", path)
	}
	return nil
}

// explain adds to an error of the file system what to do about it.
func explain(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("password file %s does not exist: make it with `berth htpasswd add %s USER` (%w)", path, path, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("password file %s may not be read by the user this runs as%s: give it read permission, "+
			"for example with chown or chmod g+r (%w)", path, userID(), err)
	}
	return fmt.Errorf("read password file %s: %w", path, err)
}

// userID returns " (user ID n)" where users have numbers.
func userID() string {
	if id := os.Getuid(); id >= 0 {
		return fmt.Sprintf(" (user ID %d)", id)
	}
	return ""
}

// noUserError says that a file has nobody who could log in.
func noUserError(path string, data []byte, t *table) error {
	switch {
	case len(data) == 0:
		return fmt.Errorf("password file %s is empty: add a user with `berth htpasswd add %s USER`", path, path)
	case len(t.problems) == 0:
		return fmt.Errorf("password file %s has no user, only blank lines and comments: add one with `berth htpasswd add %s USER`", path, path)
	}
	return fmt.Errorf("password file %s has no line that can log anybody in (%s): add a user with `berth htpasswd add %s USER`",
		path, joinFew(describe(t.problems)), path)
}

// joinFew joins what describe returned, leaving out what would fill a screen.
func joinFew(reasons []string) string {
	const most = 5
	text := ""
	for i, r := range reasons {
		if i == most {
			return text + "; …"
		}
		if i > 0 {
			text += "; "
		}
		text += r
	}
	return text
}
