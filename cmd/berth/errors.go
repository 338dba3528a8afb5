package main

import (
	"errors"
	"strconv"
)

// A usageError says that the program was called wrongly: exit code 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func isUsage(err error) bool {
	_, ok := errors.AsType[usageError](err)
	return ok
}

// An exitError ends the program with a code of its own. Whoever returns it has
// said all there is to say.
type exitError int

func (e exitError) Error() string { return "exit code " + strconv.Itoa(int(e)) }

func exitCode(err error) (int, bool) {
	e, ok := errors.AsType[exitError](err)
	return int(e), ok
}
