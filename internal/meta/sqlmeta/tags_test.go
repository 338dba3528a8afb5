package sqlmeta

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTagsHaveOneDoor holds that only tags.go writes to the table of tags: what
// does it elsewhere would neither be in the history nor spare immutable tags.
func TestTagsHaveOneDoor(t *testing.T) {
	writes := regexp.MustCompile(`(?i)\b(INSERT\s+(OR\s+\w+\s+)?INTO|REPLACE\s+INTO|UPDATE|DELETE\s+FROM)\s+(tags|tag_history)\b`)
	for _, text := range []string{"INSERT INTO tags (", "insert or replace into tags", "UPDATE\n\ttags SET", "DELETE FROM tags\n", "DELETE FROM tag_history WHERE"} {
		if !writes.MatchString(text) {
			t.Errorf("not seen: %q", text)
		}
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, statement := range writes.FindAllString(string(text), -1) {
			trims := name == "history.go" && statement == "DELETE FROM tag_history"
			mends := name == "mend.go" && statement == "UPDATE tags" // of a damaged row, and no client sees it point elsewhere
			switch {
			case name == "tags.go":
				found++
			case !trims && !mends:
				t.Errorf("%s: %q: use pointTag, removeTag or untag of tags.go", name, statement)
			}
		}
	}
	if found != 6 {
		t.Errorf("tags.go has %d statements that write, want 6", found)
	}
}
