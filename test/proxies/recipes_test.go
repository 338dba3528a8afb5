package proxies

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/test/realtest"
)

func TestMain(m *testing.M) { realtest.Main(m) }

const name, password = "ada", "correct horse, battery: staple"

// passwordFile makes a password file, with Apache's htpasswd, which anybody may
// read.
func passwordFile(t *testing.T) string {
	t.Helper()
	file := filepath.Join(publicDir(t), "users")
	realtest.NewCLI(t, "htpasswd").Run("-Bbc", file, name, password)
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// A stand is a proxy with a Berth behind it.
type stand struct {
	*front
	reg *realtest.Registry
}

// byBerth runs a recipe in which Berth checks who logs in.
func byBerth(t *testing.T, k kind, more ...string) stand {
	t.Helper()
	reg := realtest.Start(t, realtest.Options{
		Args: []string{"--htpasswd", passwordFile(t)},
		Env:  append([]string{"BERTH_HTTP_TRUSTED_PROXIES=[127.0.0.1/32]"}, more...),
	})
	return stand{startFront(t, k, k.recipe, site{backend: reg.Addr}), reg}
}

// byProxy runs a recipe in which the proxy does.
func byProxy(t *testing.T, k kind) stand {
	t.Helper()
	reg := realtest.Start(t, realtest.Options{
		Env: []string{"BERTH_HTTP_TRUSTED_PROXIES=[127.0.0.1/32]", "BERTH_AUTH_PROXY_HEADER=Authorization"},
	})
	users := passwordFile(t)
	s := site{backend: reg.Addr, users: users}
	if k.name == "caddy" { // which has its users in the recipe itself
		line, err := os.ReadFile(users)
		if err != nil {
			t.Fatal(err)
		}
		_, hash, _ := strings.Cut(strings.TrimSpace(string(line)), ":")
		s.edit = func(recipe string) string {
			before, after, _ := strings.Cut(recipe, "alice ")
			_, after, _ = strings.Cut(after, "\n")
			return before + name + " " + hash + "\n" + after
		}
	}
	return stand{startFront(t, k, k.login, s), reg}
}

// trust lets docker, podman, buildah and skopeo trust the proxy's certificate
// until the test ends.
func (f *front) trust(t *testing.T) {
	t.Helper()
	realtest.Root(t)
	dir := "/etc/docker/certs.d/" + f.Name
	ca, err := os.ReadFile(f.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	write(t, filepath.Join(dir, "ca.crt"), string(ca))
}

// request sends one request through the proxy, logged in if s says who.
func (f *front) request(t *testing.T, method, path string, body io.Reader, header http.Header, logIn ...string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, f.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	if len(logIn) == 2 {
		req.SetBasicAuth(logIn[0], logIn[1])
	}
	resp, err := f.Client.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return resp, b
}

// TestRecipes runs every recipe with docker and its relatives: log-in, a push of
// a large image, a pull, and what else clients do.
func TestRecipes(t *testing.T) {
	for _, k := range kinds() {
		t.Run(k.name+", log-in by Berth", func(t *testing.T) {
			s := byBerth(t, k)
			s.docker(t)
			s.relatives(t)
			s.wire(t)
		})
		t.Run(k.name+", log-in by the proxy", func(t *testing.T) {
			s := byProxy(t, k)
			s.docker(t)
			s.relatives(t)
			s.wire(t)
		})
	}
}

// docker logs in wrongly and rightly, pushes a layer of 70 MiB, which docker
// sends in chunks, and pulls it again.
func (s stand) docker(t *testing.T) {
	t.Helper()
	s.trust(t)
	docker := realtest.Docker(t)
	ref := docker.Build(s.Name+"/team/app:v1", realtest.Image{Layers: []int64{70 << 20, 3}, Seed: 81})
	id := docker.Out("image", "inspect", "-f", "{{.Id}}", ref)
	wantText(t, docker.Fails("push", ref), "no basic auth credentials")
	wantText(t, docker.Fails("login", "-u", name, "-p", "wrong", s.Name), "401 Unauthorized")
	wantText(t, docker.Input(password).Run("login", "-u", name, "--password-stdin", s.Name), "Login Succeeded")
	mark := s.reg.Log.Mark()
	wantText(t, docker.Run("push", ref), "digest: sha256:")
	docker.Run("image", "rm", ref)
	docker.Run("pull", ref)
	if got := docker.Out("image", "inspect", "-f", "{{.Id}}", ref); got != id {
		t.Errorf("pulled %s, want %s", got, id)
	}
	docker.Run("image", "rm", ref)
	if !s.reg.Log.Has("PUT", "/v2/team/app/manifests/v1", 201) {
		t.Fatal("the push is not in Berth's log")
	}
	for _, r := range s.reg.Log.Since(mark).Requests("PUT", "/v2/team/app/manifests/v1") {
		if r.User != name {
			t.Errorf("Berth's log says that %q pushed, want %q", r.User, name)
		}
	}
	if s.reg.Log.Contains(password) {
		t.Error("the password is in Berth's log")
	}
}

// relatives push and pull with what people use beside docker.
func (s stand) relatives(t *testing.T) {
	t.Helper()
	layout := realtest.NewLayout(t, realtest.Image{Layers: []int64{3 << 20, 7}, Seed: 82})
	crane := realtest.Crane(t).With("SSL_CERT_FILE=" + s.CAFile)
	crane.Run("auth", "login", s.Name, "-u", name, "-p", password)
	crane.Run("push", layout.Dir, s.Name+"/crane/app:v1")
	if got := crane.Out("digest", s.Name+"/crane/app:v1"); got != layout.Digest {
		t.Errorf("crane sees %s, want %s", got, layout.Digest)
	}
	crane.Run("copy", s.Name+"/crane/app:v1", s.Name+"/crane/copy:v1") // which mounts
	skopeo := realtest.Skopeo(t)
	skopeo.Run("login", "-u", name, "-p", password, s.Name)
	skopeo.Run("copy", "--all", "docker://"+s.Name+"/crane/copy:v1", "docker://"+s.Name+"/skopeo/app:v1")
	oras := realtest.Oras(t).With("SSL_CERT_FILE=" + s.CAFile)
	oras.Input(password).Run("login", "-u", name, "--password-stdin", s.Name)
	oras.Run("cp", s.Name+"/skopeo/app:v1", "--to-oci-layout", filepath.Join(publicDir(t), "copy")+":v1")
	wantText(t, oras.Run("repo", "ls", s.Name), "skopeo/app")
}

// wire looks at answers that clients never show.
func (s stand) wire(t *testing.T) {
	t.Helper()
	const version = "Docker-Distribution-Api-Version"
	for _, tt := range []struct {
		path   string
		agent  string
		logIn  []string
		status int
	}{
		{"/v2/", "", nil, 401},
		{"/v2/", "", []string{name, "wrong"}, 401},
		{"/v2/", "", []string{name, password}, 200},
		{"/v2/nothing/here/manifests/v1", "", []string{name, password}, 404},
		{"/v2/", "docker/1.5.0 go/go1.4", []string{name, password}, 404},
		{"/v2/", "docker/1.3.3", []string{name, password}, 404},
		{"/v2/", "Go 1.1 package http", []string{name, password}, 404},
		{"/v2/", "docker/1.13.1 go/go1.7", []string{name, password}, 200},
		{"/v2/", "docker/20.10.24 go/go1.4", []string{name, password}, 200},
	} {
		resp, body := s.request(t, "GET", tt.path, nil, http.Header{"User-Agent": {tt.agent}}, tt.logIn...)
		if resp.StatusCode != tt.status {
			t.Errorf("GET %s as %q: %s %.100s, want %d", tt.path, tt.agent, resp.Status, body, tt.status)
		}
		if got := resp.Header.Values(version); tt.agent == "" && (len(got) != 1 || got[0] != "registry/2.0") {
			t.Errorf("GET %s %v: %s is %q", tt.path, tt.logIn, version, got)
		}
		if got := resp.Header.Values("Www-Authenticate"); tt.status == 401 && (len(got) != 1 || !strings.HasPrefix(got[0], `Basic realm="`)) {
			t.Errorf("GET %s %v: the challenge is %q", tt.path, tt.logIn, got)
		}
	}
	s.blob(t)
}

// blob pushes a blob as clients do that send no length, and reads parts of it.
func (s stand) blob(t *testing.T) {
	t.Helper()
	data := bytes.Repeat([]byte("berth"), 500_000)
	sum := sha256.Sum256(data)
	digest := "sha256:" + hex.EncodeToString(sum[:])
	resp, body := s.request(t, "POST", "/v2/wire/blobs/uploads/", nil, nil, name, password)
	location := resp.Header.Get("Location")
	if resp.StatusCode != 202 || !strings.HasPrefix(location, "/v2/wire/blobs/uploads/") {
		t.Fatalf("POST: %s, Location %q\n%s", resp.Status, location, body)
	}
	if resp, body = s.request(t, "PATCH", location, io.MultiReader(bytes.NewReader(data)), nil, name, password); resp.StatusCode != 202 {
		t.Fatalf("PATCH without a length: %s\n%s", resp.Status, body)
	}
	if resp, body = s.request(t, "PUT", resp.Header.Get("Location")+"?digest="+strings.Replace(digest, ":", "%3A", 1), nil, nil, name, password); resp.StatusCode != 201 {
		t.Fatalf("PUT: %s\n%s", resp.Status, body)
	}
	blob := "/v2/wire/blobs/" + digest
	for _, tt := range []struct {
		ask    string
		status int
		want   []byte
	}{
		{"", 200, data},
		{"bytes=0-9", 206, data[:10]},
		{"bytes=1000-", 206, data[1000:]},
		{"bytes=-7", 206, data[len(data)-7:]},
		{"bytes=9999999-", 416, nil},
	} {
		header := http.Header{"Accept-Encoding": {"gzip"}}
		if tt.ask != "" {
			header.Set("Range", tt.ask)
		}
		resp, body := s.request(t, "GET", blob, nil, header, name, password)
		if resp.StatusCode != tt.status || tt.want != nil && !bytes.Equal(body, tt.want) {
			t.Errorf("Range %q: %s with %d bytes, want %d with %d", tt.ask, resp.Status, len(body), tt.status, len(tt.want))
		}
		if tt.status < 300 && (resp.Header.Get("Docker-Content-Digest") != digest || resp.Header.Get("Content-Encoding") != "") {
			t.Errorf("Range %q: got headers %v", tt.ask, resp.Header)
		}
	}
	resp, _ = s.request(t, "HEAD", blob, nil, nil, name, password)
	if resp.StatusCode != 200 || resp.ContentLength != int64(len(data)) || resp.Header.Get("Etag") != `"`+digest+`"` {
		t.Errorf("HEAD: %s, length %d, Etag %q", resp.Status, resp.ContentLength, resp.Header.Get("Etag"))
	}
	resp, _ = s.request(t, "GET", blob, nil, http.Header{"If-None-Match": {`"` + digest + `"`}}, name, password)
	if resp.StatusCode != 304 {
		t.Errorf("If-None-Match: %s", resp.Status)
	}
}

// wantText checks that text has part in it.
func wantText(t *testing.T, text, part string) {
	t.Helper()
	if !strings.Contains(text, part) {
		t.Errorf("got %q, want %q in it", text, part)
	}
}
