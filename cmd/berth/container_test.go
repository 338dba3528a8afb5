package main

import (
	"strings"
	"testing"
)

func TestServedFile(t *testing.T) {
	tests := []struct {
		cmdline, want string
		served        bool
	}{
		{"/entrypoint.sh /etc/docker/registry/config.yml", "/etc/docker/registry/config.yml", true},
		{"/entrypoint.sh serve /c.yml", "/c.yml", true},
		{"registry serve /c.yml", "/c.yml", true},
		{"registry /c.yml", "/c.yml", true},
		{"/bin/registry serve --flag /c.yml", "/c.yml", true},
		{"/entrypoint.sh", "", true},
		{"/entrypoint.sh serve", "", true},
		{"/entrypoint.sh --version", "", false},
		{"/entrypoint.sh garbage-collect /c.yml", "", false},
		{"/entrypoint.sh berth serve", "", false},
		{"/sbin/init", "", false},
		{"", "", false},
	}
	for _, tt := range tests {
		got, served := servedFile([]byte(strings.ReplaceAll(tt.cmdline, " ", "\x00") + "\x00"))
		if got != tt.want || served != tt.served {
			t.Errorf("%s: got %q, %v, want %q, %v", tt.cmdline, got, served, tt.want, tt.served)
		}
	}
}
