package berth_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestPublicAPI compares what the two public packages export with the list that
// was reviewed last, so that nobody's program breaks by accident. Only names and
// signatures count.
func TestPublicAPI(t *testing.T) {
	declaration := regexp.MustCompile(`(?m)^(func|type|const|var|\t[A-Z]\w*) .*$`)
	var got strings.Builder
	for _, pkg := range []string{".", "./config"} {
		got.WriteString("package " + pkg + "\n")
		for _, line := range declaration.FindAllString(goTool(t, nil, "doc", "-all", pkg), -1) {
			got.WriteString(strings.TrimRight(line, " ") + "\n")
		}
	}
	const golden = "testdata/public.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want := string(readFile(t, golden)); got.String() != want {
		t.Errorf("the public API has changed; if that is right, say so in changelog.d and: go test . -run TestPublicAPI -update\ngot:\n%s\nwant:\n%s", got.String(), want)
	}
}
