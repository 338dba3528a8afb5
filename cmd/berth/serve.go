package main

import (
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"berth"
	"berth/config"
	"berth/internal/linelog"
)

func newServeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the registry",
		Long: "serve runs the registry until it gets SIGTERM or Ctrl-C; transfers that are running\n" +
			"then may finish (http.shutdown_grace).\n\n" +
			"Settings come from the defaults, a file, REGISTRY_* and BERTH_* variables and the\n" +
			"flags below; the later wins. `berth config show` says which has won.",
		Example: "  berth serve\n  berth serve --data /srv/registry --htpasswd users --tls-cert cert.pem --tls-key key.pem",
		Args:    cobra.NoArgs,
	}
	configured := addConfigFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		loaded, err := configured()
		if err != nil {
			return err
		}
		return serve(cmd, loaded, func(logger) error { return nil })
	}
	return cmd
}

// serve runs the registry of a configuration. prepare is what is done before its
// files are opened.
func serve(cmd *cobra.Command, loaded *config.Loaded, prepare func(logger) error) error {
	shareProcs()
	keepHeap(cmd.Context())
	lines := newLines(loaded.Config.Log)
	defer lines.Flush()
	log := newLogger(lines, loaded.Config.Log.Fields)
	for _, note := range loaded.Notes {
		log.Warn(note)
	}
	for _, warning := range loaded.Config.Warnings() {
		log.Warn(warning)
	}
	if err := prepare(log); err != nil {
		return err
	}
	s, err := berth.Open(cmd.Context(), berth.Options{Config: loaded.Config, Logger: log, Version: version})
	if err != nil {
		return err
	}
	err = s.ListenAndServe(cmd.Context(), func(hello string) { fmt.Fprint(cmd.OutOrStdout(), hello) })
	if cerr := s.Close(); err == nil {
		err = cerr
	}
	return err
}

// newLines returns what writes the log: to standard error, so that standard output
// stays what a person reads.
func newLines(c config.Log) *linelog.Handler {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		level = slog.LevelInfo // Validate has refused it
	}
	options := linelog.Options{Level: level}
	if c.Format == config.LogJSON {
		options.Format = linelog.JSON
	}
	return linelog.New(os.Stderr, options)
}

// newLogger returns a logger whose lines all have the fields.
func newLogger(lines *linelog.Handler, fields map[string]string) *slog.Logger {
	var attrs []slog.Attr
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		attrs = append(attrs, slog.String(name, fields[name]))
	}
	return slog.New(lines.WithAttrs(attrs))
}
