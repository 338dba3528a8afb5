package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"berth/config"
	"berth/internal/registry2"
)

// registry2Name is the name that the program has where it stands in the place of
// registry:2.
const registry2Name = "registry"

// runRegistry is the program as registry:2: with its commands, its flags and its
// exit codes.
func runRegistry(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRegistryCommand()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	if bad, ok := errors.AsType[configurationError](err); ok {
		fmt.Fprintf(stderr, "configuration error: %v\n%s", bad.error, cmd.UsageString())
		return 1
	}
	fmt.Fprintf(stderr, "registry: %v\n", err)
	return 1
}

// A configurationError is what registry:2 shows with the usage of the command.
type configurationError struct{ error }

func (e configurationError) Unwrap() error { return e.error }

func newRegistryCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   registry2Name,
		Short: "Berth in the place of registry:2",
		Long: "registry is Berth in the place of registry:2: it reads the same configuration and\n" +
			"variables, and has the same commands. `berth` has more of them.",
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				fmt.Fprint(cmd.ErrOrStderr(), cmd.UsageString())
				return nil
			}
			if info, err := os.Stat(args[0]); err != nil || info.IsDir() {
				return fmt.Errorf("unknown command %q\n%s", args[0], cmd.UsageString())
			}
			return serveRegistry(cmd, args)
		},
	}
	root.SetVersionTemplate("registry berth {{.Version}}\n")
	root.Flags().BoolP("version", "v", false, "show the version and exit")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w\n%s", err, cmd.UsageString())
	})
	root.AddCommand(&cobra.Command{
		Use:   "serve [config]",
		Short: "Run the registry",
		Long:  "serve runs the registry.\n\n" + configLong,
		RunE:  serveRegistry,
	}, newGarbageCollectCommand())
	return root
}

const configLong = `The configuration is the file named on the command line, or by the variable
REGISTRY_CONFIGURATION_PATH or BERTH_CONFIG, or /etc/distribution/config.yml, or
/etc/docker/registry/config.yml, whichever is there first: one of registry:2, or
one in Berth's own form. Without any file, the defaults of registry:2's image hold.
REGISTRY_* and BERTH_* variables change it.`

func serveRegistry(cmd *cobra.Command, args []string) error {
	loaded, err := loadRegistry(args)
	if err != nil {
		return err
	}
	return serve(cmd, loaded, func(log logger) error { return firstPasswords(loaded.Config.Auth.Htpasswd.Path, log) })
}

// loadRegistry reads the configuration as registry:2 would.
func loadRegistry(args []string) (*config.Loaded, error) {
	if len(args) > 1 {
		return nil, configurationError{fmt.Errorf("one configuration is enough, but %q follows %q", args[1], args[0])}
	}
	file, notes := registryFile(strings.Join(args, ""))
	loaded, err := loadAs(registry2.Registry, file, config.Overlay{})
	if err != nil {
		return nil, configurationError{err}
	}
	loaded.Notes = append(notes, loaded.Notes...)
	return loaded, nil
}

// registryFile returns which configuration file to read: the one that is named,
// or else the first one where registry:2 has its own. One of those may be named
// and not be there, as where a command line of registry:2 was kept, but not its
// image: then it is as if none were named.
func registryFile(named string) (file string, notes []string) {
	places := []string{"/etc/distribution/config.yml", "/etc/docker/registry/config.yml"}
	for _, name := range []string{named, os.Getenv("REGISTRY_CONFIGURATION_PATH"), os.Getenv(config.FileVariable)} {
		if name == "" {
			continue
		}
		if !slices.Contains(places, name) || there(name) {
			return name, notes
		}
		notes = append(notes, "there is no "+name+": going on without it")
		break
	}
	for _, name := range places {
		if there(name) {
			return name, notes
		}
	}
	return "", notes
}

func there(name string) bool {
	_, err := os.Stat(name)
	return !errors.Is(err, fs.ErrNotExist)
}
