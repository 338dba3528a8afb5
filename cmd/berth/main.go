// Command berth is a container registry: one binary that pushes, pulls, logs
// people in, encrypts and cleans up after itself.
//
// Called as `htpasswd` it is Apache's htpasswd, and as `entrypoint.sh` the first
// program of a container. This package holds flags,
// signals and exit codes, and nothing else.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	_ "time/tzdata" // for windows of the day, in an image that has no time zones

	"github.com/spf13/cobra"
)

// version is set when a release is built: -ldflags "-X main.version=1.2.3".
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args, os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the whole program, but for the process around it. It returns the exit
// code: 0 done, 1 not done, 2 called wrongly.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if calledAs(args[0]) == entrypointName {
		return runEntrypoint(ctx, args[1:], stdin, stdout, stderr)
	}
	if calledAs(args[0]) == "htpasswd" {
		return runApacheHtpasswd(args[1:], stdin, stdout, stderr)
	}
	if calledAs(args[0]) == registry2Name {
		return runRegistry(ctx, args[1:], stdin, stdout, stderr)
	}
	root := newRootCommand()
	root.SetArgs(args[1:])
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if code, ok := exitCode(err); ok {
		return code
	}
	fmt.Fprintf(stderr, "berth: %v\n", err)
	if isUsage(err) {
		return 2
	}
	return 1
}

// calledAs returns under which name the program was started.
func calledAs(arg0 string) string {
	return strings.TrimSuffix(filepath.Base(arg0), ".exe")
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "berth",
		Short:         "A container registry in one binary",
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetVersionTemplate("berth {{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w\nSee `%s --help`", err, cmd.CommandPath())}
	})
	root.AddCommand(
		newServeCommand(),
		newLsCommand(),
		newRmCommand(),
		newDfCommand(),
		newAdoptCommand(),
		newImportCommand(),
		newExportCommand(),
		newBackupCommand(),
		newRestoreCommand(),
		newHtpasswdCommand(),
		newTLSCommand(),
		newHealthCommand(),
		newDoctorCommand(),
		newConfigCommand(),
		newAccessCommand(),
		newEventsCommand(),
		newRetentionCommand(),
		newTagCommand(),
		newTrashCommand(),
		newFsckCommand(),
		newGCCommand(),
	)
	return root
}
