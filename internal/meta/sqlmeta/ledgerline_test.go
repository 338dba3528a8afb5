package sqlmeta

import (
	"encoding/json"
	"math"
	"testing"

	"berth/internal/blob"
	"berth/internal/meta"
	"berth/internal/oci"
)

// FuzzLineJSON holds that a line is written as package json would, and so read
// as it was meant, by other versions of the program, too.
func FuzzLineJSON(f *testing.F) {
	f.Add("id", "team/app", "ci", "key", "sha256/ab/key", []byte("hash"), []byte(nil), int64(5), int64(1), false)
	f.Add("", "", "", "", "", []byte(nil), []byte("state"), int64(0), int64(math.MinInt64), true)
	for _, by := range []string{`a "quoted" \ one`, "<&>", "Jörg", "\x00\x1f\x7f", "\xff\xfe", "\u2028"} {
		f.Add("id", "a", by, "key", "", []byte{}, []byte{0}, int64(math.MaxInt64), int64(-1), false)
	}
	f.Fuzz(func(t *testing.T, id, repo, by, key, final string, hash, state []byte, size, saved int64, over bool) {
		l := line{
			ID: meta.UploadID(id), Over: over, Repo: repo, By: by, Key: blob.Key(key), Size: size, Algorithm: oci.SHA512, Hash: hash, State: state,
			Version: size, Started: saved, Saved: saved, Final: blob.Key(final),
		}
		want, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		if got := l.appendJSON([]byte("before")); string(got) != "before"+string(want) {
			t.Errorf("got  %s\nwant before%s", got, want)
		}
	})
}

func BenchmarkLine(b *testing.B) {
	r := &running{Upload: meta.Upload{ID: meta.UploadID(blob.NewKey()), Key: blob.NewKey(), Size: 65536, Algorithm: oci.SHA256, Hash: make([]byte, 108)}, final: "sha256/x/y"}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = appendLine(buf[:0], r)
	}
}
