package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"berth"
	"berth/config"
	"berth/internal/fsck"
	"berth/internal/oci"
)

// Exit codes of a check that found something wrong.
const (
	exitFindings = exitError(1) // and something still is
	exitRepaired = exitError(3) // and all of it was repaired
)

func newFsckCommand() *cobra.Command {
	f := fsckCommand{}
	cmd := &cobra.Command{
		Use:   "fsck [repository…]",
		Short: "Check that what is recorded and what is stored agree",
		Long: "fsck compares the database with the files, in either direction, and says what is wrong,\n" +
			"what that means and what to do. A server that runs does it itself and goes on serving.\n" +
			"It changes nothing without --repair. With repositories it checks what these have.\n\n" +
			"--rebuild is for a data directory, without a server, whose database is lost or damaged:\n" +
			"it starts from the newest good snapshot in <data>/berth/snapshots, takes over what\n" +
			"registry:2's tree knows, and repairs the rest. What no record knows stays where it is.\n\n" +
			"--repair marks what is damaged, so that clients push it again, moves wrong bytes to\n" +
			"<data>/berth/quarantine, gives back what records lost, and tells the collector what it\n" +
			"forgot. It deletes no bytes that may be the only copy of something.\n\n" +
			"Exit code: 0 nothing is wrong, 1 something is, 2 called wrongly, 3 all was repaired.",
		Example: "  berth fsck\n  berth fsck --read-data\n  berth fsck --read-data=5 team/app\n  berth fsck --read-data --repair\n  berth fsck --rebuild",
	}
	configured := addConfigFlags(cmd, "data")
	cmd.Flags().StringVar(&f.readData, "read-data", "0", "read so many `percent` of the blobs whole and compare their digests")
	cmd.Flags().Lookup("read-data").NoOptDefVal = "100"
	cmd.Flags().BoolVar(&f.repair, "repair", false, "repair what can be repaired without guessing")
	cmd.Flags().BoolVar(&f.rebuild, "rebuild", false, "bring back a lost or damaged database from snapshots and from registry:2's tree")
	cmd.Flags().BoolVar(&f.empty, "empty-quarantine", false, "with --repair: delete for good what was put aside before")
	cmd.Flags().BoolVar(&f.json, "json", false, "write a line of JSON for each finding, and one for the sum")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f.out = cmd.OutOrStdout()
		parameters, err := f.parameters(args)
		if err != nil {
			return err
		}
		if f.rebuild {
			if err := f.prepare(cmd, configured); err != nil {
				return err
			}
		}
		return withAdmin(cmd, configured, func(ctx context.Context, c *adminClient) error { return f.run(ctx, c, parameters) })
	}
	return cmd
}

// A fsckCommand is one run of the command.
type fsckCommand struct {
	readData string
	repair   bool
	rebuild  bool
	empty    bool
	json     bool

	out io.Writer
	sum *fsck.Summary
}

func (f *fsckCommand) parameters(repos []string) (url.Values, error) {
	percent, err := strconv.Atoi(strings.TrimSuffix(f.readData, "%"))
	if err != nil || percent < 0 || percent > 100 {
		return nil, usageError{fmt.Errorf("--read-data: %q is no number from 0 to 100", f.readData)}
	}
	p := url.Values{"read_data": {strconv.Itoa(percent)}}
	if f.empty && !f.repair {
		return nil, usageError{errors.New("--empty-quarantine deletes files: it goes with --repair")}
	}
	if f.rebuild {
		if f.repair || f.empty || len(repos) > 0 {
			return nil, usageError{errors.New("--rebuild is for a data directory as a whole, and repairs it: it goes with no other repair and no repository")}
		}
		p.Set("rebuild", "1")
	}
	if f.repair {
		p.Set("repair", "1")
	}
	if f.empty {
		p.Set("empty_quarantine", "1")
	}
	for _, name := range repos {
		if _, err := oci.ParseRepo(name); err != nil {
			return nil, usageError{err}
		}
		p.Add("repo", name)
	}
	return p, nil
}

func (f *fsckCommand) run(ctx context.Context, c *adminClient, parameters url.Values) error {
	if err := c.act(ctx, "fsck?"+parameters.Encode(), f.tell); err != nil {
		return err
	}
	switch {
	case f.sum.Problems > f.sum.Cured:
		return exitFindings
	case f.sum.Problems > 0:
		return exitRepaired
	}
	return nil
}

// prepare makes the data directory ready for a rebuild.
func (f *fsckCommand) prepare(cmd *cobra.Command, configured func() (*config.Loaded, error)) error {
	loaded, err := configured()
	if err != nil {
		return err
	}
	if _, err := os.Stat(loaded.Config.Data); err != nil {
		return fmt.Errorf("there is no registry in %s: name its folder with --data", loaded.Config.Data)
	}
	aside, err := berth.PrepareRebuild(cmd.Context(), loaded.Config)
	if err == nil && aside != "" {
		fmt.Fprintln(cmd.ErrOrStderr(), "the damaged database is now", aside)
	}
	return err
}

// tell prints a finding, or the sum.
func (f *fsckCommand) tell(line json.RawMessage) error {
	var l struct {
		Finding *fsck.Finding
		Sum     *fsck.Summary
	}
	if err := json.Unmarshal(line, &l); err != nil {
		return err
	}
	if l.Sum != nil {
		f.sum = l.Sum
	}
	if f.json {
		_, err := fmt.Fprintf(f.out, "%s\n", line)
		return err
	}
	if l.Sum != nil {
		return f.summary(*l.Sum)
	}
	return f.finding(*l.Finding)
}

// finding prints one finding: what it is about, what it means, what to do.
func (f *fsckCommand) finding(x fsck.Finding) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", x.Kind, about(x))
	fmt.Fprintf(&b, "    %s", x.Means)
	if x.Detail != "" {
		fmt.Fprintf(&b, " (%s)", x.Detail)
	}
	b.WriteByte('\n')
	if len(x.Holders) > 0 {
		fmt.Fprintf(&b, "    repositories that have it: %s\n", strings.Join(x.Holders, ", "))
	}
	if x.Done != "" {
		fmt.Fprintf(&b, "    done: %s\n", x.Done)
	}
	if x.Do != "" && !x.Cured {
		fmt.Fprintf(&b, "    what to do: %s\n", x.Do)
	}
	_, err := io.WriteString(f.out, b.String())
	return err
}

// about says what a finding is about, in a line.
func about(x fsck.Finding) string {
	var parts []string
	name := x.Repository
	if x.Tag != "" {
		name += ":" + x.Tag
	}
	for _, s := range []string{name, x.Digest, string(x.Key)} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	if x.Size > 0 {
		parts = append(parts, humanSize(x.Size))
	}
	if x.Age != "" {
		parts = append(parts, x.Age+" old")
	}
	return strings.Join(parts, " ")
}

func (f *fsckCommand) summary(s fsck.Summary) error {
	fmt.Fprintf(f.out, "checked %s, %s, %s and %s\n", counted(int(s.Manifests), "manifest"), counted(int(s.Blobs), "blob"),
		counted(int(s.Objects), "file"), counted(int(s.Uploads), "upload"))
	if s.Read > 0 {
		fmt.Fprintf(f.out, "read %s of %s\n", humanSize(s.ReadBytes), counted(int(s.Read), "blob"))
	} else if s.Blobs > 0 {
		fmt.Fprintln(f.out, "compared the sizes of blobs, not their bytes: --read-data does that")
	}
	if s.Infos > 0 {
		fmt.Fprintf(f.out, "%s worth knowing\n", counted(int(s.Infos), "thing"))
	}
	switch left := s.Problems - s.Cured; {
	case s.Problems == 0:
		fmt.Fprintln(f.out, "nothing is wrong")
	case left == 0:
		fmt.Fprintf(f.out, "%s found and repaired\n", counted(int(s.Problems), "problem"))
	case s.Cured > 0:
		fmt.Fprintf(f.out, "%s found, %d of them repaired: see what to do about the others above\n", counted(int(s.Problems), "problem"), s.Cured)
	default:
		fmt.Fprintf(f.out, "%s found: see what to do above\n", counted(int(s.Problems), "problem"))
	}
	return nil
}
