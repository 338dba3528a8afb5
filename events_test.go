package berth

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/config"
	"berth/internal/event"
)

// A hook is an endpoint of notifications. While it is down it answers 503.
type hook struct {
	*httptest.Server

	mu   sync.Mutex
	down bool
	got  []string // action and tag or digest's kind, of what was accepted
	ids  []string
	came chan struct{} // receives a value, if there is room, after every request
}

func newHook(t *testing.T) *hook {
	h := &hook{came: make(chan struct{}, 1)}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var env struct {
			Events []struct {
				ID, Action string
				Target     struct{ Repository, Tag string }
			}
		}
		if err := json.NewDecoder(r.Body).Decode(&env); err != nil || len(env.Events) != 1 {
			t.Errorf("received %d events, %v", len(env.Events), err)
			return
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		defer func() {
			select {
			case h.came <- struct{}{}:
			default:
			}
		}()
		if h.down {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		e := env.Events[0]
		h.got = append(h.got, e.Action+" "+e.Target.Repository+":"+e.Target.Tag)
		h.ids = append(h.ids, e.ID)
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hook) setDown(down bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.down = down
}

// wait returns when the hook has got n events, with all of them.
func (h *hook) wait(t *testing.T, n int) []string {
	t.Helper()
	for {
		h.mu.Lock()
		got := slices.Clone(h.got)
		h.mu.Unlock()
		if len(got) >= n {
			return got
		}
		select {
		case <-h.came:
		case <-t.Context().Done():
			t.Fatalf("got %v, want %d", got, n)
		case <-time.After(time.Minute):
			t.Fatalf("got %v, want %d", got, n)
		}
	}
}

// A running is a server that runs in the background.
type running struct {
	*Server
	stop func()
}

func start(t *testing.T, cfg config.Config) *running {
	t.Helper()
	s, err := Open(t.Context(), Options{Config: cfg, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	r := &running{Server: s}
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(r.stop)
	return r
}

// answerOf sends a request to a handler, and fails the test if the answer is none of
// success.
func answerOf(t *testing.T, h http.Handler, method, path, body string) string {
	t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/vnd.oci.image.index.v1+json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	text, _ := io.ReadAll(w.Result().Body)
	if w.Code >= 300 {
		t.Fatalf("%s %s: %d %s", method, path, w.Code, text)
	}
	return string(text)
}

const emptyIndex = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`

func push(t *testing.T, s *running, repo, tag string) {
	t.Helper()
	answerOf(t, s, "PUT", "/v2/"+repo+"/manifests/"+tag, emptyIndex)
}

func notified(t *testing.T, endpoints ...config.Endpoint) config.Config {
	cfg := config.Default()
	cfg.Data = t.TempDir()
	cfg.Delete.Enabled = true
	cfg.Notifications.Endpoints = endpoints
	return cfg
}

func endpointAt(name, url string) config.Endpoint {
	return config.Endpoint{Name: name, URL: url, Timeout: 10 * time.Second, Threshold: 1, Backoff: time.Millisecond}
}

// TestNotifications holds that an endpoint which is down for a while, over a
// restart of the registry, too, is told of everything in its order, that each
// endpoint goes at its own pace, and that what was sent can be sent again.
func TestNotifications(t *testing.T) {
	slow, quick := newHook(t), newHook(t)
	team := endpointAt("team", quick.URL)
	team.Repositories, team.IgnoreActions = []string{"team/*"}, []string{"pull"}
	cfg := notified(t, endpointAt("all", slow.URL), team)

	s := start(t, cfg)
	slow.setDown(true)
	push(t, s, "team/a", "v1")
	push(t, s, "b", "v1")
	push(t, s, "b", "v1") // again, which changes nothing
	answerOf(t, s, "GET", "/v2/team/a/manifests/v1", "")
	answerOf(t, s, "DELETE", "/v2/team/a/manifests/v1", "")
	quickWant := []string{"push team/a:v1", "delete team/a:v1"}
	if got := quick.wait(t, 2); !slices.Equal(got, quickWant) {
		t.Errorf("got %v, want %v", got, quickWant)
	}
	for s.notifications.endpoints[1].Numbers().Successes < 2 { // the answers are counted a moment later
		runtime.Gosched()
	}
	metrics := answerOf(t, s.Ops(), "GET", "/metrics", "")
	for _, line := range []string{
		`registry_notifications_events_total{endpoint="all",type="Events"} 1`, `registry_notifications_events_total{endpoint="team",type="Successes"} 2`,
		`registry_notifications_pending_total{endpoint="all"} 5`, `registry_notifications_status_total{code="200 OK",endpoint="team"} 2`,
		`berth_events_behind{reader="webhook:all"} 5`, `berth_events_lost_total 0`,
	} {
		if !strings.Contains(metrics, line+"\n") {
			t.Errorf("no %s in the metrics", line)
		}
	}
	s.stop()

	s = start(t, cfg)
	push(t, s, "b", "v2")
	slow.setDown(false)
	want := []string{"push team/a:v1", "push b:v1", "push b:v1", "pull team/a:v1", "delete team/a:v1", "push b:v2"}
	if got := slow.wait(t, 6); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	answer := answerOf(t, s.Admin(), "POST", "/admin/replay?endpoint=all&from=5", "")
	if !strings.Contains(answer, `"done":true`) {
		t.Errorf("replay: %s", answer)
	}
	if got := slow.wait(t, 8); !slices.Equal(got, append(want, want[4:]...)) || !slices.Equal(slow.ids[4:6], slow.ids[6:8]) {
		t.Errorf("got %v with ids %v", got, slow.ids)
	}
	for query, problem := range map[string]string{
		"endpoint=all&from=7": "no such event", "endpoint=x&from=1": "all, team", "endpoint=all&from=x": "no number", "endpoint=all&since=x": "no time",
	} {
		if answer := answerOf(t, s.Admin(), "POST", "/admin/replay?"+query, ""); !strings.Contains(answer, problem) {
			t.Errorf("%s: %s does not say %q", query, answer, problem)
		}
	}
	list := answerOf(t, s.Admin(), "POST", "/admin/events", "")
	if n := strings.Count(list, `"seq"`); n != 6 {
		t.Errorf("%d events are listed: %s", n, list)
	}
	if list := answerOf(t, s.Admin(), "POST", "/admin/events?since=2100-01-01T00:00:00Z", ""); strings.Contains(list, `"seq"`) {
		t.Errorf("of the future: %s", list)
	}
	if got := quick.wait(t, 2); !slices.Equal(got, quickWant) {
		t.Errorf("the other endpoint got %v", got)
	}
}

// TestNotificationsGivenUp holds that events are dropped and counted that grew
// too old while their endpoint was down, and that it goes on behind them.
func TestNotificationsGivenUp(t *testing.T) {
	h := newHook(t)
	h.setDown(true)
	s := start(t, notified(t, endpointAt("e", h.URL)))
	push(t, s, "a", "v1")
	push(t, s, "a", "v2")
	<-h.came
	s.cfg.Notifications.Keep = 0
	if err := s.trimEvents(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := s.notifications.lost.Load(); got != 2 {
		t.Errorf("%d events were lost, want 2", got)
	}
	push(t, s, "a", "v3")
	h.setDown(false)
	got := h.wait(t, 1) // one that is being tried when it is given up may still arrive
	for len(got) < 2 && got[0] != "push a:v3" {
		got = h.wait(t, 2)
	}
	if last := got[len(got)-1]; last != "push a:v3" {
		t.Errorf("got %v", got)
	}
}

// TestNotificationsForgotten holds that an endpoint which is configured no longer
// is forgotten by the next server, and by nobody before it: a command need not
// know the configuration.
func TestNotificationsForgotten(t *testing.T) {
	h := newHook(t)
	h.setDown(true)
	with := notified(t, endpointAt("e", h.URL))
	without := with
	without.Notifications.Endpoints = nil
	readers := func(s *Server) string {
		t.Helper()
		list, err := s.meta.EventReaders(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(list)
	}
	s := start(t, with)
	push(t, s, "a", "v1")
	s.stop()
	command, err := Open(t.Context(), Options{Config: without})
	if err != nil {
		t.Fatal(err)
	}
	if got := readers(command); !strings.Contains(got, "webhook:e") {
		t.Errorf("a command has forgotten the endpoint: %s", got)
	}
	if err := command.forgetEndpoints(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := readers(command); got != "[]" {
		t.Errorf("there are still %s", got)
	}
	if command.pulled() != nil {
		t.Error("pulls are recorded for nobody")
	}
	if err := command.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestNotificationVars holds that /debug/vars tells of endpoints as registry:2
// does, without what may be secret.
func TestNotificationVars(t *testing.T) {
	h := newHook(t)
	e := endpointAt("e", strings.Replace(h.URL, "//", "//user:hidden@", 1)+"/hook?token=hidden")
	e.Headers = map[string][]string{"Authorization": {"hidden"}}
	e.IgnoreActions = []string{string(event.Pull)}
	s := start(t, notified(t, e))
	push(t, s, "a", "v1")
	h.wait(t, 1)
	var got struct {
		Registry struct {
			Notifications struct {
				Endpoints []struct {
					Name, URL string
					Headers   map[string][]string
					Threshold int
					Ignore    struct{ Actions []string }
					Metrics   struct{ Events, Successes int }
				}
			}
		}
	}
	text := answerOf(t, s.Ops(), "GET", "/debug/vars", "")
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	list := got.Registry.Notifications.Endpoints
	if len(list) != 1 || list[0].Name != "e" || list[0].URL != h.URL+"/hook" || list[0].Threshold != 1 || list[0].Metrics.Events != 1 ||
		len(list[0].Headers["Authorization"]) != 1 || !slices.Equal(list[0].Ignore.Actions, []string{"pull"}) {
		t.Errorf("got %+v", list)
	}
	if strings.Contains(text, "hidden") {
		t.Errorf("a secret in %s", text)
	}
}
