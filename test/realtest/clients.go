package realtest

import (
	"path/filepath"
	"testing"
)

// Skopeo returns skopeo. Plain HTTP is --dest-tls-verify=false and
// --src-tls-verify=false, --tls-verify=false for the others.
func Skopeo(t testing.TB) *CLI {
	t.Helper()
	return NewCLI(t, "skopeo", "--insecure-policy")
}

// Podman returns podman with storage of its own, as root. Plain HTTP is
// --tls-verify=false.
func Podman(t testing.TB) *CLI {
	t.Helper()
	Root(t)
	c := NewCLI(t, "podman")
	c.args = append(storage(t, c), "--cgroup-manager", "cgroupfs", "--events-backend", "none")
	return c
}

// Buildah returns buildah with storage of its own, as root. Plain HTTP is
// --tls-verify=false.
func Buildah(t testing.TB) *CLI {
	t.Helper()
	Root(t)
	c := NewCLI(t, "buildah")
	c.args = storage(t, c)
	return c
}

// storage gives c a place for images, and sees that nothing stays mounted there.
func storage(t testing.TB, c *CLI) []string {
	t.Helper()
	dir := mkdir(t, shortDir(t), "storage") // podman takes no path longer than 50 characters
	t.Cleanup(func() {
		if err := unmountBelow(dir); err != nil {
			t.Error(err)
		}
	})
	return []string{"--root", filepath.Join(dir, "root"), "--runroot", filepath.Join(dir, "run"), "--storage-driver", "overlay"}
}

// Crane returns crane. It takes 127.0.0.1 for plain HTTP.
func Crane(t testing.TB) *CLI { t.Helper(); return NewCLI(t, "crane") }

// Oras returns oras. Plain HTTP is --plain-http.
func Oras(t testing.TB) *CLI { t.Helper(); return NewCLI(t, "oras") }

// Helm returns helm. Plain HTTP is --plain-http.
func Helm(t testing.TB) *CLI { t.Helper(); return NewCLI(t, "helm") }

// Regctl returns regctl, told that the registries at addrs speak plain HTTP.
func Regctl(t testing.TB, addrs ...string) *CLI {
	t.Helper()
	c := NewCLI(t, "regctl")
	c.env = append(c.env, "REGCTL_CONFIG="+filepath.Join(c.Home, "regctl.json"))
	for _, addr := range addrs {
		c.Run("registry", "set", addr, "--tls", "disabled", "--skip-check")
	}
	return c
}
