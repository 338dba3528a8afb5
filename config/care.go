package config

import (
	"strings"
	"time"
)

// Tags is what is special about tags.
type Tags struct {
	// History is how long it is remembered what a tag pointed to, when it was
	// moved and by whom. It counts while the server runs.
	History time.Duration `yaml:"history"`

	// Immutable is the list of tags that can be pushed once and then neither be
	// moved nor deleted: by nobody, in no way, for as long as this says so.
	Immutable []ImmutableTags `yaml:"immutable"`
}

// ImmutableTags is a set of tags, by name.
type ImmutableTags struct {
	// Repositories is the list of patterns of repository names, as in `access`.
	// Empty means all.
	Repositories []string `yaml:"repositories"`

	// Tags is the list of patterns of tags: `*` stands for any characters.
	// Empty means all.
	Tags []string `yaml:"tags"`
}

// Trash is what was deleted and can still be brought back.
type Trash struct {
	// Keep is how long that is possible: as long, deleted content takes up space.
	// 0 deletes for good at once. It counts while the server runs.
	Keep time.Duration `yaml:"keep"`
}

// Retention is letting go of old images. Nothing goes unless a rule says so.
type Retention struct {
	// Every is the time between two looks at all repositories.
	Every time.Duration `yaml:"every"`

	// Rules is the list of rules. A tag that no rule is about stays; one that
	// rules are about stays if any of them keeps it.
	Rules []RetentionRule `yaml:"rules"`
}

// RetentionRule says which of the tags that it is about are kept. Images that lose
// their last tag by it go to the trash, with their signatures.
type RetentionRule struct {
	// Repositories is the list of patterns of the repositories that the rule is
	// about, as in `access`. Empty means all.
	Repositories []string `yaml:"repositories"`

	// Tags is the list of patterns of the tags that the rule is about: `*` stands
	// for any characters. Empty means all.
	Tags []string `yaml:"tags"`

	// KeepNewest is how many of these tags are kept in each repository: those
	// that were pushed last. 0 keeps none for that.
	KeepNewest int `yaml:"keep_newest"`

	// KeepPushedWithin keeps tags that were pushed less than this ago. 0 keeps
	// none for that.
	KeepPushedWithin time.Duration `yaml:"keep_pushed_within"`

	// KeepPulledWithin keeps tags whose image was pulled less than this ago. 0
	// keeps none for that.
	KeepPulledWithin time.Duration `yaml:"keep_pulled_within"`

	// UntaggedAfter lets manifests go that no tag has led to for this long. 0
	// keeps them. It has nothing to do with `tags`.
	UntaggedAfter time.Duration `yaml:"untagged_after"`
}

// KeepsTags reports whether the rule is about tags, and not only about manifests
// without any.
func (r RetentionRule) KeepsTags() bool {
	return r.KeepNewest > 0 || r.KeepPushedWithin > 0 || r.KeepPulledWithin > 0
}

// Scrub is reading all stored content in the background, so that damage of the
// disk is found while there is somebody who can push the content again.
type Scrub struct {
	// Every is how often everything is read. 0 never reads in the background.
	Every time.Duration `yaml:"every"`

	// Rate is how many bytes a second are read at most.
	Rate Size `yaml:"rate"`

	// Window is when, as in `gc.window`.
	Window Window `yaml:"window"`
}

// Window is a time of the day, in the time zone of the server: `02:00-05:00`. It
// may span midnight. Empty is always.
type Window string

// Bounds returns the beginning and the end as minutes after midnight; ok is false
// when the window can't be read, or is empty.
func (w Window) Bounds() (from, to int, ok bool) {
	first, last, found := strings.Cut(string(w), "-")
	a, errA := time.Parse("15:04", first)
	b, errB := time.Parse("15:04", last)
	from, to = a.Hour()*60+a.Minute(), b.Hour()*60+b.Minute()
	return from, to, found && errA == nil && errB == nil && from != to
}
