package sqlmeta

import (
	"path/filepath"
	"testing"

	"berth/internal/meta/metatest"
)

func TestContracts(t *testing.T) {
	metatest.Run(t, func(t *testing.T, e metatest.Env) metatest.DB {
		db, err := Open(t.Context(), Options{
			Path: filepath.Join(e.Dir, "berth.db"), Grace: e.Grace, Delay: e.Delay, Now: e.Now, Running: e.Running,
		})
		if err != nil {
			t.Fatal(err)
		}
		return db
	})
}
