package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/config"
	"berth/internal/gc"
)

func newGarbageCollectCommand() *cobra.Command {
	g := garbageCollect{}
	cmd := &cobra.Command{
		Use:   "garbage-collect [config]",
		Short: "Delete what nothing refers to any more",
		Long: "garbage-collect deletes blobs that no manifest refers to, once they have rested for\n" +
			"gc.grace. A registry that runs is asked to do it, and goes on serving; it does so by\n" +
			"itself every now and then anyway. With --delete-untagged, manifests go too which no\n" +
			"tag leads to, neither as a part of an index nor as a signature of something tagged.\n\n" + configLong,
		RunE: func(cmd *cobra.Command, args []string) error {
			loaded, err := loadRegistry(args)
			if err != nil {
				return err
			}
			g.out = cmd.OutOrStdout()
			loaded.Config.GC.Delay = 0 // nobody reads what is deleted where no server runs
			return withAdmin(cmd, func() (*config.Loaded, error) { return loaded, nil }, g.run)
		},
	}
	cmd.Flags().BoolVarP(&g.dryRun, "dry-run", "d", false, "only say what would be deleted")
	cmd.Flags().BoolVarP(&g.untagged, "delete-untagged", "m", false, "delete manifests that no tag leads to")
	cmd.Flags().BoolVarP(&g.quiet, "quiet", "q", false, "say nothing")
	return cmd
}

// A garbageCollect is one run of the command.
type garbageCollect struct {
	dryRun, untagged, quiet bool

	out io.Writer
}

func (g *garbageCollect) run(ctx context.Context, c *adminClient) error {
	parameters := url.Values{}
	if g.dryRun {
		parameters.Set("dry_run", "1")
	}
	if g.untagged {
		parameters.Set("untagged", "1")
	}
	return c.act(ctx, "collect?"+parameters.Encode(), g.tell)
}

// A collected is what a collection tells.
type collected struct {
	Kind, Repository, Digest, Why string
	Size                          int64
	Sum                           *gc.Swept
	Trash                         *gc.Sum
	Keep, Grace, Delay            time.Duration
}

// tell prints a line for everything that goes, in registry:2's words, and the sum.
func (g *garbageCollect) tell(line json.RawMessage) error {
	var c collected
	if err := json.Unmarshal(line, &c); err != nil || g.quiet {
		return err
	}
	switch {
	case c.Sum != nil:
		return g.sum(c)
	case c.Kind == string(gc.Later), c.Kind == string(gc.Upload):
		return nil // the sum counts them
	}
	_, err := fmt.Fprintf(g.out, "%s: %s eligible for deletion: %s (%s)\n", c.Repository, c.Kind, c.Digest, humanSize(c.Size))
	return err
}

func (g *garbageCollect) sum(c collected) error {
	s := *c.Sum
	verb := "deleted"
	if g.dryRun {
		verb = "would be deleted"
	}
	fmt.Fprintf(g.out, "%s and %s: %s\n", counted(s.Blobs.Count, "blob"), counted(s.Manifests.Count, "manifest"), verb+", "+humanSize(s.Blobs.Bytes+s.Manifests.Bytes))
	if s.Uploads.Count > 0 {
		fmt.Fprintf(g.out, "%s that nobody went on with: %s\n", counted(s.Uploads.Count, "upload"), verb)
	}
	if s.Later.Count > 0 {
		fmt.Fprintf(g.out, "%s of these manifests, %s: %s, while the registry runs\n", counted(s.Later.Count, "blob"), humanSize(s.Later.Bytes), c.later())
	}
	c.rest(g.out)
	return nil
}

// later says when what only deleted manifests need goes.
func (c collected) later() string {
	if c.Keep == 0 {
		return fmt.Sprintf("deleted after gc.grace (%s)", short(c.Grace))
	}
	return fmt.Sprintf("can be restored for trash.keep (%s), and deleted after that", short(c.Keep))
}

// rest says what still takes up space, and how to be rid of it.
func (c collected) rest(out io.Writer) {
	if w := c.Sum.Waiting; w.Count > 0 && c.Delay == 0 {
		fmt.Fprintf(out, "to be deleted, since nothing names them any more: %s, %s\n", counted(w.Count, "file"), humanSize(w.Bytes))
	} else if w.Count > 0 {
		fmt.Fprintf(out, "waiting for gc.delay (%[3]s), since somebody may be reading them: %[1]s, %[2]s; berth gc --grace 0s deletes them at once\n",
			counted(w.Count, "file"), humanSize(w.Bytes), short(c.Delay))
	}
	if c.Trash != nil && c.Trash.Count > 0 {
		fmt.Fprintf(out, "in the trash: %s, %s that nothing else needs, kept for trash.keep (%s); berth trash ls lists them, berth trash empty deletes them for good\n",
			counted(c.Trash.Count, "deletion"), humanSize(c.Trash.Bytes), short(c.Keep))
	}
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// short writes a time without the zeros at its end: 24h, 5m.
func short(d time.Duration) string {
	text := strings.TrimSuffix(d.String(), "m0s")
	if text != d.String() {
		text += "m"
	}
	if hours := strings.TrimSuffix(text, "h0m"); hours != text {
		text = hours + "h"
	}
	return text
}
