package htpasswd

import (
	"errors"
	"fmt"
	"strings"
)

// A TooLongError says that the scheme would ignore part of the password, or
// that no log-in accepts one of that length.
type TooLongError struct {
	Scheme Scheme
	Max    int // bytes
}

func (e *TooLongError) Error() string {
	return fmt.Sprintf("the password is longer than %d bytes, the most that %v takes: choose a shorter one", e.Max, e.Scheme)
}

var errNUL = errors.New("the password contains a NUL byte")

// Make hashes password with a new salt. cost is the bcrypt cost or the rounds
// of SHA-crypt, zero for the default; the other schemes have none. It refuses
// passwords that could not log in afterwards.
func Make(s Scheme, password string, cost int) (string, error) {
	if len(password) > maxPassword {
		return "", &TooLongError{Scheme: s, Max: maxPassword}
	}
	if strings.Contains(password, "\x00") {
		return "", errNUL
	}
	switch s {
	case Bcrypt:
		return makeBcrypt(password, cost)
	case SHA256Crypt, SHA512Crypt:
		return makeSHACrypt(s, password, cost)
	case APR1:
		return makeAPR1(password), nil
	case SHA1:
		return makeSHA1(password), nil
	}
	return "", fmt.Errorf("new hashes of the kind %v are not made", s)
}
