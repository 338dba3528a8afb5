package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"

	"github.com/spf13/cobra"
)

func newRetentionCommand() *cobra.Command {
	return withCommands(&cobra.Command{
		Use:   "retention",
		Short: "Show and do what retention rules let go of",
		Long: "retention is about the rules below retention.rules: which tags and manifests they keep,\n" +
			"which go, and why. What goes is in the trash for trash.keep and can be brought back.",
	}, newRetentionSimulateCommand(), newRetentionRunCommand())
}

// A retained is a line that the server tells of retention.
type retained struct {
	Decision *struct {
		Repository, Tag, Digest, Reason string
		Goes                            bool
	}
	Done *struct {
		Repository              string
		Tags, Manifests, Stayed int
	}
	Sum *struct {
		Repositories  int
		TagsKept      int `json:"tags_kept"`
		TagsGone      int `json:"tags_gone"`
		ManifestsGone int `json:"manifests_gone"`
		Freed         int64
	}
	Note string
}

func newRetentionSimulateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "simulate [repository]",
		Short: "Show what would stay and go, and why",
		Long: "simulate shows for every tag, and for every manifest of which tags do not tell it, whether\n" +
			"it stays or goes and for what reason, and how much space would come free. It changes\n" +
			"nothing. With --rules it tries other rules than those in force: FILE holds them as a\n" +
			"configuration does, below retention: and rules:.",
		Example: "  berth retention simulate\n  berth retention simulate team/app --only goes\n  berth retention simulate --rules new-rules.yml --json",
		Args:    atMostOne,
	}
	rules := cmd.Flags().String("rules", "", "try the rules in this `file`")
	only := cmd.Flags().String("only", "", "show what `goes` or what is kept, and not the other")
	raw := cmd.Flags().Bool("json", false, "one line of JSON for each decision, and one for the sum")
	configured := addConfigFlags(cmd, "data")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		parameters, err := retentionParameters(args)
		if err != nil {
			return err
		}
		if *only != "" && *only != "goes" && *only != "kept" {
			return usageError{fmt.Errorf("--only %s: write goes or kept", *only)}
		}
		parameters.Set("only", *only)
		if *rules != "" {
			text, err := readRules(*rules)
			if err != nil {
				return err
			}
			parameters.Set("rules", text)
		}
		out := cmd.OutOrStdout()
		return withAdmin(cmd, configured, func(ctx context.Context, c *adminClient) error {
			return c.act(ctx, "simulate?"+parameters.Encode(), func(line json.RawMessage) error { return printRetained(out, line, *raw) })
		})
	}
	return cmd
}

func newRetentionRunCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run [repository]",
		Short: "Let go now of what the rules let go of",
		Long: "run does at once what a running server does every retention.every: what the rules let go\n" +
			"of goes to the trash.",
		Example: "  berth retention run\n  berth retention run team/app",
		Args:    atMostOne,
	}
	raw := cmd.Flags().Bool("json", false, "one line of JSON for each repository in which something went")
	configured := addConfigFlags(cmd, "data")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		parameters, err := retentionParameters(args)
		if err != nil {
			return err
		}
		out, went := cmd.OutOrStdout(), false
		return withAdmin(cmd, configured, func(ctx context.Context, c *adminClient) error {
			err := c.act(ctx, "retain?"+parameters.Encode(), func(line json.RawMessage) error {
				went = true
				return printRetained(out, line, *raw)
			})
			if err == nil && !went && !*raw {
				_, err = fmt.Fprintln(out, "nothing goes")
			}
			return err
		})
	}
	return cmd
}

func retentionParameters(args []string) (url.Values, error) {
	parameters := url.Values{}
	if len(args) == 0 {
		return parameters, nil
	}
	repo, ref, err := parseTarget(args[0])
	if err != nil {
		return nil, err
	}
	if ref.String() != "" {
		return nil, usageError{fmt.Errorf("%s: name a repository, without a tag", args[0])}
	}
	parameters.Set("repository", repo.String())
	return parameters, nil
}

// maxRules is how large a file with rules may be, in bytes.
const maxRules = 256 << 10

func readRules(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", usageError{fmt.Errorf("--rules: %w", err)}
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxRules+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("--rules: %w", err)
	case len(text) > maxRules:
		return "", usageError{fmt.Errorf("--rules: %s is larger than any list of rules", name)}
	case len(text) == 0:
		return "", usageError{fmt.Errorf("--rules: %s is empty", name)}
	}
	return string(text), nil
}

// printRetained prints a line that the server told.
func printRetained(out io.Writer, line json.RawMessage, raw bool) error {
	if raw {
		_, err := fmt.Fprintf(out, "%s\n", line)
		return err
	}
	var r retained
	err := json.Unmarshal(line, &r)
	switch {
	case err != nil:
	case r.Note != "":
		_, err = fmt.Fprintln(out, r.Note)
	case r.Decision != nil:
		what, verb := r.Decision.Repository+":"+r.Decision.Tag, "kept"
		if r.Decision.Tag == "" {
			what = r.Decision.Repository + "@" + r.Decision.Digest
		}
		if r.Decision.Goes {
			verb = "goes"
		}
		_, err = fmt.Fprintf(out, "%s  %s  %s\n", verb, what, r.Decision.Reason)
	case r.Done != nil:
		_, err = fmt.Fprintf(out, "%s: %s and %s went to the trash", r.Done.Repository, counted(r.Done.Tags, "tag"), counted(r.Done.Manifests, "manifest"))
		if err == nil && r.Done.Stayed > 0 {
			_, err = fmt.Fprintf(out, "; %s stayed that somebody changed meanwhile", counted(r.Done.Stayed, "image"))
		}
		fmt.Fprintln(out)
	case r.Sum != nil:
		_, err = fmt.Fprintf(out, "%d of %s and %s would go; %s would come free after trash.keep\n",
			r.Sum.TagsGone, counted(r.Sum.TagsGone+r.Sum.TagsKept, "tag"), counted(r.Sum.ManifestsGone, "manifest"), humanSize(r.Sum.Freed))
	}
	return err
}
