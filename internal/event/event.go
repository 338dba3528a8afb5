// Package event says what happened in a registry, and gets it to whoever wants
// to know.
//
// Events are records that are written in the transaction that caused them, in
// an outbox (see package meta): none is lost, and none tells of something that
// did not happen. Each reader has a cursor of its own into the one sequence. A
// Dispatcher carries events from there to a Sink, in order and at least once.
//
// The package knows nothing of how events are stored or delivered.
package event

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"time"

	"berth/internal/oci"
)

// An Action is what was done. Its values are those of registry:2.
type Action string

// The actions.
const (
	Pull   Action = "pull"
	Push   Action = "push"
	Mount  Action = "mount"
	Delete Action = "delete"

	// Collect is the end of what nothing needed any more, a membership of a blob or
	// a manifest without a tag. It is for those who keep a copy of what a repository
	// has, and not for people.
	Collect Action = "collect"
)

// A Kind is what something was done to.
type Kind string

// The kinds.
const (
	Blob     Kind = "blob"
	Manifest Kind = "manifest"
	Tag      Kind = "tag"
)

// An Actor is who does something, and by which request.
type Actor struct {
	Name      string // the user's; empty is the anonymous
	Via       string // who checked the name, if not the registry itself: "proxy", "token", or "operator" without a name
	Addr      string // where the client is: an address, with its port if that is known
	Host      string // the registry's, as the request named it
	Method    string // of HTTP
	UserAgent string
	RequestID string
	Base      string // what the registry's addresses begin with for this client: https://reg.example.com
}

// An Event is one thing that happened.
//
// A manifest that was pushed to a tag is one event of Kind Manifest with that
// Tag; one that was pushed to several tags is one for each of them, and to none
// one without. A manifest that was deleted is one event, and one of Kind Tag for
// each tag that went with it.
type Event struct {
	Seq       int64  // grows from event to event; given by the outbox
	ID        string // a UUID that no other event has
	Time      time.Time
	Action    Action
	Kind      Kind
	Repo      oci.Repo
	From      oci.Repo   // of Mount: whose blob it was
	Digest    oci.Digest // of Kind Tag: what the tag pointed to
	MediaType string     // of manifests that were not deleted
	Size      int64      // bytes; 0 if it was deleted
	Tag       oci.Tag
	By        Actor
}

// A Sink receives events, at least once and in order. Deliver must be idempotent
// by Event.ID; an error means that the whole batch will come again.
type Sink interface {
	Deliver(ctx context.Context, batch []Event) error
}

// NewID returns a random UUID (version 4, RFC 9562).
func NewID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
