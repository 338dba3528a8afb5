package realtest

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Dist returns a folder with the downloads and the image for this machine's
// processor, as make dist makes them, made when first asked for.
func Dist(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(sharedDir(t), "dist")
	process.Lock()
	b := process.builds[dir]
	if b == nil {
		b = &build{path: dir}
		process.builds[dir] = b
	}
	process.Unlock()
	b.once.Do(func() {
		cmd := exec.Command("go", "run", "./build/dist", "-out", dir, "-platforms", "linux/"+runtime.GOARCH, "-pgo", "off")
		if cmd.Dir, b.err = moduleRoot(); b.err != nil {
			return
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			b.err = fmt.Errorf("build/dist: %w\n%s", err, out)
		}
	})
	if b.err != nil {
		t.Fatal(b.err)
	}
	return dir
}

// BerthImage loads the image that make dist makes into the engine, and returns
// its name.
func (d *DockerCLI) BerthImage() string {
	d.t.Helper()
	const name = "berth:latest"
	if _, err := d.Try("image", "inspect", name); err != nil {
		d.Run("load", "-i", filepath.Join(Dist(d.t), "berth-image-"+runtime.GOARCH+".tar"))
	}
	return name
}

// A Container is a running container. It is removed after the test.
type Container struct {
	Name   string
	docker *DockerCLI
}

// Start runs `docker run -d` in the host's network with more arguments: options,
// the image, and its arguments. Its health is asked for more often than the
// image says, unless an option says otherwise.
func (d *DockerCLI) Start(args ...string) *Container {
	d.t.Helper()
	c := &Container{docker: d}
	c.Name = d.Out(append([]string{"run", "-d", "--network", "host", "--health-interval", "500ms"}, args...)...)
	d.t.Cleanup(func() {
		if d.t.Failed() {
			d.t.Logf("the end of the container's log:\n%s", c.tail())
		}
		d.Run("rm", "-f", c.Name)
	})
	return c
}

func (c *Container) tail() string {
	out, _ := c.docker.Try("logs", "--tail", "40", c.Name)
	return out
}

// Log returns all that the container has written.
func (c *Container) Log() string { c.docker.t.Helper(); return c.docker.Run("logs", c.Name) }

// Inspect returns one fact about the container, by a template.
func (c *Container) Inspect(format string) string {
	c.docker.t.Helper()
	return c.docker.Out("inspect", "-f", format, c.Name)
}

// AwaitHealthy waits until docker says that the container is healthy.
func (c *Container) AwaitHealthy() {
	c.docker.t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		state := c.Inspect("{{.State.Status}} {{.State.Health.Status}}")
		if state == "running healthy" {
			return
		}
		if !strings.HasPrefix(state, "running") {
			c.docker.t.Fatalf("the container is %s\n%s", state, c.tail())
		}
	}
	c.docker.t.Fatalf("the container is not healthy after a minute: %s\n%s", c.Inspect("{{json .State.Health}}"), c.tail())
}

// Exec runs a command in the container, which must succeed.
func (c *Container) Exec(args ...string) string {
	c.docker.t.Helper()
	return c.docker.Run(append([]string{"exec", c.Name}, args...)...)
}

// Stop ends the container as docker stop does, with half a minute of patience,
// and returns its exit code.
func (c *Container) Stop() string {
	c.docker.t.Helper()
	c.docker.Run("stop", "-t", "30", c.Name)
	return c.Inspect("{{.State.ExitCode}}")
}

// Again starts the stopped container.
func (c *Container) Again() { c.docker.t.Helper(); c.docker.Run("start", c.Name) }

// Sources returns the root folder of the sources.
func Sources(t testing.TB) string {
	t.Helper()
	dir, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// Container returns a container that another program has started.
func (d *DockerCLI) Container(name string) *Container { return &Container{Name: name, docker: d} }
