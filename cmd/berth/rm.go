package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"berth/internal/oci"
)

func newRmCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rm repository:tag | repository@digest | repository ...",
		Short: "Delete tags, manifests or repositories",
		Long: "rm deletes a tag, or a manifest by digest with all tags that point to it, or a repository\n" +
			"with all that it has; for that it asks, or wants --yes. What is deleted stays in the trash\n" +
			"for as long as trash.keep says: berth trash restore brings it back, berth trash empty\n" +
			"frees its space now. What an index still needs is refused: delete the index first.",
		Example: "  berth rm library/alpine:3.19\n  berth rm library/alpine@sha256:…\n  berth rm library/alpine --yes",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("rm needs a repository:tag, a repository@digest or a repository")}
			}
			return nil
		},
	}
	yes := cmd.Flags().Bool("yes", false, "of whole repositories: do not ask")
	configured := addConfigFlags(cmd, "data")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return withAdmin(cmd, configured, func(ctx context.Context, c *adminClient) error {
			for _, arg := range args {
				repo, ref, err := parseTarget(arg)
				switch {
				case err != nil:
				case ref == (oci.Ref{}):
					err = removeRepo(ctx, cmd, c, repo, *yes)
				default:
					err = removeRef(ctx, cmd, c, repo, ref, arg)
				}
				if err != nil {
					return fmt.Errorf("%s: %w", arg, err)
				}
			}
			return nil
		})
	}
	return cmd
}

// removeRef deletes a tag or a manifest, which is called arg, and says how that
// can be undone.
func removeRef(ctx context.Context, cmd *cobra.Command, c *adminClient, repo oci.Repo, ref oci.Ref, arg string) error {
	if err := c.delete(ctx, repo, ref); err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "deleted %s\n", arg)
	parameters := whatParameters(repo, ref)
	parameters.Set("find", "1")
	return c.act(ctx, "trash?"+parameters.Encode(), func(line json.RawMessage) error {
		var e trashEntry
		if err := json.Unmarshal(line, &e); err != nil {
			return err
		}
		_, err := fmt.Fprintf(out, "to undo: berth trash restore %d\n", e.ID)
		return err
	})
}

// removeRepo deletes a repository after a question, and says how that can be
// undone.
func removeRepo(ctx context.Context, cmd *cobra.Command, c *adminClient, repo oci.Repo, yes bool) error {
	var has struct {
		Entry           int64
		Manifests, Tags int
	}
	parameters := url.Values{"repository": {repo.String()}}
	scan := func(line json.RawMessage) error { return json.Unmarshal(line, &has) }
	if !yes {
		if err := c.act(ctx, "delete-repo?dry_run=1&"+parameters.Encode(), scan); err != nil {
			return err
		}
		err := confirm(cmd, fmt.Sprintf("This deletes the repository %s with %s and %s.", repo, count(has.Tags, "tag"), count(has.Manifests, "manifest")))
		if err != nil {
			return err
		}
	}
	if err := c.act(ctx, "delete-repo?"+parameters.Encode(), scan); err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "deleted %s: %s, %s\n", repo, count(has.Tags, "tag"), count(has.Manifests, "manifest"))
	if has.Entry != 0 {
		fmt.Fprintf(out, "to undo: berth trash restore %d\n", has.Entry)
	}
	return nil
}

// confirm asks whether to go on. Where nobody can be asked it is an error.
func confirm(cmd *cobra.Command, what string) error {
	in := cmd.InOrStdin()
	if f, ok := in.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
		return usageError{fmt.Errorf("%s Nobody can be asked here: say --yes if that is what you want", what)}
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s\nType yes to go on: ", what)
	line, err := bufio.NewReader(in).ReadString('\n')
	if err != nil || strings.TrimSpace(line) != "yes" {
		return errors.New("nothing was changed")
	}
	return nil
}

// count writes a number of things.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

func atMostOne(_ *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usageError{fmt.Errorf("%d arguments where one is enough", len(args))}
	}
	return nil
}
