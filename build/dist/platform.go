package main

import (
	"fmt"
	"strings"
)

// A platform is what the program is built for.
type platform struct {
	os, arch string
	variant  string // of the processor: v7
}

// allPlatforms are those of a release: the servers, the small computers and the
// desktops that people run registries on.
func allPlatforms() []platform {
	return []platform{
		{os: "linux", arch: "amd64"},
		{os: "linux", arch: "arm64"},
		{os: "linux", arch: "arm", variant: "v7"},
		{os: "darwin", arch: "amd64"},
		{os: "darwin", arch: "arm64"},
		{os: "windows", arch: "amd64"},
	}
}

// String returns the platform as docker writes it.
func (p platform) String() string {
	if p.variant != "" {
		return p.os + "/" + p.arch + "/" + p.variant
	}
	return p.os + "/" + p.arch
}

// suffix is that of file names.
func (p platform) suffix() string { return p.os + "-" + p.arch + p.variant }

// executable is the name of the program's file.
func (p platform) executable() string {
	if p.os == "windows" {
		return programName + ".exe"
	}
	return programName
}

// environ is what tells the Go command to build for p.
func (p platform) environ() []string {
	env := []string{"CGO_ENABLED=0", "GOOS=" + p.os, "GOARCH=" + p.arch}
	if p.arch == "arm" {
		env = append(env, "GOARM="+strings.TrimPrefix(p.variant, "v"))
	}
	return env
}

// parsePlatforms reads a list separated by commas; empty means all.
func parsePlatforms(list string) ([]platform, error) {
	if list == "" {
		return allPlatforms(), nil
	}
	var some []platform
	for _, name := range strings.Split(list, ",") {
		found := false
		for _, p := range allPlatforms() {
			if p.String() == name {
				some, found = append(some, p), true
			}
		}
		if !found {
			return nil, fmt.Errorf("platform %q is none of %v", name, allPlatforms())
		}
	}
	return some, nil
}
