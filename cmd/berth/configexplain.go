package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"berth/config"
	"berth/internal/registry2"
)

func newConfigExplainCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain [KEY]",
		Short: "Say where settings come from",
		Long: "explain says of a key, or of every key in a section, what its value is, where it was\n" +
			"set, what it would be otherwise, and which variable sets it. Settings of registry:2\n" +
			"are named by the line or variable and by registry:2's own key. Without KEY, it says\n" +
			"so of everything that somebody has set.",
		Example: "  berth config explain --config config.yml http.listen\n  berth config explain auth",
		Args:    atMostOne,
	}
	configured := addConfigFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		loaded, err := configured()
		if err != nil {
			return err
		}
		wanted := strings.Join(args, "")
		found := false
		for _, s := range loaded.Conceal().Settings() {
			if wanted == "" && s.Origin != config.DefaultOrigin || s.Path == wanted || strings.HasPrefix(s.Path, wanted+".") {
				found = true
				explainSetting(cmd, s)
			}
		}
		if !found && wanted != "" {
			return usageError{fmt.Errorf("%s is no key: `berth config show` lists them all", wanted)}
		}
		printRemarks(cmd, loaded)
		return nil
	}
	return cmd
}

func explainSetting(cmd *cobra.Command, s config.Setting) {
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "%s: %s\n", s.Path, s.Value)
	if s.Origin == config.DefaultOrigin {
		fmt.Fprintf(out, "  set by nobody: this is the default; %s sets it\n", s.Variable)
		return
	}
	fmt.Fprintf(out, "  set by %s\n  otherwise: %s; %s sets it, too\n", s.Origin, s.Default, s.Variable)
}

func newConfigConvertCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "convert [FILE]",
		Short: "Write a configuration of registry:2 as a file of Berth's own",
		Long: "convert reads FILE, which is one of registry:2 as a rule, and the REGISTRY_* variables,\n" +
			"and writes what they mean as a file in Berth's own form. What Berth does differently\n" +
			"stands above it as comments. BERTH_* variables are not part of it: they hold on top\n" +
			"of the new file as they did on top of the old one. Secrets in headers are part of it.",
		Example: "  berth config convert /etc/docker/registry/config.yml > berth.yml",
		Args:    atMostOne,
		RunE: func(cmd *cobra.Command, args []string) error {
			loaded, err := config.Load(config.Sources{
				Base:      registry2.Defaults(registry2.Berth),
				File:      strings.Join(args, ""),
				Registry2: registry2.Reader(os.Environ(), registry2.Berth),
			})
			if err != nil {
				return err
			}
			var b bytes.Buffer
			for _, note := range loaded.Notes {
				fmt.Fprintf(&b, "# %s\n", note)
			}
			if err := loaded.WriteSet(&b); err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(b.Bytes())
			return err
		},
	}
}
