package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"berth/config"
	"berth/internal/gc"
)

func newGCCommand() *cobra.Command {
	g := gcCommand{}
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Delete what nothing needs any more, now",
		Long: "gc collects garbage now: blobs that no manifest has needed for gc.grace, uploads that\n" +
			"nobody goes on with, what has been in the trash for long enough. A server that runs\n" +
			"does it itself, and goes on serving; it also does so by itself, every gc.every.\n\n" +
			"--grace 0s takes everything that nothing needs right now, and deletes its files at\n" +
			"once. That is safe: a push that is under way and counted on some of it is told to\n" +
			"upload it again, as every client does. It is for a disk that is full.",
		Example: "  berth gc --dry-run\n  berth gc --grace 0s\n  berth gc --untagged --dry-run\n  berth gc --status",
		Args:    cobra.NoArgs,
	}
	configured := addConfigFlags(cmd, "data")
	cmd.Flags().BoolVar(&g.dryRun, "dry-run", false, "only say what would go, why, and how much it is")
	cmd.Flags().BoolVar(&g.untagged, "untagged", false, "let go of manifests that no tag leads to; they go to the trash")
	cmd.Flags().StringVar(&g.grace, "grace", "", "how long something has to be needless: a `time` such as 1h or 0s (default: gc.grace)")
	cmd.Flags().BoolVar(&g.json, "json", false, "write a line of JSON for everything that goes, and one for the sum")
	cmd.Flags().BoolVar(&g.status, "status", false, "collect nothing; say what the server that runs did last and does next")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if g.grace != "" {
			if d, err := config.ParseDuration(g.grace); err != nil || d < 0 {
				return usageError{fmt.Errorf("--grace %s: write a time such as 1h, or 0s for none at all", g.grace)}
			}
		}
		g.out = cmd.OutOrStdout()
		idle := func() (*config.Loaded, error) {
			loaded, err := configured()
			if err == nil {
				loaded.Config.GC.Delay = 0 // nobody reads what is deleted where no server runs
			}
			return loaded, err
		}
		return withAdmin(cmd, idle, g.run)
	}
	return cmd
}

// A gcCommand is one run of the command.
type gcCommand struct {
	dryRun, untagged, json, status bool
	grace                          string

	out io.Writer
}

func (g *gcCommand) run(ctx context.Context, c *adminClient) error {
	if g.status {
		return c.act(ctx, "collector", g.tellStatus)
	}
	parameters := url.Values{}
	for name, set := range map[string]bool{"dry_run": g.dryRun, "untagged": g.untagged} {
		if set {
			parameters.Set(name, "1")
		}
	}
	if g.grace != "" {
		parameters.Set("grace", g.grace)
	}
	return c.act(ctx, "collect?"+parameters.Encode(), g.tell)
}

// tell prints a line for everything that goes, and the sum.
func (g *gcCommand) tell(line json.RawMessage) error {
	if g.json {
		_, err := fmt.Fprintf(g.out, "%s\n", line)
		return err
	}
	var c collected
	if err := json.Unmarshal(line, &c); err != nil {
		return err
	}
	if c.Sum != nil {
		g.sum(c)
		return nil
	}
	what := c.Kind
	if c.Kind == string(gc.Later) {
		what = "blob, later"
	}
	if c.Digest != "" {
		what += " " + c.Digest
	}
	_, err := fmt.Fprintf(g.out, "%s: %s (%s): %s\n", c.Repository, what, humanSize(c.Size), c.Why)
	return err
}

func (g *gcCommand) sum(c collected) {
	s := *c.Sum
	verb := "let go"
	if g.dryRun {
		verb = "would go"
	}
	for _, part := range []struct {
		what string
		gc.Sum
	}{{"manifest", s.Manifests}, {"blob", s.Blobs}, {"idle upload", s.Uploads}} {
		if part.Count > 0 {
			fmt.Fprintf(g.out, "%s, %s: %s\n", counted(part.Count, part.what), humanSize(part.Bytes), verb)
		}
	}
	if s.Later.Count > 0 {
		fmt.Fprintf(g.out, "%s of these manifests, %s: %s\n", counted(s.Later.Count, "blob"), humanSize(s.Later.Bytes), c.later())
	}
	if s.Manifests.Count+s.Blobs.Count+s.Uploads.Count == 0 {
		fmt.Fprintf(g.out, "nothing has been needless for %s\n", short(c.Grace))
	}
	if !g.dryRun {
		fmt.Fprintf(g.out, "%s deleted, %s freed\n", counted(s.Objects, "file"), humanSize(s.Freed))
	}
	c.rest(g.out)
}

// tellStatus prints what the collector does.
func (g *gcCommand) tellStatus(line json.RawMessage) error {
	if g.json {
		_, err := fmt.Fprintf(g.out, "%s\n", line)
		return err
	}
	var s struct {
		gc.Status
		Window string
	}
	if err := json.Unmarshal(line, &s); err != nil {
		return err
	}
	const layout = "2006-01-02 15:04:05"
	if s.Running {
		fmt.Fprintf(g.out, "running: %s, since %s\n", s.Doing, s.Since.Local().Format(layout))
	}
	if r := s.Last; r != nil {
		fmt.Fprintf(g.out, "last: %s, took %v: %s, %s, %s deleted, %s freed\n", r.Began.Local().Format(layout), r.Took.Round(time.Millisecond),
			counted(r.Uploads, "upload"), counted(r.Blobs, "blob"), counted(r.Objects, "file"), humanSize(r.Bytes))
		if r.Error != "" {
			fmt.Fprintf(g.out, "  went wrong: %s\n", r.Error)
		} else if !r.Complete {
			fmt.Fprintln(g.out, "  not finished: the next one goes on")
		}
	}
	if s.Next.IsZero() {
		fmt.Fprintln(g.out, "next: none, since no server runs here")
	} else {
		fmt.Fprintf(g.out, "next: %s\n", s.Next.Local().Format(layout))
	}
	if s.Window != "" {
		fmt.Fprintf(g.out, "window: %s (gc.window)\n", s.Window)
	}
	fmt.Fprintf(g.out, "since the start: %s, %s deleted, %s freed, %d went wrong\n",
		counted(int(s.Totals.Runs), "collection"), counted(s.Totals.Objects, "file"), humanSize(s.Totals.Bytes), s.Totals.Failed)
	return nil
}
