package main

import "fmt"

// A metric is what is compared.
type metric string

const (
	rate  metric = "rate"
	cpu   metric = "CPU"
	p50   metric = "time" // that half of the operations stay below
	p99   metric = "p99"
	space metric = "memory"
)

// of takes a metric of a result.
func (m metric) of(r result) float64 {
	switch m {
	case rate:
		return r.Rate
	case cpu:
		return r.CPU
	case p50:
		return r.P50
	case p99:
		if r.Samples < enough {
			return 0
		}
		return r.P99
	}
	return float64(r.Memory)
}

// text writes a value of the metric.
func (m metric) text(v float64, unit string) string {
	switch m {
	case rate:
		return number(v) + " " + unit + "/s"
	case cpu:
		return number(v) + " µs"
	case space:
		return number(v/(1<<20)) + " MiB"
	}
	return number(v) + " ms"
}

// A goal is a ratio that Berth has to reach.
type goal struct {
	workload string
	value    metric
	rival    string // to whom
	of       string // the rival's workload, if it is another
	atLeast  float64
	atMost   float64 // one of the two is set
	gate     bool
	note     string // what the ratio says, if it is not what it seems
	why      string // it is missed, if it is: what the profile shows, and what would help
}

// hashed is why large pushes cost what they cost.
const hashed = "half of the CPU is SHA-256, which all of them compute, and most of the rest the kernel's copies, from the socket and into the page cache"

// records is why deletions cost what they cost.
const records = "what makes it undoable is written with it, to the trash, the history and the tombstones: ten statements, where the floor writes a line. The pages are no longer written for each (ADR 0044), and what is left are SQLite's statements"

// pushing is why pushes of images do.
const pushing = "a quarter of the CPU is SQLite's, since each blob and each manifest is a transaction, where the floor writes a line; a fifth is the file system's, to make blobs durable, each in a folder of its own, as registry:2 has them. What is left is as much as all of the floor's"

// starting is why a start takes as long as it does.
const starting = "a quarter of it is over before the program begins, with its packages, and a tenth is that each connection to the database reads the schema for itself"

// cold is why what is asked for once costs more than what is asked for again.
const cold = "what is asked for the first time is read from the database, as nearly all is here: there are more than requests in a measurement"

const us, least, dist = "berth", "floor", "distribution"

// goals are all targets, those that people quote first. In this table, and
// nowhere else, stands what is aimed at.
func goals() []goal {
	const bcrypt = "distribution runs bcrypt for every request, so this is how slow bcrypt is, not how fast Berth"
	const copying = "the copy through the loopback is the limit here, for everybody"
	const tagging = "half of the CPU is the transaction, most of that SQLite's, and a tenth is to read the manifest"
	const idle = "half of it is the program itself, which is in memory as far as it was used; nine MiB are what is kept to answer from"
	get, small, mix := "manifest GET by tag c16", "pull of small images c16", "CI-like mix c32"
	list := []goal{
		{workload: get, value: cpu, rival: dist, atMost: 0.09, gate: true},
		{workload: get, value: cpu, rival: least, atMost: 1.3, gate: true},
		{workload: in(passwords, get), value: rate, rival: dist, atLeast: 1000, gate: true, note: bcrypt},
		{workload: in(passwords, get), value: rate, rival: least, of: get, atLeast: 0.7, gate: true, note: "the floor knows no users: this is its rate without"},
		{workload: small, value: rate, rival: dist, atLeast: 25, gate: true, note: "distribution allocates 4 MiB for every blob that it sends, however small"},
		{workload: small, value: cpu, rival: dist, atMost: 0.03, gate: true},
		{workload: small, value: rate, rival: least, atLeast: 1, gate: true},
		{workload: small, value: cpu, rival: least, atMost: 1, gate: true},
		{workload: "large pull c4", value: cpu, rival: dist, atMost: 0.87, note: copying},
		{workload: "large pull c4", value: cpu, rival: least, atMost: 1.08, note: copying},
		{workload: "large push, monolithic c1", value: rate, rival: dist, atLeast: 1.8, gate: true, why: hashed},
		{workload: "large push, monolithic c1", value: rate, rival: least, atLeast: 0.9, gate: true, why: hashed},
		{workload: "large push, chunked c1", value: rate, rival: dist, atLeast: 1.5, gate: true, why: hashed},
		{workload: "large push, chunked c1", value: rate, rival: least, atLeast: 0.9, gate: true, why: hashed},
		{workload: "push of 10-layer images c8", value: rate, rival: dist, atLeast: 4, why: pushing},
		{workload: "push of 10-layer images c8", value: rate, rival: least, atLeast: 0.9, why: pushing},
		{workload: "tags only c1", value: rate, rival: dist, atLeast: 6, why: tagging},
		{workload: "tags only c1", value: rate, rival: least, atLeast: 0.65, why: tagging},
		{workload: "tags only c16", value: rate, rival: dist, atLeast: 11, why: tagging},
		{workload: "tags only c16", value: rate, rival: least, atLeast: 0.48, why: tagging},
		{workload: "re-push of what exists c8", value: rate, rival: dist, atLeast: 8},
		{workload: "re-push of what exists c8", value: rate, rival: least, atLeast: 0.8},
		{workload: "delete of a manifest c1", value: rate, rival: dist, atLeast: 13, gate: true, note: "distribution reads every tag of the repository", why: records},
		{workload: "delete of a manifest c1", value: rate, rival: least, atLeast: 0.5, gate: true, why: records},
		{workload: "delete of a manifest at tags of 3000", value: rate, rival: dist, atLeast: 75, gate: true, note: "distribution reads every tag of the repository"},
		{workload: "page of 100 tags of 10000", value: cpu, rival: dist, atMost: 0.01, note: "distribution reads and sorts all tags for every page"},
		{workload: "page of 100 tags of 10000", value: cpu, rival: least, atMost: 2.2},
		{workload: "last page of the catalog of 5000", value: cpu, rival: dist, atMost: 0.015, note: "distribution walks the folders from the first for every page"},
		{workload: "last page of the catalog of 5000", value: cpu, rival: least, atMost: 2},
		{workload: mix, value: rate, rival: dist, atLeast: 16, gate: true, why: pushing},
		{workload: mix, value: p99, rival: dist, atMost: 0.07, gate: true, why: pushing},
		{workload: mix, value: rate, rival: least, atLeast: 0.85, gate: true, why: pushing},
		{workload: mix, value: p99, rival: least, atMost: 1.25, gate: true, why: pushing},
		{workload: "start with 5000 repositories", value: p50, rival: dist, atMost: 0.75, why: starting},
		{workload: "idle with 5000 repositories", value: space, rival: dist, atMost: 0.6, why: idle},
	}
	return append(append(list, growth()...), further()...)
}

// growth is that what Berth does costs the same however much it has.
func growth() []goal {
	var list []goal
	for _, n := range []int{10_000, 100_000} {
		for _, what := range []string{
			"page of 100 tags", "manifest GET by tag", "a tag that moves", "delete of a manifest at tags", "page of 100 referrers",
			"first page of the catalog", "last page of the catalog", "manifest GET in repositories",
		} {
			g := goal{workload: fmt.Sprint(what, " of ", n), value: cpu, rival: us, of: what + " of 100", atMost: 1.3}
			if what == "manifest GET in repositories" || what == "manifest GET by tag" {
				g.why = cold
			}
			list = append(list, g)
		}
	}
	return list
}

// further are targets that fewer people ask for.
func further() []goal {
	const tls = "a quarter of the CPU is to encrypt and to write, and beneath TLS net/http answers all requests"
	const mounting = "half of the CPU is SQLite's, for one row"
	get := "manifest GET by tag c16"
	return []goal{
		{workload: get, value: rate, rival: dist, atLeast: 6.4},
		{workload: get, value: rate, rival: least, atLeast: 0.75},
		{workload: "manifest HEAD by tag c16", value: cpu, rival: dist, atMost: 0.08},
		{workload: "manifest HEAD by tag c16", value: cpu, rival: least, atMost: 1.25},
		{workload: "manifest GET by tag of 10000", value: p50, rival: dist, atMost: 0.4},
		{workload: "manifest GET by tag of 10000", value: p50, rival: least, atMost: 1.4, why: cold},
		{workload: in(passwords, get), value: rate, rival: us, of: get, atLeast: 0.7},
		{workload: in(secured, get), value: rate, rival: dist, atLeast: 6, why: tls},
		{workload: in(secured, get), value: rate, rival: least, atLeast: 0.75, why: tls},
		{workload: "large pull c4", value: space, rival: dist, atMost: 0.3, why: "most of it is the program itself, which is in memory as far as it was used"},
		{workload: "large pull in ranges c4", value: cpu, rival: dist, atMost: 0.83},
		{workload: in(secured, "large pull c4"), value: cpu, rival: dist, atMost: 0.88, note: "AES is the limit here, for everybody"},
		{workload: in(secured, "large pull c4"), value: cpu, rival: least, atMost: 1.05, note: "AES is the limit here, for everybody"},
		{workload: "large push, monolithic c1", value: cpu, rival: dist, atMost: 0.7, why: hashed},
		{workload: "large push, monolithic c1", value: cpu, rival: least, atMost: 1.08, why: "to hash and to write at the same time takes wake-ups, and to begin early with what the disk has to do takes calls: the rate pays for them"},
		{workload: "push of 10-layer images c1", value: rate, rival: dist, atLeast: 4, why: pushing},
		{workload: "push of 10-layer images c1", value: rate, rival: least, atLeast: 0.9, why: pushing},
		{workload: "re-push of what exists c1", value: rate, rival: dist, atLeast: 5.4},
		{workload: "re-push of what exists c1", value: rate, rival: least, atLeast: 0.8, why: "for each blob one look at its file, so that nobody is told of one that is gone, and a tenth of the CPU to read the manifest, which the floor does not"},
		{workload: "mount c1", value: rate, rival: dist, atLeast: 4, why: mounting},
		{workload: "mount c8", value: rate, rival: dist, atLeast: 9, why: mounting},
		{workload: "mount c8", value: rate, rival: least, atLeast: 0.75, why: mounting},
		{workload: "delete of a manifest c8", value: rate, rival: dist, atLeast: 25, why: records},
		{workload: "delete of a manifest c8", value: rate, rival: least, atLeast: 0.5, why: records},
		{workload: "all tags of 10000", value: cpu, rival: dist, atMost: 0.022},
		{workload: "all tags of 10000", value: cpu, rival: least, atMost: 5},
		{workload: "referrers of 1000", value: cpu, rival: least, atMost: 0.65},
		{workload: "push of a referrer c1", value: p50, rival: least, atMost: 2},
		{workload: "CI-like mix c32", value: cpu, rival: dist, atMost: 0.06, why: pushing},
		{workload: "CI-like mix c32", value: cpu, rival: least, atMost: 1.2, why: pushing},
		{workload: "CI-like mix with deletes and collections c32", value: rate, rival: dist, atLeast: 16, note: "neither of the others collects garbage while it serves", why: pushing},
		{workload: "CI-like mix with deletes and collections c32", value: rate, rival: us, of: "CI-like mix c32", atLeast: 0.85},
		{workload: "start with 0 repositories", value: p50, rival: dist, atMost: 0.6, why: starting},
		{workload: "program", value: space, rival: dist, atMost: 0.4},
	}
}
