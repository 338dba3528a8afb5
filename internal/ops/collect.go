package ops

import (
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// A trafficCollector tells Prometheus about traffic under Berth's own names.
type trafficCollector struct {
	t *traffic

	requests, seconds, in, out, inFlight *prometheus.Desc
}

func newTrafficCollector(t *traffic) *trafficCollector {
	return &trafficCollector{
		t: t,
		requests: prometheus.NewDesc("berth_http_requests_total",
			"Requests answered. Code 499 is a client that left before it had its answer.", []string{"route", "method", "code"}, nil),
		seconds: prometheus.NewDesc("berth_http_request_seconds",
			"Time from the header of a request to the end of its answer.", []string{"route"}, nil),
		in:       prometheus.NewDesc("berth_http_request_bytes_total", "Bytes read of the bodies of requests.", []string{"route"}, nil),
		out:      prometheus.NewDesc("berth_http_response_bytes_total", "Bytes written of the bodies of answers.", []string{"route"}, nil),
		inFlight: prometheus.NewDesc("berth_http_requests_in_flight", "Requests being answered now.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *trafficCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.requests, c.seconds, c.in, c.out, c.inFlight} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *trafficCollector) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.MustNewConstMetric(c.inFlight, prometheus.GaugeValue, float64(c.t.inFlight.Load()))
	for _, r := range c.t.list() {
		seconds := newHistogram()
		var in, out int64
		for i, method := range methodNames() {
			m := r.methods[i].Load()
			if m == nil {
				continue
			}
			for code, n := range m.byCode() {
				ch <- prometheus.MustNewConstMetric(c.requests, prometheus.CounterValue, float64(n), r.name, method, code)
			}
			seconds.addSeconds(m, c.t.bounds, nil)
			in += m.in.bytes.Load()
			out += m.out.bytes.Load()
		}
		if seconds.count == 0 {
			continue // one is on its way for the first time
		}
		ch <- prometheus.MustNewConstHistogram(c.seconds, seconds.count, seconds.sum, seconds.buckets, r.name)
		ch <- prometheus.MustNewConstMetric(c.in, prometheus.CounterValue, float64(in), r.name)
		ch <- prometheus.MustNewConstMetric(c.out, prometheus.CounterValue, float64(out), r.name)
	}
}

// byCode returns how often each status was answered; those that never were are
// left out.
func (m *methodTraffic) byCode() map[string]uint64 {
	found := map[string]uint64{}
	for i := range m.codes {
		if n := m.codes[i].Load(); n > 0 {
			code := "other"
			if i < len(m.codes)-1 {
				code = strconv.Itoa(firstCode + i)
			}
			found[code] = n
		}
	}
	return found
}

// An oldCollector tells Prometheus about traffic under the names that registry:2
// has, which dashboards and alerts know.
type oldCollector struct {
	t        *traffic
	handlers map[string]string // by route
	bounds   map[float64]bool

	requests, seconds, in, out, inFlight *prometheus.Desc
}

func newOldCollector(t *traffic, handlers map[string]string) *oldCollector {
	c := &oldCollector{
		t: t, handlers: handlers, bounds: map[float64]bool{},
		requests: prometheus.NewDesc("registry_http_requests_total", "Requests answered, by registry:2's name of the handler.",
			[]string{"handler", "method", "code"}, nil),
		seconds: prometheus.NewDesc("registry_http_request_duration_seconds", "Time that requests took, by registry:2's name of the handler.",
			[]string{"handler", "method"}, nil),
		in:       prometheus.NewDesc("registry_http_request_size_bytes", "Bytes of the bodies of requests.", []string{"handler"}, nil),
		out:      prometheus.NewDesc("registry_http_response_size_bytes", "Bytes of the bodies of answers.", []string{"handler"}, nil),
		inFlight: prometheus.NewDesc("registry_http_in_flight_requests", "Requests being answered now.", []string{"handler"}, nil),
	}
	for _, b := range []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 25, 60} {
		c.bounds[b] = true
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *oldCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.requests, c.seconds, c.in, c.out, c.inFlight} {
		ch <- d
	}
}

// An oldHandler is the traffic of one of registry:2's handlers.
type oldHandler struct {
	inFlight int64
	in, out  histogram
	methods  map[string]*oldMethod
}

// An oldMethod is that of one method of it.
type oldMethod struct {
	seconds histogram
	codes   map[string]uint64
}

// Collect implements prometheus.Collector.
func (c *oldCollector) Collect(ch chan<- prometheus.Metric) {
	for name, h := range c.sum() {
		ch <- prometheus.MustNewConstMetric(c.inFlight, prometheus.GaugeValue, float64(h.inFlight), name)
		for method, m := range h.methods {
			ch <- prometheus.MustNewConstHistogram(c.seconds, m.seconds.count, m.seconds.sum, m.seconds.buckets, name, method)
			for code, n := range m.codes {
				ch <- prometheus.MustNewConstMetric(c.requests, prometheus.CounterValue, float64(n), name, method, code)
			}
		}
		if h.in.count > 0 {
			ch <- prometheus.MustNewConstHistogram(c.in, h.in.count, h.in.sum, h.in.buckets, name)
			ch <- prometheus.MustNewConstHistogram(c.out, h.out.count, h.out.sum, h.out.buckets, name)
		}
	}
}

// sum adds up the routes that are one handler with registry:2.
func (c *oldCollector) sum() map[string]*oldHandler {
	all := map[string]*oldHandler{}
	for _, name := range c.handlers {
		all[name] = &oldHandler{in: newHistogram(), out: newHistogram(), methods: map[string]*oldMethod{}}
	}
	for _, r := range c.t.list() {
		h := all[c.handlers[r.name]]
		if h == nil {
			continue
		}
		h.inFlight += r.inFlight.Load()
		for i, method := range methodNames() {
			if m := r.methods[i].Load(); m != nil {
				h.add(strings.ToLower(method), m, c)
			}
		}
	}
	return all
}

func (h *oldHandler) add(method string, m *methodTraffic, c *oldCollector) {
	o := h.methods[method]
	if o == nil {
		o = &oldMethod{seconds: newHistogram(), codes: map[string]uint64{}}
		h.methods[method] = o
	}
	o.seconds.addSeconds(m, c.t.bounds, c.bounds)
	for code, n := range m.byCode() {
		o.codes[code] += n
	}
	h.in.addSizes(&m.in)
	h.out.addSizes(&m.out)
}
