package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"berth/internal/oci"
)

func newRmCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rm repository:tag | repository@digest ...",
		Short: "Delete tags or manifests",
		Long: "rm deletes a tag, or a manifest by digest with all tags that point to it. The space\n" +
			"of what nothing needs any more is freed after the grace period (gc.grace). What an\n" +
			"index still needs is refused: delete the index first.",
		Example: "  berth rm library/alpine:3.19\n  berth rm library/alpine@sha256:…",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("rm needs a repository:tag or a repository@digest")}
			}
			return nil
		},
	}
	configured := addConfigFlags(cmd, "data")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return withAdmin(cmd, configured, func(ctx context.Context, c *adminClient) error {
			for _, arg := range args {
				repo, ref, err := parseTarget(arg)
				if err != nil {
					return err
				}
				if ref == (oci.Ref{}) {
					return usageError{fmt.Errorf("%s: name a tag or a digest: %s:TAG or %s@sha256:…", arg, arg, arg)}
				}
				if err := c.delete(ctx, repo, ref); err != nil {
					return fmt.Errorf("%s: %w", arg, err)
				}
				fmt.Fprintf(cmd.OutOrStdout(), "deleted %s\n", arg)
			}
			return nil
		})
	}
	return cmd
}

func atMostOne(_ *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usageError{fmt.Errorf("%d arguments where one is enough", len(args))}
	}
	return nil
}
