package adopt

import (
	"os/exec"
	"strings"
	"testing"

	"berth/test/realtest"
)

// TestImmutableMoved has a registry:2 move and remove tags that are immutable
// here: that is taken over, with a warning, and is in their history.
func TestImmutableMoved(t *testing.T) {
	t.Setenv("BERTH_TAGS_IMMUTABLE", `[{repositories: [app], tags: ["v*"]}]`)
	dir := t.TempDir()
	m := maker{t, dir}
	first := m.image("app", newImage(t, "first", imageType), "v1", "latest")
	second := m.image("app", newImage(t, "second", imageType), "v2")
	const warning = "registry:2 has changed a tag that is immutable here"
	if out := adopt(t, dir); strings.Contains(out, warning) {
		t.Errorf("warned at first: %s", out)
	}
	m.tag("app", "v1", second)
	m.tag("app", "latest", second)
	out := adopt(t, dir)
	if strings.Count(out, warning) != 1 || !strings.Contains(out, "tag=v1 from="+first+" to="+second) {
		t.Errorf("not warned once, of v1: %s", out)
	}
	history, err := exec.Command(realtest.Berth(t), "tag", "history", "app:v1", "--no-trunc", "--data", dir).CombinedOutput()
	if err != nil || !strings.Contains(string(history), "registry2") || !strings.Contains(string(history), first+"  "+second) {
		t.Errorf("history: %v\n%s", err, history)
	}
	if out := adopt(t, dir); strings.Contains(out, warning) {
		t.Errorf("warned again: %s", out)
	}
}
