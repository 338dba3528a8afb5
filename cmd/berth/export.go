package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"

	"github.com/spf13/cobra"
)

func newExportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write what the registry has in another form",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newExportRegistry2Command(), newExportOCICommand())
	return cmd
}

func newExportRegistry2Command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "registry2 FOLDER",
		Short: "Write everything as a data directory of registry:2",
		Long: "export registry2 writes everything into a folder that registry:2 can be started on. The\n" +
			"content is shared with this registry's files where the file system allows it, and takes\n" +
			"no space then; --copy makes files of their own. Pushes may go on meanwhile. Interrupted,\n" +
			"the same command goes on; repeated, it brings the folder up to date.\n\n" +
			"The running server writes it, as its own user and where it sees that folder; if none is\n" +
			"running, this command does.",
		Example: "  berth export registry2 --dry-run\n  berth export registry2 /srv/registry2",
	}
	dry := cmd.Flags().Bool("dry-run", false, "write nothing, count what there is")
	separate := cmd.Flags().Bool("copy", false, "copy content that could be shared")
	remove := cmd.Flags().Bool("delete", false, "remove from an earlier export what the registry no longer has")
	configured := addConfigFlags(cmd, "data")
	cmd.Args = func(_ *cobra.Command, args []string) error {
		if len(args) != 1 && (!*dry || len(args) > 1) {
			return usageError{errors.New("export registry2 needs the folder to write to")}
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		parameters := url.Values{}
		for name, set := range map[string]bool{"dry": *dry, "copy": *separate, "delete": *remove} {
			if set {
				parameters.Set(name, "1")
			}
		}
		if len(args) == 1 {
			dir, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			parameters.Set("dir", dir)
		}
		return withAdmin(cmd, configured, func(ctx context.Context, c *adminClient) error {
			return runExport(ctx, c, cmd, parameters)
		})
	}
	return cmd
}

// An exportLine is what the registry tells of an export.
type exportLine struct {
	Repositories, Tags, Manifests, Blobs, Linked, Copied, Extra int
	Bytes                                                       int64
	Problems                                                    []struct{ Path, What string }
}

func runExport(ctx context.Context, c *adminClient, cmd *cobra.Command, parameters url.Values) error {
	var last exportLine
	p := newProgress(cmd.ErrOrStderr())
	err := c.act(ctx, "export-registry2?"+parameters.Encode(), func(line json.RawMessage) error {
		last = exportLine{}
		if err := json.Unmarshal(line, &last); err != nil {
			return err
		}
		p.step(fmt.Sprintf("%d repositories, %d tags, %s", last.Repositories, last.Tags, humanSize(last.Bytes)))
		return nil
	})
	p.clear()
	if ctx.Err() != nil {
		return errors.New("interrupted: run the same command again to go on")
	}
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "%d repositories, %d tags, %d manifests, %d blobs with %s\n", last.Repositories, last.Tags, last.Manifests, last.Blobs, humanSize(last.Bytes))
	if dir := parameters.Get("dir"); parameters.Get("dry") == "" {
		fmt.Fprintf(out, "%d files are shared with this registry, %d were copied\nexported to %s\n", last.Linked, last.Copied, dir)
		if last.Extra > 0 && parameters.Get("delete") == "" {
			p.line(fmt.Sprintf("%d links there are unknown to this registry and were left alone; --delete removes them", last.Extra))
		}
	}
	for _, problem := range last.Problems {
		p.line(problem.Path + ": " + problem.What)
	}
	if len(last.Problems) > 0 {
		return fmt.Errorf("%d parts are not in the export", len(last.Problems))
	}
	return nil
}
