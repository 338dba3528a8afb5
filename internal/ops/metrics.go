package ops

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// maxRoutes bounds the label route, should a handler ever name its routes after
// something that clients choose.
const maxRoutes = 64

// Metrics are the numbers that Prometheus reads. It may be used concurrently.
type Metrics struct {
	registry *prometheus.Registry
	traffic  *traffic
}

// NewMetrics returns metrics with a registry of their own, which hold the
// requests that Record notes, the Go runtime, the process and berth_build_info
// with the given version.
func NewMetrics(version string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), traffic: newTraffic()}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "berth_build_info", Help: "Always 1; its labels say what runs.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()},
	})
	build.Set(1)
	// In a new registry none of these can collide.
	m.registry.MustRegister(newTrafficCollector(m.traffic), build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// AddOldNames tells of requests under the names that registry:2 has, too.
// handlers says what registry:2 calls the handler of each route; routes that it
// doesn't name are left out, as registry:2 doesn't count them.
func (m *Metrics) AddOldNames(handlers map[string]string) error {
	return m.register("registry_http_requests_total", newOldCollector(m.traffic, handlers))
}

// Actions adds a histogram of how long something takes, under a name that ends
// in _seconds. The returned function gives, for the values of the labels, the
// one that notes a time. Call it once for each.
func (m *Metrics) Actions(name, help string, labels ...string) (func(values ...string) func(time.Duration), error) {
	vec := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help}, labels)
	if err := m.register(name, vec); err != nil {
		return nil, err
	}
	return func(values ...string) func(time.Duration) {
		o := vec.WithLabelValues(values...)
		return func(d time.Duration) { o.Observe(d.Seconds()) }
	}, nil
}

// GaugeFunc adds a gauge whose value f tells whenever it is read, from any
// goroutine. The error says that there is already one of that name, or that the
// name is malformed.
func (m *Metrics) GaugeFunc(name, help string, f func() float64) error {
	return m.register(name, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f))
}

// CounterFunc adds a counter whose value f tells; see GaugeFunc. The value must
// never fall.
func (m *Metrics) CounterFunc(name, help string, f func() float64) error {
	return m.register(name, prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, f))
}

func (m *Metrics) register(name string, c prometheus.Collector) error {
	if err := m.registry.Register(c); err != nil {
		return fmt.Errorf("add metric %s: %w", name, err)
	}
	return nil
}

// Handler serves the metrics. Trouble with reading one goes to log, and the
// others are served.
func (m *Metrics) Handler(log *slog.Logger) http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog:            promLogger{log},
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: 8,
	})
}

// A promLogger is what promhttp logs to.
type promLogger struct{ log *slog.Logger }

// Println logs v as a warning.
func (l promLogger) Println(v ...any) {
	l.log.LogAttrs(context.Background(), slog.LevelWarn, "metrics could not be read", slog.String("error", fmt.Sprint(v...)))
}

// begin notes that a request has come. A nil m notes nothing.
func (m *Metrics) begin() {
	if m != nil {
		m.traffic.inFlight.Add(1)
	}
}

// enter notes what a request asks for, as soon as that is known.
func (m *Metrics) enter(e *exchange) {
	if m != nil && e.traffic == nil {
		e.traffic = m.traffic.route(e.route)
		e.traffic.inFlight.Add(1)
	}
}

// end notes how a request ended. A nil m notes nothing.
func (m *Metrics) end(e *exchange, method string, status int, took time.Duration) {
	if m == nil {
		return
	}
	m.enter(e)
	m.traffic.inFlight.Add(-1)
	e.traffic.inFlight.Add(-1)
	m.traffic.add(e.traffic, method, status, took, e.in.Load(), e.out)
}

// isName reports whether s looks like the name of a route.
func isName(s string) bool {
	if s == "" || len(s) > 40 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}
