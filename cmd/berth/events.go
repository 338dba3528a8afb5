package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

func newEventsCommand() *cobra.Command {
	return withCommands(&cobra.Command{
		Use:   "events",
		Short: "Show what happened, and send it to an endpoint again",
		Long: "events is about notifications: what the endpoints of notifications.endpoints are told.\n" +
			"Events are recorded while there is an endpoint, and kept for notifications.keep.",
	}, newEventsListCommand(), newEventsEndpointsCommand(), newEventsReplayCommand())
}

func newEventsListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the events that are kept",
		Example: "  berth events list --since 1h\n  berth events list --since 2026-11-28T09:00:00Z --json",
		Args:    nothing,
	}
	since := cmd.Flags().String("since", "", "only events from then on: a time, or how long ago")
	raw := cmd.Flags().Bool("json", false, "one line of JSON for each event")
	configured := addConfigFlags(cmd, "data")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		parameters, err := sinceParameter(*since)
		if err != nil {
			return err
		}
		return withAdmin(cmd, configured, func(ctx context.Context, c *adminClient) error {
			return printEvents(ctx, c, parameters, cmd.OutOrStdout(), *raw)
		})
	}
	return cmd
}

// printEvents prints events as they come: there may be very many.
func printEvents(ctx context.Context, c *adminClient, parameters url.Values, out io.Writer, raw bool) error {
	return c.act(ctx, "events?"+parameters.Encode(), func(line json.RawMessage) error {
		if raw {
			_, err := fmt.Fprintf(out, "%s\n", line)
			return err
		}
		var e struct {
			Seq                                                           int64
			Time                                                          time.Time
			Action, Kind, Repository, From, Tag, Digest, By, Via, Address string
		}
		if err := json.Unmarshal(line, &e); err != nil {
			return err
		}
		what := e.Repository
		switch {
		case e.Tag != "":
			what += ":" + e.Tag
		case e.Digest != "":
			what += "@" + e.Digest
		}
		if e.From != "" {
			what += " from " + e.From
		}
		by := e.By
		if by == "" {
			by = "-"
		}
		if e.Via != "" {
			by += " (" + e.Via + ")"
		}
		_, err := fmt.Fprintf(out, "%d\t%s\t%s %s\t%s\t%s %s\n", e.Seq, e.Time.Format(time.RFC3339), e.Action, e.Kind, what, by, e.Address)
		return err
	})
}

func newEventsEndpointsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "endpoints",
		Short: "Show how far the endpoints have been told",
		Args:  nothing,
	}
	configured := addConfigFlags(cmd, "data")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return withAdmin(cmd, configured, func(ctx context.Context, c *adminClient) error {
			return printEndpoints(ctx, c, "endpoints", cmd.OutOrStdout())
		})
	}
	return cmd
}

// printEndpoints does an action that tells how far endpoints are.
func printEndpoints(ctx context.Context, c *adminClient, action string, out io.Writer) error {
	w := newTable(out)
	fmt.Fprintln(w, "ENDPOINT\tNEXT EVENT\tBEHIND\tFAILURES")
	err := c.act(ctx, action, func(line json.RawMessage) error {
		var e struct {
			Endpoint               string
			Next, Behind, Failures int64
		}
		if err := json.Unmarshal(line, &e); err != nil {
			return err
		}
		_, err := fmt.Fprintf(w, "%s\t%d\t%d\t%d\n", e.Endpoint, e.Next, e.Behind, e.Failures)
		return err
	})
	if err != nil {
		return err
	}
	return w.Flush()
}

func newEventsReplayCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "replay --endpoint name (--since time | --from number)",
		Short: "Send events to an endpoint again",
		Long: "replay sends an endpoint the events again that it was sent already, from one on and in\n" +
			"their order, with the same ids. What came since is sent behind them.",
		Example: "  berth events replay --endpoint ci --since 2h\n  berth events replay --endpoint ci --from 4711",
		Args:    nothing,
	}
	endpoint := cmd.Flags().String("endpoint", "", "the name of the endpoint")
	since := cmd.Flags().String("since", "", "begin with the first event from then on: a time, or how long ago")
	from := cmd.Flags().Int64("from", 0, "begin with the event of this number")
	configured := addConfigFlags(cmd, "data")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		parameters, err := sinceParameter(*since)
		if err != nil {
			return err
		}
		switch {
		case *endpoint == "":
			return usageError{errors.New("replay needs --endpoint: berth events endpoints shows them")}
		case (*since == "") == (*from == 0):
			return usageError{errors.New("replay needs either --since or --from")}
		}
		parameters.Set("endpoint", *endpoint)
		if *from != 0 {
			parameters.Set("from", strconv.FormatInt(*from, 10))
		}
		return withAdmin(cmd, configured, func(ctx context.Context, c *adminClient) error {
			return printEndpoints(ctx, c, "replay?"+parameters.Encode(), cmd.OutOrStdout())
		})
	}
	return cmd
}

// sinceParameter returns the parameters of an action with the time that a person
// wrote: a point in time, a day, or how long ago. Empty is none.
func sinceParameter(text string) (url.Values, error) {
	parameters := url.Values{}
	if text == "" {
		return parameters, nil
	}
	at, err := parseSince(text, time.Now())
	if err == nil {
		parameters.Set("since", at.UTC().Format(time.RFC3339Nano))
	}
	return parameters, err
}

func parseSince(text string, now time.Time) (time.Time, error) {
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	if at, err := time.ParseInLocation(time.DateOnly, text, now.Location()); err == nil {
		return at, nil
	}
	return time.Time{}, usageError{fmt.Errorf("--since: %q is no time: write 2h, 2026-11-28 or 2026-11-28T09:00:00Z", text)}
}

func nothing(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("%q is too much: it takes flags only", args[0])}
	}
	return nil
}
