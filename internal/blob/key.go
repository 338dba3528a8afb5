package blob

import (
	"fmt"
	"io/fs"
)

// Check returns an error that wraps fs.ErrInvalid unless k has the form that
// NewKey gives: 32 lower-case hexadecimal digits. Stores call it before a key
// becomes part of a path or a URL; the keys that Commit returned are theirs to
// check.
func (k Key) Check() error {
	valid := len(k) == 32
	for i := 0; valid && i < len(k); i++ {
		c := k[i]
		valid = '0' <= c && c <= '9' || 'a' <= c && c <= 'f'
	}
	if !valid {
		return fmt.Errorf("key %q is not one that NewKey makes: %w", string(k), fs.ErrInvalid)
	}
	return nil
}
