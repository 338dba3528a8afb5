package ops

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strconv"
	"sync"
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
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	bytesIn  *prometheus.CounterVec
	bytesOut *prometheus.CounterVec
	inFlight prometheus.Gauge

	mu     sync.RWMutex
	routes map[string]bool
}

// NewMetrics returns metrics with a registry of their own, which hold the
// requests that Record notes, the Go runtime, the process and berth_build_info
// with the given version.
func NewMetrics(version string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "berth_http_requests_total", Help: "Requests answered. Code 499 is a client that left before it had its answer.",
		}, []string{"route", "method", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "berth_http_request_seconds", Help: "Time from the header of a request to the end of its answer.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800},
		}, []string{"route"}),
		bytesIn: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "berth_http_request_bytes_total", Help: "Bytes read of the bodies of requests.",
		}, []string{"route"}),
		bytesOut: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "berth_http_response_bytes_total", Help: "Bytes written of the bodies of answers.",
		}, []string{"route"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "berth_http_requests_in_flight", Help: "Requests being answered now.",
		}),
		routes: map[string]bool{},
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "berth_build_info", Help: "Always 1; its labels say what runs.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()},
	})
	build.Set(1)
	// In a new registry none of these can collide.
	m.registry.MustRegister(m.requests, m.seconds, m.bytesIn, m.bytesOut, m.inFlight, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
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
		m.inFlight.Inc()
	}
}

// end notes how a request ended. A nil m notes nothing.
func (m *Metrics) end(e *exchange, method string, status int, took time.Duration) {
	if m == nil {
		return
	}
	m.inFlight.Dec()
	route := m.route(e.route)
	m.requests.WithLabelValues(route, methodLabel(method), codeLabel(status)).Inc()
	m.seconds.WithLabelValues(route).Observe(took.Seconds())
	m.bytesIn.WithLabelValues(route).Add(float64(e.in.Load()))
	m.bytesOut.WithLabelValues(route).Add(float64(e.out))
}

// route returns the label of a route: itself if it is one of the first
// maxRoutes well-formed ones, else "other".
func (m *Metrics) route(s string) string {
	const other = "other"
	m.mu.RLock()
	known := m.routes[s]
	m.mu.RUnlock()
	if known {
		return s
	}
	if !isName(s) {
		return other
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.routes) >= maxRoutes && !m.routes[s] {
		return other
	}
	m.routes[s] = true
	return s
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

// methodLabel returns the label of a method: clients may send any word.
func methodLabel(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	default:
		return "other"
	}
}

func codeLabel(status int) string {
	if status < 100 || status > 999 {
		return "other"
	}
	return strconv.Itoa(status)
}
