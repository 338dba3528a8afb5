package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A mode is how a registry is reached.
type mode string

const (
	plain     mode = ""
	passwords mode = "htpasswd" // bcrypt of cost 10
	secured   mode = "tls"
)

// A contestant is a registry that is measured.
type contestant struct {
	name string
	url  string // of one that runs already; it is not started

	// command starts it: its data belong into dir, and it listens on addr.
	command func(dir, addr string, m mode) (*exec.Cmd, error)
	modes   []mode
}

// A target is a contestant that runs.
type target struct {
	contestant    contestant
	addr          string
	dir           string
	authorization string
	tls           *tls.Config
	process       process // 0 if it is somewhere else
	cmd           *exec.Cmd
	ended         chan error
	seed          uint64 // grows, so that nothing is pushed twice by accident

	// What the workload that is measured has made ready.
	images   []image
	doomed   []image
	blob     blob
	variants variants
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
	all := []mode{plain, passwords, secured}
	self, _ := os.Executable()
	return []contestant{
		{name: "berth", modes: all, command: func(dir, addr string, m mode) (*exec.Cmd, error) {
			args := []string{"serve", "--data", dir, "--listen", addr}
			switch m {
			case passwords:
				args = append(args, "--htpasswd", f.htpasswd())
			case secured:
				args = append(args, "--tls-cert", f.cert(), "--tls-key", f.key())
			}
			cmd := exec.Command(berth, args...)
			cmd.Env = append(cmd.Environ(), "BERTH_LOG_ACCESS=true")
			return cmd, nil
		}},
		{name: "floor", modes: []mode{plain, secured}, command: func(dir, addr string, m mode) (*exec.Cmd, error) {
			args := []string{"floor", dir, addr}
			if m == secured {
				args = append(args, f.cert(), f.key())
			}
			return exec.Command(self, args...), nil
		}},
		{name: "distribution", modes: all, command: func(dir, addr string, m mode) (*exec.Cmd, error) {
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

// distributionConfig is what its documentation recommends for one machine, with
// deleting on and the access log to a file as with the others.
func distributionConfig(f files, dir, addr string, m mode) string {
	text := fmt.Sprintf("version: 0.1\nlog: {accesslog: {disabled: false}, level: info}\nstorage:\n  filesystem: {rootdirectory: %s}\n  cache: {blobdescriptor: inmemory}\n  delete: {enabled: true}\nhttp:\n  addr: %s\n",
		filepath.Join(dir, "data"), addr)
	switch m {
	case passwords:
		text += fmt.Sprintf("auth: {htpasswd: {realm: bench, path: %s}}\n", f.htpasswd())
	case secured:
		text += fmt.Sprintf("  tls: {certificate: %s, key: %s}\n", f.cert(), f.key())
	}
	return text
}

// start runs a contestant on an empty directory.
func (c contestant) start(ctx context.Context, f files, m mode) (*target, error) {
	t := &target{contestant: c, seed: uint64(time.Now().UnixNano()) << 20}
	if m == passwords {
		t.authorization = "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
	}
	if c.url != "" {
		return t, t.remote(c.url)
	}
	var err error
	if t.dir, err = os.MkdirTemp(f.dir, c.name+"-"); err != nil {
		return nil, err
	}
	return t, t.launch(ctx, f, m)
}

// remote makes t one that runs already.
func (t *target) remote(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return fmt.Errorf("--url %s: write it as http://host:port", address)
	}
	t.addr = u.Host
	if u.Scheme == "https" {
		t.tls = &tls.Config{ServerName: u.Hostname(), MinVersion: tls.VersionTLS12}
	}
	if u.User != nil {
		secret, _ := u.User.Password()
		t.authorization = "Basic " + base64.StdEncoding.EncodeToString([]byte(u.User.Username()+":"+secret))
	}
	return nil
}

// launch starts the process and waits until it answers.
func (t *target) launch(ctx context.Context, f files, m mode) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	t.addr = l.Addr().String()
	l.Close()
	if m == secured {
		pem, err := os.ReadFile(f.ca())
		if err != nil {
			return err
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(pem)
		t.tls = &tls.Config{RootCAs: pool, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS13, ClientSessionCache: tls.NewLRUClientSessionCache(64)}
	}
	if t.cmd, err = t.contestant.command(t.dir, t.addr, m); err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(t.dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	t.cmd.Stdout, t.cmd.Stderr = log, log
	if err := t.cmd.Start(); err != nil {
		return err
	}
	t.process = process{t.cmd.Process.Pid}
	t.ended = make(chan error, 1)
	go func() { t.ended <- t.cmd.Wait() }()
	return t.await(ctx)
}

// await waits until the registry answers.
func (t *target) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		if c, err := dial(t); err == nil {
			a, err := c.do(request{method: "GET", path: "/v2/"})
			c.close()
			if err == nil && a.status == 200 {
				return nil
			}
		}
		select {
		case err := <-t.ended:
			said, _ := os.ReadFile(filepath.Join(t.dir, "log"))
			return fmt.Errorf("%s ended (%w): %s", t.contestant.name, err, strings.TrimSpace(string(said)))
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer on %s: %w", t.contestant.name, t.addr, ctx.Err())
		case <-time.After(time.Millisecond):
		}
	}
}

// halt ends the process and keeps its data.
func (t *target) halt() error {
	if t.cmd == nil {
		return nil
	}
	err := t.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-t.ended:
	case <-time.After(time.Minute):
		err = errors.Join(fmt.Errorf("%s does not end", t.contestant.name), t.cmd.Process.Kill())
	}
	t.cmd = nil
	return err
}

// stop ends the process and removes its data.
func (t *target) stop() error {
	err := t.halt()
	if t.dir != "" {
		err = errors.Join(err, os.RemoveAll(t.dir))
	}
	return err
}

// unique returns a number that was not used before.
func (t *target) unique() uint64 {
	t.seed++
	return t.seed
}
