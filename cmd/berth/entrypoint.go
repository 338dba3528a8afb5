package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
)

// entrypointName is the name that the program has in the image, where other
// registries have a shell script.
const entrypointName = "entrypoint.sh"

// entrypoint returns the command line that arguments of the image stand for,
// beginning with the name of a program, by the rules of the script in registry:2's
// image: a configuration file is served, a command of registry's is one, and
// anything else is a program with its arguments. A file may have any name here,
// and without arguments the registry is served.
func entrypoint(args []string) []string {
	switch {
	case len(args) == 0:
		return []string{"registry", "serve"}
	case slices.Contains([]string{"serve", "garbage-collect", "help"}, args[0]), strings.HasPrefix(args[0], "-"):
		return append([]string{"registry"}, args...)
	case strings.HasSuffix(args[0], ".yml"), strings.HasSuffix(args[0], ".yaml"), isConfiguration(args[0]):
		return append([]string{"registry", "serve"}, args...)
	}
	return args
}

// isConfiguration reports whether a path is a file that nobody could run.
func isConfiguration(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 == 0 && strings.Contains(path, "/")
}

// runEntrypoint is the program as the entrypoint of the image.
func runEntrypoint(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	args = entrypoint(args)
	if slices.Contains([]string{"berth", "registry", "htpasswd"}, calledAs(args[0])) {
		return run(ctx, args, stdin, stdout, stderr)
	}
	err := replace(args)
	fmt.Fprintf(stderr, "berth: can't run %q: %v\nThe image holds berth, registry and htpasswd, and no shell. It runs `registry serve FILE` if you name a configuration file.\n",
		args[0], err)
	return exitNotFound
}

// exitNotFound is the exit code of a shell that doesn't find a program.
const exitNotFound = 127

// replace runs another program in the place of this one: one that somebody has
// mounted, or added in an image of their own. It returns only if it can't.
func replace(args []string) error {
	path, err := exec.LookPath(args[0])
	if err != nil {
		return err
	}
	return syscall.Exec(path, args, os.Environ())
}
