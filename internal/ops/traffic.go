package ops

import (
	"maps"
	"math/bits"
	"net/http"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"
)

// A traffic counts requests. What is read out of it under several names is
// counted once, without allocating anything.
type traffic struct {
	bounds   []float64 // seconds, ascending
	inFlight atomic.Int64

	// routes is read without a lock and replaced under mu.
	routes atomic.Pointer[map[string]*routeTraffic]
	mu     sync.Mutex
}

// A routeTraffic is the traffic of one route.
type routeTraffic struct {
	name     string
	inFlight atomic.Int64
	methods  [methods]atomic.Pointer[methodTraffic] // nil until there was one
}

// A methodTraffic is the traffic of one route and method.
type methodTraffic struct {
	codes   [lastCode - firstCode + 2]atomic.Uint64 // the last one is for all others
	seconds []atomic.Uint64                         // one more than there are bounds
	nanos   atomic.Int64
	in, out sizes
}

// The statuses that are counted one by one.
const (
	firstCode = 100
	lastCode  = 599
)

// sizes counts how many bytes bodies have: those up to 1 KiB, 2 KiB, and so on
// up to 2 GiB, as registry:2 does, and the larger ones.
type sizes struct {
	counts [sizeBounds + 1]atomic.Uint64
	bytes  atomic.Int64
}

const (
	sizeBounds    = 22
	leastSizeBits = 10
)

func (s *sizes) add(n int64) {
	i := 0
	if n > 1<<leastSizeBits {
		i = min(bits.Len64(uint64(n-1))-leastSizeBits, sizeBounds)
	}
	s.counts[i].Add(1)
	s.bytes.Add(n)
}

// methods is how many methods are told apart: see methodIndex.
const methods = 8

// methodIndex returns the place of a method. Clients may send any word, so the
// last place is for all that are unknown.
func methodIndex(method string) int {
	switch method {
	case http.MethodGet:
		return 0
	case http.MethodHead:
		return 1
	case http.MethodPost:
		return 2
	case http.MethodPut:
		return 3
	case http.MethodPatch:
		return 4
	case http.MethodDelete:
		return 5
	case http.MethodOptions:
		return 6
	}
	return methods - 1
}

// methodNames are the labels of the places.
func methodNames() [methods]string {
	return [methods]string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodOptions, "other"}
}

func newTraffic() *traffic {
	t := &traffic{
		// Those of registry:2 are among them.
		bounds: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 25, 30, 60, 300, 1800},
	}
	t.routes.Store(&map[string]*routeTraffic{})
	return t
}

// route returns the traffic of a route, if it is one of the first maxRoutes
// well-formed ones; else that of "other".
func (t *traffic) route(name string) *routeTraffic {
	const other = "other"
	if known := (*t.routes.Load())[name]; known != nil {
		return known
	}
	if !isName(name) {
		name = other
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	routes := *t.routes.Load()
	if len(routes) >= maxRoutes && routes[name] == nil {
		name = other
	}
	if routes[name] == nil {
		routes = maps.Clone(routes)
		routes[name] = &routeTraffic{name: name}
		t.routes.Store(&routes)
	}
	return routes[name]
}

// method returns the traffic of a method.
func (r *routeTraffic) method(method string, bounds int) *methodTraffic {
	place := &r.methods[methodIndex(method)]
	if m := place.Load(); m != nil {
		return m
	}
	place.CompareAndSwap(nil, &methodTraffic{seconds: make([]atomic.Uint64, bounds+1)})
	return place.Load()
}

// add counts one request.
func (t *traffic) add(r *routeTraffic, method string, status int, took time.Duration, in, out int64) {
	m := r.method(method, len(t.bounds))
	code := len(m.codes) - 1
	if status >= firstCode && status <= lastCode {
		code = status - firstCode
	}
	m.codes[code].Add(1)
	m.seconds[sort.SearchFloat64s(t.bounds, took.Seconds())].Add(1)
	m.nanos.Add(int64(took))
	m.in.add(in)
	m.out.add(out)
}

// list returns all routes.
func (t *traffic) list() []*routeTraffic {
	return slices.Collect(maps.Values(*t.routes.Load()))
}

// A histogram is what Prometheus wants to know of one: counts up to and
// including each bound.
type histogram struct {
	buckets map[float64]uint64
	count   uint64
	sum     float64
}

func newHistogram() histogram { return histogram{buckets: map[float64]uint64{}} }

// addSeconds adds the times of m. Of the bounds only those are taken that are
// in only, if that is not nil.
func (h *histogram) addSeconds(m *methodTraffic, bounds []float64, only map[float64]bool) {
	var n uint64
	for i := range m.seconds {
		n += m.seconds[i].Load()
		if i < len(bounds) && (only == nil || only[bounds[i]]) {
			h.buckets[bounds[i]] += n
		}
	}
	h.count += n
	h.sum += time.Duration(m.nanos.Load()).Seconds()
}

// addSizes adds the sizes of s.
func (h *histogram) addSizes(s *sizes) {
	var n uint64
	for i := range s.counts {
		n += s.counts[i].Load()
		if i < sizeBounds {
			h.buckets[float64(int64(1)<<(leastSizeBits+i))] += n
		}
	}
	h.count += n
	h.sum += float64(s.bytes.Load())
}
