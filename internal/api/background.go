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

// Checks are what reading everything in the background has found, and what checks
// did that were asked for.
type Checks struct {
	Bytes      int64     `json:"bytes" doc:"read since the server was started"`
	Objects    int64     `json:"objects" doc:"read since the server was started"`
	Damaged    int64     `json:"damaged" doc:"of these, those that are not what they were"`
	Unreadable int64     `json:"unreadable" doc:"of these, those that could not be read and are tried again"`
	Finished   time.Time `json:"finished,omitzero" doc:"when everything had been read the last time"`

	Since time.Time `json:"since,omitzero" doc:"when the check began that was asked for and is under way"`
	Last  *CheckRun `json:"last,omitempty" doc:"the last check that was asked for, since the server was started"`
}

// A CheckRun is a comparison of records and storage that has ended.
type CheckRun struct {
	Began     time.Time      `json:"began"`
	Millis    int64          `json:"milliseconds" doc:"that it took"`
	Blobs     int64          `json:"blobs" doc:"that were compared with their files"`
	Manifests int64          `json:"manifests" doc:"that were compared with their digests"`
	Problems  int64          `json:"problems" doc:"that were found"`
	Infos     int64          `json:"infos" doc:"that are worth knowing, while nothing is wrong"`
	Kinds     []KindCount    `json:"kinds" doc:"how many of each kind were found"`
	Findings  []fsck.Finding `json:"findings" doc:"the first of them, 100 at most; the rest is told by berth fsck"`
	Error     string         `json:"error,omitempty" doc:"what ended it before its time"`
}

// A KindCount is how many findings there are of one kind.
type KindCount struct {
	Kind  fsck.Kind `json:"kind"`
	Count int64     `json:"count"`
}

// Background is what goes on beside requests.
type Background interface {
	Collector() gc.Status
	Collect() // has a collection begin soon
	Scrubbed() fsck.Stats

	// Check has a comparison of records and storage begin soon. Checked returns
	// when the one began that is running, if one is, and the last one, if there
	// was one.
	Check()
	Checked() (since time.Time, last *CheckRun)
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
			summary: "What checks have found",
			does:    "Tells how far everything that is stored is being read in the background, what was found damaged, and what a check that was asked for has found.",
			do: func(q *request, _ http.ResponseWriter) (any, error) {
				s := q.h.o.Background.Scrubbed()
				c := Checks{Bytes: s.Bytes, Objects: s.Objects, Damaged: s.Damaged, Unreadable: s.Unreadable}
				if s.Finished > 0 {
					c.Finished = time.Unix(s.Finished, 0).UTC()
				}
				c.Since, c.Last = q.h.o.Background.Checked()
				return c, nil
			},
		},
		{
			id: "check", method: http.MethodPost, path: "/checks", status: http.StatusAccepted,
			needs:   []auth.Action{auth.Admin},
			summary: "Compare records and storage now",
			does:    "Has a [check](checks.md) begin soon that neither reads blobs nor repairs anything. GET tells what it has found.",
			do: func(q *request, _ http.ResponseWriter) (any, error) {
				q.h.o.Background.Check()
				return nil, nil
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
