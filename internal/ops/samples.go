package ops

import (
	"github.com/prometheus/client_golang/prometheus"
)

// A Sample is one value of a metric, with the values of its labels.
type Sample struct {
	Value  float64
	Labels []string
}

// GaugeSamples adds a gauge with labels, whose values f tells whenever they are
// read, from any goroutine. See GaugeFunc.
func (m *Metrics) GaugeSamples(name, help string, labels []string, f func() []Sample) error {
	return m.register(name, sampler{prometheus.NewDesc(name, help, labels, nil), prometheus.GaugeValue, f})
}

// CounterSamples adds a counter with labels; see GaugeSamples. No value may ever
// fall.
func (m *Metrics) CounterSamples(name, help string, labels []string, f func() []Sample) error {
	return m.register(name, sampler{prometheus.NewDesc(name, help, labels, nil), prometheus.CounterValue, f})
}

// A sampler tells Prometheus about samples.
type sampler struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	f    func() []Sample
}

// Describe implements prometheus.Collector.
func (s sampler) Describe(ch chan<- *prometheus.Desc) { ch <- s.desc }

// Collect implements prometheus.Collector. What is no metric is left out, and
// said where the metrics are read.
func (s sampler) Collect(ch chan<- prometheus.Metric) {
	for _, sample := range s.f() {
		m, err := prometheus.NewConstMetric(s.desc, s.kind, sample.Value, sample.Labels...)
		if err != nil {
			m = prometheus.NewInvalidMetric(s.desc, err)
		}
		ch <- m
	}
}
