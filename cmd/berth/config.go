package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"berth/config"
)

func newConfigCommand() *cobra.Command {
	return withCommands(&cobra.Command{
		Use:   "config",
		Short: "Check and show the configuration",
	}, newConfigCheckCommand(), newConfigShowCommand(), newConfigExplainCommand(), newConfigConvertCommand())
}

func newConfigCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check [FILE]",
		Short: "Look for mistakes without starting anything",
		Long: "check reads the configuration as `berth serve` would, from FILE and the variables of\n" +
			"the environment, and lists all mistakes at once. Without FILE it is the one that\n" +
			config.FileVariable + " names, or " + config.DefaultFile + " if it exists.",
		Example: "  berth config check berth.yml",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			loaded, err := loadConfig(strings.Join(args, ""), config.Overlay{})
			if err != nil {
				return err
			}
			printRemarks(cmd, loaded)
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is good.\n", loaded)
			return err
		},
	}
}

func newConfigShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Print every setting in force, and where it was set",
		Long: "show prints the configuration that `berth serve` would use with the same flags and\n" +
			"variables: a whole file in YAML, with the origin of each value as a comment. Secrets in\n" +
			"headers and addresses are hidden, so that it can be shown to others.",
		Example: "  berth config show --config berth.yml --listen :5000",
		Args:    cobra.NoArgs,
	}
	configured := addConfigFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		loaded, err := configured()
		if err != nil {
			return err
		}
		printRemarks(cmd, loaded)
		return loaded.Conceal().WriteYAML(cmd.OutOrStdout())
	}
	return cmd
}

// printRemarks prints what a server would log about its configuration.
func printRemarks(cmd *cobra.Command, loaded *config.Loaded) {
	for _, note := range loaded.Notes {
		fmt.Fprintf(cmd.ErrOrStderr(), "note: %s\n", note)
	}
	for _, warning := range loaded.Config.Warnings() {
		fmt.Fprintf(cmd.ErrOrStderr(), "warning: %s\n", warning)
	}
}
