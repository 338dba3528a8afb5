package security

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/test/realtest"
)

func TestMain(m *testing.M) { realtest.Main(m) }

// The users of writeUsers.
const (
	ada      = "ada:the password of ada"
	grace    = "grace:the password of grace"
	oci      = "application/vnd.oci.image.manifest.v1+json"
	patience = 20 * time.Second
)

// basic returns the Authorization header of a user.
func basic(who string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(who))
}

// hashOf returns how a password stands in a file of users.
func hashOf(password string) string {
	sum := sha1.Sum([]byte(password))
	return "{SHA}" + base64.StdEncoding.EncodeToString(sum[:])
}

// writeUsers makes a password file, or puts another one into its place.
func writeUsers(t *testing.T, file string, list ...string) {
	t.Helper()
	var b strings.Builder
	for _, who := range list {
		user, password, _ := strings.Cut(who, ":")
		fmt.Fprintf(&b, "%s:%s\n", user, hashOf(password))
	}
	if err := os.WriteFile(file+".new", []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// withUsers starts a registry that ada and grace can log in to.
func withUsers(t *testing.T, args ...string) (reg *realtest.Registry, file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "users")
	writeUsers(t, file, ada, grace)
	return realtest.Start(t, realtest.Options{Args: append([]string{"--htpasswd", file}, args...)}), file
}

// An answer is one that was read to its end.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// ask sends a request with a body and headers, "Name: value" each.
func ask(t *testing.T, reg *realtest.Registry, method, path string, body []byte, headers ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, reg.URL+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Add(name, value)
	}
	resp, err := reg.Client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, got}
}

// want is ask for a status that is known.
func want(t *testing.T, reg *realtest.Registry, status int, method, path string, body []byte, headers ...string) answer {
	t.Helper()
	a := ask(t, reg, method, path, body, headers...)
	if a.status != status {
		t.Errorf("%s %s: got %d %s, want %d", method, path, a.status, a.body, status)
	}
	return a
}

// as returns the header with which somebody logs in, for ask.
func as(who string) string { return "Authorization: " + basic(who) }

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// manifestOf returns a manifest whose config is content, and whose note makes
// it another one.
func manifestOf(content []byte, note string) []byte {
	return fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/x","digest":%q,"size":%d},"layers":[],"annotations":{"note":%q}}`,
		oci, digestOf(content), len(content), note)
}

// push pushes a blob and a manifest that needs it.
func push(t *testing.T, reg *realtest.Registry, repo, tag string, content []byte, headers ...string) (manifest []byte) {
	t.Helper()
	manifest = manifestOf(content, tag)
	want(t, reg, 201, "POST", "/v2/"+repo+"/blobs/uploads/?digest="+digestOf(content), content, headers...)
	want(t, reg, 201, "PUT", "/v2/"+repo+"/manifests/"+tag, manifest, append(headers, "Content-Type: "+oci)...)
	return manifest
}

// tokenOf gets a token for repo.
func tokenOf(t *testing.T, reg *realtest.Registry, who, repo string) string {
	t.Helper()
	a := want(t, reg, 200, "GET", "/v2/token?service=berth&scope=repository:"+repo+":pull,push", nil, as(who))
	var got struct{ Token string }
	if err := json.Unmarshal(a.body, &got); err != nil || got.Token == "" {
		t.Fatalf("no token in %s (error %v)", a.body, err)
	}
	return got.Token
}

// converse writes text on one connection, and a last request that ends it, and
// reads the answers to both. Closing its half of the connection instead would
// look like a client that has gone. The last answer, a 200, is missing if the
// server has closed the connection before.
func converse(t *testing.T, reg *realtest.Registry, text string) (statuses []int) {
	t.Helper()
	conn, err := net.Dial("tcp", reg.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, text+"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	for r := bufio.NewReader(conn); ; {
		if _, err := r.Peek(1); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("after %v: neither an answer nor the end", statuses)
		} else if err != nil {
			return statuses // closed, or reset because of what was not read
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("after %v: %v", statuses, err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatalf("after %v: %v", statuses, err)
		}
		resp.Body.Close()
		statuses = append(statuses, resp.StatusCode)
	}
}
