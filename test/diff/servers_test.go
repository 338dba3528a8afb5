package diff

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"berth/test/realtest"
)

func TestMain(m *testing.M) { realtest.Main(m) }

const name, password = "ada", "correct horse, battery: staple"

// A version is one of the real registries.
type version struct {
	name    string // as allowed differences call it
	program string
}

func versions() []version {
	return []version{{"2.8", "docker-registry"}, {"3.1", "registry"}}
}

// settings are how all registries of a run are set.
type settings struct {
	login   bool
	deletes bool
}

// passwordFile makes a password file.
func passwordFile(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "users")
	realtest.NewCLI(t, "htpasswd").Run("-Bbc", file, name, password)
	return file
}

// startReal runs a real registry and returns its address.
func startReal(t *testing.T, v version, s settings) string {
	t.Helper()
	dir := t.TempDir()
	addr := "127.0.0.1:" + strconv.Itoa(realtest.FreePort(t))
	text := "version: 0.1\nstorage:\n  filesystem: {rootdirectory: " + filepath.Join(dir, "data") + "}\n" +
		"  delete: {enabled: " + strconv.FormatBool(s.deletes) + "}\n  maintenance: {uploadpurging: {enabled: false}}\n" +
		"http: {addr: \"" + addr + "\", relativeurls: true}\n"
	if s.login {
		text += "auth: {htpasswd: {realm: Registry, path: " + passwordFile(t) + "}}\n"
	}
	file := filepath.Join(dir, "config.yml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	realtest.StartProgram(t, realtest.ProgramOptions{
		Name: v.program, Args: []string{"serve", file}, Env: []string{"OTEL_TRACES_EXPORTER=none"},
		Ready: func() error {
			var d net.Dialer
			conn, err := d.DialContext(context.Background(), "tcp", addr)
			if err == nil {
				conn.Close()
			}
			return err
		},
	})
	return addr
}

// startBerth runs Berth with the same settings.
func startBerth(t *testing.T, s settings) string {
	t.Helper()
	env := []string{"BERTH_DELETE_ENABLED=" + strconv.FormatBool(s.deletes), "BERTH_AUTH_REALM=Registry"}
	if s.login {
		env = append(env, "BERTH_AUTH_HTPASSWD_PATH="+passwordFile(t))
	}
	return realtest.Start(t, realtest.Options{Env: env}).Addr
}
