package htpasswd

import (
	"errors"
	"fmt"
	"strings"
)

// maxUser is the longest user name, in bytes, that Apache's htpasswd takes.
const maxUser = 255

// CheckUser says what is wrong with a name for a new user: whether a line with
// it would be read as something else.
func CheckUser(name string) error {
	switch {
	case name == "":
		return errors.New("the user name is empty")
	case len(name) > maxUser:
		return fmt.Errorf("the user name is longer than %d bytes", maxUser)
	case strings.Contains(name, ":"):
		return errors.New("a user name cannot contain a colon")
	case name[0] == '#':
		return errors.New("a user name cannot begin with #, which begins a comment")
	case strings.TrimSpace(name) != name:
		return errors.New("a user name cannot begin or end with a blank")
	case !userText(name):
		return errors.New("a user name must be UTF-8 text without control characters")
	}
	return nil
}
