package clients

import (
	"crypto/tls"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"berth/test/realtest"
)

// A secured is a registry with log-in and a certificate of berth's making.
type secured struct {
	*realtest.Registry
	dir  string // of the certificate
	name string // host:port by which clients find it, and check the certificate
	said string // by berth tls self-signed
}

// startSecured starts a registry behind 0.0.0.0. To connect there is to connect
// to this machine, but docker, which believes whatever is in 127.0.0.0/8, checks
// the certificate.
func startSecured(t *testing.T) secured {
	t.Helper()
	port := strconv.Itoa(realtest.FreePort(t))
	s := secured{dir: filepath.Join(t.TempDir(), "berth-tls"), name: "0.0.0.0:" + port}
	s.said = berth(t).Run("tls", "self-signed", "--dir", s.dir, s.name, "127.0.0.1")
	s.Registry = start(t, realtest.Options{
		CertFile: filepath.Join(s.dir, "cert.pem"), KeyFile: filepath.Join(s.dir, "key.pem"), CAFile: filepath.Join(s.dir, "ca.crt"),
		Args: []string{"--listen", "127.0.0.1:" + port, "--htpasswd", passwordFile(t)},
	})
	return s
}

// trust does what berth tls self-signed says is to be done for docker, podman,
// skopeo and buildah, until the test ends.
func (s secured) trust(t *testing.T) {
	t.Helper()
	realtest.Root(t)
	dir := "/etc/docker/certs.d/" + s.name
	wantText(t, s.said, "sudo mkdir -p "+dir+" && sudo cp ca.crt "+dir+"/ca.crt")
	made := missingFolders(dir)
	t.Cleanup(func() {
		os.Remove(filepath.Join(dir, "ca.crt"))
		for _, d := range made {
			os.Remove(d) // unless something else is in it by now
		}
	})
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(s.dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ca.crt"), ca, 0o644); err != nil {
		t.Fatal(err)
	}
}

// missingFolders returns dir and those above it that are not there, from below.
func missingFolders(dir string) []string {
	var missing []string
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			return missing
		}
		missing = append(missing, dir)
	}
}

// TestTLS has each client refuse a certificate that it has no reason to trust,
// and log in, push and pull once it has one.
func TestTLS(t *testing.T) {
	s := startSecured(t)
	layout := realtest.NewLayout(t, realtest.Image{Layers: []int64{3 << 20, 5}, Seed: 61})
	for name, maker := range makers() {
		t.Run("untrusted, "+name, func(t *testing.T) {
			p := maker(t, verified, nil, layout)
			said, err := p.push(s.name + "/tls/" + name + ":1.0.0")
			if err == nil || !strings.Contains(said, "x509: certificate signed by unknown authority") {
				t.Errorf("got %v and %q, want a refusal because of the certificate", err, said)
			}
		})
	}
	s.trust(t)
	r := reader{client: s.Client, url: s.URL, user: user, password: password}
	for name, maker := range makers() {
		t.Run("trusted, "+name, func(t *testing.T) {
			var env []string
			switch name {
			case "crane", "oras", "regctl", "helm":
				env = []string{"SSL_CERT_FILE=" + filepath.Join(s.dir, "ca.crt")}
			}
			p := maker(t, verified, env, layout)
			ref := s.name + "/tls/" + name + ":1.0.0"
			said := refused(t)(p.push(ref))
			if name == "docker" {
				wantText(t, said, "no basic auth credentials")
			}
			must(t)(p.login(s.name, user, password))
			must(t)(p.push(ref))
			r.mustBeWhole(t, "tls/"+name, "1.0.0")
			must(t)(p.pull(ref))
		})
	}
}

// TestRenewal replaces the certificate of a running registry: the next
// connection gets the new one, those that are open stay.
func TestRenewal(t *testing.T) {
	s := startSecured(t)
	s.trust(t)
	docker := realtest.Docker(t)
	docker.Run("login", "-u", user, "-p", password, s.name)
	ref := docker.Build(s.name+"/renewal/app:v1", realtest.Image{Seed: 62})
	docker.Run("push", ref)

	transport := s.Client.Transport.(*http.Transport).Clone()
	transport.ForceAttemptHTTP2 = true
	defer transport.CloseIdleConnections()
	old := &http.Client{Transport: transport}
	if reused := get(t, old, s.URL+"/readyz"); reused {
		t.Error("the first request was not on a new connection")
	}
	before := s.serial(t)
	berth(t).Run("tls", "self-signed", "--dir", s.dir, "--force", s.name, "127.0.0.1")
	soon(t, "the new certificate is served", func() bool { return s.serial(t) != before })
	if reused := get(t, old, s.URL+"/readyz"); !reused {
		t.Error("the open connection was dropped")
	}
	docker.Run("image", "rm", ref)
	docker.Run("pull", ref) // the authority is the same
	docker.Run("push", ref)
}

// serial returns the serial number of the certificate that is served.
func (s secured) serial(t *testing.T) string {
	t.Helper()
	conn, err := tls.Dial("tcp", s.Addr, &tls.Config{RootCAs: s.Client.Transport.(*http.Transport).TLSClientConfig.RootCAs})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

// get wants 200, over HTTP/2, and reports whether it used a connection that was
// open already.
func get(t *testing.T, c *http.Client, url string) (reused bool) {
	t.Helper()
	trace := &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.ProtoMajor != 2 {
		t.Errorf("%s: %s over %s", url, resp.Status, resp.Proto)
	}
	return reused
}
