package main

import (
	"strings"
	"testing"
)

func TestServedFile(t *testing.T) {
	tests := []struct{ cmdline, want string }{
		{"/entrypoint.sh /etc/docker/registry/config.yml", "/etc/docker/registry/config.yml"},
		{"/entrypoint.sh serve /c.yml", "/c.yml"},
		{"registry serve /c.yml", "/c.yml"},
		{"/bin/registry serve --flag /c.yml", "/c.yml"},
		{"/entrypoint.sh", ""},
		{"/entrypoint.sh serve", ""},
		{"/entrypoint.sh --version", ""},
		{"/sbin/init", ""},
		{"", ""},
	}
	for _, tt := range tests {
		if got := servedFile([]byte(strings.ReplaceAll(tt.cmdline, " ", "\x00") + "\x00")); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.cmdline, got, tt.want)
		}
	}
}
