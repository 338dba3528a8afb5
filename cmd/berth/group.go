package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// withCommands makes cmd one that does nothing itself but has several commands
// below it, and tells which there are.
func withCommands(cmd *cobra.Command, commands ...*cobra.Command) *cobra.Command {
	names := make([]string, len(commands))
	for i, c := range commands {
		names[i] = c.Name()
	}
	last := len(names) - 1
	takes := strings.Join(names[:last], ", ") + " or " + names[last]
	cmd.Args = func(_ *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usageError{fmt.Errorf("unknown command %q for %s: it takes %s", args[0], cmd.Name(), takes)}
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.AddCommand(commands...)
	return cmd
}
