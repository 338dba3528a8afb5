package retention_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"berth/internal/meta"
	"berth/internal/oci"
	"berth/internal/retention"
)

const (
	day   = 24 * time.Hour
	grace = day
)

// now is when everything is decided.
func now() time.Time { return time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC) }

// A world is a repository that a test writes down: manifests by short names.
type world struct {
	t     testing.TB
	state meta.RepoState
	names map[oci.Digest]string
}

func newWorld(t testing.TB) *world {
	return &world{t: t, names: map[oci.Digest]string{}, state: meta.RepoState{UsesSince: now().Add(-1000 * day)}}
}

func digest(name string) oci.Digest { return oci.SHA256.FromBytes([]byte(name)) }

// An option is what is special about a manifest.
type option func(*meta.ManifestState)

func parts(names ...string) option {
	return func(m *meta.ManifestState) {
		for _, n := range names {
			m.Parts = append(m.Parts, digest(n))
		}
	}
}

func subject(name string) option { return func(m *meta.ManifestState) { m.Subject = digest(name) } }
func pulled(ago time.Duration) option {
	return func(m *meta.ManifestState) { m.Pulled = now().Add(-ago) }
}
func again(ago time.Duration) option {
	return func(m *meta.ManifestState) { m.Again = now().Add(-ago) }
}
func seen(ago time.Duration) option {
	return func(m *meta.ManifestState) { m.Seen = now().Add(-ago) }
}
func untagged(ago time.Duration) option {
	return func(m *meta.ManifestState) { m.Untagged = now().Add(-ago) }
}

// push adds a manifest that was pushed some time ago.
func (w *world) push(name string, ago time.Duration, options ...option) {
	m := meta.ManifestState{Digest: digest(name), Size: 1, Pushed: now().Add(-ago)}
	for _, o := range options {
		o(&m)
	}
	w.names[m.Digest] = name
	w.state.Manifests = append(w.state.Manifests, m)
	slices.SortFunc(w.state.Manifests, func(a, b meta.ManifestState) int { return strings.Compare(a.Digest.String(), b.Digest.String()) })
}

// tag adds a tag that was put on a manifest some time ago.
func (w *world) tag(name, manifest string, ago time.Duration) {
	w.state.Tags = append(w.state.Tags, meta.TagState{Tag: meta.Tag{Name: tag(w.t, name), Digest: digest(manifest)}, Moved: now().Add(-ago)})
	slices.SortFunc(w.state.Tags, func(a, b meta.TagState) int { return strings.Compare(a.Name.String(), b.Name.String()) })
}

// image is a manifest with a tag of its name.
func (w *world) image(name string, ago time.Duration, options ...option) {
	w.push(name, ago, options...)
	w.tag(name, name, ago)
}

// referring is the tag that cosign gives to what refers to a manifest.
func referring(name, suffix string) string { return "sha256-" + digest(name).Hex() + suffix }

func tag(t testing.TB, s string) oci.Tag {
	t.Helper()
	parsed, err := oci.ParseTag(s)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func patterns(t testing.TB, list ...string) (tags []oci.TagPattern) {
	t.Helper()
	for _, s := range list {
		p, err := oci.ParseTagPattern(s)
		if err != nil {
			t.Fatal(err)
		}
		tags = append(tags, p)
	}
	return tags
}

func repo(t testing.TB, s string) oci.Repo {
	t.Helper()
	r, err := oci.ParseRepo(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (w *world) decide(rules ...retention.Rule) retention.Plan {
	return retention.Decide(repo(w.t, "team/app"), w.state, retention.Policy{Rules: rules, Grace: grace}, now())
}

// name calls a manifest or a tag what the test calls it.
func (w *world) name(d oci.Digest) string { return w.names[d] }

func (w *world) tagName(t oci.Tag) string {
	s := t.String()
	for d, name := range w.names {
		s = strings.ReplaceAll(s, "sha256-"+d.Hex(), "@"+name)
	}
	return s
}

// gone lists what a plan lets go of: tags, then the manifests of each family.
func (w *world) gone(p retention.Plan) string {
	var list []string
	for _, f := range p.Families {
		var s []string
		for _, t := range f.Tags {
			s = append(s, w.tagName(t.Name))
		}
		slices.Sort(s)
		s = append(s, "|")
		var all []string
		for _, d := range f.Manifests {
			all = append(all, w.name(d))
		}
		slices.Sort(all)
		list = append(list, strings.Join(append(s, all...), " "))
	}
	for _, t := range p.Tags {
		list = append(list, w.tagName(t.Name)+" |")
	}
	slices.Sort(list)
	return strings.Join(list, "; ")
}

// why returns the reason of a decision.
func (w *world) why(p retention.Plan, what string) string {
	for _, d := range p.Decisions {
		name := w.tagName(d.Tag)
		if d.Tag.IsZero() {
			name = "|" + w.name(d.Digest)
		}
		if name != what {
			continue
		}
		s := d.Reason
		for digest, name := range w.names {
			s = strings.ReplaceAll(s, digest.String(), name)
		}
		if d.Goes {
			return "goes: " + s
		}
		return "kept: " + s
	}
	return "nothing is said of it"
}

func (w *world) want(rules []retention.Rule, gone string, reasons map[string]string) {
	w.t.Helper()
	p := w.decide(rules...)
	if got := w.gone(p); got != gone {
		w.t.Errorf("goes: got %q, want %q", got, gone)
		for _, d := range p.Decisions {
			w.t.Logf("%s %s goes %v: %s", w.tagName(d.Tag), w.name(d.Digest), d.Goes, d.Reason)
		}
	}
	for what, want := range reasons {
		if got := w.why(p, what); got != want {
			w.t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}
}
