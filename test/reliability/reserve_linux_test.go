package reliability

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/test/realtest"
)

// TestBelowReserve shows a registry on whose disk less is free than storage.reserve:
// a push is told how much is free, what the limit is and what to do; pulls, deletes,
// restores, collections and reports go on, and when there is space, pushes too.
func TestBelowReserve(t *testing.T) {
	const repo = "floor/app"
	v := smallTmpfs(t, "48m")
	reg := realtest.Start(t, realtest.Options{Dir: filepath.Join(v.dir, "data"),
		Env: append(collecting(), "BERTH_LOG_ACCESS=false", "BERTH_STORAGE_RESERVE=24MiB", "BERTH_TRASH_KEEP=1h")})
	f := &filler{c: newClient(t, reg.URL), l: newLedger(), acked: map[string]bool{}}
	for range 3 {
		if err := f.push(t.Context(), repo, 200_000); err != nil {
			t.Fatal(err)
		}
	}
	others := filepath.Join(v.dir, "others")
	if err := os.WriteFile(others, make([]byte, 28<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	err := f.push(t.Context(), repo, 200_000)
	if err := full(err); err != nil {
		t.Error(err)
	}
	for _, word := range []string{"MiB are free", "below 24.0 MiB (storage.reserve)", "`berth df`", "`berth trash empty`", "`berth gc`"} {
		if err != nil && !strings.Contains(err.Error(), word) {
			t.Errorf("the client is told %q, which does not say %q", err, word)
		}
	}
	f.compare(t, "below the reserve")
	command := func(args ...string) string {
		t.Helper()
		code, out := berth(t, append(args, "--data", reg.Dir)...)
		if code != 0 {
			t.Errorf("berth %v: exit code %d\n%s", args, code, out)
		}
		return out
	}
	if out := command("df"); !strings.Contains(out, "below 24.0 MiB pushes are refused") {
		t.Errorf("df: %s", out)
	}
	for k, digest := range f.l.facts {
		if k.kind == aManifest && digest != "" {
			if err := f.c.remove(t.Context(), manifestPath(repo, k.name)); err != nil {
				t.Fatalf("delete below the reserve: %v", err)
			}
			command("trash", "restore", repo+"@"+k.name)
			break
		}
	}
	f.compare(t, "what was deleted and restored below the reserve")
	command("gc")
	if err := os.Remove(others); err != nil {
		t.Fatal(err)
	}
	if err := f.push(t.Context(), repo, 200_000); err != nil {
		t.Errorf("when there is space again: %v", err)
	}
	f.compare(t, "at the end")
}
