package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"berth/internal/usage"
)

func newDfCommand() *cobra.Command {
	d := df{}
	cmd := &cobra.Command{
		Use:   "df [repository]",
		Short: "Show what takes how much space",
		Long: "df shows how much space each repository takes, how much of it is its own, and how\n" +
			"much is shared with others and would stay if it went; what becomes free by itself;\n" +
			"the largest layers and who has them; and how much of the disk is left.",
		Example: "  berth df\n  berth df --sort name --layers 20\n  berth df library/alpine",
		Args:    atMostOne,
	}
	cmd.Flags().BoolVar(&d.raw, "json", false, "one line of JSON for each repository, and one for the registry")
	cmd.Flags().IntVar(&d.layers, "layers", 5, "how many of the largest layers to list")
	cmd.Flags().StringVar(&d.sort, "sort", "size", "what comes first: size, unique or name")
	configured := addConfigFlags(cmd, "data")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if d.order() == nil {
			return usageError{fmt.Errorf("--sort %s: write size, unique or name", d.sort)}
		}
		d.out = cmd.OutOrStdout()
		parameters := url.Values{"layers": {strconv.Itoa(d.layers)}}
		if len(args) == 1 {
			repo, ref, err := parseTarget(args[0])
			if err != nil {
				return err
			}
			if ref.String() != "" {
				return usageError{fmt.Errorf("%s: name a repository, without a tag", args[0])}
			}
			parameters.Set("repository", repo.String())
		}
		return withAdmin(cmd, configured, func(ctx context.Context, c *adminClient) error { return d.run(ctx, c, parameters) })
	}
	return cmd
}

// A df is one run of the command.
type df struct {
	raw    bool
	layers int
	sort   string

	out io.Writer
}

// A dfLine is what the action df tells.
type dfLine struct {
	Repository *usage.Repository `json:"repository,omitempty"`
	Layers     []usage.Layer     `json:"layers,omitempty"`
	Retention  *usage.Retained   `json:"retention,omitempty"`
	Registry   *usage.Report     `json:"registry,omitempty"`
}

func (d *df) run(ctx context.Context, c *adminClient, parameters url.Values) error {
	var repos []dfLine
	var last dfLine
	err := c.act(ctx, "df?"+parameters.Encode(), func(line json.RawMessage) error {
		var l dfLine
		if err := json.Unmarshal(line, &l); err != nil {
			return err
		}
		if l.Repository != nil {
			repos = append(repos, l)
		} else {
			last = l
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(repos, d.order())
	if d.raw {
		return d.printJSON(repos, last)
	}
	return d.print(repos, last)
}

// order returns what d sorts by; nil if there is no such order.
func (d *df) order() func(a, b dfLine) int {
	name := func(a, b dfLine) int { return strings.Compare(a.Repository.Name, b.Repository.Name) }
	switch d.sort {
	case "name":
		return name
	case "size":
		return func(a, b dfLine) int {
			return cmp.Or(cmp.Compare(b.Repository.Bytes, a.Repository.Bytes), name(a, b))
		}
	case "unique":
		return func(a, b dfLine) int {
			return cmp.Or(cmp.Compare(b.Repository.Unique, a.Repository.Unique), name(a, b))
		}
	}
	return nil
}

func (d *df) printJSON(repos []dfLine, last dfLine) error {
	out := json.NewEncoder(d.out)
	for _, l := range repos {
		if err := out.Encode(l); err != nil {
			return err
		}
	}
	if last.Registry == nil {
		return nil
	}
	return out.Encode(last)
}

func (d *df) print(repos []dfLine, last dfLine) error {
	w := newTable(d.out)
	fmt.Fprintln(w, "REPOSITORY\tTAGS\tMANIFESTS\tBLOBS\tSIZE\tUNIQUE\tSHARED\tRECLAIMABLE")
	var layers []usage.Layer
	for _, l := range repos {
		r := l.Repository
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%s\t%s\t%s\t%s\n", r.Name, r.Tags, r.Manifests, r.Blobs,
			humanSize(r.Bytes), humanSize(r.Unique), humanSize(r.Shared), humanSize(r.Reclaimable.Sum()))
		layers = append(layers, l.Layers...)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(repos) == 1 && repos[0].Retention != nil {
		r := repos[0].Retention
		fmt.Fprintf(d.out, "\nretention would free %s: %s\n", humanSize(r.Bytes), goesByRules(r))
	}
	if r := last.Registry; r != nil {
		layers = r.Layers
		if err := d.printRegistry(*r); err != nil {
			return err
		}
	}
	return d.printLayers(layers)
}

// printRegistry prints the sums: the sizes of repositories don't add up to them,
// since what they share is there once.
func (d *df) printRegistry(r usage.Report) error {
	fmt.Fprintln(d.out)
	w := newTable(d.out)
	line := func(name string, bytes int64, what string, values ...any) {
		fmt.Fprintf(w, "%s\t%s\t%s\n", name, humanSize(bytes), fmt.Sprintf(what, values...))
	}
	line("on disk", r.Blobs.Bytes, "%s of %s", counted(int(r.Blobs.Count), "blob"), counted(int(r.Manifests.Count), "manifest"))
	line("uploads", r.Uploads.Bytes, "%s that are not finished", counted(int(r.Uploads.Count), "upload"))
	line("database", r.Disk.Database, "and %s of snapshots", humanSize(r.Disk.Copies))
	line("reclaimable", r.Reclaimable(), "of that goes by itself:")
	line("", r.Waiting.Bytes, "%s that nothing needs, after gc.grace", counted(int(r.Waiting.Count), "blob"))
	line("", r.Trash.Bytes, "%s that only the trash has, after trash.keep", counted(int(r.Trash.Count), "blob"))
	line("", r.Deleting.Bytes, "%s, after gc.delay", counted(int(r.Deleting.Count), "deleted object"))
	line("", r.Idle.Bytes, "%s that nobody goes on with, after uploads.expire", counted(int(r.Idle.Count), "upload"))
	if r.Retention != nil {
		line("retention", r.Retention.Bytes, "more would come free: %s", goesByRules(r.Retention))
	}
	if r.Quarantine.Count > 0 {
		line("quarantine", r.Quarantine.Bytes, "%s that a check found damaged", counted(int(r.Quarantine.Count), "file"))
	}
	line("free", r.Disk.Free, "of %s; below %s pushes are refused (storage.reserve)", humanSize(r.Disk.Total), humanSize(r.Disk.Reserve))
	return w.Flush()
}

// goesByRules says what retention would let go of.
func goesByRules(r *usage.Retained) string {
	return fmt.Sprintf("%s and %s that the rules let go of, after trash.keep", counted(r.Tags, "tag"), counted(r.Manifests, "manifest"))
}

func (d *df) printLayers(layers []usage.Layer) error {
	if len(layers) == 0 {
		return nil
	}
	fmt.Fprintln(d.out)
	w := newTable(d.out)
	fmt.Fprintln(w, "LARGEST BLOBS\tSIZE\tHELD BY")
	for _, l := range layers {
		held := strings.Join(l.Holders, ", ")
		if more := l.Repositories - int64(len(l.Holders)); more > 0 {
			held += fmt.Sprintf(" and %d more", more)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", l.Digest, humanSize(l.Bytes), held)
	}
	return w.Flush()
}
