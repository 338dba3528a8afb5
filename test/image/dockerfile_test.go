package image

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"berth/test/realtest"
)

// TestDockerfile builds the image with the Dockerfile, and holds that it is the
// one of make dist: the same files, with the same modes and owners, and the same
// settings. The network is not needed: the Go in the place of golang:1.26 is this
// machine's, and has the modules in its cache.
func TestDockerfile(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the program; not with -short")
	}
	docker := realtest.Docker(t)
	sources := filepath.Join(folder(t, 0o755), "sources")
	copySources(t, sources)
	docker.Run("build", "--network=none", "-q", "-t", "berth-by-dockerfile",
		"--build-arg", "GO_IMAGE="+goImage(t, docker), "--build-arg", "VERSION="+imageVersion(t, docker), "--build-arg", "PGO=off", sources)

	got, want := files(t, docker, "berth-by-dockerfile"), files(t, docker, docker.BerthImage())
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("other files than in the image of make dist (-dist +Dockerfile):\n%s", diff)
	}
	if len(want) < 15 {
		t.Errorf("the image holds %d files only", len(want))
	}
	gotSetup, wantSetup := setup(t, docker, "berth-by-dockerfile"), setup(t, docker, docker.BerthImage())
	if diff := cmp.Diff(wantSetup, gotSetup); diff != "" {
		t.Errorf("other settings than of the image of make dist (-dist +Dockerfile):\n%s", diff)
	}
	docker.Run("image", "rm", "berth-by-dockerfile")
}

// goImage makes an image with what golang:1.26 has that the Dockerfile uses, Go
// and a shell, and the modules that it would fetch.
func goImage(t *testing.T, docker *realtest.DockerCLI) string {
	t.Helper()
	dir := folder(t, 0o755)
	goroot, cache := goEnv(t, "GOROOT"), goEnv(t, "GOMODCACHE")
	goTool(t, []string{"GOMODCACHE=" + filepath.Join(dir, "mod"), "GOPROXY=file://" + filepath.Join(cache, "cache", "download"), "GOFLAGS=-modcacherw", "GONOSUMDB=*"},
		"list", "-deps", "./cmd/berth", "./build/dist")
	if err := os.MkdirAll(filepath.Join(dir, "go"), 0o755); err != nil {
		t.Fatal(err)
	}
	// What nobody reads who compiles: it need not be packed and unpacked.
	find(t, filepath.Join(dir, "mod"), "-name", "testdata", "-prune", "-exec", "rm", "-r", "{}", "+")
	find(t, filepath.Join(dir, "mod", "cache", "download"), "-name", "*.zip", "-delete")
	// What is of others Go need not compile in every run of this test: the cache of
	// that is kept, and lies in the image where Go looks for it.
	kept := filepath.Join(realtest.ToolsDir(t), "dockerfile-libraries")
	env := []string{"GOCACHE=" + kept, "CGO_ENABLED=0", "GOFLAGS=", "GOAMD64=v1", "GOARM64=v8.0"}
	const others = "{{if .Module}}{{if not .Module.Main}}{{.ImportPath}}{{end}}{{else}}{{.ImportPath}}{{end}}"
	libraries := strings.Fields(goTool(t, env, "list", "-deps", "-f", others, "./cmd/berth"))
	goTool(t, env, append([]string{"build", "-trimpath", "-buildvcs=false"}, libraries...)...)
	libraries = strings.Fields(goTool(t, env, "list", "-deps", "-f", others, "./build/dist"))
	goTool(t, env, append([]string{"build"}, libraries...)...)
	if out, err := exec.Command("cp", "-a", kept, filepath.Join(dir, "cache")).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v\n%s", err, out)
	}
	for _, part := range []string{"bin", "pkg", "src", "lib/time", "VERSION", "go.env", "LICENSE"} {
		to := filepath.Join(dir, "go", part)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("cp", "-a", filepath.Join(goroot, part), to).CombinedOutput(); err != nil {
			t.Fatalf("cp: %v\n%s", err, out)
		}
	}
	find(t, filepath.Join(dir, "go", "src"), "-mindepth", "1", "-maxdepth", "1", "-name", "cmd", "-exec", "rm", "-r", "{}", "+")
	if out, err := exec.Command("cp", realtest.Busybox(t), filepath.Join(dir, "sh")).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v\n%s", err, out)
	}
	if err := os.Mkdir(filepath.Join(dir, "tmp"), 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, dir, "Dockerfile", "FROM scratch\nCOPY go /usr/local/go\nCOPY mod /go/pkg/mod\nCOPY cache /cache\nCOPY sh /bin/sh\nCOPY tmp /tmp\n"+
		"ENV PATH=/usr/local/go/bin:/bin GOCACHE=/cache GOPROXY=off GOTOOLCHAIN=local GOPATH=/go\n")
	docker.Run("build", "--network=none", "-q", "-t", "go-for-berth", dir)
	return "go-for-berth"
}

func find(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("find", args...).CombinedOutput(); err != nil {
		t.Fatalf("find: %v\n%s", err, out)
	}
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	return strings.TrimSpace(goTool(t, nil, "env", name))
}

func goTool(t *testing.T, env []string, args ...string) string {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir = realtest.Sources(t)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %v: %v", args, err)
	}
	return string(out)
}

// copySources copies what the Dockerfile gets: .dockerignore leaves out the rest.
func copySources(t *testing.T, to string) {
	t.Helper()
	from := realtest.Sources(t)
	ignored, err := os.ReadFile(filepath.Join(from, ".dockerignore"))
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(to, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if slices.Contains(strings.Fields(string(ignored)), e.Name()) {
			continue
		}
		if out, err := exec.Command("cp", "-a", filepath.Join(from, e.Name()), to).CombinedOutput(); err != nil {
			t.Fatalf("cp: %v\n%s", err, out)
		}
	}
}

// imageVersion returns the version of the program in the image of make dist.
func imageVersion(t *testing.T, docker *realtest.DockerCLI) string {
	t.Helper()
	said := docker.Out("run", "--rm", "--network", "none", docker.BerthImage(), "berth", "--version")
	_, version, ok := strings.Cut(said, " ")
	if !ok {
		t.Fatalf("berth --version said %q", said)
	}
	return version
}

// A fileInfo is what matters of a file of an image. Dates don't.
type fileInfo struct {
	Type     byte
	Mode     int64
	Uid, Gid int
	Link     string
	Sum      [sha256.Size]byte
}

// files returns the files of an image, without those that docker adds to every
// container.
func files(t *testing.T, docker *realtest.DockerCLI, image string) map[string]fileInfo {
	t.Helper()
	id := docker.Out("create", "--network", "none", image)
	defer docker.Run("rm", "-v", id)
	cmd := docker.Command(context.Background(), "export", id)
	pipe, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]fileInfo)
	for archive := tar.NewReader(pipe); ; {
		h, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.New()
		if _, err := io.Copy(sum, archive); err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(h.Name, "/")
		if slices.Contains([]string{"dev", "proc", "sys", ".dockerenv", "etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab"}, name) ||
			strings.HasPrefix(name, "dev/") {
			continue
		}
		all[name] = fileInfo{h.Typeflag, h.Mode, h.Uid, h.Gid, h.Linkname, [sha256.Size]byte(sum.Sum(nil))}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return all
}

// setup returns how a container of an image runs, without what is empty.
func setup(t *testing.T, docker *realtest.DockerCLI, image string) map[string]any {
	t.Helper()
	var setup map[string]any
	if err := json.Unmarshal([]byte(docker.Out("image", "inspect", "-f", "{{json .Config}}", image)), &setup); err != nil {
		t.Fatal(err)
	}
	for _, made := range []string{"Image", "Hostname", "Domainname", "ArgsEscaped"} { // by the builder
		delete(setup, made)
	}
	for key, value := range setup {
		if value == nil || reflect.ValueOf(value).IsZero() {
			delete(setup, key)
		}
	}
	return setup
}
