package operate

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"berth/test/realtest"
)

func TestMain(m *testing.M) { realtest.Main(m) }

// get fetches a URL.
func get(t *testing.T, url string) (status int, header http.Header, body string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(b)
}

// soon waits until ok returns nil.
func soon(t *testing.T, ok func() error) {
	t.Helper()
	end := time.Now().Add(time.Minute)
	for {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// answers returns nil once url is answered with the status.
func answers(url string, status int) func() error {
	return func() error {
		resp, err := http.Get(url)
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != status {
			return fmt.Errorf("%s: %s, want %d", url, resp.Status, status)
		}
		return nil
	}
}

// write writes a file and returns its path.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A real is a running registry that isn't berth.
type real struct {
	addr, debug string
	url         string
}

// startReal starts the real registry: "registry" is distribution 3, and
// "docker-registry" is Debian's 2.8. more is added to its configuration.
func startReal(t *testing.T, program, data, more string) real {
	t.Helper()
	r := real{addr: fmt.Sprintf("127.0.0.1:%d", realtest.FreePort(t)), debug: fmt.Sprintf("127.0.0.1:%d", realtest.FreePort(t))}
	r.url = "http://" + r.addr
	config := write(t, t.TempDir(), "config.yml", fmt.Sprintf(`version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: %q}, delete: {enabled: true}, cache: {blobdescriptor: inmemory}}
http: {addr: %q, debug: {addr: %q, prometheus: {enabled: true}}}
`, data, r.addr, r.debug)+more)
	realtest.StartProgram(t, realtest.ProgramOptions{
		Name: program, Args: []string{"serve", config}, Env: []string{"OTEL_TRACES_EXPORTER=none"},
		Ready: func() error {
			return errors.Join(answers(r.url+"/v2/", 200)(), answers("http://"+r.debug+"/debug/health", 200)())
		},
	})
	return r
}
