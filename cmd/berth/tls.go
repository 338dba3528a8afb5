package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/internal/listen"
)

func newTLSCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tls",
		Short: "Make certificates",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newSelfSignedCommand())
	return cmd
}

func newSelfSignedCommand() *cobra.Command {
	var dir string
	var force bool
	cmd := &cobra.Command{
		Use:   "self-signed HOST|IP...",
		Short: "Make a certificate authority and a certificate, and say where they go",
		Long: "self-signed makes a certificate for the given names and addresses, and an authority\n" +
			"that signs it. Give all names by which clients reach the registry, without a path;\n" +
			"with the port if it isn't 5000. A later run in the same directory uses the same\n" +
			"authority, so that clients that trust it need nothing new.",
		Example: "  berth tls self-signed registry.example.com 192.168.1.20",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("tls self-signed needs the names or IP addresses by which clients reach the registry, such as registry.example.com")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			how := listen.KeepExisting
			if force {
				how = listen.ReplaceExisting
			}
			return selfSigned(cmd.OutOrStdout(), dir, args, how)
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "berth-tls", "write the files into this `directory`")
	cmd.Flags().BoolVar(&force, "force", false, "replace the certificate that is there; the authority is kept in any case")
	return cmd
}

func selfSigned(out io.Writer, dir string, args []string, how listen.Overwrite) error {
	hosts := make([]listen.Host, 0, len(args))
	for _, a := range args {
		h, err := listen.ParseHost(a)
		if err != nil {
			return usageError{err}
		}
		hosts = append(hosts, h)
	}
	made, err := listen.MakeSelfSigned(dir, hosts, how, time.Now())
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w. Use --force to replace the certificate in %s (its authority stays), or another --dir", err, dir)
	}
	if err != nil {
		return fmt.Errorf("make a certificate in %s: %w", dir, err)
	}
	_, err = io.WriteString(out, instructions(made, dir, hosts))
	return err
}

// instructions says what was made and where it goes.
func instructions(made listen.SelfSigned, dir string, hosts []listen.Host) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	names := make([]string, 0, len(hosts))
	for _, h := range hosts {
		names = append(names, h.Name)
	}
	line("Made a certificate for %s, valid until %s.", strings.Join(names, ", "), made.NotAfter.UTC().Format("2006-01-02"))
	line("")
	line("  %s   the authority's certificate: clients need this one", made.CA)
	line("  %s   its key: keep it to yourself, it can make certificates for any name", filepath.Join(dir, "ca.key"))
	line("  %s the registry's certificate", made.Cert)
	line("  %s  its key", made.Key)
	line("")
	line("Run the registry with it:")
	line("")
	line("  berth serve --tls-cert %s --tls-key %s", quoted(made.Cert), quoted(made.Key))
	line("")
	line("Without log-in it listens on this machine only: add --htpasswd FILE (see `berth htpasswd`),")
	line("or --listen :5000 if everybody who reaches it may push and delete.")
	line("")
	if !made.NewCA {
		line("The authority is the one that was there: clients that trust it need nothing new. Others:")
		line("")
	}
	b.WriteString(clientInstructions(hosts))
	return b.String()
}

// clientInstructions says where ca.crt goes on the machines of clients.
func clientInstructions(hosts []listen.Host) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("Copy ca.crt to each machine that pushes or pulls, and there:")
	line("")
	line("docker, podman, skopeo and buildah on Linux; no restart is needed:")
	for _, h := range hosts {
		folder := "/etc/docker/certs.d/" + registryName(h)
		line("  sudo mkdir -p %s && sudo cp ca.crt %s/ca.crt", folder, folder)
	}
	line("")
	line("Docker Desktop on Windows; in PowerShell as administrator, then restart Docker Desktop:")
	line(`  Import-Certificate -FilePath ca.crt -CertStoreLocation Cert:\LocalMachine\Root`)
	line("")
	line("Docker Desktop on macOS; then restart Docker Desktop:")
	line("  sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain ca.crt")
	line("")
	line("containerd with config_path = \"/etc/containerd/certs.d\", as for Kubernetes:")
	for _, h := range hosts {
		folder := "/etc/containerd/certs.d/" + registryName(h)
		line("  sudo mkdir -p %s && sudo cp ca.crt %s/ca.crt", folder, folder)
	}
	line("")
	line("All programs of a Linux machine, such as curl, helm, oras and crane; docker then needs a restart:")
	line("  Debian, Ubuntu: sudo cp ca.crt /usr/local/share/ca-certificates/berth-ca.crt && sudo update-ca-certificates")
	line("  Fedora, RHEL:   sudo cp ca.crt /etc/pki/ca-trust/source/anchors/berth-ca.crt && sudo update-ca-trust")
	return b.String()
}

// registryName is how h stands at the beginning of an image's name, which is
// how clients name the folders of certificates: with its port, unless that is
// the one of https.
func registryName(h listen.Host) string {
	switch h.Port {
	case "":
		h.Port = "5000"
	case "443":
		h.Port = ""
	}
	h.Name = strings.Replace(h.Name, "*", "NAME", 1) // of each host that the wildcard stands for
	return h.String()
}

// quoted returns a path as it can be typed.
func quoted(path string) string {
	if !strings.ContainsAny(path, " \t'\"$&;()<>|*?`\\") || runtime.GOOS == "windows" && !strings.ContainsAny(path, " &()") {
		return path
	}
	if runtime.GOOS == "windows" {
		return `"` + path + `"`
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
