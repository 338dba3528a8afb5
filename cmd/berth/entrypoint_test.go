package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestEntrypoint(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "configuration")
	program := filepath.Join(dir, "program")
	for path, mode := range map[string]os.FileMode{plain: 0o600, program: 0o755} {
		if err := os.WriteFile(path, nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct{ args, want string }{
		{"", "registry serve"},
		{"/etc/docker/registry/config.yml", "registry serve /etc/docker/registry/config.yml"},
		{"x.yaml", "registry serve x.yaml"},
		{"x.yml more", "registry serve x.yml more"},
		{plain, "registry serve " + plain},
		{program, program},
		{dir, dir},
		{"serve /x", "registry serve /x"},
		{"garbage-collect --dry-run /x.yml", "registry garbage-collect --dry-run /x.yml"},
		{"--version", "registry --version"},
		{"help", "registry help"},
		{"registry serve /x", "registry serve /x"},
		{"htpasswd -Bbn a b", "htpasswd -Bbn a b"},
		{"berth ls", "berth ls"},
		{"sh -c x.yml", "sh -c x.yml"},
	}
	for _, tt := range tests {
		if got := entrypoint(strings.Fields(tt.args)); !slices.Equal(got, strings.Fields(tt.want)) {
			t.Errorf("%s: got %q, want %s", tt.args, got, tt.want)
		}
	}
}

// TestRunEntrypoint runs what a container of the image runs.
func TestRunEntrypoint(t *testing.T) {
	tests := []struct {
		args   []string
		code   int
		stdout string
		stderr string
	}{
		{[]string{"/entrypoint.sh", "htpasswd", "-Bbn", "alice", "secret"}, 0, "alice:$2y$", ""},
		{[]string{"/entrypoint.sh", "/usr/bin/htpasswd", "-nb", "alice", "secret"}, 0, "alice:$apr1$", ""},
		{[]string{"/entrypoint.sh", "berth", "--version"}, 0, "berth dev", ""},
		{[]string{"/entrypoint.sh", "no-such-shell", "-c", "true"}, 127, "", "no shell"},
	}
	for _, tt := range tests {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), tt.args, strings.NewReader(""), &stdout, &stderr)
		if code != tt.code || !strings.HasPrefix(stdout.String(), tt.stdout) || !strings.Contains(stderr.String(), tt.stderr) {
			t.Errorf("%q: got %d, %q, %q; want %d, %q, %q", tt.args, code, stdout.String(), stderr.String(), tt.code, tt.stdout, tt.stderr)
		}
	}
}
