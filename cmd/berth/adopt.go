package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"berth/config"
	"berth/internal/registry2/tree"
)

func newAdoptCommand() *cobra.Command {
	var dryRun, finish, yes bool
	cmd := &cobra.Command{
		Use:   "adopt",
		Short: "Take over what a registry:2 left in the data directory",
		Long: "adopt takes over the repositories, tags and images of a registry:2 from its data\n" +
			"directory, in place: no content is copied. `berth serve` does the same at its start;\n" +
			"here the progress is shown, and in the end everything that could not be taken over.\n" +
			"What cannot be is left as it is.\n\n" +
			"Until --finish registry:2 can be started on the directory again, instead of Berth, and\n" +
			"finds what was pushed meanwhile; Berth takes in what it does then. --finish ends that:\n" +
			"registry:2's links and what no repository has are removed, for good.",
		Example: "  berth adopt --dry-run --data /var/lib/registry\n  berth adopt --data /var/lib/registry\n  berth adopt --finish",
		Args:    cobra.NoArgs,
	}
	configured := addConfigFlags(cmd, "data")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only say what there is; nothing is changed, and registry:2 may be running")
	cmd.Flags().BoolVar(&finish, "finish", false, "give up the way back to registry:2")
	cmd.Flags().BoolVar(&yes, "yes", false, "with --finish: do not ask")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		loaded, err := configured()
		if err != nil {
			return err
		}
		a := adoption{cfg: loaded.Config, in: cmd.InOrStdin(), out: cmd.OutOrStdout(), progress: cmd.ErrOrStderr()}
		switch {
		case dryRun && finish:
			return usageError{errors.New("--dry-run and --finish exclude each other: --dry-run says what --finish would remove")}
		case dryRun:
			return a.dryRun(cmd.Context())
		case finish && !yes:
			if err := a.confirm(cmd.Context()); err != nil {
				return err
			}
		}
		return a.run(cmd.Context(), finish)
	}
	return cmd
}

// An adoption is one call of berth adopt.
type adoption struct {
	cfg           config.Config
	in            io.Reader
	out, progress io.Writer
}

func (a adoption) dryRun(ctx context.Context) error {
	r, err := tree.DryRun(ctx, a.cfg.Data)
	if err != nil {
		return fmt.Errorf("look at %s: %w", a.cfg.Data, err)
	}
	a.print(r)
	fmt.Fprintf(a.out, "%d contents of %s\n", r.Blobs, humanSize(r.Bytes))
	fmt.Fprintf(a.out, "%d files of %s that no repository has, and %d unfinished uploads: berth adopt --finish removes them\n",
		r.Unused, humanSize(r.UnusedBytes), r.Uploads)
	return nil
}

// confirm asks whether to finish. Where nobody can be asked, --yes is the answer.
func (a adoption) confirm(ctx context.Context) error {
	if err := a.dryRun(ctx); err != nil {
		return err
	}
	f, ok := a.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return usageError{errors.New("--finish removes registry:2's links and everything listed here for good: say --yes if that is what you want")}
	}
	fmt.Fprint(a.out, "registry:2 will not be able to use this directory any more. Type yes to go on: ")
	line, err := bufio.NewReader(f).ReadString('\n')
	if err != nil || strings.TrimSpace(line) != "yes" {
		return errors.New("nothing was changed")
	}
	return nil
}

func (a adoption) run(ctx context.Context, finish bool) (err error) {
	c, err := connectAdmin(ctx, a.cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	name := "adopt"
	if finish {
		name += "?finish=1"
	}
	var last adoptAnswer
	err = c.act(ctx, name, func(line json.RawMessage) error {
		last = adoptAnswer{}
		if err := json.Unmarshal(line, &last); err != nil {
			return err
		}
		if r := last.Report; last.State == "" && !last.None && r != nil {
			fmt.Fprintf(a.progress, "%d repositories, %d tags, %d manifests, %d layers so far\n", r.Repositories, r.Tags, r.Manifests, r.Layers)
		}
		return nil
	})
	if err != nil {
		return err
	}
	a.conclude(last)
	return nil
}

// An adoptAnswer is a line of the answer to the action adopt.
type adoptAnswer struct {
	Report *tree.Report
	State  string
	None   bool
}

func (a adoption) conclude(last adoptAnswer) {
	if last.Report != nil {
		a.print(*last.Report)
	}
	switch {
	case last.None:
		fmt.Fprintf(a.out, "there is nothing of a registry:2 in %s\n", a.cfg.Data)
	case last.State == "adopted":
		fmt.Fprintln(a.out, "everything that can be taken over has been; registry:2 can still be started on this directory, instead of Berth, until berth adopt --finish")
	case last.State == "finished":
		fmt.Fprintln(a.out, "finished: the directory is Berth's own, and registry:2 can no longer use it")
	default:
		fmt.Fprintln(a.out, "berth adopt --finish was interrupted: run it again")
	}
}

func (a adoption) print(r tree.Report) {
	for _, p := range r.Problems {
		fmt.Fprintf(a.out, "%s: %s\n", p.Path, p.What)
	}
	if more := r.Damage - len(r.Problems); more > 0 {
		fmt.Fprintf(a.out, "... and %d more\n", more)
	}
	fmt.Fprintf(a.out, "%d repositories, %d tags, %d manifests, %d layers; %d not as they should be\n", r.Repositories, r.Tags, r.Manifests, r.Layers, r.Damage)
	if r.Stale > 0 {
		fmt.Fprintf(a.out, "%d links to content that registry:2 has collected, which is usual\n", r.Stale)
	}
}
