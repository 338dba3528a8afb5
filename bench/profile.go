package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// profile measures w once more, which does not count, and keeps what Berth spends
// its CPU on meanwhile: a folder of files for go tool pprof.
func (r *session) profile(ctx context.Context, t *target, w workload) error {
	if r.profiles == "" || t.inspected == "" || w.special != nil {
		return nil
	}
	if err := os.MkdirAll(r.profiles, 0o755); err != nil {
		return err
	}
	took := max(time.Second, r.each*time.Duration(max(1, w.longer)))
	kept := make(chan error, 1)
	go func() {
		url := fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", t.inspected, int(took.Seconds()))
		kept <- keep(ctx, url, filepath.Join(r.profiles, strings.NewReplacer(" ", "-", ",", "", "/", "").Replace(w.name)+".pprof"))
	}()
	_, err := measure(ctx, w, t, took/time.Duration(max(1, w.longer)))
	if kerr := <-kept; err == nil {
		err = kerr
	}
	return err
}

// keep writes what is at url into a file.
func keep(ctx context.Context, url, path string) error {
	q, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, resp.Body); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// free is an address on which nobody listens.
func free() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
