package realtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// An engine is the docker engine that the tests of a process share.
type engine struct {
	dir   string
	host  string // unix:///…
	child *child
	err   error
}

// A DockerCLI is the docker client, talking to the engine of this process.
type DockerCLI struct {
	*CLI
	Host string // of the engine, for other programs: DOCKER_HOST
}

// Docker returns a docker client with log-ins of its own. The first call of a
// process starts the engine, which has no network: run containers with
// --network host and build with --network none. All tests of the process share
// its images, so give them names that only your test uses.
func Docker(t testing.TB) *DockerCLI {
	t.Helper()
	Root(t)
	for _, tool := range []string{"docker", "dockerd", "containerd", "runc"} {
		Tool(t, tool)
	}
	e := sharedEngine(t)
	c := NewCLI(t, "docker")
	// BuildKit would want a builder that can reach a network.
	c.env = append(c.env, "DOCKER_HOST="+e.host, "DOCKER_BUILDKIT=0", "DOCKER_CLI_HINTS=false", "BUILDKIT_PROGRESS=plain")
	return &DockerCLI{CLI: c, Host: e.host}
}

func sharedEngine(t testing.TB) *engine {
	t.Helper()
	dir := sharedDir(t)
	process.Lock()
	defer process.Unlock()
	if process.engine == nil {
		process.engine = startEngine(filepath.Join(dir, "d"), Tool(t, "dockerd"), Tool(t, "docker"))
	}
	if process.engine.err != nil {
		t.Fatal(process.engine.err)
	}
	return process.engine
}

// startEngine starts dockerd with everything it has below dir, and waits until
// it answers.
func startEngine(dir, dockerd, docker string) *engine {
	e := &engine{dir: dir, host: "unix://" + filepath.Join(dir, "s")}
	if e.err = os.MkdirAll(dir, 0o700); e.err != nil {
		return e
	}
	logPath := filepath.Join(dir, "log")
	log, err := os.Create(logPath)
	if err != nil {
		e.err = err
		return e
	}
	defer log.Close()
	config := filepath.Join(dir, "daemon.json") // not the machine's
	if e.err = os.WriteFile(config, []byte("{}\n"), 0o600); e.err != nil {
		return e
	}
	// The namespaces matter where a containerd of the machine's own is running:
	// dockerd then uses that one.
	name := fmt.Sprintf("berth-test-%d", os.Getpid())
	cmd := exec.Command(dockerd,
		"--config-file", config, "--data-root", filepath.Join(dir, "root"), "--exec-root", filepath.Join(dir, "exec"),
		"--pidfile", filepath.Join(dir, "pid"), "-H", e.host,
		"--bridge=none", "--iptables=false", "--ip6tables=false",
		"--containerd-namespace", name, "--containerd-plugins-namespace", name+"-plugins")
	cmd.Env = append(cleanEnv(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	cmd.Stdout, cmd.Stderr = log, log
	if e.child, e.err = startChild(cmd, syscall.SIGTERM); e.err != nil {
		return e
	}
	e.err = e.await(docker)
	if e.err != nil {
		text, _ := os.ReadFile(logPath)
		e.err = fmt.Errorf("dockerd: %w\n%s", e.err, text)
	}
	return e
}

func (e *engine) await(docker string) error {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		cmd := exec.Command(docker, "version")
		cmd.Env = append(os.Environ(), "DOCKER_HOST="+e.host, "DOCKER_CONFIG="+e.dir)
		if cmd.Run() == nil {
			return nil
		}
		if e.child.ended() {
			return e.child.err
		}
	}
	return errors.New("does not answer after a minute")
}

// stop ends the engine; it ends the containerd it has started. What it left
// mounted is unmounted, so that its folder can be removed.
func (e *engine) stop() {
	if e.child != nil && !e.child.signal(syscall.SIGTERM, 30*time.Second) {
		fmt.Fprintln(os.Stderr, "realtest: dockerd had to be killed")
		e.killContainerd()
	}
	if err := unmountBelow(e.dir); err != nil {
		fmt.Fprintln(os.Stderr, "realtest:", err)
	}
}

// killContainerd ends the containerd that a killed dockerd left behind: the one
// whose process id dockerd wrote down, if that still is one of ours.
func (e *engine) killContainerd() {
	text, err := os.ReadFile(filepath.Join(e.dir, "exec", "containerd", "containerd.pid"))
	if err != nil {
		return
	}
	var pid int
	if _, err := fmt.Sscan(string(text), &pid); err != nil || pid <= 1 {
		return
	}
	args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || !strings.Contains(string(args), e.dir) {
		return
	}
	if p, err := os.FindProcess(pid); err == nil {
		p.Kill()
	}
}
