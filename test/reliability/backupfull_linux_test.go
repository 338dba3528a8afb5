package reliability

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestBackupToFullDisk fills the disk that a backup goes to: it fails in words,
// the backup from before stands, and with more space the next run goes on.
func TestBackupToFullDisk(t *testing.T) {
	reg, f := filled(t, "", 4)
	v := smallTmpfs(t, "3m")
	to := filepath.Join(v.dir, "backup")
	mustBerth(t, "backup", to, "--data", reg.Dir)
	for range 4 {
		if err := f.push(t.Context(), "app", 900_000); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if code, out := berth(t, "backup", to, "--data", reg.Dir); code != 1 || !strings.Contains(out, "no space left") {
			t.Fatalf("exit code %d: %s", code, out)
		}
		if out := mustBerth(t, "backup", "--verify", to); !strings.Contains(out, "4 tags") {
			t.Errorf("the backup from before: %s", out)
		}
	}
	if code, out := berth(t, "backup", filepath.Join(v.dir, "x.tar"), "--data", reg.Dir); code != 1 || !strings.Contains(out, "no space left") {
		t.Errorf("an archive: exit code %d: %s", code, out)
	}
	if left := files(t, v.dir); strings.Contains(strings.Join(left, " "), ".tar") {
		t.Errorf("an archive that is not whole is left: %v", left)
	}
	v.grow()
	mustBerth(t, "backup", to, "--data", reg.Dir)
	wantRestored(t, to, f.l.clone())

	small := smallTmpfs(t, "2m")
	if code, out := berth(t, "restore", to, "--data", filepath.Join(small.dir, "data")); code != 1 || !strings.Contains(out, "nothing was restored") {
		t.Errorf("restore: exit code %d: %s", code, out)
	}
	small.grow()
	mustBerth(t, "restore", to, "--data", filepath.Join(small.dir, "data"))
}
