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

func newTrashCommand() *cobra.Command {
	return withCommands(&cobra.Command{
		Use:   "trash",
		Short: "Show what was deleted, and bring it back",
		Long: "trash is about what was deleted: by clients, by berth rm, by retention or as untagged. It\n" +
			"is kept for as long as trash.keep says.",
	}, newTrashLsCommand(), newTrashRestoreCommand(), newTrashEmptyCommand())
}

// A trashEntry is a line that the server tells of one deletion.
type trashEntry struct {
	ID                               int64
	Kind, Reason, Repository, Digest string
	Tags                             []namedTag
	TagCount                         int `json:"tag_count"`
	Manifests                        int
	Bytes, Frees                     int64
	Deleted, Until                   time.Time
	By, Via, Address                 string
}

// A namedTag is a tag and what it points to.
type namedTag struct{ Name, Digest string }

func newTrashLsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ls [repository]",
		Short: "List what was deleted",
		Long: "ls lists the deletions that can be undone, the newest first: the number to undo each by,\n" +
			"when it happened, what went, how much space its end would free, how long it is kept, why\n" +
			"it went and by whom.",
		Example: "  berth trash ls\n  berth trash ls library/alpine --json",
		Args:    atMostOne,
	}
	raw := cmd.Flags().Bool("json", false, "one line of JSON for each deletion")
	configured := addConfigFlags(cmd, "data")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		parameters := url.Values{}
		if len(args) == 1 {
			repo, ref, err := parseTarget(args[0])
			if err != nil {
				return err
			}
			if ref != (oci.Ref{}) {
				return usageError{fmt.Errorf("%s: name a repository only: %s", args[0], repo)}
			}
			parameters.Set("repository", repo.String())
		}
		return withAdmin(cmd, configured, func(ctx context.Context, c *adminClient) error {
			out := cmd.OutOrStdout()
			w := newTable(out)
			if !*raw {
				fmt.Fprintln(w, "ID\tDELETED\tWHAT\tFREES\tUNTIL\tREASON\tBY")
			}
			err := c.act(ctx, "trash?"+parameters.Encode(), func(line json.RawMessage) error {
				if *raw {
					_, err := fmt.Fprintf(out, "%s\n", line)
					return err
				}
				var e trashEntry
				if err := json.Unmarshal(line, &e); err != nil {
					return err
				}
				_, err := fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", e.ID, e.Deleted.Format(time.RFC3339), e.what(), humanSize(e.Frees),
					e.Until.Format(time.RFC3339), e.Reason, byWhom(tagMove{By: e.By, Via: e.Via, Address: e.Address}))
				return err
			})
			return errors.Join(err, w.Flush())
		})
	}
	return cmd
}

// what says what was deleted: what one would type to name it, and what went with
// it.
func (e trashEntry) what() string {
	switch {
	case e.Kind == "repository":
		return fmt.Sprintf("%s (%s, %s)", e.Repository, count(e.TagCount, "tag"), count(e.Manifests, "manifest"))
	case e.Kind == "tag" && e.TagCount == 1:
		return e.Repository + ":" + e.Tags[0].Name
	case e.Digest == "":
		return fmt.Sprintf("%s: %s, %s", e.Repository, count(e.TagCount, "tag"), count(e.Manifests, "manifest"))
	}
	text := e.Repository + "@" + shortDigest(e.Digest)
	if e.Kind == "blob" {
		text += " (blob)"
	}
	var names []string
	for _, t := range e.Tags {
		names = append(names, t.Name)
	}
	if len(names) > maxNamed {
		names = append(names[:maxNamed], "…")
	}
	if len(names) > 0 {
		text += " (" + strings.Join(names, ", ") + ")"
	}
	return text
}

// maxNamed is how many tags of a deletion a table names.
const maxNamed = 4

// whatParameters names a deleted thing for an action.
func whatParameters(repo oci.Repo, ref oci.Ref) url.Values {
	parameters := url.Values{"repository": {repo.String()}}
	switch {
	case !ref.Tag.IsZero():
		parameters.Set("tag", ref.Tag.String())
	case !ref.Digest.IsZero():
		parameters.Set("digest", ref.Digest.String())
	}
	return parameters
}

// trashTarget reads what an argument names: digits are the number of an entry.
func trashTarget(arg string) (url.Values, error) {
	if id, err := strconv.ParseInt(arg, 10, 64); err == nil && id > 0 {
		return url.Values{"id": {arg}}, nil
	}
	repo, ref, err := parseTarget(arg)
	if err != nil {
		return nil, err
	}
	return whatParameters(repo, ref), nil
}

func newTrashRestoreCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restore ID | repository | repository:tag | repository@digest",
		Short: "Bring back what was deleted",
		Long: "restore undoes the deletion of that number, which berth trash ls shows, or the last one of\n" +
			"what is named. A manifest comes back with its tags and everything that it needs, a\n" +
			"repository with all that it had. A tag that points to something else by now stays as it\n" +
			"is, unless --force says otherwise.",
		Example: "  berth trash restore 12\n  berth trash restore library/alpine:3.19\n  berth trash restore library/alpine --as library/alpine-old",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{errors.New("restore needs one number of an entry, repository, repository:tag or repository@digest")}
			}
			return nil
		},
	}
	as := cmd.Flags().String("as", "", "bring it back as this `repository`")
	force := cmd.Flags().Bool("force", false, "move tags back that point to something else by now")
	configured := addConfigFlags(cmd, "data")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		parameters, err := trashTarget(args[0])
		if err != nil {
			return err
		}
		if *as != "" {
			if _, ref, err := parseTarget(*as); err != nil || ref != (oci.Ref{}) {
				return usageError{fmt.Errorf("--as %s: name a repository", *as)}
			}
			parameters.Set("as", *as)
		}
		if *force {
			parameters.Set("force", "1")
		}
		return withAdmin(cmd, configured, func(ctx context.Context, c *adminClient) error {
			return c.act(ctx, "trash-restore?"+parameters.Encode(), func(line json.RawMessage) error {
				return printRestored(cmd.OutOrStdout(), args[0], line)
			})
		})
	}
	return cmd
}

// printRestored says what came back.
func printRestored(out io.Writer, arg string, line json.RawMessage) error {
	var r struct {
		Repository string
		Manifests  int
		Tags, Kept []namedTag
		TagCount   int `json:"tag_count"`
	}
	if err := json.Unmarshal(line, &r); err != nil {
		return err
	}
	fmt.Fprintf(out, "restored %s to %s: %s, %s\n", arg, r.Repository, count(r.TagCount, "tag"), count(r.Manifests, "manifest"))
	for _, t := range r.Tags {
		fmt.Fprintf(out, "  %s:%s points to %s\n", r.Repository, t.Name, t.Digest)
	}
	for _, t := range r.Kept {
		fmt.Fprintf(out, "  %s:%s was left alone: it points to %s by now; berth tag set moves it, and --force would have\n", r.Repository, t.Name, t.Digest)
	}
	return nil
}

func newTrashEmptyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "empty [ID | repository | repository:tag | repository@digest]",
		Short: "Free the space of what was deleted now",
		Long: "empty gives up what was deleted: all of it, all of one repository, or one deletion. It\n" +
			"can't be brought back then. It asks first, or wants --yes. The files go with the next\n" +
			"collections, once nobody can be reading them any more (gc.delay).",
		Example: "  berth trash empty --yes\n  berth trash empty library/alpine",
		Args:    atMostOne,
	}
	yes := cmd.Flags().Bool("yes", false, "do not ask")
	configured := addConfigFlags(cmd, "data")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		parameters := url.Values{"all": {"1"}}
		if len(args) == 1 {
			var err error
			if parameters, err = trashTarget(args[0]); err != nil {
				return err
			}
			if !parameters.Has("id") && !parameters.Has("tag") && !parameters.Has("digest") {
				parameters.Set("all", "1")
			}
		}
		return withAdmin(cmd, configured, func(ctx context.Context, c *adminClient) error {
			var sum struct {
				Entries int
				Bytes   int64
			}
			scan := func(line json.RawMessage) error { return json.Unmarshal(line, &sum) }
			if !*yes {
				if err := c.act(ctx, "trash-empty?dry_run=1&"+parameters.Encode(), scan); err != nil {
					return err
				}
				if sum.Entries == 0 {
					return nothingGivenUp(cmd)
				}
				if err := confirm(cmd, fmt.Sprintf("This gives up %s for good.", count(sum.Entries, "deletion"))); err != nil {
					return err
				}
			}
			if err := c.act(ctx, "trash-empty?"+parameters.Encode(), scan); err != nil {
				return err
			}
			if sum.Entries == 0 {
				return nothingGivenUp(cmd)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "given up: %s; the next collections free %s or more\n", count(sum.Entries, "deletion"), humanSize(sum.Bytes))
			return err
		})
	}
	return cmd
}

// nothingGivenUp says that the trash has nothing of what was named.
func nothingGivenUp(cmd *cobra.Command) error {
	_, err := fmt.Fprintln(cmd.OutOrStdout(), "nothing of that is in the trash")
	return err
}
