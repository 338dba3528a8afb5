// Package retention decides what a repository lets go of, by rules, and says of
// every tag and of every manifest why it stays or goes.
//
// Decide is a function of what a repository has, of the rules and of the time. A
// Runner shows what it decides, or has it done; both is the same decision, so a
// simulation tells what a run does. What goes is handed to meta.Discarder, which
// looks again, in the transaction that removes it, whether it is still the same.
//
// A family is an image with what lives and dies with it: the parts of an index,
// and all that refers to it, be it by a subject or by one of the tags that cosign
// and others use where there are none. A family goes as one deletion, or not.
package retention

import (
	"slices"
	"time"

	"berth/internal/meta"
	"berth/internal/oci"
)

// A Rule says which of the tags that it is about are kept. Times and numbers
// that are 0 keep nothing.
type Rule struct {
	Repositories     []oci.Pattern    // that the rule is about; none: all
	Tags             []oci.TagPattern // that the rule is about; none: all
	KeepNewest       int              // of these tags in each repository
	KeepPushedWithin time.Duration
	KeepPulledWithin time.Duration

	// UntaggedAfter is after how long manifests go that no tag leads to. 0: they
	// stay. It has nothing to do with Tags.
	UntaggedAfter time.Duration
}

// keepsTags reports whether the rule is about tags, and not only about manifests
// without any.
func (r Rule) keepsTags() bool {
	return r.KeepNewest > 0 || r.KeepPushedWithin > 0 || r.KeepPulledWithin > 0
}

// aboutTag reports whether the rule is about a tag of a repository that it is
// about. A tag that refers to something which is elsewhere, as signatures do that
// are kept in a repository of their own, must be meant by the pattern.
func (r Rule) aboutTag(tag oci.Tag, elsewhere bool) bool {
	if !r.keepsTags() || len(r.Tags) == 0 {
		return r.keepsTags() && !elsewhere
	}
	return slices.ContainsFunc(r.Tags, func(p oci.TagPattern) bool { return p.Match(tag) && (!elsewhere || meansReferrers(p)) })
}

func (r Rule) aboutRepo(repo oci.Repo) bool {
	return len(r.Repositories) == 0 || slices.ContainsFunc(r.Repositories, func(p oci.Pattern) bool { return p.Match(repo) })
}

// A Policy is what is decided by.
type Policy struct {
	Rules []Rule

	// Grace is how long everything stays that was pushed, whatever the rules say:
	// what it belongs to may still be on its way.
	Grace time.Duration
}

// About reports whether any rule is about repo. Without one, everything stays.
func (p Policy) About(repo oci.Repo) bool {
	return slices.ContainsFunc(p.Rules, func(r Rule) bool { return r.aboutRepo(repo) })
}

// A Decision is what becomes of a tag, or of a manifest that is neither kept by a
// tag of its own nor gone with the last one.
type Decision struct {
	Repo   oci.Repo
	Tag    oci.Tag // zero: the decision is about the manifest
	Digest oci.Digest
	Goes   bool
	Reason string
	Size   int64     // of the manifest, in bytes
	Pushed time.Time // or, of a tag, moved
	Pulled time.Time // the manifest or a part of it; zero: not since that is noted
}

// A Plan is what is decided about a repository.
type Plan struct {
	Decisions []Decision // tags by name, then manifests by digest
	Families  []Family   // that go
	Tags      []meta.Tag // that go while their manifests stay
	Bytes     int64      // of the manifests that go
}

// A Family is what goes together.
type Family struct {
	Tags      []meta.Tag
	Manifests []oci.Digest // indexes before their parts
}

// Goes reports whether anything goes.
func (p Plan) Goes() bool { return len(p.Families) > 0 || len(p.Tags) > 0 }
