package retention

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"berth/internal/meta"
	"berth/internal/oci"
)

// FuzzReferrerTag holds that a tag refers to a digest only if it begins with it.
func FuzzReferrerTag(f *testing.F) {
	hex := strings.Repeat("0f", 32)
	for _, s := range []string{"v1", "sha256-" + hex, "sha256-" + hex + ".sig", "sha256-" + hex + ".", "sha512-" + hex + hex + ".att", "sha256-" + hex + "x", "sha256-.sig"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		tag, err := oci.ParseTag(s)
		if err != nil {
			return
		}
		d, ok := referrerTag(tag)
		if ok == d.IsZero() {
			t.Errorf("%q: got %v and %s", s, ok, d)
		}
		rest, begins := strings.CutPrefix(s, strings.Replace(d.String(), ":", "-", 1))
		if ok && (!begins || rest != "" && (rest[0] != '.' || len(rest) == 1)) {
			t.Errorf("%q refers to %s", s, d)
		}
	})
}

// BenchmarkDecide decides about 10,000 tags of which most go.
func BenchmarkDecide(b *testing.B) {
	at := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	var s meta.RepoState
	for i := range 10_000 {
		name, err := oci.ParseTag(fmt.Sprintf("v%05d", i))
		if err != nil {
			b.Fatal(err)
		}
		d := oci.SHA256.FromBytes(fmt.Append(nil, i))
		pushed := at.Add(-time.Duration(i+48) * time.Hour)
		s.Tags = append(s.Tags, meta.TagState{Tag: meta.Tag{Name: name, Digest: d}, Moved: pushed})
		s.Manifests = append(s.Manifests, meta.ManifestState{Digest: d, Size: 1, Pushed: pushed})
	}
	p := Policy{Grace: 24 * time.Hour, Rules: []Rule{{KeepNewest: 10, KeepPushedWithin: 100 * time.Hour, KeepPulledWithin: time.Hour}}}
	b.ReportAllocs()
	for b.Loop() {
		if plan := Decide(oci.Repo{}, s, p, at); len(plan.Families) == 0 {
			b.Fatal("nothing goes")
		}
	}
}
