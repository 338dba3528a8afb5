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
	log := newLogger(loaded.Config.Log)
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

// newLogger logs to standard error, so that standard output stays what a person
// reads.
func newLogger(c config.Log) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		level = slog.LevelInfo // Validate has refused it
	}
	options := &slog.HandlerOptions{Level: level}
	var handler slog.Handler = slog.NewTextHandler(os.Stderr, options)
	if c.Format == config.LogJSON {
		handler = slog.NewJSONHandler(os.Stderr, options)
	}
	var fields []slog.Attr
	for _, name := range slices.Sorted(maps.Keys(c.Fields)) {
		fields = append(fields, slog.String(name, c.Fields[name]))
	}
	return slog.New(handler.WithAttrs(fields))
}
