package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"berth/internal/oci"
)

func newLsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ls [repository[:tag]]",
		Short: "List repositories, tags, or what a tag is made of",
		Long: "ls lists the repositories; with a repository its tags; with a tag or a digest what\n" +
			"that image is made of. It asks the running server, or reads the data directory if\n" +
			"none is running.",
		Example: "  berth ls\n  berth ls library/alpine\n  berth ls library/alpine:latest",
		Args:    atMostOne,
	}
	configured := addConfigFlags(cmd, "data")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return withAdmin(cmd, configured, func(ctx context.Context, c *adminClient) error {
			if len(args) == 0 {
				return listRepos(ctx, c, cmd.OutOrStdout())
			}
			repo, ref, err := parseTarget(args[0])
			if err != nil {
				return err
			}
			if ref == (oci.Ref{}) {
				return listTags(ctx, c, repo, cmd.OutOrStdout())
			}
			return listParts(ctx, c, repo, ref, cmd.OutOrStdout())
		})
	}
	return cmd
}

func listRepos(ctx context.Context, c *adminClient, out io.Writer) error {
	repos, err := c.repos(ctx)
	if err != nil {
		return err
	}
	w := newTable(out)
	fmt.Fprintln(w, "REPOSITORY\tTAGS")
	for _, name := range repos {
		repo, err := oci.ParseRepo(name)
		if err != nil {
			return err
		}
		tags, err := c.tags(ctx, repo)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s\t%d\n", name, len(tags))
	}
	return w.Flush()
}

func listTags(ctx context.Context, c *adminClient, repo oci.Repo, out io.Writer) error {
	tags, err := c.tags(ctx, repo)
	if err != nil {
		return err
	}
	w := newTable(out)
	fmt.Fprintln(w, "TAG\tDIGEST\tSIZE\tTYPE")
	for _, tag := range tags {
		m, d, err := c.manifest(ctx, repo, tag)
		if err != nil {
			fmt.Fprintf(w, "%s\t%v\t\t\n", tag, err)
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", tag, d, totalSize(m), kindOf(m))
	}
	return w.Flush()
}

func listParts(ctx context.Context, c *adminClient, repo oci.Repo, ref oci.Ref, out io.Writer) error {
	m, d, err := c.manifest(ctx, repo, ref.String())
	if err != nil {
		return err
	}
	w := newTable(out)
	fmt.Fprintf(w, "digest\t%s\n", d)
	fmt.Fprintf(w, "type\t%s\n", m.MediaType)
	if m.Subject != nil {
		fmt.Fprintf(w, "subject\t%s\n", m.Subject.Digest)
	}
	for _, part := range append(m.Children, m.Blobs...) {
		fmt.Fprintf(w, "%s\t%s\t%s\n", part.MediaType, part.Digest, humanSize(part.Size))
	}
	fmt.Fprintf(w, "total\t\t%s\n", totalSize(m))
	return w.Flush()
}

func newTable(out io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(out, 0, 8, 2, ' ', 0) }

// kindOf says in a word what a manifest is.
func kindOf(m oci.Manifest) string {
	switch {
	case len(m.Children) > 0 || m.MediaType == oci.MediaTypeIndex || m.MediaType == oci.MediaTypeDockerList:
		return fmt.Sprintf("index of %d", len(m.Children))
	case m.Subject != nil:
		return "referrer"
	case m.MediaType == oci.MediaTypeImage || m.MediaType == oci.MediaTypeDocker:
		return "image"
	}
	return m.MediaType
}

// totalSize adds up the manifest and the parts it names itself.
func totalSize(m oci.Manifest) string {
	total := int64(len(m.Body))
	for _, part := range append(m.Children, m.Blobs...) {
		total += max(part.Size, 0)
	}
	return humanSize(total)
}

// humanSize writes a number of bytes with three digits or so.
func humanSize(n int64) string {
	if n < 0 {
		return "?"
	}
	const units = "KMGTP"
	size, unit := float64(n), -1
	for size >= 1024 && unit < len(units)-1 {
		size /= 1024
		unit++
	}
	if unit < 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %ciB", size, units[unit])
}
