package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A target is a contestant with a store of its own, which runs or not.
type target struct {
	contestant    contestant
	files         files
	mode          mode // in which it runs
	addr          string
	dir           string
	authorization string
	tls           *tls.Config
	h2            *http.Client // over TLS; nil otherwise
	process       process      // 0 if it is somewhere else
	cmd           *exec.Cmd
	ended         chan error
	profiled      bool   // it is asked for profiles
	inspected     string // where it answers that; empty if it does not

	stock *stock
	seed  uint64 // grows, so that nothing is pushed twice by accident
	first uint64 // of the seeds of the measurement

	// What lies in the store, by the name of the supply.
	supplies map[string]supplied
	supplied            // of the workload that is measured
	repos    int        // how many repositories were made
	fresh    chan image // which can be deleted
	mu       sync.Mutex
	doomed   []image // which are there to be deleted, in
	doomedIn string  // this repository; guarded by mu
}

// A supplied is what a supply has put into the store.
type supplied struct {
	images []image
	blob   blob
}

// open gives a contestant an empty directory. Nothing runs yet.
func (c contestant) open(f files, s *stock) (*target, error) {
	t := &target{contestant: c, files: f, stock: s, seed: uint64(time.Now().UnixMicro()), supplies: make(map[string]supplied)}
	if c.url != "" {
		return t, t.remote(c.url)
	}
	var err error
	t.dir, err = os.MkdirTemp(f.dir, c.name+"-")
	return t, err
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
		t.authorization = basic(u.User.Username(), secret)
	}
	return nil
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// launch starts the process in a mode and waits until it answers a path.
func (t *target) launch(ctx context.Context, m mode, path string) error {
	if t.contestant.command == nil {
		return nil
	}
	var err error
	if t.addr, err = free(); err != nil {
		return err
	}
	if err := t.reach(m); err != nil {
		return err
	}
	cmd, err := t.contestant.command(t.dir, t.addr, m)
	if err != nil {
		return err
	}
	if t.profiled && t.contestant.name == us {
		if t.inspected, err = free(); err != nil {
			return err
		}
		cmd.Args = append(cmd.Args, "--metrics", t.inspected)
	}
	log, err := os.OpenFile(filepath.Join(t.dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	t.cmd, t.process = cmd, process{cmd.Process.Pid}
	t.ended = make(chan error, 1)
	go func() { t.ended <- cmd.Wait() }()
	return t.await(ctx, path)
}

// reach prepares the client for a mode.
func (t *target) reach(m mode) error {
	t.mode, t.authorization, t.tls, t.h2 = m, "", nil, nil
	switch m {
	case passwords:
		t.authorization = basic(user, password)
	case secured:
		pem, err := os.ReadFile(t.files.ca())
		if err != nil {
			return err
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(pem)
		t.trust(pool)
	}
	return nil
}

// trust makes t one that is reached over TLS.
func (t *target) trust(pool *x509.CertPool) {
	t.tls = &tls.Config{RootCAs: pool, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS13, ClientSessionCache: tls.NewLRUClientSessionCache(64)}
	var only http.Protocols
	only.SetHTTP2(true)
	t.h2 = &http.Client{Timeout: patience, Transport: &http.Transport{TLSClientConfig: t.tls.Clone(), Protocols: &only, DisableCompression: true}}
}

// await waits until the registry answers a path.
func (t *target) await(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		if c, err := dial(t); err == nil {
			a, err := c.do(request{method: "GET", path: path, accept: manifestType})
			c.close()
			if err == nil && a.status == 200 {
				return nil
			}
		}
		select {
		case err := <-t.ended:
			t.cmd, t.process = nil, process{}
			return fmt.Errorf("%s ended (%w): %s", t.contestant.name, err, t.said())
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer %s: %w", t.contestant.name, path, ctx.Err())
		case <-time.After(500 * time.Microsecond):
		}
	}
}

// said is the end of the log.
func (t *target) said() string {
	b, _ := os.ReadFile(filepath.Join(t.dir, "log"))
	return strings.TrimSpace(string(b[max(0, len(b)-1000):]))
}

// halt ends the process and keeps its data.
func (t *target) halt() error {
	if t.h2 != nil {
		t.h2.CloseIdleConnections()
	}
	if t.cmd == nil {
		return nil
	}
	cmd := t.cmd
	t.cmd, t.process = nil, process{}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		<-t.ended
		return fmt.Errorf("%s had ended: %s", t.contestant.name, t.said())
	}
	select {
	case <-t.ended:
		return nil
	case <-time.After(time.Minute):
		err := cmd.Process.Kill()
		<-t.ended
		return errors.Join(fmt.Errorf("%s did not end when it was told to", t.contestant.name), err)
	}
}

// clear ends the process and gives back the space of its data. The names of the
// files stay until the end of all: ext4 without a journal reuses no inode for a
// minute or more after it was freed, and looks past each of them whenever a file
// is made, so that the next workloads would pay for the end of this one.
func (t *target) clear() error {
	err := t.halt()
	if t.dir == "" {
		return err
	}
	return errors.Join(err, filepath.WalkDir(t.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			err = os.Truncate(path, 0)
		}
		return err
	}))
}

// unique returns a number that was not used before.
func (t *target) unique() uint64 {
	t.seed++
	return t.seed
}

// reserve makes the numbers from first on those of one measurement.
func (t *target) reserve() {
	const many = 1 << 24
	t.first = t.seed + 1
	t.seed += many
}
