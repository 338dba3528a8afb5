package image

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"berth/test/realtest"
)

// TestContainer is a container as registry:2's users run it: variables, a folder
// for the data, docker stop, docker start. Nothing of what was pushed is lost.
func TestContainer(t *testing.T) {
	docker := realtest.Docker(t)
	addr, data := freeAddr(t), folder(t, 0o755)
	c := docker.Start("--health-interval", "0", "-e", "REGISTRY_HTTP_ADDR="+addr, "-v", data+":/var/lib/registry", docker.BerthImage())
	c.AwaitHealthy() // in the image's own interval
	pushPull(t, docker, addr, "app:v1")
	wantText(t, c.Exec("berth", "ls", "--data", "/var/lib/registry"), "app")
	if code := c.Stop(); code != "0" {
		t.Errorf("after docker stop the exit code is %s", code)
	}
	if _, err := os.Stat(filepath.Join(data, "docker/registry/v2/blobs/sha256")); err != nil {
		t.Error(err)
	}
	c.Again()
	c.AwaitHealthy()
	docker.Run("pull", addr+"/app:v1")
	docker.Run("image", "remove", addr+"/app:v1")
	for _, name := range []string{"registry", "/bin/registry", "bin/registry"} {
		wantText(t, c.Exec(name, "--version"), "registry")
		c.Exec(name, "garbage-collect", "--dry-run", "/etc/docker/registry/config.yml")
	}
	wantText(t, docker.Fails("exec", c.Name, "sh", "-c", "true"), "not found")
}

// TestContainerVolume keeps the data in a volume that docker made, over two
// containers.
func TestContainerVolume(t *testing.T) {
	docker := realtest.Docker(t)
	image, addr := docker.BerthImage(), freeAddr(t)
	volume := docker.Out("volume", "create")
	t.Cleanup(func() { docker.Try("volume", "rm", volume) })
	run := []string{"-e", "REGISTRY_HTTP_ADDR=" + addr, "-v", volume + ":/var/lib/registry", image}
	first := docker.Start(run...)
	first.AwaitHealthy()
	pushPull(t, docker, addr, "app:v1")
	first.Stop()
	second := docker.Start(run...)
	second.AwaitHealthy()
	docker.Run("pull", addr+"/app:v1")
	docker.Run("image", "remove", addr+"/app:v1")
	docker.Run("rm", "-f", first.Name, second.Name)
}

// TestContainerUser runs as another user than root: without rights the message
// says what to do, and doing that helps.
func TestContainerUser(t *testing.T) {
	docker := realtest.Docker(t)
	image, addr, data := docker.BerthImage(), freeAddr(t), folder(t, 0o755)
	args := []string{"--user", "1234:1234", "-e", "REGISTRY_HTTP_ADDR=" + addr, "-v", data + ":/var/lib/registry", image}
	said := docker.Fails(append([]string{"run", "--rm", "--network", "host"}, args...)...)
	for _, want := range []string{"/var/lib/registry", "uid 1234", "belongs to uid 0", "chown -R 1234", "--user 0:0"} {
		wantText(t, said, want)
	}
	if err := os.Chown(data, 1234, 1234); err != nil {
		t.Fatal(err)
	}
	c := docker.Start(args...)
	c.AwaitHealthy()
	pushPull(t, docker, addr, "app:v1")
}

// TestContainerLocked runs with all that compose files and Kubernetes take away
// from a container: a root file system that can't be written, no capability, no
// new privileges, no root.
func TestContainerLocked(t *testing.T) {
	docker := realtest.Docker(t)
	addr, data := freeAddr(t), folder(t, 0o777)
	c := docker.Start("--user", "1234:1234", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
		"-e", "REGISTRY_HTTP_ADDR="+addr, "-v", data+":/var/lib/registry", docker.BerthImage())
	c.AwaitHealthy()
	pushPull(t, docker, addr, "app:v1")
	if code := c.Stop(); code != "0" {
		t.Errorf("after docker stop the exit code is %s", code)
	}
}

// TestContainerConfiguration puts a configuration file wherever users of
// registry:2 and registry:3 put one. That it was read shows in the address.
func TestContainerConfiguration(t *testing.T) {
	docker := realtest.Docker(t)
	image := docker.BerthImage()
	tests := []struct {
		name    string
		mount   string // DIR is the folder that holds config.yml
		command []string
	}{
		{"file for 2", "DIR/config.yml:/etc/docker/registry/config.yml", nil},
		{"file for 3", "DIR/config.yml:/etc/distribution/config.yml", nil},
		{"folder for 2", "DIR:/etc/docker/registry", nil},
		{"folder for 3", "DIR:/etc/distribution", nil},
		{"path", "DIR:/conf", []string{"/conf/config.yml"}},
		{"serve", "DIR:/conf", []string{"serve", "/conf/config.yml"}},
		{"registry serve", "DIR:/etc/distribution", []string{"/bin/registry", "serve", "/etc/distribution/config.yml"}},
		{"serve, by its default", "DIR:/etc/docker/registry", []string{"serve"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			docker := realtest.Docker(t)
			addr, dir := freeAddr(t), folder(t, 0o755)
			writeFile(t, dir, "config.yml", "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: /var/lib/registry\nhttp:\n  addr: "+addr+"\n")
			args := append([]string{"-v", strings.ReplaceAll(tt.mount, "DIR", dir) + ":ro", image}, tt.command...)
			c := docker.Start(args...)
			awaitAnswer(t, c, addr)
			c.Stop()
		})
	}
}

// TestContainerHtpasswd makes the password file with the image, as the
// walk-through does, and lets it go through what PowerShell does to it.
func TestContainerHtpasswd(t *testing.T) {
	docker := realtest.Docker(t)
	image := docker.BerthImage()
	line := docker.Out("run", "--rm", "--network", "none", "--entrypoint", "htpasswd", image, "-Bbn", "alice", "secret")
	if !strings.HasPrefix(line, "alice:$2y$") {
		t.Fatalf("htpasswd printed %q", line)
	}
	tests := []struct{ name, file string }{
		{"a shell's >", line + "\n\n"},
		{"Set-Content -Encoding ASCII", line + "\r\n\r\n"},
		{"PowerShell's bare >", utf16LE(line + "\r\n\r\n")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			docker := realtest.Docker(t)
			addr, auth := freeAddr(t), folder(t, 0o755)
			writeFile(t, auth, "htpasswd", tt.file)
			c := docker.Start("-e", "REGISTRY_HTTP_ADDR="+addr, "-e", "REGISTRY_AUTH=htpasswd", "-e", "REGISTRY_AUTH_HTPASSWD_REALM=Registry Realm",
				"-e", "REGISTRY_AUTH_HTPASSWD_PATH=/auth/htpasswd", "-v", auth+":/auth", image)
			c.AwaitHealthy()
			ref := docker.Build(addr+"/app:v1", realtest.Image{Layers: []int64{1000}, Seed: 12})
			wantText(t, docker.Fails("push", ref), "no basic auth credentials")
			wantText(t, docker.Input("secret").Run("login", "-u", "alice", "--password-stdin", addr), "Login Succeeded")
			docker.Run("push", ref)
			docker.Run("image", "remove", ref)
		})
	}
}

// utf16LE is what PowerShell 5 makes of text.
func utf16LE(s string) string {
	b := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return string(b)
}

// TestOtherPrograms loads the archives with podman and skopeo.
func TestOtherPrograms(t *testing.T) {
	dist := realtest.Dist(t)
	t.Run("podman", func(t *testing.T) {
		podman := realtest.Podman(t)
		wantText(t, podman.Run("load", "-i", filepath.Join(dist, imageFile())), "berth:latest")
		wantText(t, podman.Run("image", "inspect", "berth:latest"), "/entrypoint.sh")
	})
	t.Run("skopeo", func(t *testing.T) {
		skopeo := realtest.Skopeo(t)
		wantText(t, skopeo.Run("inspect", "--config", "oci-archive:"+filepath.Join(dist, imageFile())), "/entrypoint.sh")
		wantText(t, skopeo.Run("inspect", "--raw", "oci-archive:"+filepath.Join(dist, "berth-image-oci.tar")), "image.index.v1")
	})
	t.Run("downloads", func(t *testing.T) {
		dir := t.TempDir()
		run := func(name string, args ...string) string {
			cmd := exec.Command(name, args...)
			cmd.Dir = dir
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%s %v: %v\n%s", name, args, err, out)
			}
			return string(out)
		}
		archive := programFolder()
		run("tar", "xzf", filepath.Join(dist, archive+".tar.gz"))
		wantText(t, run("./"+archive+"/berth", "--version"), "berth ")
	})
}
