package reliability

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// A scope says how much of a ledger is compared.
type scope int

const (
	sinceLast  scope = iota // what changed since the last time, and all lists
	everything              // and everything that was ever acknowledged
)

// A promise says what becomes of unfinished uploads: the end of the process must
// not cost them, the loss of power and failing disks may.
type promise int

const (
	uploadsStay promise = iota
	uploadsMayGo
)

// findings are what an inspection found to be wrong.
type findings struct {
	sync.Mutex
	lost    []string // acknowledged, and not there or not as it was
	corrupt []string // served with wrong bytes
	back    []string // deleted or never pushed, and there
	listed  []string // listed, and not served
	other   []string // errors, and whatever else must not be
	resumed int      // uploads that went on
	begun   int      // uploads that had to begin anew
	half    int      // operations that were sent and not answered, and had happened
	none    int      // the same, and had not happened
}

func (f *findings) add(list *[]string, format string, args ...any) {
	f.Lock()
	defer f.Unlock()
	*list = append(*list, fmt.Sprintf(format, args...))
}

func (f *findings) fail(err error) {
	if err != nil {
		f.add(&f.other, "%v", err)
	}
}

// err returns everything that was found, shortened.
func (f *findings) err() error {
	var all error
	for name, list := range map[string][]string{"lost": f.lost, "corrupt": f.corrupt, "back again": f.back, "listed but not served": f.listed, "wrong": f.other} {
		if len(list) == 0 {
			continue
		}
		slices.Sort(list)
		n := len(list)
		if n > 12 {
			list = append(list[:12:12], "…")
		}
		all = errors.Join(all, fmt.Errorf("%d %s:\n    %s", n, name, strings.Join(list, "\n    ")))
	}
	return all
}

// amongOthers is err where the registry also has repositories that the ledger
// does not know.
func (f *findings) amongOthers() error {
	f.other = slices.DeleteFunc(f.other, func(s string) bool { return strings.HasPrefix(s, "the catalog is") })
	return f.err()
}

// inspection compares a registry with a ledger while nobody changes anything.
type inspection struct {
	*findings
	c       *client
	l       *ledger
	uploads promise
	partial bool // there may be more than the ledger knows
	mu      sync.Mutex
	hashed  map[string]bool // blobs that were read whole
}

// inspect compares, finishes what was left unfinished, and brings the ledger up
// to date with what has turned out.
func inspect(ctx context.Context, c *client, l *ledger, s scope, uploads promise) *findings {
	return (&inspection{c: c, l: l, uploads: uploads}).run(ctx, s)
}

func (in *inspection) run(ctx context.Context, s scope) *findings {
	l := in.l
	in.findings, in.hashed = &findings{}, map[string]bool{}
	in.settle(ctx)
	in.resumeAll(ctx)
	keys := slices.Collect(maps.Keys(l.facts))
	if s == sinceLast {
		keys = slices.Collect(maps.Keys(l.fresh))
	}
	each(keys, func(k key) { in.key(ctx, k) })
	each(l.repos(), func(repo string) { in.tags(ctx, repo) })
	in.catalog(ctx)
	clear(l.fresh)
	return in.findings
}

// each calls f with every item, several at the same time.
func each[T any](items []T, f func(T)) {
	var group sync.WaitGroup
	next := make(chan T)
	for range 4 {
		group.Go(func() {
			for item := range next {
				f(item)
			}
		})
	}
	for _, item := range items {
		next <- item
	}
	close(next)
	group.Wait()
}

// value asks the registry for the value of k, by reading it whole.
func (in *inspection) value(ctx context.Context, k key) (string, error) {
	switch k.kind {
	case aBlob:
		return in.blob(ctx, k.repo, k.name)
	case aManifest:
		d, err := in.c.manifest(ctx, k.repo, k.name)
		if err == nil && d != "" && d != k.name {
			err = fmt.Errorf("%v came as %s", k, d)
		}
		return d, err
	}
	return in.c.manifest(ctx, k.repo, k.name)
}

// blob reads a blob: whole the first time, from any repository, and then only
// whether this one has it.
func (in *inspection) blob(ctx context.Context, repo, d string) (string, error) {
	in.mu.Lock()
	again := in.hashed[d]
	in.hashed[d] = true
	in.mu.Unlock()
	if again {
		has, err := in.c.has(ctx, blobPath(repo, d))
		if err != nil || !has {
			return "", err
		}
		return d, nil
	}
	got, n, err := in.c.blob(ctx, repo, d)
	if err == nil && got != "" && got != d {
		in.add(&in.corrupt, "blob %s of %s: %d bytes with the digest %s", d, repo, n, got)
	}
	if got != d {
		in.mu.Lock()
		delete(in.hashed, d)
		in.mu.Unlock()
	}
	return got, err
}

// settle finds out which of the operations that were not answered happened, and
// that none happened by half.
func (in *inspection) settle(ctx context.Context) {
	for op := range in.l.open {
		happened, not := true, true
		var was []string
		for k, v := range op.changes {
			got, err := in.value(ctx, k)
			in.fail(err)
			happened = happened && got == v
			not = not && got == in.l.facts[k]
			was = append(was, fmt.Sprintf("%v is %q, was %q, to be %q", k, got, in.l.facts[k], v))
		}
		switch {
		case happened:
			maps.Copy(in.l.facts, op.changes)
			in.half++
		case not:
			in.none++
		default:
			in.add(&in.lost, "by half: %s", strings.Join(was, "; "))
		}
		for k := range op.changes {
			in.l.fresh[k] = true
		}
	}
}

// resumeAll goes on with the uploads that have not ended, and ends them. Which
// operations were not answered is forgotten after it.
func (in *inspection) resumeAll(ctx context.Context) {
	each(slices.Collect(maps.Keys(in.l.sessions)), func(s *session) {
		in.fail(in.resume(ctx, s))
	})
	clear(in.l.sessions)
	clear(in.l.open)
}

func (in *inspection) resume(ctx context.Context, s *session) error {
	a, err := in.c.get(ctx, s.location, 204, 404)
	if err != nil {
		return err
	}
	if a.status == http.StatusNotFound {
		if s.ending == nil && in.uploads == uploadsStay {
			in.add(&in.lost, "the upload %s, at %d bytes", s.location, s.acked)
		}
		if s.ending == nil || s.ending.changes != nil && in.l.value(key{aBlob, s.repo, s.blob.digest}) == "" {
			in.Lock()
			in.begun++
			in.Unlock()
		} // else the request that ended it was not answered
		return nil
	}
	at, err := uploaded(a)
	if err != nil {
		return err
	}
	if at > len(s.blob.data) || at < s.acked && in.uploads == uploadsStay {
		in.add(&in.lost, "the upload %s is at %d bytes, had %d of %d", s.location, at, s.acked, len(s.blob.data))
		return nil
	}
	if err := in.goOn(ctx, s, at); err != nil {
		return in.givenUp(err)
	}
	if err := in.c.finish(ctx, s.location, s.blob.digest, nil); err != nil {
		return in.givenUp(err)
	}
	in.Lock()
	in.resumed++
	in.Unlock()
	if got, err := in.blob(ctx, s.repo, s.blob.digest); err != nil || got != s.blob.digest {
		in.add(&in.lost, "blob %s of %s, from a resumed upload: %v", s.blob.digest, s.repo, err)
	}
	in.l.Lock()
	defer in.l.Unlock()
	if s.ending != nil {
		for k, v := range s.ending.changes {
			in.l.set(k, v)
		}
	}
	return nil
}

// goOn sends the rest of an upload. What looks like nothing may be one byte.
func (in *inspection) goOn(ctx context.Context, s *session, at int) error {
	rest := s.blob.data[at:]
	if len(rest) == 0 {
		return nil
	}
	_, err := in.c.append(ctx, s.location, at, rest)
	if r, ok := errors.AsType[*refusal](err); ok && r.status == http.StatusRequestedRangeNotSatisfiable && at == 0 {
		return in.goOn(ctx, s, 1)
	}
	return err
}

// givenUp accepts that an upload's bytes are gone with the power: then the
// client is told to begin anew, in one of two ways.
func (in *inspection) givenUp(err error) error {
	if r, ok := errors.AsType[*refusal](err); ok && in.uploads == uploadsMayGo && (r.status == http.StatusNotFound || strings.Contains(r.text, "DIGEST_INVALID")) {
		in.Lock()
		in.begun++
		in.Unlock()
		return nil
	}
	return err
}

// key compares one key, and for a manifest what it needs.
func (in *inspection) key(ctx context.Context, k key) {
	want := in.l.facts[k]
	got, err := in.value(ctx, k)
	switch {
	case err != nil:
		in.fail(err)
	case got == want:
	case want == "":
		in.add(&in.back, "%v", k)
	default:
		in.add(&in.lost, "%v: got %q, want %q", k, got, want)
	}
	if k.kind != aManifest || want == "" {
		return
	}
	for _, d := range in.l.parts[k.name] {
		if got, err := in.blob(ctx, k.repo, d); err != nil || got != d {
			in.add(&in.lost, "blob %s of %s, needed by manifest %s: %v", d, k.repo, k.name, err)
		}
	}
}

// tags compares the list of tags of a repository, and reads what is listed.
func (in *inspection) tags(ctx context.Context, repo string) {
	got, err := in.c.list(ctx, "/v2/"+repo+"/tags/list", "tags")
	in.fail(err)
	listed := map[string]bool{}
	for _, tag := range got {
		listed[tag] = true
		d, err := in.c.manifest(ctx, repo, tag)
		if err != nil || d == "" {
			in.add(&in.listed, "tag %s of %s: %v", tag, repo, err)
		}
		want, known := in.l.facts[key{aTag, repo, tag}]
		if !known && in.partial {
			continue
		}
		if want == "" {
			in.add(&in.back, "tag %s of %s is listed", tag, repo)
		} else if d != want {
			in.add(&in.lost, "tag %s of %s: got %q, want %q", tag, repo, d, want)
		}
	}
	for k, want := range in.l.facts {
		if k.kind == aTag && k.repo == repo && want != "" && !listed[k.name] {
			in.add(&in.lost, "%v is not listed", k)
		}
	}
}

// catalog compares the list of repositories: those with a manifest.
func (in *inspection) catalog(ctx context.Context) {
	got, err := in.c.list(ctx, "/v2/_catalog", "repositories")
	in.fail(err)
	want := map[string]bool{}
	for k, v := range in.l.facts {
		if k.kind == aManifest && v != "" {
			want[k.repo] = true
		}
	}
	if in.partial {
		got = slices.DeleteFunc(got, func(repo string) bool { return !want[repo] })
	}
	if list := slices.Sorted(maps.Keys(want)); !slices.Equal(got, list) {
		in.add(&in.other, "the catalog is %v, want %v", got, list)
	}
}
