package berth

import (
	"bytes"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"berth/config"
	"berth/internal/blob/fsblob"
)

func TestCheckFileSystem(t *testing.T) {
	const refused, warned, fine = "refused", "warned", "fine"
	tests := []struct {
		name     string
		facts    fsblob.Facts
		database string // empty: in the data directory
		want     string
	}{
		{"a local disk", fsblob.Facts{Type: "ext4", Locks: true, MapsShared: true}, "", fine},
		{"no locks", fsblob.Facts{Type: "ext4", MapsShared: true}, "", refused},
		{"no shared memory", fsblob.Facts{Type: "fuse", Network: true, Locks: true}, "", refused},
		{"nfs", fsblob.Facts{Type: "nfs", Network: true, Locks: true, MapsShared: true}, "", refused},
		{"nfs with the database elsewhere", fsblob.Facts{Type: "nfs", Network: true}, "/var/lib/berth.db", fine},
		{"a desktop machine's folder in a container", fsblob.Facts{Type: "fuse", Network: true, Locks: true, MapsShared: true}, "", warned},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var log bytes.Buffer
			cfg := config.Default()
			cfg.Data, cfg.Database.Path = "/data", tt.database
			s := &Server{cfg: cfg.Derive(), log: slog.New(slog.NewTextHandler(&log, nil))}
			err := s.checkFileSystem(tt.facts)
			got := fine
			switch {
			case err != nil && strings.Contains(err.Error(), "database.path"):
				got = refused
			case err != nil:
				t.Fatalf("the error does not name the setting: %v", err)
			case strings.Contains(log.String(), "database.path"):
				got = warned
			}
			if got != tt.want {
				t.Errorf("%s, want %s (error %v, log %s)", got, tt.want, err, log.String())
			}
		})
	}
}

// TestTokenKeyIsKept makes sure that a token, and with it a push, outlives the
// process that made it.
func TestTokenKeyIsKept(t *testing.T) {
	dir := t.TempDir()
	first, err := loadTokenKey(dir)
	if err != nil || len(first) != tokenKeySize {
		t.Fatalf("key of %d bytes, error %v", len(first), err)
	}
	if again, err := loadTokenKey(dir); err != nil || !bytes.Equal(again, first) {
		t.Errorf("another key after a restart (error %v)", err)
	}
	if other, err := loadTokenKey(t.TempDir()); err != nil || bytes.Equal(other, first) {
		t.Errorf("two registries have the same key (error %v)", err)
	}
	if _, err := loadTokenKey(filepath.Join(dir, "missing")); err == nil {
		t.Error("no error where no key can be kept")
	}
}
