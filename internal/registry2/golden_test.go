package registry2

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"berth/config"
)

var update = flag.Bool("update", false, "write the golden files and docs/registry2.md anew")

// TestGolden reads the configurations in testdata/golden, and compares what
// becomes of them: Berth's own file (only what was set), the notes, and the
// problems. Whatever is a secret in them is called s3cret and never told.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/golden/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			file, err := filepath.Abs(file)
			if err != nil {
				t.Fatal(err)
			}
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := &txtar.Archive{Comment: a.Comment}
			in := map[string]string{}
			for _, f := range a.Files {
				if !strings.HasPrefix(f.Name, "want ") {
					in[f.Name] = string(f.Data)
					got.Files = append(got.Files, f)
				}
			}
			for _, part := range translated(t, in) {
				if strings.Contains(string(part.Data), "s3cret") {
					t.Errorf("%s tells a secret:\n%s", part.Name, part.Data)
				}
				if len(part.Data) > 0 {
					got.Files = append(got.Files, part)
				}
			}
			if *update {
				if err := os.WriteFile(file, txtar.Format(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if text := string(txtar.Format(got)); text != string(txtar.Format(a)) {
				t.Errorf("got\n%s\nwant\n%s", text, txtar.Format(a))
			}
		})
	}
}

// translated returns what becomes of the files config.yml or berth.yml, env and
// mode.
func translated(t *testing.T, in map[string]string) []txtar.File {
	t.Helper()
	t.Chdir(t.TempDir())
	as := Berth
	if strings.TrimSpace(in["mode"]) == "registry" {
		as = Registry
	}
	var environ []string
	if in["env"] != "" {
		environ = strings.Split(strings.TrimSpace(in["env"]), "\n")
	}
	s := config.Sources{Base: Defaults(as), File: os.DevNull, Registry2: Reader(environ, as), Environ: environ}
	for _, name := range []string{"config.yml", "berth.yml"} {
		if text, ok := in[name]; ok {
			s.File = name
			if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	l, err := config.Load(s)
	var yaml, notes, problems strings.Builder
	var all config.Problems
	switch {
	case errors.As(err, &all):
		for _, p := range all {
			problems.WriteString(p.Error() + "\n")
		}
	case err != nil:
		t.Fatal(err)
	default:
		if err := l.WriteSet(&yaml); err != nil {
			t.Fatal(err)
		}
		for _, n := range l.Notes {
			notes.WriteString(n + "\n")
		}
	}
	return []txtar.File{
		{Name: "want berth.yml", Data: []byte(yaml.String())},
		{Name: "want notes", Data: []byte(notes.String())},
		{Name: "want problems", Data: []byte(problems.String())},
	}
}
