package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const (
	defaultHealthURL = "http://127.0.0.1:5000/readyz"
	healthTimeout    = 5 * time.Second
)

func newHealthCommand() *cobra.Command {
	var c healthCheck
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Ask a running registry whether it is ready",
		Long: "health asks a running registry whether it is ready for requests, says so in one line\n" +
			"and ends with 0 if it is and with 1 if it isn't: for HEALTHCHECK in a container.\n" +
			"It asks the registry that the configuration describes: --config, or what the first\n" +
			"process of this container was started with, or else what `berth serve` would take.\n" +
			"If the registry speaks https it is asked so. On this machine itself the certificate\n" +
			"isn't checked, unless --ca is given.",
		Example: "  berth health\n  berth health --url https://registry.example.com/readyz --ca ca.crt",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.run(cmd.Context()); err != nil {
				return fmt.Errorf("not ready: %w", err)
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "ready")
			return err
		},
	}
	cmd.Flags().StringVar(&c.url, "url", "", "ask at this `address`, such as "+defaultHealthURL)
	cmd.Flags().StringVar(&c.file, "config", "", "ask the registry of this configuration `file`")
	cmd.Flags().StringVar(&c.ca, "ca", "", "trust the certificate authority in this `file` (PEM)")
	cmd.Flags().DurationVar(&c.timeout, "timeout", healthTimeout, "give up after this `time`")
	return cmd
}

// A healthCheck is one question to a registry.
type healthCheck struct {
	url     string // empty: that of the configuration
	file    string
	ca      string
	timeout time.Duration
}

// run returns nil if the registry is ready, and otherwise why not, in one line.
func (c healthCheck) run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	target := healthTarget{url: c.url}
	if c.url == "" {
		target = configuredTarget(cmp.Or(c.file, containerFile()))
	}
	u, err := parseHealthURL(target.url)
	if err != nil {
		return usageError{err}
	}
	client, err := c.client(u, target)
	if err != nil {
		return err
	}
	status, text, err := ask(ctx, client, u)
	if u.Scheme == "http" && wantsTLS(status, text, err) {
		u.Scheme = "https"
		status, text, err = ask(ctx, client, u)
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer from %s within %s", u.Host, c.timeout)
	case err != nil && c.url == "" && strings.Contains(err.Error(), "tls: certificate required"):
		return nil // it serves, and only says more to who has a certificate
	case err != nil:
		return err
	case status != http.StatusOK:
		return fmt.Errorf("%s answers %d: %s", u.Host, status, text)
	default:
		return nil
	}
}

// parseHealthURL completes what may be left out: the scheme and the path.
func parseHealthURL(s string) (*url.URL, error) {
	if !strings.Contains(s, "://") {
		s = "http://" + s
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%q is not an address to ask at: write it like %s", s, defaultHealthURL)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/readyz"
	}
	return u, nil
}

// client returns a client that trusts whom the check shall trust, and goes
// straight there: through no proxy and after no redirect.
func (c healthCheck) client(u *url.URL, target healthTarget) (*http.Client, error) {
	conf := &tls.Config{InsecureSkipVerify: isLoopback(u.Hostname()) || c.url == ""}
	if c.ca != "" {
		pem, err := os.ReadFile(c.ca)
		if err != nil {
			return nil, fmt.Errorf("read --ca: %w", err)
		}
		conf.RootCAs, conf.InsecureSkipVerify = x509.NewCertPool(), false
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--ca %s holds no certificate in PEM form", c.ca)
		}
	}
	return &http.Client{
		Transport:     &http.Transport{TLSClientConfig: conf, DisableKeepAlives: true, DialContext: target.dial},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

func isLoopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.Unmap().IsLoopback()
}

// ask returns the status and the first line of the answer at u.
func ask(ctx context.Context, client *http.Client, u *url.URL) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("User-Agent", "berth-health")
	resp, err := client.Do(req)
	if err != nil {
		if _, ok := errors.AsType[*net.OpError](err); ok && ctx.Err() == nil {
			return 0, "", fmt.Errorf("nobody answers at %s: %w", u.Host, errors.Unwrap(err))
		}
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 300))
	if err != nil {
		return 0, "", err
	}
	first, _, _ := bytes.Cut(bytes.TrimSpace(body), []byte("\n"))
	return resp.StatusCode, strings.Map(dropControl, string(first)), nil
}

// dropControl keeps an answer from playing with the terminal.
func dropControl(r rune) rune {
	if r < ' ' || r == 0x7f {
		return -1
	}
	return r
}

// wantsTLS reports whether an answer to a plain request says that the port
// speaks TLS, in words or by a TLS record.
func wantsTLS(status int, text string, err error) bool {
	if err != nil {
		return strings.Contains(err.Error(), `malformed HTTP response "\x15\x03`)
	}
	return status == http.StatusBadRequest && strings.Contains(text, "HTTPS server")
}
