package gateway

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/pvrun/pvrun/cmd/pvrun-serve/pool"
)

// metrics are for Prometheus. What pools count is asked of them when it is wanted.
type metrics struct {
	gateway  *Gateway
	registry *prometheus.Registry
	ran      *prometheus.HistogramVec
	waited   *prometheus.HistogramVec
}

// buckets are seconds: an invocation takes a hundred microseconds, or as long as it likes.
var buckets = prometheus.ExponentialBuckets(50e-6, 2, 20)

func newMetrics(g *Gateway) *metrics {
	m := &metrics{
		gateway: g, registry: prometheus.NewRegistry(),
		ran: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "pvrun_invocation_seconds", Help: "How long invocations have run.", Buckets: buckets,
		}, []string{"function"}),
		waited: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "pvrun_wait_seconds", Help: "How long invocations have waited for a clone and their turn.", Buckets: buckets,
		}, []string{"function"}),
	}
	m.registry.MustRegister(m, m.ran, m.waited, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

func (m *metrics) observe(function string, res *pool.Result) {
	if res.Outcome == pool.Busy || res.Outcome == pool.NotReady {
		return
	}
	m.ran.WithLabelValues(function).Observe(seconds(res.Ran))
	m.waited.WithLabelValues(function).Observe(seconds(res.Waited))
}

func seconds(d time.Duration) float64 { return d.Seconds() }

func (m *metrics) forget(function string) {
	m.ran.DeleteLabelValues(function)
	m.waited.DeleteLabelValues(function)
}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("pvrun_"+name, help, append([]string{"function"}, labels...), nil)
}

var (
	descInvocations = describe("invocations_total", "Invocations, by what has become of them.", "outcome")
	descStarts      = describe("starts_total", "Invocations that got a clone: warm, it was there; cold, it was made for it.", "start")
	descMade        = describe("clones_made_total", "Clones made.")
	descClosed      = describe("clones_closed_total", "Clones taken away.")
	descExits       = describe("exits_total", "Exits of vCPUs to user space, by reason.", "reason")
	descClones      = describe("clones", "Clones there are.", "state")
	descRequests    = describe("requests", "Messages, events and requests that have a clone.")
	descQueue       = describe("queue_length", "Invocations that wait for a clone.")
	descMemory      = describe("memory_bytes", "Memory of the snapshot, which all clones share, and of the clones' own.", "of")
	descReady       = describe("ready", "Whether the function can be invoked.")
	descDropped     = describe("output_dropped_bytes_total", "What programs have written and is not in the log.")
)

// Describe is of prometheus.Collector: which there are is not known before.
func (m *metrics) Describe(chan<- *prometheus.Desc) {}

// Collect is of prometheus.Collector.
func (m *metrics) Collect(to chan<- prometheus.Metric) {
	for _, f := range m.gateway.functions() {
		collect(to, f, f.Pool.Status())
	}
}

func collect(to chan<- prometheus.Metric, f *Function, s pool.Status) {
	send := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, kind, v, append([]string{f.Name}, labels...)...)
	}
	count := func(d *prometheus.Desc, n uint64, labels ...string) {
		send(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge := func(d *prometheus.Desc, n int64, labels ...string) {
		send(d, prometheus.GaugeValue, float64(n), labels...)
	}
	for _, o := range pool.Outcomes {
		count(descInvocations, s.Counts.Outcomes[o], string(o))
	}
	for reason, n := range s.Counts.Exits {
		count(descExits, n, reason)
	}
	count(descStarts, s.Counts.Cold, "cold")
	count(descStarts, s.Counts.Warm, "warm")
	count(descMade, s.Counts.Made)
	count(descClosed, s.Counts.Closed)
	count(descDropped, f.Logs.Dropped().Bytes)
	for state, n := range map[string]int{
		"running": s.Running, "ready": s.Idle, "rewinding": s.Rewinding, "starting": s.Starting, "closing": s.Closing,
	} {
		gauge(descClones, int64(n), state)
	}
	gauge(descRequests, int64(s.Requests))
	gauge(descQueue, int64(s.Queued))
	gauge(descMemory, s.Shared, "snapshot")
	gauge(descMemory, s.Own, "clones")
	ready := int64(0)
	if s.Ready {
		ready = 1
	}
	gauge(descReady, ready)
}
