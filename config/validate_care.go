package config

import (
	"time"

	"berth/internal/oci"
)

// care checks what is said of looking after the storage.
func (k *checker) care(c Config) {
	k.between("tags.history", c.Tags.History, time.Minute, never, "")
	for i, t := range c.Tags.Immutable {
		path := element("tags.immutable", i)
		if len(t.Repositories) == 0 && len(t.Tags) == 0 {
			k.add(path, `is empty: write tags: ["*"] if no tag at all may ever be moved`)
		}
		k.patterns(path+".repositories", t.Repositories)
		k.tagPatterns(path+".tags", t.Tags)
	}
	if c.Trash.Keep != 0 {
		k.between("trash.keep", c.Trash.Keep, time.Minute, never, "0 to delete at once, or ")
	}
	k.retention(c.Retention)
	k.window("gc.window", c.GC.Window)
	k.window("scrub.window", c.Scrub.Window)
	if c.Scrub.Every != 0 {
		k.between("scrub.every", c.Scrub.Every, time.Minute, never, "0 for never, or ")
	}
	if c.Scrub.Rate < 64*KiB {
		k.add("scrub.rate", "%s a second would never be done: write at least 64KiB, or scrub.every: 0 if nothing shall be read", c.Scrub.Rate)
	}
}

func (k *checker) retention(r Retention) {
	k.between("retention.every", r.Every, time.Minute, never, "")
	for i, rule := range r.Rules {
		path := element("retention.rules", i)
		if !rule.KeepsTags() && rule.UntaggedAfter == 0 {
			k.add(path, "keeps nothing, so every tag that it is about would go: write keep_newest, keep_pushed_within, keep_pulled_within or untagged_after")
		}
		if !rule.KeepsTags() && len(rule.Tags) > 0 {
			k.add(path+".tags", "names tags, and nothing says which of them to keep: write keep_newest, keep_pushed_within or keep_pulled_within")
		}
		k.count(path+".keep_newest", rule.KeepNewest, 0, 1e6)
		k.notNegative(path+".keep_pushed_within", rule.KeepPushedWithin)
		k.notNegative(path+".keep_pulled_within", rule.KeepPulledWithin)
		k.notNegative(path+".untagged_after", rule.UntaggedAfter)
		k.patterns(path+".repositories", rule.Repositories)
		k.tagPatterns(path+".tags", rule.Tags)
	}
}

func (k *checker) notNegative(path string, d time.Duration) {
	if d < 0 {
		k.add(path, "is negative: write a time such as 30d, or remove it")
	}
}

func (k *checker) window(path string, w Window) {
	if _, _, ok := w.Bounds(); w != "" && !ok {
		k.add(path, "%q is no time of the day: write one such as 02:00-05:00", string(w))
	}
}

// tagPatterns checks patterns of tags.
func (k *checker) tagPatterns(path string, list []string) {
	for i, p := range list {
		if _, err := oci.ParseTagPattern(p); err != nil {
			k.add(element(path, i), "%v", err)
		}
	}
}
