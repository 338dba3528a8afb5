package main

import (
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// A mode is how a registry is reached, or what it does meanwhile.
type mode string

const (
	plain      mode = ""
	passwords  mode = "htpasswd" // bcrypt of cost 10
	secured    mode = "tls"
	collecting mode = "collecting" // garbage, as soon as there is any
)

// grace is how long garbage is kept in the mode collecting.
const grace = 3 * time.Second

// A contestant is a registry that is measured.
type contestant struct {
	name    string
	program string // that it is, to be looked at
	url     string // of one that runs already; it is not started

	// command starts it: its data belong into dir, and it listens on addr.
	command func(dir, addr string, m mode) (*exec.Cmd, error)
	modes   []mode

	// plant puts a manifest, whose parts and whose bytes it has, under a name
	// into its directory, in the form in which it keeps them itself. Only used
	// to make a large store ready; nil is: by its API.
	plant func(dir, repo, tag string, img image) error
}

// files are what the contestants of a run share: a password and a certificate.
type files struct {
	dir string
}

const user, password = "bench", "correct horse"

func (f files) htpasswd() string { return filepath.Join(f.dir, "htpasswd") }
func (f files) cert() string     { return filepath.Join(f.dir, "cert.pem") }
func (f files) key() string      { return filepath.Join(f.dir, "key.pem") }
func (f files) ca() string       { return filepath.Join(f.dir, "ca.crt") }

// contestants are those that this program can start.
func contestants(f files, berth, distribution string) []contestant {
	self, _ := os.Executable()
	return []contestant{
		berthAs("berth", berth, f),
		{name: "floor", modes: []mode{plain, secured, collecting}, command: func(dir, addr string, m mode) (*exec.Cmd, error) {
			args := []string{"floor", dir, addr}
			if m == secured {
				args = append(args, f.cert(), f.key())
			}
			return exec.Command(self, args...), nil
		}},
		{name: "distribution", program: distribution, modes: []mode{plain, passwords, secured, collecting}, plant: plant, command: func(dir, addr string, m mode) (*exec.Cmd, error) {
			config := filepath.Join(dir, "config.yml")
			if err := os.WriteFile(config, []byte(distributionConfig(f, dir, addr, m)), 0o600); err != nil {
				return nil, err
			}
			cmd := exec.Command(distribution, "serve", config)
			cmd.Env = append(cmd.Environ(), "OTEL_TRACES_EXPORTER=none")
			return cmd, nil
		}},
	}
}

// berthAs is a program of Berth that takes part under a name.
func berthAs(name, program string, f files) contestant {
	return contestant{name: name, program: program, modes: []mode{plain, passwords, secured, collecting}, command: func(dir, addr string, m mode) (*exec.Cmd, error) {
		return berthCommand(f, program, dir, addr, m), nil
	}}
}

// berthCommand starts Berth as it is: what is set is what the mode asks for. Its
// access log is on, as it is by default.
func berthCommand(f files, berth, dir, addr string, m mode) *exec.Cmd {
	args := []string{"serve", "--data", filepath.Join(dir, "data"), "--listen", addr}
	switch m {
	case passwords:
		args = append(args, "--htpasswd", f.htpasswd())
	case secured:
		args = append(args, "--tls-cert", f.cert(), "--tls-key", f.key())
	}
	cmd := exec.Command(berth, args...)
	for _, v := range os.Environ() { // whatever else is set there is not measured
		if !strings.HasPrefix(v, "BERTH_") && !strings.HasPrefix(v, "REGISTRY_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	if m == collecting {
		cmd.Env = append(cmd.Env, "BERTH_GC_EVERY=1s", "BERTH_GC_GRACE="+grace.String(), "BERTH_GC_DELAY=0s", "BERTH_TRASH_KEEP=0s")
	}
	return cmd
}

// distributionConfig is what its documentation recommends for one machine:
// descriptors of blobs are cached in memory. Deleting is on, and of each request
// it logs one line, as Berth does; at its default level it would log two.
func distributionConfig(f files, dir, addr string, m mode) string {
	text := fmt.Sprintf("version: 0.1\nlog: {accesslog: {disabled: false}, level: warn}\nstorage:\n  filesystem: {rootdirectory: %s}\n  cache: {blobdescriptor: inmemory}\n  delete: {enabled: true}\nhttp:\n  addr: %s\n",
		filepath.Join(dir, "data"), addr)
	switch m {
	case passwords:
		text += fmt.Sprintf("auth: {htpasswd: {realm: bench, path: %s}}\n", f.htpasswd())
	case secured:
		text += fmt.Sprintf("  tls: {certificate: %s, key: %s}\n", f.cert(), f.key())
	}
	return text
}

// A program is what a contestant is.
type program struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Size    int64  `json:"size_bytes,omitempty"`
}

// about says which program a contestant is.
func (c contestant) about() program {
	p := program{Name: c.name, Version: "of this bench"}
	if c.url != "" {
		p.Version = "where --url says"
	}
	if c.program == "" {
		return p
	}
	p.Version = "unknown"
	if info, err := os.Stat(c.program); err == nil {
		p.Size = info.Size()
	}
	if info, err := buildinfo.ReadFile(c.program); err == nil {
		p.Version = info.Main.Version
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				p.Version += " " + s.Value[:min(12, len(s.Value))]
			case s.Key == "vcs.modified" && s.Value == "true":
				p.Version += " and changes"
			}
		}
	}
	return p
}

// plant is how distribution keeps a name: files that hold nothing but a digest.
// It syncs nothing: a crash while something is measured is no concern.
func plant(dir, repo, tag string, img image) error {
	root := filepath.Join(dir, "data", "docker", "registry", "v2", "repositories", repo)
	link := func(digest string, at ...string) error {
		path := filepath.Join(append([]string{root}, at...)...)
		if _, err := os.Stat(filepath.Join(path, "link")); err == nil {
			return nil
		}
		if err := os.MkdirAll(path, 0o777); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(path, "link"), []byte(digest), 0o666)
	}
	algorithm := func(digest string) string { return strings.Replace(digest, ":", string(filepath.Separator), 1) }
	for _, b := range img.parts {
		if err := link(b.digest, "_layers", algorithm(b.digest)); err != nil {
			return err
		}
	}
	d := img.manifest.digest
	if err := link(d, "_manifests", "revisions", algorithm(d)); err != nil {
		return err
	}
	if err := link(d, "_manifests", "tags", tag, "index", algorithm(d)); err != nil {
		return err
	}
	return link(d, "_manifests", "tags", tag, "current")
}
