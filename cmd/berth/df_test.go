package main

import (
	"strings"
	"testing"

	"berth/internal/usage"
)

// TestPrintRetention holds that df tells what rules would free, of the registry and
// of a repository, and says nothing of it where there are none.
func TestPrintRetention(t *testing.T) {
	would := &usage.Retained{Tags: 1, Manifests: 2, Bytes: 3 << 20}
	for _, tt := range []struct {
		what  string
		repos []dfLine
		last  dfLine
		want  string
	}{
		{"registry", nil, dfLine{Registry: &usage.Report{Retention: would}}, "retention    3.0 MiB  more would come free: 1 tag and 2 manifests that the rules let go of, after trash.keep\n"},
		{"repository", []dfLine{{Repository: &usage.Repository{}, Retention: would}}, dfLine{}, "\nretention would free 3.0 MiB: 1 tag and 2 manifests that the rules let go of, after trash.keep\n"},
		{"registry without rules", nil, dfLine{Registry: &usage.Report{}}, ""},
		{"repository without rules", []dfLine{{Repository: &usage.Repository{}}}, dfLine{}, ""},
	} {
		var out strings.Builder
		if err := (&df{out: &out}).print(tt.repos, tt.last); err != nil {
			t.Fatal(err)
		}
		if said := strings.Contains(out.String(), "retention"); said != (tt.want != "") || !strings.Contains(out.String(), tt.want) {
			t.Errorf("%s: got\n%s\nwant %q", tt.what, out.String(), tt.want)
		}
	}
}
