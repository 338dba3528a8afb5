package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/internal/oci"
)

func newTagCommand() *cobra.Command {
	return withCommands(&cobra.Command{
		Use:   "tag",
		Short: "Show what tags pointed to, and point them back",
		Long: "tag is about what tags point to. Every move is remembered for tags.history: from which\n" +
			"image to which, when, why and by whom.",
	}, newTagHistoryCommand(), newTagRollbackCommand(), newTagSetCommand())
}

// A tagMove is a line that the server tells of one move of a tag.
type tagMove struct {
	Seq                                                int64
	Time                                               time.Time
	Repository, Tag, From, To, Cause, By, Via, Address string
	Old                                                string // where the manifest is by now that From names
	Trash                                              int64  // the entry of the trash that the manifest was taken from
}

func newTagHistoryCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "history repository[:tag]",
		Short: "Show what a tag, or all tags of a repository, pointed to",
		Long: "history lists the moves of a tag, the newest first: when it was moved, what happened, from\n" +
			"which image to which, by whom and from where. Behind an image that is not in the\n" +
			"repository any more it says so.",
		Example: "  berth tag history library/alpine:3.19\n  berth tag history library/alpine -n 100 --json",
		Args:    oneTag("history"),
	}
	limit := cmd.Flags().IntP("number", "n", 20, "how many moves to show")
	raw := cmd.Flags().Bool("json", false, "one line of JSON for each move")
	whole := cmd.Flags().Bool("no-trunc", false, "whole digests")
	configured := addConfigFlags(cmd, "data")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		parameters, err := tagParameters(args[0])
		if err != nil {
			return err
		}
		if *limit < 1 {
			return usageError{errors.New("-n: write how many moves to show, at least 1")}
		}
		parameters.Set("limit", strconv.Itoa(*limit))
		return withAdmin(cmd, configured, func(ctx context.Context, c *adminClient) error {
			if *raw {
				return c.act(ctx, "tag-history?"+parameters.Encode(), func(line json.RawMessage) error {
					_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n", line)
					return err
				})
			}
			list, err := c.tagHistory(ctx, parameters)
			if err != nil {
				return err
			}
			digest := shortDigest
			if *whole {
				digest = func(d string) string { return d }
			}
			return printHistory(cmd.OutOrStdout(), list, digest)
		})
	}
	return cmd
}

// oneTag is the Args of a command about one repository or tag.
func oneTag(name string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usageError{fmt.Errorf("%s needs one repository:tag", name)}
		}
		return nil
	}
}

// tagParameters returns the parameters of an action about a repository or a tag.
func tagParameters(target string) (url.Values, error) {
	repo, ref, err := parseTarget(target)
	if err != nil {
		return nil, err
	}
	if !ref.Digest.IsZero() {
		return nil, usageError{fmt.Errorf("%s: name a tag, not a digest", target)}
	}
	parameters := url.Values{"repository": {repo.String()}}
	if !ref.Tag.IsZero() {
		parameters.Set("tag", ref.Tag.String())
	}
	return parameters, nil
}

// tagHistory asks for the history of a tag.
func (c *adminClient) tagHistory(ctx context.Context, parameters url.Values) (list []tagMove, err error) {
	err = c.act(ctx, "tag-history?"+parameters.Encode(), func(line json.RawMessage) error {
		var m tagMove
		err := json.Unmarshal(line, &m)
		list = append(list, m)
		return err
	})
	return list, err
}

func printHistory(out io.Writer, list []tagMove, digest func(string) string) error {
	w := newTable(out)
	fmt.Fprintln(w, "WHEN\tTAG\tWHAT\tFROM\tTO\tBY")
	for _, m := range list {
		from := digest(m.From)
		switch m.Old {
		case "trash":
			from += " (in the trash)"
		case "gone":
			from += " (gone)"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", m.Time.Format(time.RFC3339), orDash(m.Tag), m.Cause, orDash(from), orDash(digest(m.To)), byWhom(m))
	}
	return w.Flush()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func byWhom(m tagMove) string {
	by := orDash(m.By)
	switch {
	case m.By == "" && m.Via != "":
		by = m.Via
	case m.Via != "":
		by += " (" + m.Via + ")"
	}
	if m.Address != "" {
		by += " from " + m.Address
	}
	return by
}

// shortDigest is as much of a digest as people read.
func shortDigest(d string) string {
	if algorithm, hex, ok := strings.Cut(d, ":"); ok && len(hex) > 12 {
		return algorithm + ":" + hex[:12]
	}
	return d
}

func newTagRollbackCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rollback repository:tag",
		Short: "Point a tag to what it pointed to before",
		Long: "rollback points a tag to the image that it pointed to before its last move, which berth\n" +
			"tag history shows. A rollback is a move, too: another one undoes it. A tag that was\n" +
			"deleted comes back, also with its image, as long as that is in the trash.",
		Example: "  berth tag rollback app:latest\n  berth tag rollback app:latest --steps 2\n  berth tag rollback app:latest --to sha256:…",
		Args:    oneTag("rollback"),
	}
	to := cmd.Flags().String("to", "", "the `digest` to point to: one of its history, or any other of the repository")
	steps := cmd.Flags().Int("steps", 0, "how many moves to go back (default 1)")
	from := cmd.Flags().String("from", "", "only if the tag points to this `digest` now")
	dry := cmd.Flags().Bool("dry-run", false, "only say what would be done")
	configured := addConfigFlags(cmd, "data")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		parameters, err := tagParameters(args[0])
		switch {
		case err != nil:
			return err
		case !parameters.Has("tag"):
			return usageError{fmt.Errorf("%s: name a tag: %s:TAG", args[0], args[0])}
		case *steps < 0 || *steps > 0 && *to != "":
			return usageError{errors.New("either --to a digest or --steps back, at least 1")}
		}
		if *steps > 0 {
			parameters.Set("steps", strconv.Itoa(*steps))
		}
		return withAdmin(cmd, configured, func(ctx context.Context, c *adminClient) error {
			for name, text := range map[string]string{"to": *to, "from": *from} {
				if text == "" {
					continue
				}
				d, err := c.knownDigest(ctx, parameters, text)
				if err != nil {
					return fmt.Errorf("--%s: %w", name, err)
				}
				parameters.Set(name, d)
			}
			return c.moveTag(ctx, cmd.OutOrStdout(), parameters, *dry)
		})
	}
	return cmd
}

// knownDigest returns the whole digest of which text is the beginning, if the
// history of the tag has one.
func (c *adminClient) knownDigest(ctx context.Context, parameters url.Values, text string) (string, error) {
	if d, err := oci.ParseDigest(text); err == nil {
		return d.String(), nil
	}
	list, err := c.tagHistory(ctx, url.Values{"repository": parameters["repository"], "tag": parameters["tag"], "limit": {"10000"}})
	if err != nil {
		return "", err
	}
	found := ""
	for _, m := range list {
		for _, d := range []string{m.From, m.To} {
			_, hex, _ := strings.Cut(d, ":")
			if len(text) < 6 || !strings.HasPrefix(d, text) && !strings.HasPrefix(hex, text) || d == found {
				continue
			}
			if found != "" {
				return "", fmt.Errorf("%s may be %s or %s: write more of it", text, found, d)
			}
			found = d
		}
	}
	if found == "" {
		return "", fmt.Errorf("the history of the tag has no %s: write a whole digest, or the beginning of one that berth tag history shows", text)
	}
	return found, nil
}

// moveTag moves a tag and says what was done, and how it can be undone.
func (c *adminClient) moveTag(ctx context.Context, out io.Writer, parameters url.Values, dry bool) error {
	points, pointed := "points", "pointed"
	if dry {
		parameters.Set("dry_run", "1")
		points, pointed = "would point", "points"
	}
	return c.act(ctx, "tag-move?"+parameters.Encode(), func(line json.RawMessage) error {
		var m tagMove
		if err := json.Unmarshal(line, &m); err != nil {
			return err
		}
		name, undo := m.Repository+":"+m.Tag, ""
		switch m.From {
		case m.To:
			_, err := fmt.Fprintf(out, "%s points to %s already\n", name, m.To)
			return err
		case "":
			fmt.Fprintf(out, "%s %s to %s; there was no such tag\n", name, points, m.To)
			undo = "berth rm " + name
		default:
			fmt.Fprintf(out, "%s %s to %s; it %s to %s\n", name, points, m.To, pointed, m.From)
			undo = "berth tag rollback " + name + " --to " + m.From
		}
		if m.Trash != 0 {
			fmt.Fprintf(out, "its image is in the trash (number %d), and comes back with what refers to it\n", m.Trash)
		}
		if dry {
			return nil
		}
		_, err := fmt.Fprintf(out, "to undo: %s\n", undo)
		return err
	})
}

func newTagSetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "set repository:tag digest|tag",
		Short:   "Point a tag to an image that the repository has",
		Long:    "set makes or moves a tag without pushing: to the image that a digest or another tag names.",
		Example: "  berth tag set app:stable v1.4.2\n  berth tag set app:stable sha256:…",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usageError{errors.New("set needs a repository:tag, and a digest or a tag of the same repository")}
			}
			return nil
		},
	}
	configured := addConfigFlags(cmd, "data")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		parameters, err := tagParameters(args[0])
		if err != nil {
			return err
		}
		repo, _, err := parseTarget(args[0])
		if err != nil {
			return err
		}
		if !parameters.Has("tag") {
			return usageError{fmt.Errorf("%s: name a tag: %s:TAG", args[0], args[0])}
		}
		ref, err := oci.ParseRef(args[1])
		if err != nil {
			return targetError(args[1], err)
		}
		parameters.Set("cause", "set")
		return withAdmin(cmd, configured, func(ctx context.Context, c *adminClient) error {
			_, d, err := c.manifest(ctx, repo, ref.String())
			if err != nil {
				return err
			}
			parameters.Set("to", d.String())
			return c.moveTag(ctx, cmd.OutOrStdout(), parameters, false)
		})
	}
	return cmd
}
