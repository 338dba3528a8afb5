package api

import (
	"net/http"
	"time"

	"berth/internal/auth"
	"berth/internal/fsck"
	"berth/internal/gc"
)

// A Collector is what collections of garbage do.
type Collector struct {
	Running bool           `json:"running"`
	Doing   string         `json:"doing,omitempty" doc:"the step, while one is running"`
	Since   time.Time      `json:"since,omitzero" doc:"when the one began that is running"`
	Next    time.Time      `json:"next,omitzero" doc:"when the next one is to begin"`
	Last    *CollectorRun  `json:"last,omitempty" doc:"since the server was started"`
	Totals  CollectorTotal `json:"totals" doc:"since the server was started"`
}

// A CollectorRun is a collection that has ended.
type CollectorRun struct {
	Began    time.Time `json:"began"`
	Millis   int64     `json:"milliseconds" doc:"that it took"`
	Complete bool      `json:"complete" doc:"false: the next one goes on where it ended"`
	Error    string    `json:"error,omitempty" doc:"what went wrong"`
	CollectorTotal
}

// A CollectorTotal is what collections have done.
type CollectorTotal struct {
	Uploads int   `json:"uploads" doc:"that nobody went on with, given up"`
	Blobs   int   `json:"blobs" doc:"that left a repository in which nothing needed them"`
	Objects int   `json:"objects" doc:"whose files were deleted"`
	Bytes   int64 `json:"bytes" doc:"that those took up"`
}

// Checks are what reading everything in the background has found.
type Checks struct {
	Bytes      int64     `json:"bytes" doc:"read since the server was started"`
	Objects    int64     `json:"objects" doc:"read since the server was started"`
	Damaged    int64     `json:"damaged" doc:"of these, those that are not what they were"`
	Unreadable int64     `json:"unreadable" doc:"of these, those that could not be read and are tried again"`
	Finished   time.Time `json:"finished,omitzero" doc:"when everything had been read the last time"`
}

// Background is what goes on beside requests.
type Background interface {
	Collector() gc.Status
	Collect() // has a collection begin soon
	Scrubbed() fsck.Stats
}

func backgroundOperations() []operation {
	return []operation{
		{
			id: "getCollector", method: http.MethodGet, path: "/gc", status: http.StatusOK, answer: Collector{},
			needs:   []auth.Action{auth.Inspect},
			summary: "What garbage collection does",
			does:    "Tells what the collection of garbage does, what the last one did, and when the next one is due.",
			do: func(q *request, _ http.ResponseWriter) (any, error) {
				return collector(q.h.o.Background.Collector()), nil
			},
		},
		{
			id: "collect", method: http.MethodPost, path: "/gc", status: http.StatusAccepted,
			needs:   []auth.Action{auth.Admin},
			summary: "Collect garbage now",
			does:    "Has a collection begin soon, whatever the schedule says. GET tells what it does.",
			do: func(q *request, _ http.ResponseWriter) (any, error) {
				q.h.o.Background.Collect()
				return nil, nil
			},
		},
		{
			id: "getChecks", method: http.MethodGet, path: "/checks", status: http.StatusOK, answer: Checks{},
			needs:   []auth.Action{auth.Inspect},
			summary: "What reading everything has found",
			does:    "Tells how far everything that is stored is being read in the background, and what was found damaged.",
			do: func(q *request, _ http.ResponseWriter) (any, error) {
				s := q.h.o.Background.Scrubbed()
				c := Checks{Bytes: s.Bytes, Objects: s.Objects, Damaged: s.Damaged, Unreadable: s.Unreadable}
				if s.Finished > 0 {
					c.Finished = time.Unix(s.Finished, 0).UTC()
				}
				return c, nil
			},
		},
	}
}

func collector(s gc.Status) Collector {
	c := Collector{Running: s.Running, Doing: s.Doing, Since: s.Since, Next: s.Next, Totals: collectorTotal(s.Totals.Report)}
	if r := s.Last; r != nil {
		c.Last = &CollectorRun{Began: r.Began, Millis: r.Took.Milliseconds(), Complete: r.Complete, Error: r.Error, CollectorTotal: collectorTotal(r.Report)}
	}
	return c
}

func collectorTotal(r gc.Report) CollectorTotal {
	return CollectorTotal{Uploads: r.Uploads, Blobs: r.Blobs, Objects: r.Objects, Bytes: r.Bytes}
}
