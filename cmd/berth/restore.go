package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"berth/internal/backup"
)

func newRestoreCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restore FOLDER|FILE.tar|-",
		Short: "Make a data directory of a backup",
		Long: "restore makes a data directory of a backup, which stays as it is. The directory must be\n" +
			"empty or not exist; so must the database, if database.path puts it elsewhere. Everything\n" +
			"is compared with its digest. Content that is damaged is named and left out, and pushing\n" +
			"it again heals it; the exit code is 3 then.\n\n" +
			"Interrupted, the same command goes on. Until it is done no server starts from the\n" +
			"directory.",
		Example: "  berth restore /mnt/backup/registry --data /var/lib/berth\n  gunzip -c registry.tar.gz | berth restore - --data /var/lib/berth",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{errors.New("restore needs one backup: a folder, a FILE.tar, or - for standard input")}
			}
			return nil
		},
	}
	configured := addConfigFlags(cmd, "data")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		loaded, err := configured()
		if err != nil {
			return err
		}
		cfg := loaded.Config.Derive()
		r := newBackupReport(cmd)
		r.what = "restored"
		ctx := cmd.Context()
		res, err := backup.Restore(ctx, args[0], cmd.InOrStdin(), backup.Target{Data: cfg.Data, Database: cfg.Database.Path}, r.options(ctx))
		r.progress.clear()
		if ctx.Err() != nil {
			return errors.New("interrupted: the same command goes on")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
		r.contents(res.Manifest)
		fmt.Fprintf(r.out, "restored into %s; what is configured, such as password files, is not part of a backup\n", cfg.Data)
		return r.conclude(res, "the registry")
	}
	return cmd
}
