package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// compile builds the program for p, and collects the licenses of what is in it.
func (s settings) compile(p platform) (program, licenses []byte, err error) {
	dir, err := os.MkdirTemp("", "berth-dist-")
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(dir)
	path, err := filepath.Abs(filepath.Join(dir, p.executable()))
	if err != nil {
		return nil, nil, err
	}
	// What the build depends on is said here: no path, no state of git, no flag
	// of the machine's.
	_, err = s.goTool(p, "build", "-trimpath", "-buildvcs=false", "-pgo", s.pgo, "-ldflags", "-s -w -X main.version="+s.version, "-o", path, "./cmd/berth")
	if err != nil {
		return nil, nil, err
	}
	if program, err = os.ReadFile(path); err != nil {
		return nil, nil, err
	}
	licenses, err = s.licenses(p)
	return program, licenses, err
}

// goTool runs the Go command for a platform and returns what it prints.
func (s settings) goTool(p platform, args ...string) ([]byte, error) {
	cmd := exec.Command("go", args...)
	cmd.Dir = s.root
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off", "GOEXPERIMENT=", "GOAMD64=v1", "GOARM64=v8.0")
	cmd.Env = append(cmd.Env, p.environ()...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s for %s: %w\n%s", args[0], p, err, stderr.Bytes())
	}
	return out, nil
}

// licenses returns the licenses of Go and of all modules that are in the program
// for p, one after the other.
func (s settings) licenses(p platform) ([]byte, error) {
	goroot, err := s.goTool(p, "env", "GOROOT")
	if err != nil {
		return nil, err
	}
	out, err := s.goTool(p, "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}\t{{.Version}}\t{{.Dir}}{{end}}{{end}}", "./cmd/berth")
	if err != nil {
		return nil, err
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	slices.Sort(lines)
	var b bytes.Buffer
	b.WriteString("The program contains Go's runtime and library and the modules below.\n")
	if err := appendLicense(&b, "Go", strings.TrimSpace(string(goroot))); err != nil {
		return nil, err
	}
	for _, line := range slices.Compact(lines) {
		f := strings.Split(line, "\t")
		if len(f) != 3 {
			continue
		}
		dir := f[2]
		if dir == "" { // go.mod's vendor folder has them
			dir = filepath.Join(s.root, "vendor", filepath.FromSlash(f[0]))
		}
		if err := appendLicense(&b, f[0]+" "+f[1], dir); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

// appendLicense adds the license files of a folder. That it has none is an
// error: such a module must not be given away.
func appendLicense(b *bytes.Buffer, name, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("licenses of %s: %w", name, err)
	}
	found := false
	for _, e := range entries {
		upper := strings.ToUpper(e.Name())
		if e.IsDir() || !strings.HasPrefix(upper, "LICEN") && !strings.HasPrefix(upper, "COPYING") && !strings.HasPrefix(upper, "NOTICE") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return fmt.Errorf("licenses of %s: %w", name, err)
		}
		fmt.Fprintf(b, "\n======== %s: %s\n\n%s\n", name, e.Name(), bytes.TrimSpace(text))
		found = true
	}
	if !found {
		return fmt.Errorf("module %s has no license file in %s", name, dir)
	}
	return nil
}
