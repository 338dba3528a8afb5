package diff

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"berth/test/realtest"
)

// TestConfigurations gives the configurations that Berth's translation is tested
// with to real registries and to Berth: their garbage collectors read all of it and
// leave everything alone. What any of them accepts, Berth must accept, unless it is
// listed here with the reason.
func TestConfigurations(t *testing.T) {
	refused := map[string]string{
		"stops":                "Berth names what it cannot be",
		"variables-empty-auth": "an empty variable takes the log-in away there, without a word",
	}
	registries := []string{realtest.Tool(t, "docker-registry"), realtest.Tool(t, "registry")}
	files, err := filepath.Glob("../../internal/registry2/testdata/golden/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no configurations: %v", err)
	}
	accepted := 0
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		t.Run(name, func(t *testing.T) {
			c := readConfiguration(t, file)
			if c.file == "" {
				t.Skip("has no file of registry:2")
			}
			ours, why := c.accepts(t, realtest.Berth(t))
			for _, program := range registries {
				theirs, _ := c.accepts(t, program)
				if theirs {
					accepted++
				}
				if theirs && !ours && refused[name] == "" {
					t.Errorf("%s accepts it, and Berth does not: %s", filepath.Base(program), why)
				}
			}
		})
	}
	if accepted < 10 {
		t.Errorf("the real registries accepted only %d configurations: this compares nothing", accepted)
	}
}

// A configuration is a file of registry:2, and variables over it.
type configuration struct {
	file    string // empty: none
	environ []string
}

func readConfiguration(t *testing.T, archive string) configuration {
	t.Helper()
	a, err := txtar.ParseFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	var c configuration
	for _, f := range a.Files {
		switch f.Name {
		case "config.yml":
			c.file = filepath.Join(t.TempDir(), f.Name)
			if err := os.WriteFile(c.file, f.Data, 0o600); err != nil {
				t.Fatal(err)
			}
		case "env":
			c.environ = strings.Split(strings.TrimSpace(string(f.Data)), "\n")
		}
	}
	return c
}

// accepts runs a program's garbage collector over an empty directory, and reports
// whether it found the configuration good; if not, what it said.
func (c configuration) accepts(t *testing.T, program string) (bool, string) {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Args = []string{"registry", "garbage-collect", "--dry-run", c.file}
	cmd.Env = append(append([]string{"PATH=" + os.Getenv("PATH")}, c.environ...), "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY="+t.TempDir())
	cmd.Stderr = &stderr
	_ = cmd.Run() // an empty directory is an error to some
	said := stderr.String()
	return !strings.Contains(said, "configuration error") && !strings.Contains(said, "panic:"), said
}
