package clients

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"berth/test/realtest"
)

// A wire is how a registry is to be talked to.
type wire string

const (
	plainHTTP wire = "plain HTTP"
	verified  wire = "TLS, and the certificate has to be right"
)

// A program is one of the clients, told what to push. Its functions return what
// the program printed.
type program struct {
	login  func(addr, user, password string) (string, error)
	logout func(addr string)
	push   func(ref string) (string, error)
	pull   func(ref string) (string, error) // to where nothing is, and compares

	// Not every program can do the rest, which is nil then.
	tags    func(repo string) string
	catalog func(addr string) string
	remove  func(ref string)

	checksNoPassword bool // its login believes everything
}

// A maker makes a program that pushes the image l, or as much of it as it can.
type maker func(t *testing.T, w wire, env []string, l realtest.Layout) program

func makers() map[string]maker {
	return map[string]maker{
		"docker": makeDocker, "podman": makePodman, "buildah": makeBuildah, "skopeo": makeSkopeo,
		"crane": makeCrane, "oras": makeOras, "regctl": makeRegctl, "helm": makeHelm,
	}
}

// on returns the flag that a program wants over plain HTTP, and none otherwise.
func (w wire) on(flag string) []string {
	if w == plainHTTP {
		return []string{flag}
	}
	return nil
}

// words joins arguments and lists of them.
func words(parts ...any) []string {
	var list []string
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			list = append(list, p)
		case []string:
			list = append(list, p...)
		}
	}
	return list
}

// makeSkopeo's program preserves digests: skopeo remembers for the whole machine
// which layers podman has packed in another way, and would take those instead.
func makeSkopeo(t *testing.T, w wire, env []string, l realtest.Layout) program {
	c := realtest.Skopeo(t).With(env...)
	insecure := w.on("--tls-verify=false")
	return program{
		login: func(addr, user, password string) (string, error) {
			return c.Try(words("login", insecure, "-u", user, "-p", password, addr)...)
		},
		logout: func(addr string) { c.Run("logout", addr) },
		push: func(ref string) (string, error) {
			return c.Try(words("copy", "--all", "--preserve-digests", w.on("--dest-tls-verify=false"), "oci:"+l.Ref(), "docker://"+ref)...)
		},
		pull: func(ref string) (string, error) {
			dir := emptyDir(t)
			out, err := c.Try(words("copy", "--all", "--preserve-digests", w.on("--src-tls-verify=false"), "docker://"+ref, "oci:"+dir+":latest")...)
			if err == nil {
				err = holds(dir, l)
			}
			return out, err
		},
		tags:   func(repo string) string { return c.Run(words("list-tags", insecure, "docker://"+repo)...) },
		remove: func(ref string) { c.Run(words("delete", insecure, "docker://"+ref)...) },
	}
}

func makeCrane(t *testing.T, _ wire, env []string, l realtest.Layout) program {
	c := realtest.Crane(t).With(env...)
	return program{
		login: func(addr, user, password string) (string, error) {
			return c.Try("auth", "login", addr, "-u", user, "-p", password)
		},
		logout: func(addr string) { c.Run("auth", "logout", addr) },
		push:   func(ref string) (string, error) { return c.Try("push", l.Dir, ref) },
		pull: func(ref string) (string, error) {
			dir := emptyDir(t)
			out, err := c.Try("pull", "--format=oci", ref, dir)
			if err == nil {
				err = holds(dir, l)
			}
			return out, err
		},
		tags:             func(repo string) string { return c.Run("ls", repo) },
		catalog:          func(addr string) string { return c.Run("catalog", addr) },
		remove:           func(ref string) { c.Run("delete", ref) },
		checksNoPassword: true,
	}
}

func makeOras(t *testing.T, w wire, env []string, l realtest.Layout) program {
	c := realtest.Oras(t).With(env...)
	insecure := w.on("--plain-http")
	return program{
		login: func(addr, user, password string) (string, error) {
			return c.Input(password).Try(words("login", insecure, "-u", user, "--password-stdin", addr)...)
		},
		logout: func(addr string) { c.Run("logout", addr) },
		push: func(ref string) (string, error) {
			return c.Try(words("cp", w.on("--to-plain-http"), "--from-oci-layout", l.Ref(), ref)...)
		},
		pull: func(ref string) (string, error) {
			dir := emptyDir(t)
			out, err := c.Try(words("cp", w.on("--from-plain-http"), ref, "--to-oci-layout", dir+":latest")...)
			if err == nil {
				err = holds(dir, l)
			}
			return out, err
		},
		tags:    func(repo string) string { return c.Run(words("repo", "tags", insecure, repo)...) },
		catalog: func(addr string) string { return c.Run(words("repo", "ls", insecure, addr)...) },
		remove:  func(ref string) { c.Run(words("manifest", "delete", "--force", insecure, ref)...) },
	}
}

func makeRegctl(t *testing.T, w wire, env []string, l realtest.Layout) program {
	c := realtest.Regctl(t).With(env...)
	// It wants to be told of each registry once.
	known := func(addr string) {
		if w == plainHTTP {
			c.Run("registry", "set", addr, "--tls", "disabled", "--skip-check")
		}
	}
	host := func(ref string) string { addr, _, _ := strings.Cut(ref, "/"); return addr }
	return program{
		login: func(addr, user, password string) (string, error) {
			known(addr)
			return c.Input(password).Try("registry", "login", addr, "-u", user, "--pass-stdin")
		},
		logout: func(addr string) { c.Run("registry", "logout", addr) },
		push: func(ref string) (string, error) {
			known(host(ref))
			return c.Try("image", "copy", "ocidir://"+l.Ref(), ref)
		},
		pull: func(ref string) (string, error) {
			known(host(ref))
			dir := emptyDir(t)
			out, err := c.Try("image", "copy", ref, "ocidir://"+dir+":latest")
			if err == nil {
				err = holds(dir, l)
			}
			return out, err
		},
		tags:    func(repo string) string { return c.Run("tag", "ls", repo) },
		catalog: func(addr string) string { return c.Run("repo", "ls", addr) },
		remove:  func(ref string) { c.Run("tag", "delete", ref) },
	}
}

// store is what podman and buildah have in common. The identity of an image is
// the digest of its config, which holds the digests of what is in its layers,
// and both programs check them when they unpack.
func store(c *realtest.CLI, w wire, l realtest.Layout) program {
	insecure := w.on("--tls-verify=false")
	var id string
	return program{
		login: func(addr, user, password string) (string, error) {
			return c.Try(words("login", insecure, "-u", user, "-p", password, addr)...)
		},
		logout: func(addr string) { c.Run("logout", addr) },
		push: func(ref string) (string, error) {
			id = c.Out("pull", "-q", "oci:"+l.Ref())
			return c.Try(words("push", insecure, id, "docker://"+ref)...)
		},
		pull: func(ref string) (string, error) {
			if images := c.Out("images", "-q"); images != "" {
				c.Run("rmi", "--all", "--force")
			}
			out, err := c.Try(words("pull", insecure, "-q", "docker://"+ref)...)
			if err == nil && !strings.Contains(out, l.Blobs[len(l.Blobs)-1][len("sha256:"):]) {
				err = fmt.Errorf("pulled %s, want the image with config %s", out, l.Blobs[len(l.Blobs)-1])
			}
			return out, err
		},
	}
}

func makePodman(t *testing.T, w wire, env []string, l realtest.Layout) program {
	c := realtest.Podman(t).With(env...)
	p := store(c, w, l)
	p.tags = func(repo string) string {
		return c.Run(words("search", "--list-tags", w.on("--tls-verify=false"), repo)...)
	}
	p.catalog = func(addr string) string {
		return c.Run(words("search", "--limit=100", w.on("--tls-verify=false"), addr+"/")...)
	}
	return p
}

func makeBuildah(t *testing.T, w wire, env []string, l realtest.Layout) program {
	return store(realtest.Buildah(t).With(env...), w, l)
}

// makeDocker's program pushes an image of its own, since docker reads no
// layouts. It needs no flag for plain HTTP on 127.0.0.0/8.
func makeDocker(t *testing.T, _ wire, _ []string, _ realtest.Layout) program {
	c := realtest.Docker(t)
	name := "clients/" + strings.ToLower(strings.NewReplacer("/", "-", " ", "-", ",", "-", "_", "-").Replace(t.Name()))
	c.Build(name, realtest.Image{Layers: []int64{100_000, 20}, Seed: seed(name)})
	saved := filepath.Join(c.Home, "saved.tar")
	c.Run("save", "-o", saved, name)
	id := c.Out("image", "inspect", "-f", "{{.Id}}", name)
	remove := func() { c.Try("image", "rm", "-f", id) }
	t.Cleanup(remove)
	return program{
		login: func(addr, user, password string) (string, error) {
			return c.Input(password).Try("login", "-u", user, "--password-stdin", addr)
		},
		logout: func(addr string) { c.Run("logout", addr) },
		push: func(ref string) (string, error) {
			c.Run("load", "-i", saved)
			c.Run("tag", name, ref)
			return c.Try("push", ref)
		},
		pull: func(ref string) (string, error) {
			remove()
			if _, err := c.Try("image", "inspect", id); err == nil {
				return "", errors.New("the image is still here")
			}
			out, err := c.Try("pull", ref)
			if err != nil {
				return out, err
			}
			if got := c.Out("image", "inspect", "-f", "{{.Id}}", ref); got != id {
				err = fmt.Errorf("pulled %s, want %s", got, id)
			}
			return out, err
		},
	}
}

// makeHelm's program pushes a chart whose name and version are those of ref, and
// whose description is the layout's digest. It is packed once only: an archive
// has the time in it, and so has its manifest.
func makeHelm(t *testing.T, w wire, env []string, l realtest.Layout) program {
	c := realtest.Helm(t).With(env...)
	insecure := w.on("--plain-http")
	packed := func(ref string) string {
		repo, version, _ := strings.Cut(ref[strings.LastIndex(ref, "/"):], ":")
		return filepath.Join(c.Home, "out", path.Base(repo)+"-"+version+".tgz")
	}
	return program{
		login: func(addr, user, password string) (string, error) {
			return c.Input(password).Try(words("registry", "login", insecure, "-u", user, "--password-stdin", addr)...)
		},
		logout: func(addr string) { c.Run("registry", "logout", addr) },
		push: func(ref string) (string, error) {
			repo, version, _ := strings.Cut(ref[strings.LastIndex(ref, "/")+1:], ":")
			if _, err := os.Stat(packed(ref)); err != nil {
				writeChart(t, filepath.Join(c.Home, repo), repo, version, l.Digest)
				c.Run("package", filepath.Join(c.Home, repo), "-d", filepath.Join(c.Home, "out"))
			}
			return c.Try(words("push", insecure, packed(ref), "oci://"+path.Dir(ref))...)
		},
		pull: func(ref string) (string, error) {
			i := strings.LastIndex(ref, ":")
			dir := t.TempDir()
			out, err := c.Try(words("pull", insecure, "oci://"+ref[:i], "--version", ref[i+1:], "-d", dir)...)
			if err != nil {
				return out, err
			}
			want, err := os.ReadFile(packed(ref))
			if err != nil {
				return out, err
			}
			got, err := os.ReadFile(filepath.Join(dir, filepath.Base(packed(ref))))
			if err == nil && string(got) != string(want) {
				err = errors.New("the chart that was pulled is another one")
			}
			return out, err
		},
	}
}

func writeChart(t *testing.T, dir, name, version, description string) {
	t.Helper()
	files := map[string]string{
		"Chart.yaml":            "apiVersion: v2\nname: " + name + "\nversion: " + version + "\ndescription: \"" + description + "\"\n",
		"templates/config.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\n",
	}
	for file, text := range files {
		full := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
