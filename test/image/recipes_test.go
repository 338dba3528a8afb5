package image

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v2"

	"berth/test/realtest"
)

// A composeFile is what the tests look at, and change, of a compose file.
type composeFile struct {
	Services map[string]map[string]any
	Networks map[string]any `yaml:",omitempty"`
}

// recipe reads a file of deploy/.
func recipe(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(realtest.Sources(t), "deploy", filepath.FromSlash(file)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func readCompose(t *testing.T, name string) composeFile {
	t.Helper()
	var c composeFile
	if err := yaml.UnmarshalStrict([]byte(recipe(t, "compose/"+name+"/docker-compose.yml")), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestComposeFiles holds that docker-compose takes the files, and what all of
// them promise.
func TestComposeFiles(t *testing.T) {
	for _, name := range []string{"open", "login", "nginx"} {
		t.Run(name, func(t *testing.T) {
			compose := realtest.NewCLI(t, "docker-compose")
			file := filepath.Join(realtest.Sources(t), "deploy/compose", name, "docker-compose.yml")
			compose.Run("-f", file, "config", "-q")
			c := readCompose(t, name)
			for service, s := range c.Services {
				if s["restart"] != "always" {
					t.Errorf("%s: restart is %v", service, s["restart"])
				}
			}
			registry := c.Services["registry"]
			if registry["stop_grace_period"] != "40s" || registry["image"] != "berth:latest" {
				t.Errorf("the registry is %v", registry)
			}
		})
	}
	want := strings.Replace(recipe(t, "nginx/berth.conf"), "server 127.0.0.1:5000; ", "server registry:5000;  ", 1)
	if recipe(t, "compose/nginx/berth.conf") != want {
		t.Error("compose/nginx/berth.conf is not nginx/berth.conf with registry:5000 in the place of 127.0.0.1:5000")
	}
}

// A project is a running compose file.
type project struct {
	*realtest.CLI
	dir string
}

// up runs a compose file in the host's network, which takes away its ports and
// networks: the engine of the tests has no bridge. Everything else is as it is in
// the file; addr is where the registry then listens.
func up(t *testing.T, docker *realtest.DockerCLI, name, addr string, files map[string]string) project {
	t.Helper()
	c := readCompose(t, name)
	c.Networks = nil
	for service, s := range c.Services {
		delete(s, "ports")
		s["network_mode"] = "host"
		if service == "registry" {
			env, ok := s["environment"].(map[any]any)
			if !ok {
				env = map[any]any{}
			}
			env["REGISTRY_HTTP_ADDR"] = addr
			s["environment"] = env
			s["healthcheck"] = map[string]string{"interval": "500ms"} // less to wait for
		}
	}
	text, err := yaml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	dir := folder(t, 0o755)
	files["docker-compose.yml"] = string(text)
	for path, content := range files {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(path)), 0o755); err != nil {
			t.Fatal(err)
		}
		writeFile(t, dir, path, content)
	}
	p := project{realtest.NewCLI(t, "docker-compose", "-f", filepath.Join(dir, "docker-compose.yml")).With("DOCKER_HOST=" + docker.Host), dir}
	t.Cleanup(func() { p.Run("down", "-v") })
	p.Run("up", "-d")
	return p
}

// container returns the container of a service.
func (p project) container(docker *realtest.DockerCLI, service string) *realtest.Container {
	return docker.Container(p.Out("ps", "-q", service))
}

// htpasswd makes a password file with the image, as the files say.
func htpasswd(docker *realtest.DockerCLI) string {
	return docker.Out("run", "--rm", "--network", "none", "--entrypoint", "htpasswd", docker.BerthImage(), "-Bbn", "alice", "secret") + "\n\n"
}

// TestCompose runs the files, and keeps what was pushed over down and up.
func TestCompose(t *testing.T) {
	t.Run("open", func(t *testing.T) {
		docker := realtest.Docker(t)
		docker.BerthImage()
		addr := freeAddr(t)
		p := up(t, docker, "open", addr, map[string]string{})
		p.container(docker, "registry").AwaitHealthy()
		pushPull(t, docker, addr, "app:v1")
		p.Run("down")
		p.Run("up", "-d")
		p.container(docker, "registry").AwaitHealthy()
		docker.Run("pull", addr+"/app:v1")
		docker.Run("image", "remove", addr+"/app:v1")
	})
	t.Run("login", func(t *testing.T) {
		docker := realtest.Docker(t)
		addr := freeAddr(t)
		p := up(t, docker, "login", addr, map[string]string{"auth/htpasswd": htpasswd(docker)})
		p.container(docker, "registry").AwaitHealthy()
		docker.Input("secret").Run("login", "-u", "alice", "--password-stdin", addr)
		pushPull(t, docker, addr, "app:v1")
	})
	t.Run("nginx", func(t *testing.T) {
		docker := realtest.Docker(t)
		nginxImage(t, docker)
		addr, port := freeAddr(t), strconv.Itoa(realtest.FreePort(t))
		front := "0.0.0.0:" + port // docker checks no certificate of 127.0.0.1
		tls := t.TempDir()
		realtest.NewCLI(t, realtest.Berth(t)).Run("tls", "self-signed", "--dir", tls, "0.0.0.0")
		trust(t, front, readFile(t, filepath.Join(tls, "ca.crt")))
		conf := strings.NewReplacer("registry:5000", addr, "5043", port).Replace(recipe(t, "compose/nginx/berth.conf"))
		p := up(t, docker, "nginx", addr, map[string]string{
			"auth/htpasswd": htpasswd(docker), "berth.conf": conf,
			"certs/domain.crt": readFile(t, filepath.Join(tls, "cert.pem")), "certs/domain.key": readFile(t, filepath.Join(tls, "key.pem")),
		})
		p.container(docker, "registry").AwaitHealthy()
		awaitListening(t, front)
		wantText(t, docker.Fails("pull", front+"/app:v1"), "no basic auth credentials")
		docker.Input("secret").Run("login", "-u", "alice", "--password-stdin", front)
		pushPull(t, docker, front, "app:v1")
	})
}

// trust gives docker an authority for a registry.
func trust(t *testing.T, name, authority string) {
	t.Helper()
	dir := filepath.Join("/etc/docker/certs.d", name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	writeFile(t, dir, "ca.crt", authority)
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// nginxImage makes an image with this machine's nginx in the place of
// nginx:stable, which can't be fetched: nginx, its libraries, and the files that
// nginx:stable has around berth.conf.
func nginxImage(t *testing.T, docker *realtest.DockerCLI) {
	t.Helper()
	dir, nginx := folder(t, 0o755), realtest.Tool(t, "nginx")
	libraries, err := exec.Command("ldd", nginx).Output()
	if err != nil {
		t.Fatal(err)
	}
	paths := []string{nginx}
	for _, field := range strings.Fields(string(libraries)) {
		if strings.HasPrefix(field, "/") {
			paths = append(paths, field)
		}
	}
	files := make(map[string]string)
	for _, path := range paths {
		files[path] = readFile(t, path)
	}
	files["/etc/nginx/nginx.conf"] = "user root;\nevents {}\nhttp { include /etc/nginx/conf.d/*.conf; }\n"
	files["/etc/nginx/conf.d/empty"], files["/var/log/nginx/empty"], files["/var/lib/nginx/empty"], files["/run/empty"] = "", "", "", ""
	files["/etc/passwd"], files["/etc/group"] = "root:x:0:0:root:/:/bin/false\n", "root:x:0:\n"
	for path, content := range files {
		to := filepath.Join(dir, "root", path)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, dir, "Dockerfile", fmt.Sprintf("FROM scratch\nCOPY root /\nENTRYPOINT [%q, \"-g\", \"daemon off;\"]\n", nginx))
	docker.Run("build", "--network=none", "-q", "-t", "nginx:stable", dir)
}

// TestSystemd lets systemd check the unit, and Berth the configuration.
func TestSystemd(t *testing.T) {
	program, dir := realtest.Berth(t), folder(t, 0o755)
	unit := recipe(t, "systemd/berth.service")
	if !strings.Contains(unit, "ExecStart=/usr/local/bin/berth serve\n") {
		t.Error("the unit does not start /usr/local/bin/berth serve")
	}
	path := writeFile(t, dir, "berth.service", strings.ReplaceAll(unit, "/usr/local/bin/berth", program))
	analyze := realtest.NewCLI(t, "systemd-analyze")
	if said := analyze.Run("verify", path); strings.Contains(said, "berth.service") {
		t.Errorf("systemd says: %s", said)
	}
	// 0 is most closed, 100 open; what is left is the network, and root's files.
	analyze.Run("security", "--offline=true", "--threshold=20", path)
	berth := realtest.NewCLI(t, program)
	berth.Run("config", "check", filepath.Join(realtest.Sources(t), "deploy/systemd/berth.yml"))
}
