package main

import (
	"strings"
	"testing"
)

// TestPrintRetained holds how decisions are shown.
func TestPrintRetained(t *testing.T) {
	for line, want := range map[string]string{
		`{"decision":{"repository":"a/b","tag":"v1","goes":true,"reason":"pushed 45 days ago (rule 1)"}}`: "goes  a/b:v1  pushed 45 days ago (rule 1)\n",
		`{"decision":{"repository":"a","digest":"sha256:00","reason":"part of index sha256:11"}}`:         "kept  a@sha256:00  part of index sha256:11\n",
		`{"done":{"repository":"a","tags":2,"manifests":1}}`:                                              "a: 2 tags and 1 manifest went to the trash\n",
		`{"done":{"repository":"a","tags":1,"manifests":2,"stayed":1}}`:                                   "a: 1 tag and 2 manifests went to the trash; 1 image stayed that somebody changed meanwhile\n",
		`{"sum":{"tags_kept":3,"tags_gone":1,"manifests_gone":2,"freed":2048}}`:                           "1 of 4 tags and 2 manifests would go; 2.0 KiB would come free after trash.keep\n",
	} {
		var out strings.Builder
		if err := printRetained(&out, []byte(line), false); err != nil || out.String() != want {
			t.Errorf("%s: got %q, %v, want %q", line, out.String(), err, want)
		}
	}
}
