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
// is known to a command that runs beside it. The name is empty if it was given no
// file; served is false if that process is no registry.
func servedFile(cmdline []byte) (file string, served bool) {
	args := strings.Split(string(bytes.TrimRight(cmdline, "\x00")), "\x00")
	if calledAs(args[0]) == entrypointName {
		args = entrypoint(args[1:])
	}
	if calledAs(args[0]) != registry2Name || len(args) < 2 || args[1] == "garbage-collect" || args[1] == "help" {
		return "", false
	}
	rest := args[1:]
	if rest[0] == "serve" {
		rest = rest[1:]
	}
	i := slices.IndexFunc(rest, func(a string) bool { return !strings.HasPrefix(a, "-") })
	if i < 0 {
		return "", args[1] == "serve"
	}
	return rest[i], true
}

// containerFile returns the configuration file of the registry that is the first
// process here. It is empty where there is none, as on a machine that is no
// container.
func containerFile() string {
	cmdline, err := os.ReadFile(firstProcess)
	if err != nil {
		return ""
	}
	named, served := servedFile(cmdline)
	if !served {
		return ""
	}
	file, _ := registryFile(named)
	return file
}
