package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"berth"
	"berth/config"
)

func newAccessCommand() *cobra.Command {
	return withCommands(&cobra.Command{
		Use:   "access",
		Short: "Show who may do what, and why",
	}, newAccessExplainCommand(), newAccessListCommand())
}

func newAccessExplainCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain USER ADDRESS ACTION [REPOSITORY]",
		Short: "Say whether somebody may do something, and which rule decides",
		Long: "explain reads the configuration as `berth serve` would and decides as the server would.\n" +
			"USER is a name, or - for who is not logged in. ADDRESS is the client's, or - for one\n" +
			"without. ACTION is pull, push, create (push what moves no tag), delete, or admin,\n" +
			"which takes no REPOSITORY.\n" +
			"It exits with 0 if it is allowed and with 1 if it is denied.",
		Example: "  berth access explain alice 10.0.0.7 push team/app\n" +
			"  berth access explain - 203.0.113.5 pull public/app --config berth.yml",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 4 && (len(args) != 3 || args[2] != "admin") {
				return usageError{fmt.Errorf("got %d arguments, want USER ADDRESS ACTION REPOSITORY, such as: %s alice 10.0.0.7 push team/app", len(args), cmd.CommandPath())}
			}
			return nil
		},
	}
	configured := addConfigFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		loaded, err := configured()
		if err != nil {
			return err
		}
		q := berth.AccessQuestion{User: args[0], Address: args[1], Action: args[2]}
		if len(args) == 4 {
			q.Repository = args[3]
		}
		answer, err := berth.ExplainAccess(loaded.Config, q)
		if err != nil {
			return usageError{err}
		}
		return printAnswer(cmd, loaded, answer)
	}
	return cmd
}

// printAnswer prints an answer and what each rule says. The error is the exit
// code.
func printAnswer(cmd *cobra.Command, loaded *config.Loaded, answer berth.AccessAnswer) error {
	out := cmd.OutOrStdout()
	verdict := "denied"
	if answer.Allowed {
		verdict = "allowed"
	}
	fmt.Fprintf(out, "%s: %s\n", verdict, answer.Why)
	rules := berth.AccessRules(loaded.Config)
	for i, says := range answer.Rules {
		mark := " "
		if i == answer.Rule {
			mark = "*"
		}
		fmt.Fprintf(out, "%s %s %s\n    %s\n", mark, ruleName(loaded, i), says, rules[i])
	}
	for _, note := range answer.Notes {
		fmt.Fprintln(out, note)
	}
	if !answer.Allowed {
		return exitError(1)
	}
	return nil
}

// ruleName returns how a rule is found in the configuration.
func ruleName(loaded *config.Loaded, i int) string {
	if len(loaded.Config.Access) > 0 {
		key := fmt.Sprintf("access[%d]", i)
		return fmt.Sprintf("%s (%s)", key, loaded.Origin(key))
	}
	return fmt.Sprintf("built-in rule %d (%s)", i+1, builtIn(loaded))
}

// builtIn says which settings the built-in rules come from.
func builtIn(loaded *config.Loaded) string {
	a := loaded.Config.Auth
	if !a.LogIn() {
		return "no access rules and no log-in"
	}
	return fmt.Sprintf("no access rules, and log-in with auth.anonymous: %s", a.Anonymous)
}

func newAccessListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Print the access rules in force, the built-in ones too",
		Args:  cobra.NoArgs,
	}
	configured := addConfigFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		loaded, err := configured()
		if err != nil {
			return err
		}
		out := cmd.OutOrStdout()
		if loaded.Config.ReadOnly {
			fmt.Fprintf(out, "read-only (%s): nothing but pull is allowed\n", loaded.Origin("read_only"))
		}
		for i, text := range berth.AccessRules(loaded.Config) {
			fmt.Fprintf(out, "%s\n    %s\n", ruleName(loaded, i), text)
		}
		groups := loaded.Config.Auth.Groups
		for _, name := range slices.Sorted(maps.Keys(groups)) {
			fmt.Fprintf(out, "group %s: %s\n", name, strings.Join(groups[name], ", "))
		}
		return nil
	}
	return cmd
}
