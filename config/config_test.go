package config

import (
	"bytes"
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var update = flag.Bool("update", false, "write the golden files and docs/config.md anew")

// golden compares got with a file, or writes the file with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatalf("%v (make it with: go test ./config -update)", err)
	}
	if diff := cmp.Diff(strings.ReplaceAll(string(want), "\r\n", "\n"), got); diff != "" {
		t.Errorf("%s differs (-want +got); if the new one is right: go test ./config -update\n%s", name, diff)
	}
}

// show returns the YAML form of l.
func show(t *testing.T, l *Loaded) string {
	t.Helper()
	var b bytes.Buffer
	if err := l.WriteYAML(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestFiles reads every file in testdata. What a good one means, and what is
// said about a bad one, stands beside it.
func TestFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yml")
	if err != nil || len(files) < 20 {
		t.Fatalf("found %d files in testdata, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			l, err := Load(Sources{File: file})
			slash := filepath.ToSlash(file)
			if good := strings.HasPrefix(filepath.Base(file), "good-"); good {
				if err != nil {
					t.Fatalf("a good file is refused: %v", err)
				}
				golden(t, file+".golden", strings.ReplaceAll(show(t, l), file, slash))
				return
			}
			if err == nil {
				t.Fatalf("a bad file is accepted:\n%s", show(t, l))
			}
			golden(t, file+".golden", strings.ReplaceAll(err.Error(), file, slash)+"\n")
		})
	}
}

// TestShowIsAConfiguration reads back what WriteYAML wrote.
func TestShowIsAConfiguration(t *testing.T) {
	files, err := filepath.Glob("testdata/good-*.yml")
	if err != nil || len(files) == 0 {
		t.Fatal("no good files", err)
	}
	for _, file := range files {
		l, err := Load(Sources{File: file})
		if err != nil {
			t.Fatal(err)
		}
		copied := filepath.Join(t.TempDir(), "shown.yml")
		if err := os.WriteFile(copied, []byte(show(t, l)), 0o600); err != nil {
			t.Fatal(err)
		}
		again, err := Load(Sources{File: copied})
		if err != nil {
			t.Fatalf("%s: what is shown is refused: %v", file, err)
		}
		if diff := cmp.Diff(l.Config, again.Config, cmp.Comparer(samePrefix), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: what is shown means something else (-file +shown):\n%s", file, diff)
		}
	}
}

// TestPrecedence sets one key in more and more sources; the last one wins.
func TestPrecedence(t *testing.T) {
	file := filepath.Join(t.TempDir(), "berth.yml")
	if err := os.WriteFile(file, []byte("data: /file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var s Sources
	steps := []struct {
		name         string
		add          func()
		data, origin string
	}{
		{"nothing", func() {}, "./berth-data", "default"},
		{"base", func() { s.Base = Overlay{Values: []Value{Scalar("data", "/base", "default of registry:2")}} }, "/base", "default of registry:2"},
		{"file", func() { s.File = file }, "/file", file + ":1"},
		{"what a flag takes for granted", func() { s.Flags.Defaults = []Value{Scalar("data", "/weak", "x")} }, "/file", file + ":1"},
		{"registry2", func() { s.Registry2 = says(Overlay{Values: []Value{Scalar("data", "/reg", "REGISTRY_X")}}) }, "/reg", "REGISTRY_X"},
		{"environment", func() { s.Environ = []string{"BERTH_DATA=/env"} }, "/env", "BERTH_DATA"},
		{"flag", func() { s.Flags = ParseFlags(map[string][]string{"data": {"/flag"}}) }, "/flag", "flag --data"},
	}
	for _, step := range steps {
		step.add()
		l, err := Load(s)
		if err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if l.Config.Data != step.data || l.Origin("data") != step.origin {
			t.Errorf("%s: got data %q from %q, want %q from %q", step.name, l.Config.Data, l.Origin("data"), step.data, step.origin)
		}
		if got, want := l.Config.Database.Path, filepath.Join(step.data, "berth", "berth.db"); got != want {
			t.Errorf("%s: got database.path %q, want %q", step.name, got, want)
		}
	}
}

func TestListenDefault(t *testing.T) {
	tests := []struct {
		name    string
		environ []string
		want    []string
	}{
		{"without log-in this machine only", nil, []string{"127.0.0.1:5000", "[::1]:5000"}},
		{"with log-in every network", []string{"BERTH_AUTH_HTPASSWD_PATH=/auth/htpasswd"}, []string{":5000"}},
		{"as it was set", []string{"BERTH_HTTP_LISTEN=:80"}, []string{":80"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, err := Load(Sources{Environ: tt.environ})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, l.Config.HTTP.Listen); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(l.Config, l.Config.Derive(), cmp.Comparer(samePrefix), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("Derive changes its own result: %s", diff)
			}
		})
	}
}

// TestFileNames finds the file where it is named, and says what is wrong with
// one that is no file.
func TestFileNames(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a.yml")
	if err := os.WriteFile(file, []byte("data: /a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	large := filepath.Join(dir, "large.yml")
	if err := os.WriteFile(large, bytes.Repeat([]byte("# \n"), maxFile/3+1), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		sources Sources
		want    string // the name of the file, or part of the error
		good    bool
	}{
		{"flag", Sources{File: file}, file, true},
		{"variable", Sources{Environ: []string{"BERTH_CONFIG=" + file}}, file, true},
		{"flag before variable", Sources{File: file, Environ: []string{"BERTH_CONFIG=/nowhere.yml"}}, file, true},
		{"missing", Sources{File: filepath.Join(dir, "b.yml")}, "there is no file", false},
		{"missing by variable", Sources{Environ: []string{"BERTH_CONFIG=" + filepath.Join(dir, "b.yml")}}, "there is no file", false},
		{"directory", Sources{File: dir}, "is a directory", false},
		{"huge", Sources{File: large}, "larger than 1 MiB", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, err := Load(tt.sources)
			switch {
			case tt.good && (err != nil || l.File != tt.want):
				t.Errorf("got %v, %v, want the file %s", l, err, tt.want)
			case !tt.good && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got the error %v, want one with %q", err, tt.want)
			}
		})
	}
}

// says returns what [Sources].Registry2 is when it says the same in any case.
func says(o Overlay) func(string, []byte) Overlay {
	return func(string, []byte) Overlay { return o }
}

// TestRegistry2 hands a file of registry:2 to the translator, and calls it without
// one for all others.
func TestRegistry2(t *testing.T) {
	var given []string
	translate := func(name string, data []byte) Overlay {
		given = append(given, name)
		if name != "" && !strings.HasPrefix(string(data), "# registry:2") {
			t.Errorf("the translator was given %q", data)
		}
		return Overlay{Values: []Value{Scalar("data", "/translated", name)}, Notes: []string{"translated"}}
	}
	const foreign = "testdata/bad-registry2.yml"
	for _, file := range []string{foreign, "testdata/good-all.yml"} {
		l, err := Load(Sources{File: file, Registry2: translate})
		if err != nil {
			t.Fatal(err)
		}
		if l.Config.Data != "/translated" || len(l.Notes) != 1 {
			t.Errorf("%s: got data %q and notes %v", file, l.Config.Data, l.Notes)
		}
	}
	if want := []string{foreign, ""}; !slices.Equal(given, want) {
		t.Errorf("the translator was given the files %q, want %q", given, want)
	}
	if _, err := Load(Sources{File: "testdata/nowhere.yml", Registry2: translate}); err == nil {
		t.Error("a file that is not there was accepted")
	}
}

// TestProblems holds that the problems of all sources come together and can be
// taken apart.
func TestProblems(t *testing.T) {
	_, err := Load(Sources{
		File:      "testdata/bad-unknown.yml",
		Registry2: says(Overlay{Problems: []Problem{{Path: "auth", Origin: "REGISTRY_AUTH", Text: "names another way"}}}),
		Environ:   []string{"BERTH_LOG_LEVEL=loud"},
		Flags:     ParseFlags(map[string][]string{"listen": {"5000"}}),
	})
	var all Problems
	if !errors.As(err, &all) {
		t.Fatalf("got %v, want Problems", err)
	}
	for _, origin := range []string{"testdata/bad-unknown.yml:2", "REGISTRY_AUTH", "BERTH_LOG_LEVEL", "flag --listen"} {
		found := false
		for _, one := range all.Unwrap() {
			var p Problem
			found = found || errors.As(one, &p) && p.Origin == origin
		}
		if !found {
			t.Errorf("no problem of %s in: %v", origin, err)
		}
	}
}

// TestWriteSet holds that a file with what was set means the same as the whole.
func TestWriteSet(t *testing.T) {
	l, err := Load(Sources{File: "testdata/good-all.yml", Environ: []string{"BERTH_GC_EVERY=2m"}, Flags: ParseFlags(map[string][]string{"log-level": {"info"}})})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := l.WriteSet(&b); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "set.yml")
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	again, err := Load(Sources{File: file})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(l.Config, again.Config, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Errorf("the file means something else (-want +got):\n%s", diff)
	}
	for _, line := range []string{"  every: 2m # BERTH_GC_EVERY\n", "  level: info # flag --log-level\n"} {
		if !strings.Contains(b.String(), line) {
			t.Errorf("no line %q in\n%s", line, b.String())
		}
	}
	none, err := Load(Sources{File: "testdata/good-empty.yml"})
	if err != nil {
		t.Fatal(err)
	}
	b.Reset()
	if err := none.WriteSet(&b); err != nil || b.Len() != 0 {
		t.Errorf("nothing was set, got %q, error %v", b.String(), err)
	}
}

// TestSettings holds that every key says where it comes from and what it would be.
func TestSettings(t *testing.T) {
	l, err := Load(Sources{File: "testdata/good-empty.yml", Environ: []string{"BERTH_GC_EVERY=2m"}})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]Setting{
		"gc.every":    {Path: "gc.every", Value: "2m", Origin: "BERTH_GC_EVERY", Default: "1m", Variable: "BERTH_GC_EVERY"},
		"http.listen": {Path: "http.listen", Value: `[127.0.0.1:5000, "[::1]:5000"]`, Origin: "default", Default: "127.0.0.1:5000 and [::1]:5000 without log-in, :5000 with log-in", Variable: "BERTH_HTTP_LISTEN"},
	}
	for _, s := range l.Settings() {
		if w, ok := want[s.Path]; ok && s != w {
			t.Errorf("got %+v, want %+v", s, w)
		}
		delete(want, s.Path)
	}
	if len(want) != 0 {
		t.Errorf("no settings %v", want)
	}
}
