package registry_test

import (
	"bytes"
	"encoding/binary"
	"log/slog"
	"path/filepath"
	"testing"

	"berth/internal/blob/fsblob"
	"berth/internal/meta/sqlmeta"
	"berth/internal/oci"
	"berth/internal/registry"
)

// BenchmarkPush measures pushes of blobs to a disk: with one request that brings
// the bytes, and with one for the bytes and one for the digest.
func BenchmarkPush(b *testing.B) {
	for name, size := range map[string]int{"64KiB": 64 << 10, "1MiB": 1 << 20, "64MiB": 64 << 20} {
		for _, way := range []string{"finish", "append and commit"} {
			b.Run(name+"/"+way, func(b *testing.B) { benchPush(b, size, way == "finish") })
		}
	}
}

func benchPush(b *testing.B, size int, whole bool) {
	dir := b.TempDir()
	blobs, err := fsblob.Open(fsblob.Options{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	defer blobs.Close()
	db, err := sqlmeta.Open(b.Context(), sqlmeta.Options{Path: filepath.Join(dir, "berth", "berth.db"), Memory: 8 << 20})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	core := registry.New(registry.Options{Blobs: blobs, Records: db, Log: slog.New(slog.DiscardHandler)})
	r, content := repo(b, "a"), randomBytes(size)
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for n := uint64(0); b.Loop(); n++ {
		b.StopTimer()
		binary.LittleEndian.PutUint64(content, n)
		d := oci.SHA256.FromBytes(content)
		b.StartTimer()
		u, err := core.StartUpload(b.Context(), r, oci.SHA256)
		if err != nil {
			b.Fatal(err)
		}
		if u, err = core.ResumeUpload(b.Context(), r, u.ID()); err != nil {
			b.Fatal(err)
		}
		if whole {
			err = u.Finish(b.Context(), registry.Anywhere, bytes.NewReader(content), d)
		} else if err = u.Append(b.Context(), registry.Anywhere, bytes.NewReader(content)); err == nil {
			err = u.Commit(b.Context(), d)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
