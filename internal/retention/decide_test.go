package retention_test

import (
	"testing"
	"time"

	"berth/internal/retention"
)

type rule = retention.Rule

// A scenario is a repository, rules, and what they let go of.
type scenario struct {
	name  string
	world func(*world)
	rules func(t testing.TB) []rule
	gone  string            // families, each as its tags, a bar and its manifests; tags alone with a bar
	why   map[string]string // by tag, or by manifest with a bar before it
}

func rules(list ...rule) func(testing.TB) []rule { return func(testing.TB) []rule { return list } }

func run(t *testing.T, list []scenario) {
	t.Helper()
	for _, s := range list {
		t.Run(s.name, func(t *testing.T) {
			w := newWorld(t)
			s.world(w)
			w.want(s.rules(t), s.gone, s.why)
		})
	}
}

// TestTags is about which rules keep a tag.
func TestTags(t *testing.T) {
	run(t, []scenario{
		{
			name: "the newest are kept",
			world: func(w *world) {
				w.image("a", 10*day)
				w.image("b", 9*day)
				w.image("c", 8*day)
				w.push("d", 50*day)
				w.tag("d", "d", 7*day) // tagged late
			},
			rules: rules(rule{KeepNewest: 2}),
			gone:  "a | a; b | b",
			why: map[string]string{
				"d": "kept: 1st newest of 2 (rule 1)",
				"c": "kept: 2nd newest of 2 (rule 1)",
				"b": "goes: pushed 9 days ago, 3rd newest of 2 (rule 1)",
			},
		},
		{
			name: "tags of the same time in the order of their names",
			world: func(w *world) {
				for _, name := range []string{"b", "a", "d", "c"} {
					w.image(name, 9*day)
				}
			},
			rules: rules(rule{KeepNewest: 2}),
			gone:  "a | a; b | b",
		},
		{
			name: "any of the rules about a tag keeps it",
			world: func(w *world) {
				w.image("v1", 40*day)
				w.image("v2", 20*day, pulled(3*day))
				w.image("pr-1", 20*day)
				w.image("pr-2", 15*day)
				w.image("main", 90*day)
			},
			rules: func(t testing.TB) []rule {
				return []rule{
					{Tags: patterns(t, "pr-*"), KeepNewest: 1},
					{Tags: patterns(t, "pr-*", "v*"), KeepPushedWithin: 10 * day, KeepPulledWithin: 5 * day},
				}
			},
			gone: "pr-1 | pr-1; v1 | v1",
			why: map[string]string{
				"v1":   "goes: pushed 40 days ago, not pulled since that is noted (rule 2)",
				"v2":   "kept: pulled 3 days ago (rule 2)",
				"pr-1": "goes: pushed 20 days ago, 2nd newest of 1, not pulled since that is noted (rules 1, 2)",
				"pr-2": "kept: 1st newest of 1 (rule 1)",
				"main": "kept: no rule is about it",
			},
		},
		{
			name: "a rule about untagged manifests is about no tag",
			world: func(w *world) {
				w.image("a", 90*day)
			},
			rules: rules(rule{UntaggedAfter: 7 * day}),
			why:   map[string]string{"a": "kept: no rule is about it"},
		},
		{
			name: "without rules everything stays",
			world: func(w *world) {
				w.image("a", 90*day)
				w.push("b", 90*day)
			},
			rules: rules(),
			why:   map[string]string{"a": "kept: no rule is about it", "|b": "kept: no rule is about untagged manifests"},
		},
		{
			name: "what is pulled, and what was pulled once",
			world: func(w *world) {
				w.image("used", 90*day, pulled(2*day))
				w.image("unused", 90*day, pulled(40*day))
			},
			rules: rules(rule{KeepPulledWithin: 30 * day}),
			gone:  "unused | unused",
			why:   map[string]string{"unused": "goes: pushed 90 days ago, not pulled for 40 days (rule 1)"},
		},
		{
			name: "a pull of one platform is one of the index",
			world: func(w *world) {
				w.push("arm", 90*day, pulled(2*day))
				w.image("multi", 90*day, parts("arm"))
			},
			rules: rules(rule{KeepPulledWithin: 30 * day}),
			why:   map[string]string{"multi": "kept: pulled 2 days ago (rule 1)"},
		},
		{
			name: "what was never pulled has the time from its push on",
			world: func(w *world) {
				w.image("fresh", 20*day)
				w.image("old", 40*day)
			},
			rules: rules(rule{KeepPulledWithin: 30 * day}),
			gone:  "old | old",
			why:   map[string]string{"fresh": "kept: pushed 20 days ago, and may still be pulled (rule 1)"},
		},
		{
			name: "or from when pulls began to be noted",
			world: func(w *world) {
				w.state.UsesSince = now().Add(-3 * day)
				w.image("old", 400*day)
				w.push("loose", 400*day)
			},
			rules: rules(rule{KeepPulledWithin: 30 * day, UntaggedAfter: day}),
			why: map[string]string{
				"old":    "kept: pulls are only known for 3 days (rule 1)",
				"|loose": "kept: untagged, and pulls are only known for 3 days (rule 1)",
			},
		},
		{
			name: "pushing the same again counts",
			world: func(w *world) {
				w.image("nightly", 90*day, again(2*day))
				w.image("b", 10*day)
			},
			rules: rules(rule{KeepNewest: 1}, rule{KeepPushedWithin: 5 * day}),
			gone:  "b | b",
			why:   map[string]string{"nightly": "kept: 1st newest of 1 (rule 1)"},
		},
		{
			name: "two tags of one image",
			world: func(w *world) {
				w.image("v1", 90*day)
				w.tag("latest", "v1", 2*day)
			},
			rules: rules(rule{KeepNewest: 1}),
			gone:  "v1 |",
		},
		{
			name: "immutable tags stay and do not count",
			world: func(w *world) {
				w.image("v1", 90*day)
				w.image("v2", 2*day)
				w.image("a", 10*day)
				w.state.Tags[1].Immutable = true
				w.state.Tags[2].Immutable = true
				w.push("part", 90*day)
				w.state.Manifests[w.place("v1")].Parts = append(w.state.Manifests[w.place("v1")].Parts, digest("part"))
			},
			rules: rules(rule{KeepNewest: 1, UntaggedAfter: day}),
			why: map[string]string{
				"v1": "kept: immutable (tags.immutable)", "a": "kept: 1st newest of 1 (rule 1)", "|part": "kept: part of index v1",
			},
		},
		{
			name: "a clock that was ahead",
			world: func(w *world) {
				w.image("future", -400*day)
				w.image("a", 10*day)
			},
			rules: rules(rule{KeepPushedWithin: day}),
			gone:  "a | a",
		},
	})
}

// TestGrace is about what was pushed a moment ago.
func TestGrace(t *testing.T) {
	run(t, []scenario{
		{
			name: "what is young stays",
			world: func(w *world) {
				w.image("a", 23*time.Hour)
				w.image("b", 22*time.Hour)
				w.push("loose", 23*time.Hour)
			},
			rules: rules(rule{KeepNewest: 1, UntaggedAfter: time.Hour}),
			why: map[string]string{
				"a":      "kept: pushed 23 hours ago, within gc.grace",
				"|loose": "kept: pushed 23 hours ago, within gc.grace",
			},
		},
		{
			name: "an old image that was tagged now",
			world: func(w *world) {
				w.image("a", 23*time.Hour)
				w.push("old", 90*day)
				w.tag("b", "old", time.Hour)
			},
			rules: rules(rule{KeepNewest: 1}),
		},
		{
			name: "a family waits for the youngest of it",
			world: func(w *world) {
				w.push("amd", 90*day)
				w.push("arm", 90*day, again(time.Hour)) // for an index that is not here yet
				w.image("old", 90*day, parts("amd", "arm"))
				w.image("new", 2*day)
				w.image("signed", 90*day)
				w.push("signature", time.Hour, subject("signed"))
			},
			rules: rules(rule{KeepNewest: 1}),
			why: map[string]string{
				"old":    "kept: waits for arm, pushed 60 minutes ago, within gc.grace",
				"|arm":   "kept: pushed 60 minutes ago, within gc.grace",
				"|amd":   "kept: part of index old",
				"signed": "kept: waits for signature, pushed 60 minutes ago, within gc.grace",
			},
		},
		{
			name: "a client that was told of a part need not push it",
			world: func(w *world) {
				w.push("arm", 90*day, seen(time.Hour))
				w.push("amd", 90*day, seen(25*time.Hour))
			},
			rules: rules(rule{UntaggedAfter: day}),
			gone:  "| amd",
			why:   map[string]string{"|arm": "kept: a client that pushes may need it: it asked 60 minutes ago, within gc.grace"},
		},
		{
			name: "a part that something else keeps makes nothing wait",
			world: func(w *world) {
				w.push("arm", 90*day, again(time.Hour))
				w.push("amd1", 90*day)
				w.push("amd2", 2*day)
				w.image("old", 90*day, parts("amd1", "arm"))
				w.image("new", 2*day, parts("amd2", "arm"))
			},
			rules: rules(rule{KeepNewest: 1}),
			gone:  "old | amd1 old",
		},
	})
}

// TestFamilies is about what belongs to images.
func TestFamilies(t *testing.T) {
	run(t, []scenario{
		{
			name: "an index keeps its parts, and takes them along",
			world: func(w *world) {
				for _, s := range []string{"amd1", "arm1", "amd2", "shared"} {
					w.push(s, 90*day)
				}
				w.image("v1", 90*day, parts("amd1", "arm1", "shared"))
				w.image("v2", 80*day, parts("amd2", "shared"))
			},
			rules: rules(rule{KeepNewest: 1, UntaggedAfter: day}),
			gone:  "v1 | amd1 arm1 v1",
			why:   map[string]string{"|shared": "kept: part of index v2", "|amd1": "goes: with its index v1"},
		},
		{
			name: "a tagged part of an index that stays",
			world: func(w *world) {
				w.image("v1-amd", 90*day)
				w.image("v1", 80*day, parts("v1-amd"))
			},
			rules: rules(rule{KeepNewest: 1}),
			gone:  "v1-amd |",
			why:   map[string]string{"|v1-amd": "kept: part of index v1"},
		},
		{
			name: "indexes that share a part go together",
			world: func(w *world) {
				w.push("shared", 90*day)
				w.image("v1", 90*day, parts("shared"))
				w.image("v2", 80*day, parts("shared"))
				w.image("v3", 70*day)
			},
			rules: rules(rule{KeepNewest: 1}),
			gone:  "v1 v2 | shared v1 v2",
		},
		{
			name: "what refers to an image lives with it and dies with it",
			world: func(w *world) {
				for _, s := range []string{"v1", "v2"} {
					ago := 90 * day
					if s == "v2" {
						ago = 80 * day
					}
					w.image(s, ago)
					w.push(s+"sig", ago)
					w.tag(referring(s, ".sig"), s+"sig", ago)
					w.push(s+"att", ago)
					w.tag(referring(s, ".att"), s+"att", ago)
					w.push(s+"sbom", ago, subject(s))
					w.push(s+"sbomsig", ago, subject(s+"sbom"))
					w.push(s+"listed", ago, subject(s))
					w.push(s+"index", ago, parts(s+"listed"))
					w.tag(referring(s, ""), s+"index", ago)
				}
			},
			rules: rules(rule{KeepNewest: 1, KeepPulledWithin: day, UntaggedAfter: day}),
			gone:  "@v1 @v1.att @v1.sig v1 | v1 v1att v1index v1listed v1sbom v1sbomsig v1sig",
			why: map[string]string{
				"@v2.sig": "kept: refers to v2", "@v1.sig": "goes: with its image v1", "|v2sbomsig": "kept: refers to v2sbom", "|v1sbom": "goes: with its image v1",
			},
		},
		{
			name: "signatures of what is elsewhere stay",
			world: func(w *world) {
				w.push("sig", 90*day)
				w.tag(referring("elsewhere", ".sig"), "sig", 90*day)
				w.image("a", 90*day)
			},
			rules: rules(rule{KeepPushedWithin: day}),
			gone:  "a | a",
			why:   map[string]string{"sha256-" + digest("elsewhere").Hex() + ".sig": "kept: refers to something that is not in this repository"},
		},
		{
			name: "unless a rule means them",
			world: func(w *world) {
				w.push("sig", 90*day)
				w.tag(referring("elsewhere", ".sig"), "sig", 90*day)
				w.image("a", 90*day)
				w.push("asig", 90*day)
				w.tag(referring("a", ".sig"), "asig", 90*day)
			},
			rules: func(t testing.TB) []rule { return []rule{{Tags: patterns(t, "sha256-*"), KeepPushedWithin: day}} },
			gone:  "sha256-" + digest("elsewhere").Hex() + ".sig | sig",
			why:   map[string]string{"@a.sig": "kept: refers to a"},
		},
		{
			name: "an image need not stay for what refers to it",
			world: func(w *world) {
				w.image("v1", 90*day)
				w.push("sbom", 90*day, subject("v1"))
				w.tag("sbom-1", "sbom", 90*day)
			},
			rules: func(t testing.TB) []rule { return []rule{{Tags: patterns(t, "v*"), KeepPushedWithin: day}} },
			gone:  "v1 | v1",
			why:   map[string]string{"sbom-1": "kept: no rule is about it"},
		},
		{
			name: "tags that refer to each other",
			world: func(w *world) {
				w.push("a", 90*day)
				w.push("b", 90*day)
				w.tag(referring("a", ".sig"), "b", 90*day)
				w.tag(referring("b", ".sig"), "a", 90*day)
				w.push("self", 90*day)
				w.tag(referring("self", ""), "self", 90*day)
			},
			rules: rules(rule{UntaggedAfter: day}),
			gone:  "@a.sig @b.sig | a b; @self | self",
		},
	})
}

// TestUntagged is about manifests that no tag leads to.
func TestUntagged(t *testing.T) {
	run(t, []scenario{
		{
			name: "the time runs from the push or from the loss of the tag",
			world: func(w *world) {
				w.push("old", 90*day)
				w.push("pushed", 5*day)
				w.push("again", 90*day, again(5*day))
				w.push("lost", 90*day, untagged(5*day))
				w.push("longlost", 90*day, untagged(80*day))
			},
			rules: rules(rule{UntaggedAfter: 7 * day}),
			gone:  "| longlost; | old",
			why: map[string]string{
				"|lost":     "kept: untagged, lost its last tag 5 days ago (rule 1)",
				"|pushed":   "kept: untagged, pushed 5 days ago (rule 1)",
				"|longlost": "goes: untagged, lost its last tag 80 days ago (rule 1)",
				"|old":      "goes: untagged, pushed 90 days ago (rule 1)",
			},
		},
		{
			name: "the longest rule counts",
			world: func(w *world) {
				w.push("a", 10*day)
			},
			rules: rules(rule{UntaggedAfter: 7 * day}, rule{UntaggedAfter: 30 * day}),
			why:   map[string]string{"|a": "kept: untagged, pushed 10 days ago (rule 2)"},
		},
		{
			name: "what is pulled by its digest stays",
			world: func(w *world) {
				w.push("pinned", 90*day, pulled(3*day))
				w.push("arm", 90*day, pulled(3*day))
				w.push("multi", 90*day, parts("arm"))
				w.push("unused", 90*day, pulled(50*day))
			},
			rules: func(t testing.TB) []rule {
				return []rule{{UntaggedAfter: 7 * day}, {Tags: patterns(t, "v*"), KeepPulledWithin: 30 * day}}
			},
			gone: "| unused",
			why:  map[string]string{"|pinned": "kept: untagged, pulled 3 days ago (rule 2)"},
		},
		{
			name: "what refers to something that is gone is untagged",
			world: func(w *world) {
				w.push("sbom", 90*day, subject("gone"))
				w.push("fresh", 3*day, subject("gone"))
			},
			rules: rules(rule{UntaggedAfter: 7 * day}),
			gone:  "| sbom",
		},
		{
			name: "an untagged index goes with its parts",
			world: func(w *world) {
				w.push("arm", 3*day) // younger than the rule, but a part
				w.push("index", 90*day, parts("arm"))
			},
			rules: rules(rule{UntaggedAfter: 7 * day}),
			gone:  "| arm index",
		},
	})
}

// place is where a manifest is in the list.
func (w *world) place(name string) int {
	for i, m := range w.state.Manifests {
		if m.Digest == digest(name) {
			return i
		}
	}
	w.t.Fatalf("there is no %s", name)
	return -1
}
