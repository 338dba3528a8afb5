package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/config"
	"berth/internal/doctor"
)

func newDoctorCommand() *cobra.Command {
	var d doctorCall
	cmd := &cobra.Command{
		Use:   "doctor URL",
		Short: "Find out what is wrong between clients and a registry",
		Long: "doctor examines a registry from where its clients are, through whatever proxy is in\n" +
			"front of it: certificate, log-in, the size of bodies, buffering, chunked bodies, ranges,\n" +
			"headers. For everything that it finds it says what it does to docker, and what to write\n" +
			"where in nginx, Apache, Caddy or Berth. It knows other registries than Berth, too.\n\n" +
			"It begins uploads in the repository " + doctor.Repository + " and cancels them; nothing is\n" +
			"left behind. It ends with 0 if nothing is wrong and with 1 if something is.",
		Example: "  berth doctor https://registry.example.com:5043\n" +
			"  berth doctor --user alice --password-stdin registry.example.com < password.txt",
		Args: exactlyOneURL,
		RunE: func(cmd *cobra.Command, args []string) error { return d.run(cmd, args[0]) },
	}
	f := cmd.Flags()
	f.StringVar(&d.user, "user", "", "log in as this `user`")
	f.BoolVar(&d.passwordStdin, "password-stdin", false, "read the password from standard input")
	f.StringVar(&d.ca, "ca", "", "trust the certificate authority in this `file` (PEM), too")
	f.BoolVar(&d.insecure, "insecure", false, "send the password even if the certificate is wrong")
	f.StringVar(&d.repo, "repository", "", "pull from this `repository`, not from the first of the catalog")
	f.StringVar(&d.max, "max", "10GiB", "ask for the largest body up to this `size`; nothing is sent for it")
	f.StringVar(&d.send, "send", "2MiB", "really send a body of this `size`")
	f.DurationVar(&d.timeout, "timeout", 10*time.Second, "wait so long for each answer")
	f.BoolVar(&d.json, "json", false, "print JSON")
	return cmd
}

func exactlyOneURL(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usageError{errors.New("doctor needs the address of one registry, such as https://registry.example.com:5043")}
	}
	return nil
}

// A doctorCall is a call of berth doctor.
type doctorCall struct {
	user, ca, repo, max, send     string
	passwordStdin, insecure, json bool
	timeout                       time.Duration
}

func (d doctorCall) run(cmd *cobra.Command, address string) error {
	o, err := d.options(cmd.InOrStdin(), address)
	if err != nil {
		return err
	}
	report, err := doctor.Examine(cmd.Context(), o)
	if err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	if d.json {
		enc := json.NewEncoder(cmd.OutOrStdout())
		enc.SetIndent("", "  ")
		err = errors.Join(err, enc.Encode(report))
	} else {
		err = errors.Join(err, report.Print(cmd.OutOrStdout()))
	}
	if err != nil {
		return err
	}
	if report.Problems() {
		return exitError(1)
	}
	return nil
}

func (d doctorCall) options(stdin io.Reader, address string) (o doctor.Options, err error) {
	o = doctor.Options{User: d.user, Insecure: d.insecure, Repo: d.repo, Timeout: d.timeout}
	o.Guessed = !strings.Contains(address, "://")
	if o.URL, err = parseRegistryURL(address); err != nil {
		return o, usageError{err}
	}
	var size config.Size
	for _, s := range []struct {
		flag, text string
		to         *int64
	}{{"--max", d.max, &o.Max}, {"--send", d.send, &o.Send}} {
		if size, err = config.ParseSize(s.text); err != nil || size < 1 {
			return o, usageError{fmt.Errorf("%s %q is not a size: write it like 100MiB", s.flag, s.text)}
		}
		*s.to = int64(size)
	}
	if d.ca != "" {
		if o.Roots, err = rootsWith(d.ca); err != nil {
			return o, err
		}
	}
	switch {
	case d.passwordStdin && d.user == "":
		return o, usageError{errors.New("--password-stdin needs --user NAME")}
	case d.user != "" && !d.passwordStdin:
		return o, usageError{errors.New("--user needs --password-stdin: the password comes on standard input, so that no other user of this machine can see it")}
	case d.passwordStdin:
		b, err := io.ReadAll(io.LimitReader(stdin, 4096))
		if err != nil {
			return o, fmt.Errorf("read the password: %w", err)
		}
		o.Password = strings.TrimRight(string(b), "\r\n")
	}
	return o, nil
}

// parseRegistryURL reads the address of a registry as people write it: with or
// without https:// and /v2/.
func parseRegistryURL(s string) (*url.URL, error) {
	if !strings.Contains(s, "://") {
		s = "https://" + s
	}
	u, err := url.Parse(s)
	if err == nil && u.User != nil {
		return nil, errors.New("a password does not belong into an address: use --user and --password-stdin")
	}
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%q is not the address of a registry: write it like https://registry.example.com:5043", s)
	}
	u.Path = strings.TrimSuffix(strings.TrimSuffix(u.Path, "/"), "/v2")
	u.RawPath, u.RawQuery, u.Fragment = "", "", ""
	return u, nil
}

// rootsWith returns the authorities that this machine trusts and those of a file.
func rootsWith(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read --ca: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("--ca %s holds no certificate in PEM form", file)
	}
	return pool, nil
}
