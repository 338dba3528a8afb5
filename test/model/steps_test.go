package model_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"berth/internal/blob"
	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
	"berth/internal/registry"
)

// What a step may answer, beside the codes that clients see.
const (
	success  oci.Code = ""
	outOfIt  oci.Code = "(RangeError)"
	cutOff   oci.Code = "(connection lost)"
	internal oci.Code = "(internal error)"
	noPast   oci.Code = "(NoPastError)"
	missing  oci.Code = "(MissingError)"
	moved    oci.Code = "(ErrConflict)"
	notFound oci.Code = "(ErrNotFound)"
)

var errCut = errors.New("connection lost")

func codeOf(err error) oci.Code {
	if err == nil {
		return success
	}
	if _, ok := errors.AsType[*registry.RangeError](err); ok {
		return outOfIt
	}
	if errors.Is(err, errCut) {
		return cutOff
	}
	if code := oci.CodeOf(err); code != "" {
		return code
	}
	if _, ok := errors.AsType[*meta.ImmutableTagError](err); ok {
		return oci.Denied
	}
	if _, ok := errors.AsType[*meta.MissingError](err); ok {
		return missing
	}
	if _, ok := errors.AsType[*meta.NoPastError](err); ok {
		return noPast
	}
	switch {
	case errors.Is(err, meta.ErrConflict):
		return moved
	case errors.Is(err, meta.ErrNotFound):
		return notFound
	}
	return internal
}

// outcome compares what a step answered and did with what it had to. want lists
// the answers that are right; after are the states that it goes through, of
// which the last one is what success means. A step that fails because of a fault
// may have come to any of them.
func (w *world) outcome(err error, want []oci.Code, after ...func(*state)) {
	w.t.Helper()
	fired := w.faults.fired
	w.faults.plan(0, false, false, nil)
	code := codeOf(err)
	w.log[len(w.log)-1] += fmt.Sprintf(" -> %v", err)
	if (err == nil || !fired) && !slices.Contains(want, code) {
		w.fatalf("answered %v, want one of %q", err, want)
	}
	possible := []state{w.s.clone()}
	for _, f := range after {
		next := possible[len(possible)-1].clone()
		f(&next)
		possible = append(possible, next)
	}
	switch {
	case err == nil:
		possible = possible[len(possible)-1:]
	case !fired || !slices.Contains(want, success):
		possible = possible[:1]
	}
	real := w.peek()
	var wrong []string
	for _, s := range possible {
		d := differences(w.pool, s, real)
		if len(d) == 0 {
			wrong = nil
			break
		}
		wrong = append(wrong, strings.Join(d, "\n\t"))
	}
	if wrong != nil {
		w.fatalf("after error %v:\n\t%s", err, strings.Join(wrong, "\nor\n\t"))
	}
	w.s = real
	if w.faults.dead {
		w.step("the process has crashed")
		w.crash()
		w.comeBack()
	}
}

// comeBack is what is done first after a process has begun, or not.
func (w *world) comeBack() {
	w.t.Helper()
	real := w.peek()
	if d := differences(w.pool, w.s, real); len(d) > 0 || !maps.Equal(w.s.uploads, real.uploads) {
		w.fatalf("the next process finds:\n\t%s\nuploads %v, want %v", strings.Join(d, "\n\t"), real.uploads, w.s.uploads)
	}
	w.faults.dead = false
	if w.chance(70) {
		w.recover()
	}
}

func (w *world) recover() {
	w.step("recover")
	err := w.collector.Blobs.(blob.Recoverer).Recover(w.t.Context(), w.db.KnownKey)
	w.outcome(err, []oci.Code{success})
}

// ended says what the step that was just done made of sessions: those in must
// are over, those in may can be; all others are as they were.
func (w *world) ended(before map[meta.UploadID]upload, must, may []*session) {
	w.t.Helper()
	w.sessions = slices.DeleteFunc(w.sessions, func(s *session) bool {
		row, there := w.s.uploads[s.id]
		switch {
		case !there && !slices.Contains(must, s) && !slices.Contains(may, s):
			w.fatalf("upload %s is gone", s.id)
		case there && slices.Contains(must, s):
			w.fatalf("upload %s is not over", s.id)
		case there && !slices.Contains(may, s) && row != before[s.id]:
			w.fatalf("upload %s was %v and is %v", s.id, before[s.id], row)
		}
		if !there && s.stale != nil {
			w.ghosts = append(w.ghosts, s)
		}
		return !there
	})
}

// known reports whether the repository has d as a blob that can be read.
func (w *world) readable(repo oci.Repo, d string) bool {
	_, ok := w.s.members[at{repo, d}]
	c := w.s.contents[d]
	return ok && !c.damaged && !w.broken[c.key]
}

func joined(k at, now time.Duration) func(*state) {
	return func(s *state) {
		s.members[k] = member{now, true}
		delete(s.lost, k)
	}
}

// start begins a session.
func (w *world) start() *session {
	s := &session{
		repo: pick(w, w.pool.repos), by: pick(w, []string{"", "alice"}), content: pick(w, w.pool.contents),
		algo: pick(w, []oci.Algorithm{oci.SHA256, oci.SHA256, oci.SHA512}),
	}
	before := w.s.uploads
	w.step("start upload of %d bytes to %s for %q as %s", len(s.content), s.repo, s.by, s.algo)
	u, err := w.core.As(event.Actor{Name: s.by}).StartUpload(w.t.Context(), s.repo, s.algo)
	w.outcome(err, []oci.Code{success})
	if err == nil {
		s.id = u.ID()
		w.sessions = append(w.sessions, s)
	}
	w.ended(before, nil, []*session{s})
	if err != nil {
		return nil
	}
	return s
}

// resume returns a value for the session: a new one, or one that is older.
func (w *world) resume(s *session) (registry.Upload, error) {
	if s.stale != nil && w.chance(30) {
		return s.stale, nil
	}
	u, err := w.core.As(event.Actor{Name: s.by}).ResumeUpload(w.t.Context(), s.repo, s.id)
	if err == nil && w.chance(50) {
		s.stale = u
	}
	return u, err
}

// push adds bytes to a session: all that is missing if whole.
func (w *world) push(s *session, whole bool) {
	row := w.s.uploads[s.id]
	rest := s.content[row.size:]
	n, offset, cut := len(rest), row.size, false
	if !whole {
		n, cut = w.rnd.IntN(len(rest)+1), w.chance(25)
		offset = pick(w, []int64{row.size, row.size, row.size, registry.Anywhere, row.size + 1, max(0, row.size-1)})
	}
	before := w.s.uploads
	w.step("append %d of %d bytes at %d (it has %d) to %s, cut %v", n, len(s.content), offset, row.size, s.id, cut)
	u, err := w.resume(s)
	if err == nil {
		r := io.Reader(bytes.NewReader(rest[:n]))
		if cut {
			r = io.MultiReader(r, failing{})
		}
		err = u.Append(w.t.Context(), offset, r)
	}
	want := success
	if cut {
		want = cutOff
	}
	if offset != row.size && offset != registry.Anywhere {
		want, n = outOfIt, 0
	}
	faulted := w.disturbed(s, err)
	w.outcome(err, s.or(want))
	w.ended(before, nil, []*session{s})
	got, there := w.s.uploads[s.id]
	if !there && !faulted || there && (got.size < row.size || got.size > row.size+int64(n) || !faulted && got.size != row.size+int64(n)) {
		w.fatalf("the upload is there: %v, with %d bytes; had %d, sent %d", there, got.size, row.size, n)
	}
}

// disturbed reports whether a fault explains err, or the fate of s. When the
// database is full the bytes of an ended upload go before its record does.
func (w *world) disturbed(s *session, err error) bool {
	if w.faults.fired && errors.Is(w.faults.err, meta.ErrNoSpace) {
		s.hollow = true
	}
	return s.hollow || w.faults.fired && err != nil
}

// or adds to a code what else a session may answer that has lost its bytes.
func (s *session) or(code oci.Code) []oci.Code {
	if s.hollow {
		return []oci.Code{code, oci.BlobUploadUnknown}
	}
	return []oci.Code{code}
}

// failing is what is left of a connection that is lost.
type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errCut }

// commit ends a session, mostly as it should be.
func (w *world) commit(s *session) {
	d := pick(w, []oci.Algorithm{s.algo, s.algo, oci.SHA256, oci.SHA512}).FromBytes(s.content)
	if w.chance(5) {
		d = pick(w, w.pool.digests)
	}
	before, row := w.s.uploads, w.s.uploads[s.id]
	var rest []byte // that come with it
	if w.chance(30) {
		rest = s.content[row.size:]
	}
	right := d.Algorithm().FromBytes(s.content[:row.size+int64(len(rest))]) == d
	w.step("commit %s with %d more bytes to %s as %s, which it is: %v", s.id, len(rest), s.repo, w.pool.name(d), right)
	u, err := w.resume(s)
	switch {
	case err != nil:
	case len(rest) > 0 || w.chance(30):
		err = u.Finish(w.t.Context(), pick(w, []int64{row.size, registry.Anywhere}), bytes.NewReader(rest), d)
	default:
		err = u.Commit(w.t.Context(), d)
	}
	faulted := w.disturbed(s, err)
	if right {
		w.outcome(err, s.or(success), joined(at{s.repo, d.String()}, w.now()))
	} else {
		w.outcome(err, s.or(oci.DigestInvalid))
	}
	if faulted {
		w.ended(before, nil, []*session{s})
	} else {
		w.ended(before, []*session{s}, nil)
	}
	if right && err == nil && !w.readable(s.repo, d.String()) {
		w.fatalf("the blob that was acknowledged is %+v", w.s.contents[d.String()])
	}
}

func (w *world) cancel(s *session) {
	before := w.s.uploads
	w.step("cancel %s", s.id)
	u, err := w.resume(s)
	if err == nil {
		err = u.Cancel(w.t.Context())
	}
	faulted := w.disturbed(s, err)
	w.outcome(err, []oci.Code{success})
	if faulted {
		w.ended(before, nil, []*session{s})
	} else {
		w.ended(before, []*session{s}, nil)
	}
}

// haunt uses a value of a session that is over, or a session that is another's.
func (w *world) haunt() {
	var err error
	want := []oci.Code{oci.BlobUploadUnknown}
	switch {
	case len(w.ghosts) > 0 && w.chance(80):
		s := pick(w, w.ghosts)
		op := w.rnd.IntN(4)
		w.step("use what is left of %s in way %d", s.id, op)
		switch op {
		case 0:
			err = s.stale.Cancel(w.t.Context())
			want = append(want, success) // over is what it was to be
		case 1:
			if len(s.content) == 0 {
				want = append(want, success) // nothing is done to it
			}
			err = s.stale.Append(w.t.Context(), s.stale.Size(), bytes.NewReader(s.content))
		case 2:
			err = s.stale.Commit(w.t.Context(), oci.SHA256.FromBytes(s.content))
		case 3:
			err = s.stale.Finish(w.t.Context(), s.stale.Size(), bytes.NewReader(s.content), oci.SHA256.FromBytes(s.content))
		}
	case len(w.sessions) > 0:
		s := pick(w, w.sessions)
		w.step("resume %s as another user, or in another repository", s.id)
		by, repo := "mallory", s.repo
		if w.chance(50) {
			by, repo = s.by, w.pool.repos[(slices.Index(w.pool.repos, s.repo)+1)%len(w.pool.repos)]
		}
		_, err = w.core.As(event.Actor{Name: by}).ResumeUpload(w.t.Context(), repo, s.id)
	default:
		return
	}
	before := w.s.uploads
	w.outcome(err, want)
	w.ended(before, nil, nil)
}

func (w *world) mount() {
	d, to := pick(w, w.pool.digests), pick(w, w.pool.repos)
	from := pick(w, append([]oci.Repo{{}}, w.pool.repos...))
	can := false
	for _, r := range w.pool.repos {
		can = can || (from.IsZero() || from == r) && w.readable(r, d.String())
	}
	w.step("mount %s from %q to %s", w.pool.name(d), from, to)
	err := w.core.MountBlob(w.t.Context(), registry.Mount{From: from, To: to, Digest: d})
	if can {
		w.outcome(err, []oci.Code{success}, joined(at{to, d.String()}, w.now()))
	} else {
		w.outcome(err, []oci.Code{oci.BlobUnknown})
	}
}

// judge says what a put of m must answer, by the rules: what is there must have
// the size that m says, what was there and is lost must come back first, and no
// immutable tag moves. changes says whether there is anything to be done.
func (w *world) judge(repo oci.Repo, m *manifest, tags []oci.Tag) (codes []oci.Code, dangling []oci.Digest, changes bool) {
	var missing, wrong bool
	for _, part := range m.parts() {
		k := at{repo, part.Digest.String()}
		_, isMember := w.s.members[k]
		_, isManifest := w.s.manifests[k]
		isLost := w.s.had(k)
		c := w.s.contents[k.name]
		size := c.size
		if !isMember || c.damaged {
			if isManifest {
				size = int64(len(w.pool.byDigest[part.Digest].Body))
			} else {
				size = -1
			}
		}
		switch {
		case size >= 0 && part.Size != size:
			wrong = true
		case size >= 0:
		case isLost || isMember || w.refuse:
			missing = true
		case !slices.Contains(dangling, part.Digest):
			dangling = append(dangling, part.Digest)
		}
	}
	unchanged := w.s.manifests[at{repo, m.digest.String()}]
	var maybe []oci.Code
	if unchanged && !missing && wrong { // what has been taken need not be measured again
		wrong, maybe = len(dangling) > 0, []oci.Code{oci.ManifestInvalid}
	}
	for _, t := range tags {
		to := w.s.tags[at{repo, t.String()}]
		unchanged = unchanged && to == m.digest.String()
		if to != "" && to != m.digest.String() && w.immutable(repo, t) {
			codes = append(codes, oci.Denied)
		}
	}
	if unchanged && !missing {
		return append(maybe, success), dangling, false
	}
	switch {
	case wrong:
		codes = append(codes, oci.ManifestInvalid)
	case missing:
		codes = append(codes, oci.ManifestBlobUnknown)
	}
	if codes == nil {
		codes = []oci.Code{success}
	}
	return append(maybe, codes...), dangling, true
}

func (w *world) put() {
	repo, m := pick(w, w.pool.repos), pick(w, w.pool.manifests)
	p := registry.Put{Repo: repo, Manifest: m.Manifest}
	if m.digest.Algorithm() != oci.SHA256 || w.chance(30) {
		p.Digest = m.digest
	}
	for range w.rnd.IntN(3) {
		p.Tags = append(p.Tags, pick(w, w.pool.tags))
	}
	k, now := at{repo, m.digest.String()}, w.now()
	want, dangling, changes := w.judge(repo, m, p.Tags)
	if w.chance(3) {
		p.Digest, want = oci.SHA512.FromBytes([]byte("other")), []oci.Code{oci.DigestInvalid}
	}
	w.step("put %s to %s as %v, size %d", m.name, repo, p.Tags, len(m.Body))
	res, err := w.core.PutManifest(w.t.Context(), p)
	w.outcome(err, want, func(s *state) {
		if !changes {
			return
		}
		switch sound, ok := s.manifests[k]; {
		case !ok:
			delete(s.lost, k) // one of a blob with the same bytes may stay else
		case !sound:
			s.release(w.pool, k, now)
		}
		s.manifests[k] = true
		for _, t := range p.Tags {
			s.point(at{repo, t.String()}, k.name, meta.ByPush, now)
		}
	})
	if err == nil && (res.Digest != m.digest || !slices.Equal(res.Dangling, dangling)) {
		w.fatalf("got %v, want %s with %v dangling", res, m.digest, dangling)
	}
}

func (w *world) deleteManifest() {
	m, now := pick(w, w.pool.manifests), w.now()
	k := at{pick(w, w.pool.repos), m.digest.String()}
	if list := w.sortedManifests(); len(list) > 0 && w.chance(80) {
		k = pick(w, list)
	}
	_, there := w.s.manifests[k]
	w.step("delete manifest %s of %s", w.pool.name(mustDigest(k.name)), k.repo)
	err := w.core.DeleteManifest(w.t.Context(), k.repo, mustDigest(k.name))
	switch {
	case !there:
		w.outcome(err, []oci.Code{oci.ManifestUnknown, oci.NameUnknown})
	case len(w.s.holders(w.pool, k.repo, k.name)) > 0:
		w.outcome(err, []oci.Code{oci.Unsupported})
	case slices.ContainsFunc(w.s.tagsOf(k), func(t at) bool { return w.immutable(t.repo, mustTag(t.name)) }):
		w.outcome(err, []oci.Code{oci.Denied})
	default:
		w.outcome(err, []oci.Code{success}, func(s *state) {
			e := newEntry(meta.TrashManifest, meta.ReasonDeleted, k.repo, now)
			s.take(w.pool, e, k, meta.ByDelete, now)
			s.throw(e, w.keep)
		})
	}
}

// tagsOf lists the tags that lead to manifest k.
func (s state) tagsOf(k at) []at {
	var list []at
	for t, d := range s.tags {
		if t.repo == k.repo && d == k.name {
			list = append(list, t)
		}
	}
	return list
}

func mustTag(s string) oci.Tag {
	t, err := oci.ParseTag(s)
	if err != nil {
		panic(err)
	}
	return t
}

func (w *world) sortedManifests() []at {
	return slices.SortedFunc(maps.Keys(w.s.manifests), func(a, b at) int {
		return strings.Compare(a.repo.String()+":"+a.name, b.repo.String()+":"+b.name)
	})
}

func (w *world) deleteTag() {
	tag, now := pick(w, w.pool.tags), w.now()
	k := at{pick(w, w.pool.repos), tag.String()}
	w.step("delete tag %s of %s", k.name, k.repo)
	err := w.core.DeleteTag(w.t.Context(), k.repo, tag)
	_, there := w.s.tags[k]
	switch {
	case !there:
		w.outcome(err, []oci.Code{oci.ManifestUnknown, oci.NameUnknown})
	case w.immutable(k.repo, tag):
		w.outcome(err, []oci.Code{oci.Denied})
	default:
		w.outcome(err, []oci.Code{success}, func(s *state) {
			e := newEntry(meta.TrashTag, meta.ReasonDeleted, k.repo, now)
			e.tags[k.name] = s.tags[k]
			s.point(k, "", meta.ByDelete, now)
			s.throw(e, w.keep)
		})
	}
}

func (w *world) deleteBlob() {
	d, now := pick(w, w.pool.digests), w.now()
	k := at{pick(w, w.pool.repos), d.String()}
	_, there := w.s.members[k]
	w.step("delete blob %s of %s", w.pool.name(d), k.repo)
	err := w.core.DeleteBlob(w.t.Context(), k.repo, d)
	switch {
	case !there:
		w.outcome(err, []oci.Code{oci.BlobUnknown})
	case len(w.s.holders(w.pool, k.repo, k.name)) > 0:
		w.outcome(err, []oci.Code{oci.Unsupported})
	default:
		w.outcome(err, []oci.Code{success}, func(s *state) {
			e := newEntry(meta.TrashBlob, meta.ReasonDeleted, k.repo, now)
			e.members[k.name] = member{}
			delete(s.members, k)
			s.lost[k] = now
			s.throw(e, w.keep)
		})
	}
}

// read reads a blob as a client does: whoever is told that it is there must have
// half the grace left to name it.
func (w *world) read() {
	d, now := pick(w, w.pool.digests), w.now()
	k := at{pick(w, w.pool.repos), d.String()}
	m := w.s.members[k]
	w.step("read blob %s of %s", w.pool.name(d), k.repo)
	b, err := w.core.Blob(w.t.Context(), k.repo, d)
	if err == nil {
		got, rerr := io.ReadAll(b)
		b.Close()
		if !bytes.HasPrefix(w.pool.blobs[d], got) || rerr == nil && len(got) != len(w.pool.blobs[d]) {
			w.fatalf("got %d bytes that are not the blob's %d, error %v", len(got), len(w.pool.blobs[d]), rerr)
		}
	}
	if !w.readable(k.repo, k.name) {
		w.outcome(err, []oci.Code{oci.BlobUnknown})
		return
	}
	full := w.faults.fired && errors.Is(w.faults.err, meta.ErrNoSpace)
	w.outcome(err, []oci.Code{success}, func(s *state) {
		if full && w.peek().members[k] == m { // that it was read could not be written down
			return
		}
		if m.candidate && max(0, m.touched-now+w.grace) <= w.grace/2 {
			s.members[k] = member{now, true}
		}
	})
}

func (w *world) collect() {
	now, before := w.now(), w.s.uploads
	var expired []*session
	for _, s := range w.sessions {
		if before[s.id].saved <= now-uploadIdle {
			expired = append(expired, s)
		}
	}
	w.step("collect")
	_, err := w.collector.Collect(w.t.Context())
	faulted, old := w.faults.fired && err != nil, w.s
	let := func(s *state) { s.collect(w.pool, now, w.grace) }
	forget := func(s *state) { s.forget(now) }
	// If one of the two fails, the other one is done all the same.
	w.outcome(err, []oci.Code{success}, forget, func(s *state) { *s = old.clone(); let(s) }, forget)
	if faulted {
		w.ended(before, nil, expired)
	} else {
		w.ended(before, expired, nil)
	}
}

// collect ends the memberships that nothing needs and whose grace is over.
func (s *state) collect(p *pool, now, grace time.Duration) {
	for k, m := range s.members {
		switch {
		case !m.candidate || grace > 0 && m.touched > now-grace:
		case len(s.holders(p, k.repo, k.name)) > 0:
			s.members[k] = member{m.touched, false}
		default:
			delete(s.members, k)
			s.lost[k] = now
		}
	}
	for id, e := range s.trash {
		s.trash[id] = e.collected(p, now, grace)
	}
}

// forget forgets what was lost long ago.
func (s *state) forget(now time.Duration) {
	long := func(lost time.Duration) bool { return lost <= now-tombstones }
	maps.DeleteFunc(s.lost, func(_ at, lost time.Duration) bool { return long(lost) })
	for id, e := range s.trash {
		e.lost = maps.Clone(e.lost)
		maps.DeleteFunc(e.lost, func(_ string, lost time.Duration) bool { return long(lost) })
		s.trash[id] = e
	}
}

// damageBlob changes an object behind the registry's back, in a way that shows
// in its size.
func (w *world) damageBlob() {
	var keys []blob.Key
	for _, d := range slices.Sorted(maps.Keys(w.s.contents)) {
		if c := w.s.contents[d]; !w.broken[c.key] {
			keys = append(keys, c.key)
		}
	}
	if len(keys) == 0 || !w.fragile {
		return
	}
	key := pick(w, keys)
	w.broken[key], w.damaged = true, true
	how := w.rnd.IntN(3)
	w.step("damage an object in way %d", how)
	path := filepath.Join(w.dir, "data", "docker/registry/v2/blobs", filepath.FromSlash(w.pathOf(key)))
	info, err := os.Stat(path)
	switch {
	case w.mem != nil || how == 0 || err == nil && info.Size() == 0 && how == 1:
		err = w.raw.Delete(w.t.Context(), key)
	case err != nil:
	case how == 1:
		err = os.Truncate(path, info.Size()/2)
	default:
		err = os.Truncate(path, info.Size()+1)
	}
	if err != nil {
		w.fatalf("damage %s: %v", key, err)
	}
}

// pathOf is where the store keeps a finished object.
func (w *world) pathOf(key blob.Key) string {
	algorithm, rest, _ := strings.Cut(string(key), "/")
	return algorithm + "/" + rest[:min(2, len(rest))] + "/" + rest
}

// damageManifest changes a manifest in the database, behind the registry's back.
// What is in memory stays what it was, so it is for processes that keep nothing.
func (w *world) damageManifest() {
	list := w.sortedManifests()
	if len(list) == 0 || !w.fragile || w.memory > 0 {
		return
	}
	w.damaged = true
	k := pick(w, list)
	w.step("damage manifest %s of %s", w.pool.name(mustDigest(k.name)), k.repo)
	w.committed()
	_, err := w.peekDB.ExecContext(w.t.Context(), `UPDATE manifests SET body = substr(body, 2) || ' ' WHERE digest = ?
		AND repo_id = (SELECT id FROM repos WHERE name = ?)`, k.name, k.repo.String())
	w.outcome(err, []oci.Code{success}, func(s *state) { s.manifests[k] = false })
}
