package berth

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"berth/internal/event"
	"berth/internal/event/webhook"
	"berth/internal/meta"
	"berth/internal/ops"
)

func isNotFound(err error) bool { return errors.Is(err, meta.ErrNotFound) }

// openEventMetrics adds what there is to know about notifications: registry:2's
// numbers under its names, and Berth's own.
func (s *Server) openEventMetrics() error {
	perEndpoint := func(f func(name string, n webhook.Numbers) []ops.Sample) func() []ops.Sample {
		return func() []ops.Sample {
			var list []ops.Sample
			for _, e := range s.notifications.endpoints {
				list = append(list, f(e.cfg.Name, e.Numbers())...)
			}
			return list
		}
	}
	return errors.Join(
		s.metrics.CounterSamples("registry_notifications_events_total", "The number of total events", []string{"type", "endpoint"},
			perEndpoint(func(name string, n webhook.Numbers) []ops.Sample {
				return []ops.Sample{
					{Value: float64(n.Events), Labels: []string{"Events", name}},
					{Value: float64(n.Successes), Labels: []string{"Successes", name}},
					{Value: float64(n.Failures), Labels: []string{"Failures", name}},
					{Value: float64(n.Errors), Labels: []string{"Errors", name}},
				}
			})),
		s.metrics.CounterSamples("registry_notifications_status_total", "The number of status code", []string{"code", "endpoint"},
			perEndpoint(func(name string, n webhook.Numbers) (list []ops.Sample) {
				for status, count := range n.Statuses {
					list = append(list, ops.Sample{Value: float64(count), Labels: []string{status, name}})
				}
				return list
			})),
		s.metrics.GaugeSamples("registry_notifications_pending_total", "The gauge of pending events in queue", []string{"endpoint"},
			s.behind(func(r meta.Reader) (string, bool) { return strings.CutPrefix(r.Name, webhookReader) })),
		s.metrics.GaugeSamples("berth_events_behind", "Events that a reader of events has not read yet.", []string{"reader"},
			s.behind(func(r meta.Reader) (string, bool) { return r.Name, true })),
		s.metrics.CounterFunc("berth_events_lost_total", "Events that grew older than notifications.keep before they were sent.",
			func() float64 { return float64(s.notifications.lost.Load()) }),
		s.metrics.CounterFunc("berth_events_dropped_total", "Pulls that were not recorded because too many came at once.",
			func() float64 { return float64(s.meta.DroppedEvents()) }),
	)
}

// behind returns how far those readers are behind that named gives a name.
func (s *Server) behind(named func(meta.Reader) (string, bool)) func() []ops.Sample {
	return func() []ops.Sample {
		readers, err := s.meta.EventReaders(context.Background())
		if err != nil {
			return nil // the database is the problem then, and says so itself
		}
		var list []ops.Sample
		for _, r := range readers {
			if name, ok := named(r); ok {
				list = append(list, ops.Sample{Value: float64(r.Behind), Labels: []string{name}})
			}
		}
		return list
	}
}

// notificationVars is what /debug/vars tells of notifications, as registry:2
// does, but for the secrets in URLs and headers.
func (s *Server) notificationVars() map[string]any {
	behind := make(map[string]int64)
	if readers, err := s.meta.EventReaders(context.Background()); err == nil {
		for _, r := range readers {
			behind[r.Name] = r.Behind
		}
	}
	var list []any
	for _, e := range s.notifications.endpoints {
		headers := make(map[string][]string)
		for name := range e.cfg.Headers {
			headers[name] = []string{"…"}
		}
		n := e.Numbers()
		list = append(list, map[string]any{
			"name": e.cfg.Name, "url": withoutSecrets(e.cfg.URL), "Headers": headers,
			"Timeout": e.cfg.Timeout, "Threshold": e.cfg.Threshold, "Backoff": e.cfg.Backoff,
			"IgnoredMediaTypes": e.cfg.IgnoreMediaTypes,
			"Ignore":            map[string]any{"MediaTypes": e.cfg.IgnoreMediaTypes, "Actions": e.cfg.IgnoreActions},
			"Metrics": map[string]any{
				"Pending": behind[e.reader()], "Events": n.Events, "Successes": n.Successes, "Failures": n.Failures,
				"Errors": n.Errors, "Statuses": n.Statuses,
			},
		})
	}
	return map[string]any{"endpoints": list}
}

// withoutSecrets returns where a URL leads, without what may be a password.
func withoutSecrets(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// An eventLine tells of one event.
type eventLine struct {
	Seq        int64     `json:"seq"`
	ID         string    `json:"id"`
	Time       time.Time `json:"time"`
	Action     string    `json:"action"`
	Kind       string    `json:"kind"`
	Repository string    `json:"repository"`
	From       string    `json:"from,omitempty"`
	Tag        string    `json:"tag,omitempty"`
	Digest     string    `json:"digest,omitempty"`
	By         string    `json:"by,omitempty"`
	Via        string    `json:"via,omitempty"` // who checked that name, if not the registry
	Address    string    `json:"address,omitempty"`
}

// listEvents is an action: it tells of the events that are kept, those after the
// parameter since if there is one.
func (s *Server) listEvents(ctx context.Context, parameters url.Values, tell func(any) error) error {
	since, err := sinceOf(parameters)
	if err != nil {
		return err
	}
	if err := s.meta.FlushEvents(ctx); err != nil {
		return err
	}
	return s.eachEvent(ctx, func(e event.Event) (bool, error) {
		if e.Time.Before(since) {
			return true, nil
		}
		line := eventLine{
			Seq: e.Seq, ID: e.ID, Time: e.Time, Action: string(e.Action), Kind: string(e.Kind), Repository: e.Repo.String(), From: e.From.String(),
			Tag: e.Tag.String(), By: e.By.Name, Via: e.By.Via, Address: e.By.Addr,
		}
		if !e.Digest.IsZero() {
			line.Digest = e.Digest.String()
		}
		return true, tell(line)
	})
}

// eachEvent calls f for the events that are kept, in order, until it returns
// false.
func (s *Server) eachEvent(ctx context.Context, f func(event.Event) (bool, error)) error {
	var after int64
	for {
		list, err := s.meta.Events(ctx, after, trimLimit)
		if err != nil || len(list) == 0 {
			return err
		}
		for _, e := range list {
			if on, err := f(e); err != nil || !on {
				return err
			}
			after = e.Seq
		}
	}
}

// sinceOf reads a point in time, which the program that asks has made of what the
// operator wrote. Without one, it is the zero time.
func sinceOf(parameters url.Values) (time.Time, error) {
	text := parameters.Get("since")
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return at, fmt.Errorf("since: %q is no time: write one such as 2026-11-28T09:00:00Z", text)
	}
	return at, nil
}

// An endpointLine tells how far an endpoint is.
type endpointLine struct {
	Endpoint string `json:"endpoint"`
	Next     int64  `json:"next"`     // the number of the event that it is told of next
	Behind   int64  `json:"behind"`   // how many events it has yet to be told of, or to pass over
	Failures int64  `json:"failures"` // since the last delivery that was accepted
}

// listEndpoints is an action: it tells how far each endpoint is.
func (s *Server) listEndpoints(ctx context.Context, _ url.Values, tell func(any) error) error {
	if err := s.meta.FlushEvents(ctx); err != nil {
		return err
	}
	readers, err := s.meta.EventReaders(ctx)
	if err != nil {
		return err
	}
	for _, e := range s.notifications.endpoints {
		for _, r := range readers {
			if r.Name != e.reader() {
				continue
			}
			if err := tell(endpointLine{e.cfg.Name, r.Seq + 1, r.Behind, e.Failures()}); err != nil {
				return err
			}
		}
	}
	return nil
}

// replay is an action: an endpoint is told again of the events from number from
// on, or of those since a time.
func (s *Server) replay(ctx context.Context, parameters url.Values, tell func(any) error) error {
	e, err := s.endpointOf(parameters.Get("endpoint"))
	if err != nil {
		return err
	}
	from, err := s.replayFrom(ctx, parameters)
	if err != nil {
		return err
	}
	if next := e.Cursor() + 1; from >= next {
		return fmt.Errorf("endpoint %s has been sent the events up to %d: what comes after them it gets anyway", e.cfg.Name, next-1)
	}
	if err := e.Rewind(ctx, from-1); err != nil {
		return err
	}
	s.log.Info("events are sent again", "endpoint", e.cfg.Name, "from", from)
	return s.listEndpoints(ctx, nil, func(v any) error {
		if line, ok := v.(endpointLine); ok && line.Endpoint != e.cfg.Name {
			return nil
		}
		return tell(v)
	})
}

func (s *Server) endpointOf(name string) (*endpoint, error) {
	var names []string
	for _, e := range s.notifications.endpoints {
		if e.cfg.Name == name {
			return e, nil
		}
		names = append(names, e.cfg.Name)
	}
	if len(names) == 0 {
		return nil, errors.New("notifications.endpoints has none: there is nobody to send events to")
	}
	return nil, fmt.Errorf("there is no endpoint %q, but %s", name, strings.Join(names, ", "))
}

// replayFrom returns the number of the first event of a replay, which must be
// there.
func (s *Server) replayFrom(ctx context.Context, parameters url.Values) (int64, error) {
	var number int64
	if text := parameters.Get("from"); text != "" {
		var err error
		if number, err = strconv.ParseInt(text, 10, 64); err != nil || number < 1 {
			return 0, fmt.Errorf("from: %q is no number of an event: berth events list shows them", text)
		}
	}
	since, err := sinceOf(parameters)
	if err != nil {
		return 0, err
	}
	var first int64
	err = s.eachEvent(ctx, func(e event.Event) (bool, error) {
		if e.Seq < number || e.Time.Before(since) {
			return true, nil
		}
		first = e.Seq
		return false, nil
	})
	if err == nil && first == 0 {
		err = errors.New("no such event is kept: berth events list shows those that are")
	}
	return first, err
}
