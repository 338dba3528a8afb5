package main

import (
	"bytes"
	"os"
	"slices"
	"strings"
)

// firstProcess is the command line of a container's first process.
const firstProcess = "/proc/1/cmdline"

// servedFile returns the configuration file that the container's registry was
// started with, out of the command line of its first process: nothing else of it
// is known to a command that runs beside it. It is empty if that process is
// no registry, or was not given a file.
func servedFile(cmdline []byte) string {
	args := strings.Split(string(bytes.TrimRight(cmdline, "\x00")), "\x00")
	if calledAs(args[0]) == entrypointName {
		args = entrypoint(args[1:])
	}
	if calledAs(args[0]) != "registry" || len(args) < 3 || args[1] != "serve" {
		return ""
	}
	i := slices.IndexFunc(args[2:], func(a string) bool { return !strings.HasPrefix(a, "-") })
	if i < 0 {
		return ""
	}
	return args[2+i]
}

// containerFile is servedFile of the machine that this runs on.
func containerFile() string {
	cmdline, err := os.ReadFile(firstProcess)
	if err != nil {
		return ""
	}
	return servedFile(cmdline)
}
