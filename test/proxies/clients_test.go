package proxies

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/test/realtest"
)

// from makes the front's client come from another address of this machine, as
// a client of another machine would, and returns what it gets.
func (f *front) from(t *testing.T, addr, method, path string, header http.Header, logIn ...string) (*http.Response, []byte) {
	t.Helper()
	transport := f.Client.Transport.(*http.Transport).Clone()
	defer transport.CloseIdleConnections()
	d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(addr)}}
	transport.DialContext = d.DialContext
	g := *f
	g.Client = &http.Client{Transport: transport}
	return g.request(t, method, path, nil, header, logIn...)
}

// forged is what a client writes that wants to be taken for another one.
func forged(addr string) http.Header {
	return http.Header{
		"X-Forwarded-For": {addr}, "X-Real-Ip": {addr}, "Forwarded": {"for=" + addr + ";host=evil.example;proto=http"},
		"X-Forwarded-Host": {"evil.example"}, "X-Forwarded-Proto": {"http"},
	}
}

// TestClientAddress holds that Berth's log has the address of the client and not
// that of the proxy, whatever the client writes into its headers.
func TestClientAddress(t *testing.T) {
	for _, k := range kinds() {
		t.Run(k.name, func(t *testing.T) {
			s := byBerth(t, k)
			const client = "127.0.0.7"
			for _, header := range []http.Header{nil, forged("10.1.2.3")} {
				mark := s.reg.Log.Mark()
				s.from(t, client, "GET", "/v2/", header, name, password)
				if !s.reg.Log.Await(func(*realtest.Log) bool { return len(s.reg.Log.Since(mark).Requests("GET", "/v2/")) > 0 }) {
					t.Fatal("the request is not in the log")
				}
				for _, r := range s.reg.Log.Since(mark).Requests("GET", "/v2/") {
					if got := r.Entry.Text("client"); got != client || r.User != name {
						t.Errorf("the log says that %q came from %q, want %q from %q", r.User, got, name, client)
					}
				}
			}
		})
	}
}

// TestAllowedAddresses enforces a list of addresses on clients behind a proxy.
func TestAllowedAddresses(t *testing.T) {
	const access = `BERTH_ACCESS=[{anonymous: true, addresses: [127.0.0.8/32], repositories: ["**"], allow: [pull]}]`
	for _, k := range kinds() {
		t.Run(k.name, func(t *testing.T) {
			s := byBerth(t, k, access)
			for _, tt := range []struct {
				client string
				header http.Header
				status int
			}{
				{"127.0.0.8", nil, 404}, // it may look, and there is nothing
				{"127.0.0.9", nil, 403},
				{"127.0.0.9", forged("127.0.0.8"), 403},
				{"127.0.0.8", forged("127.0.0.9"), 404},
			} {
				resp, body := s.from(t, tt.client, "GET", "/v2/team/app/manifests/v1", tt.header)
				if resp.StatusCode != tt.status {
					t.Errorf("%s with %v is answered %s, want %d\n%s", tt.client, tt.header, resp.Status, tt.status, body)
				}
			}
		})
	}
}

// TestForgedUser holds that a client can't name a user to a Berth that believes
// its proxy's log-in.
func TestForgedUser(t *testing.T) {
	for _, k := range kinds() {
		t.Run(k.name, func(t *testing.T) {
			s := byProxy(t, k)
			if resp, _ := s.request(t, "GET", "/v2/", nil, nil, "root", "anything"); resp.StatusCode != 401 {
				t.Errorf("an unknown user is answered %s", resp.Status)
			}
			resp, _ := s.request(t, "POST", "/v2/team/app/blobs/uploads/", nil, nil, name, password)
			if resp.StatusCode != 202 {
				t.Errorf("a known user is answered %s", resp.Status)
			}
			for _, r := range s.reg.Log.Requests("", "") {
				if r.User != "" && r.User != name {
					t.Errorf("Berth believed that it was %q", r.User)
				}
			}
		})
	}
}

// TestAnonymousPull lets everybody pull through a proxy: docker is told an
// address for tokens that is the proxy's, though nobody configured it.
func TestAnonymousPull(t *testing.T) {
	for _, k := range kinds() {
		t.Run(k.name, func(t *testing.T) {
			s := byBerth(t, k, "BERTH_AUTH_ANONYMOUS=pull")
			resp, _ := s.request(t, "GET", "/v2/", nil, forged("10.1.2.3"))
			want := `realm="` + s.URL + `/v2/token"`
			if got := resp.Header.Get("Www-Authenticate"); !strings.Contains(got, want) {
				t.Errorf("tokens are to be had by %q, want %q", got, want)
			}
			s.trust(t)
			docker := realtest.Docker(t)
			ref := docker.Build(s.Name+"/open/app:v1", realtest.Image{Seed: 84})
			docker.Fails("push", ref)
			docker.Input(password).Run("login", "-u", name, "--password-stdin", s.Name)
			docker.Run("push", ref)
			docker.Run("logout", s.Name)
			docker.Run("image", "rm", ref)
			docker.Run("pull", ref)
			docker.Fails("push", s.Name+"/open/app:v2")
		})
	}
}

// TestSocket runs the line of each recipe that leads over a socket. The proxy's
// workers may open it, as their group does on a real machine.
func TestSocket(t *testing.T) {
	for _, k := range kinds() {
		t.Run(k.name, func(t *testing.T) {
			path := filepath.Join(publicDir(t), "berth.sock")
			reg := realtest.Start(t, realtest.Options{Args: []string{"--htpasswd", passwordFile(t), "--listen", "unix:" + path}})
			if err := os.Chmod(path, 0o666); err != nil { // nobody's group is not this one's
				t.Fatal(err)
			}
			s := stand{startFront(t, k, k.recipe, site{backend: path}), reg}
			s.wire(t)
			mark := reg.Log.Mark()
			s.from(t, "127.0.0.7", "GET", "/v2/_catalog", forged("10.1.2.3"), name, password)
			ok := reg.Log.Await(func(*realtest.Log) bool {
				return slices.ContainsFunc(reg.Log.Since(mark).Requests("GET", "/v2/_catalog"), func(r realtest.Request) bool {
					return r.Entry.Text("client") == "127.0.0.7" && r.Status == 200
				})
			})
			if !ok {
				t.Errorf("the log has %v", reg.Log.Since(mark))
			}
		})
	}
}

// TestLargeManifest holds that what is too large for Berth is told in Berth's
// words, and what a proxy's own limit stops in the proxy's.
func TestLargeManifest(t *testing.T) {
	for _, k := range kinds() {
		t.Run(k.name, func(t *testing.T) {
			s := byBerth(t, k)
			body := `{"schemaVersion":2,"layers":[` + strings.Repeat(" ", 5<<20) + `]}`
			resp, text := s.request(t, "PUT", "/v2/team/app/manifests/v1", strings.NewReader(body),
				http.Header{"Content-Type": {"application/vnd.oci.image.manifest.v1+json"}}, name, password)
			var e struct{ Errors []struct{ Code string } }
			if err := json.Unmarshal(text, &e); resp.StatusCode != 413 || err != nil || len(e.Errors) != 1 || e.Errors[0].Code != "SIZE_INVALID" {
				t.Errorf("a manifest of 5 MiB is answered %s %.200s", resp.Status, text)
			}
		})
	}
	t.Run("a limit of nginx", func(t *testing.T) {
		k := kinds()[0]
		reg := realtest.Start(t, realtest.Options{Args: []string{"--htpasswd", passwordFile(t)}})
		s := stand{startFront(t, k, k.recipe, site{backend: reg.Addr, edit: swap("client_max_body_size 0;", "client_max_body_size 1m;")}), reg}
		resp, _ := s.request(t, "PATCH", "/v2/team/app/blobs/uploads/x", strings.NewReader(strings.Repeat("x", 2<<20)), nil, name, password)
		if resp.StatusCode != 413 || resp.Header.Get("Docker-Distribution-Api-Version") != "registry/2.0" {
			t.Errorf("got %s with %v", resp.Status, resp.Header)
		}
	})
}
