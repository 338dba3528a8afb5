package operate

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"berth/test/realtest"
)

// TestHealthChecks has the same file, named by the operator of each, close
// registry:2 and Berth: what clients and the debug listener answer is the same.
// Berth says as well that it isn't ready, and that it is alive.
func TestHealthChecks(t *testing.T) {
	dir := t.TempDir()
	down := filepath.Join(dir, "down")
	real := startReal(t, "registry", t.TempDir(), fmt.Sprintf("health: {file: [{file: %q, interval: 1s}]}\n", down))
	metrics := fmt.Sprintf("127.0.0.1:%d", realtest.FreePort(t))
	config := write(t, dir, "berth.yml", fmt.Sprintf("health: {files: [{file: %q, interval: 1s}]}\nmetrics: {listen: %q}\nlog: {fields: {site: here}}\n", down, metrics))
	reg := realtest.Start(t, realtest.Options{Args: []string{"--config", config}})

	same := func(path string, ours, theirs string) {
		t.Helper()
		status, header, body := get(t, ours+path)
		status2, header2, body2 := get(t, theirs+path)
		var a, b any
		if json.Unmarshal([]byte(body), &a) != nil || json.Unmarshal([]byte(body2), &b) != nil || fmt.Sprint(a) != fmt.Sprint(b) ||
			status != status2 || header.Get("Content-Type") != header2.Get("Content-Type") {
			t.Errorf("%s: got %d %s %s, and registry:2 answers %d %s %s", path, status, header.Get("Content-Type"), body, status2, header2.Get("Content-Type"), body2)
		}
	}
	same("/debug/health", "http://"+metrics, "http://"+real.debug)
	same("/v2/_catalog", reg.URL, real.url)
	write(t, dir, "down", "")
	soon(t, answers(real.url+"/v2/", 503))
	soon(t, answers(reg.URL+"/v2/", 503))
	same("/debug/health", "http://"+metrics, "http://"+real.debug)
	for _, path := range []string{"/v2/", "/", "/v2/app/manifests/v1", "/v2/_catalog"} {
		same(path, reg.URL, real.url)
	}
	for url, want := range map[string]int{reg.URL + "/healthz": 200, reg.URL + "/readyz": 503, "http://" + metrics + "/readyz": 503} {
		if status, _, body := get(t, url); status != want {
			t.Errorf("%s: got %d %s, want %d", url, status, body, want)
		}
	}
	if err := os.Remove(down); err != nil {
		t.Fatal(err)
	}
	soon(t, answers(reg.URL+"/v2/", 200))
	said := 0
	for _, e := range reg.Log.Entries() {
		if e.Text("msg") == "a health check fails" && e.Text("check") == down {
			said++
		}
		if e.Text("site") != "here" {
			t.Errorf("a line of the log has no log.fields: %v", e)
		}
	}
	if said != 1 {
		t.Errorf("the log says %d times that the check fails, want once:\n%s", said, reg.Log)
	}
}

// TestStorageCheck holds that a storage that can't be written to fails readiness
// and lets pulls go on, and that one that is gone closes the registry.
func TestStorageCheck(t *testing.T) {
	metrics := fmt.Sprintf("127.0.0.1:%d", realtest.FreePort(t))
	config := write(t, t.TempDir(), "berth.yml", fmt.Sprintf("health: {storage: {interval: 1s, threshold: 1}}\nmetrics: {listen: %q}\n", metrics))
	reg := realtest.Start(t, realtest.Options{Args: []string{"--config", config}})
	health := func(want string) {
		t.Helper()
		_, _, body := get(t, "http://"+metrics+"/debug/health")
		var reasons map[string]string
		if err := json.Unmarshal([]byte(body), &reasons); err != nil || len(reasons) != 1 || reasons[want] == "" {
			t.Errorf("/debug/health: got %s, want %s alone", body, want)
		}
	}
	inTheWay := filepath.Join(reg.Dir, "berth", "alive")
	// A check that runs now has its own file there for a moment.
	soon(t, func() error { return os.MkdirAll(filepath.Join(inTheWay, "x"), 0o700) })
	soon(t, answers(reg.URL+"/readyz", 503))
	health("storage")
	if status, _, body := get(t, reg.URL+"/v2/"); status != 200 {
		t.Errorf("/v2/: got %d %s while the storage can only be read, want 200", status, body)
	}
	if err := os.RemoveAll(inTheWay); err != nil {
		t.Fatal(err)
	}
	soon(t, answers(reg.URL+"/readyz", 200))

	tree := filepath.Join(reg.Dir, "docker")
	if err := os.Rename(tree, tree+".gone"); err != nil {
		t.Fatal(err)
	}
	soon(t, answers(reg.URL+"/v2/", 503))
	health("storagedriver_filesystem")
	if err := os.Rename(tree+".gone", tree); err != nil {
		t.Fatal(err)
	}
	soon(t, answers(reg.URL+"/v2/", 200))
}

// TestChecksOfOthers holds that an address that doesn't answer closes the
// registry, and that one that does opens it.
func TestChecksOfOthers(t *testing.T) {
	address := fmt.Sprintf("127.0.0.1:%d", realtest.FreePort(t))
	config := write(t, t.TempDir(), "berth.yml", fmt.Sprintf(
		"health: {tcp: [{address: %q, interval: 1s}], http: [{url: \"http://user:s3cret@%s/\", status: 401, headers: {X-A: [b]}, interval: 1s}]}\n", address, address))
	reg := realtest.Start(t, realtest.Options{Args: []string{"--config", config}, Unready: true})
	soon(t, answers(reg.URL+"/v2/", 503))
	var asked atomic.Pointer[http.Request]
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	other := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	other.Listener.Close()
	other.Listener = l
	other.Start()
	defer other.Close()
	soon(t, answers(reg.URL+"/v2/", 200))
	if r := asked.Load(); r.Method != http.MethodHead || r.Header.Get("X-A") != "b" {
		t.Errorf("the check sent %s with %v, want HEAD with its header", r.Method, r.Header)
	}
	if reg.Log.Contains("s3cret") {
		t.Errorf("the log tells a password:\n%s", reg.Log)
	}
}
