package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/config"
	"berth/internal/backup"
	"berth/internal/blob/fsblob"
)

// exitDamaged is the exit code when all was done but for content that is damaged.
const exitDamaged = exitError(3)

func newBackupCommand() *cobra.Command {
	var verify bool
	var temp string
	cmd := &cobra.Command{
		Use:   "backup FOLDER|FILE.tar|-",
		Short: "Copy the whole registry, or check such a copy",
		Long: "backup copies everything into a folder, or into a tar archive (- writes it to standard\n" +
			"output), while pushes, deletions and collection go on: what was answered before it began\n" +
			"is in it. Into the same folder again it copies only what is new; until it is done the\n" +
			"folder holds the backup from before. A registry can be started on the folder as it\n" +
			"stands; berth restore makes a data directory of either.\n\n" +
			"Everything is compared with its digest. Content that is damaged is named and left out,\n" +
			"the rest goes on, and the exit code is 3. With --verify the backup at FOLDER, FILE.tar or\n" +
			"- (standard input) is read and compared instead, and nothing is written.\n\n" +
			"A backup holds the key that tokens are signed with and the keys of certificates from\n" +
			"ACME: keep it as you keep those.",
		Example: "  berth backup /mnt/backup/registry\n  docker exec registry berth backup - > registry.tar\n  berth backup --verify /mnt/backup/registry",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{errors.New("backup needs one folder, one FILE.tar, or - for standard output")}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&verify, "verify", false, "read a backup and compare everything in it; nothing is written")
	cmd.Flags().StringVar(&temp, "temp", "", "with --verify: a `folder` for the database while it is looked at")
	configured := addConfigFlags(cmd, "data")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r := newBackupReport(cmd)
		if verify {
			return r.verify(cmd.Context(), args[0], cmd.InOrStdin(), temp)
		}
		return runBackup(cmd, configured, args[0], r)
	}
	return cmd
}

// A backupReport tells a person of a backup.
type backupReport struct {
	out      io.Writer
	progress *progress
	what     string                      // is being done
	alive    func(context.Context) error // is called every now and then; may be nil
	damaged  func(context.Context, backup.DamageError)
}

func newBackupReport(cmd *cobra.Command) *backupReport {
	return &backupReport{out: cmd.OutOrStdout(), progress: newProgress(cmd.ErrOrStderr()), damaged: func(context.Context, backup.DamageError) {}}
}

// aliveEvery is how often the registry is told that a backup goes on.
const aliveEvery = 30 * time.Second

// options connect the report with the work.
func (r *backupReport) options(ctx context.Context) backup.Options {
	told := time.Now()
	return backup.Options{
		Progress: func(done, total int64) error {
			r.progress.reach(reached{What: r.what, Done: done, Total: total, Bytes: true})
			if now := time.Now(); r.alive != nil && now.Sub(told) >= aliveEvery {
				told = now
				return r.alive(ctx)
			}
			return nil
		},
		Damaged: func(e backup.DamageError, repositories []string) error {
			name := string(e.Key)
			if _, d, err := fsblob.PathOf(e.Key); err == nil {
				name = d.String()
			} else if !e.Manifest.IsZero() {
				name = "manifest " + e.Manifest.String()
			}
			if len(repositories) > 0 {
				name += " of " + strings.Join(repositories, ", ")
			}
			r.progress.line(name + ": " + e.Why)
			r.damaged(ctx, e)
			return nil
		},
	}
}

// contents says what is in a backup.
func (r *backupReport) contents(m backup.Manifest) {
	r.progress.clear()
	fmt.Fprintf(r.out, "%d repositories, %d tags, %d manifests, %d blobs with %s\ntaken %s by Berth %s\n",
		m.Repositories, m.Tags, m.Manifests, m.Objects, humanSize(m.Bytes), m.Taken.Format(time.RFC3339), m.Berth)
}

// conclude says what is missing.
func (r *backupReport) conclude(res backup.Result, where string) error {
	if res.Damaged > 0 {
		r.progress.line(fmt.Sprintf("%d blobs are damaged and not in %s: pushing them again to the registry heals them", res.Damaged, where))
	}
	if res.BadManifests > 0 {
		r.progress.line(fmt.Sprintf("%d manifests are damaged: pushing them again to the registry heals them", res.BadManifests))
	}
	if res.Damaged > 0 || res.BadManifests > 0 {
		return exitDamaged
	}
	return nil
}

func (r *backupReport) verify(ctx context.Context, from string, stdin io.Reader, temp string) error {
	r.what = "read"
	o := r.options(ctx)
	o.Temp = temp
	res, err := backup.Verify(ctx, from, stdin, o)
	if err != nil {
		r.progress.clear()
		return fmt.Errorf("%s: %w", from, err)
	}
	r.contents(res.Manifest)
	if res.Left > 0 {
		return fmt.Errorf("%s: %d blobs are not as they should be: remove their files and take a backup into the folder again, or take a new archive", from, res.Left)
	}
	if err := r.conclude(res, "the backup"); err != nil {
		return err
	}
	fmt.Fprintln(r.out, "everything is there and as its digest says")
	return nil
}

// runBackup takes a backup.
func runBackup(cmd *cobra.Command, configured func() (*config.Loaded, error), to string, r *backupReport) error {
	if to == "-" {
		r.out = cmd.ErrOrStderr() // the archive goes to standard output
	}
	loaded, err := configured()
	if err != nil {
		return err
	}
	again := func() (*config.Loaded, error) { return loaded, nil }
	return withAdmin(cmd, again, func(ctx context.Context, c *adminClient) error {
		held, err := holdBackup(ctx, c)
		if err != nil {
			return err
		}
		r.what, r.alive = "copied", held.alive
		r.damaged = func(ctx context.Context, e backup.DamageError) {
			if _, d, err := fsblob.PathOf(e.Key); err == nil {
				_ = c.act(ctx, "backup-damaged?digest="+d.String(), ignore) // it is named all the same
			}
		}
		src := backup.Source{Data: loaded.Config.Data, Head: held.line.Head,
			Database: filepath.Join(loaded.Config.Data, filepath.FromSlash(held.line.Database))}
		o := r.options(held.ctx)
		o.Confirm = func() error { return held.alive(held.ctx) }
		res, err := writeBackup(held.ctx, src, to, cmd.OutOrStdout(), o)
		err = held.end(ctx, err)
		r.progress.clear()
		if ctx.Err() != nil {
			return errors.New("interrupted: the backup is not complete; the same command goes on, and what was there before still stands")
		}
		if err != nil {
			return err
		}
		r.contents(res.Manifest)
		fmt.Fprintf(r.out, "%d blobs with %s were copied, %d were removed that nothing needs any more\n", res.Copied, humanSize(res.CopiedBytes), res.Removed)
		return r.conclude(res, "the backup")
	})
}

func ignore(json.RawMessage) error { return nil }

// writeBackup writes a backup to a folder, a file, or stdout.
func writeBackup(ctx context.Context, src backup.Source, to string, stdout io.Writer, o backup.Options) (backup.Result, error) {
	switch {
	case to == "-":
		return backup.Archive(ctx, src, stdout, o)
	case !strings.HasSuffix(to, ".tar"):
		return backup.Folder(ctx, src, to, o)
	}
	temp := to + ".part"
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) { // of one that was interrupted
		return backup.Result{}, err
	}
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return backup.Result{}, err
	}
	res, err := backup.Archive(ctx, src, f, o)
	if err == nil {
		err = f.Sync()
	}
	is, serr := f.Stat()
	if err = errors.Join(err, serr, f.Close()); err != nil {
		return res, errors.Join(err, os.Remove(temp))
	}
	if named, err := os.Stat(temp); err != nil || !os.SameFile(is, named) {
		return res, fmt.Errorf("another backup is being written to %s: let one end before the next begins", to)
	}
	return res, os.Rename(temp, to)
}
