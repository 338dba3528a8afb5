package metatest

import (
	"fmt"
	"time"

	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

func eventTests() []test {
	return []test{
		{name: "every change has its event", run: eventKinds},
		{name: "what fails has none", run: eventFailures},
		{name: "none without readers", run: eventUnread},
		{name: "collections are for those who need all", run: eventCollections},
		{name: "readers have cursors of their own", run: eventCursors},
		{name: "a new reader begins with what comes", run: eventBeginning},
		{name: "old ones go", run: eventTrim},
		{name: "but none that somebody needs", run: eventTrimNeeded},
		{name: "noted events come before the next change", run: eventNotes},
		{name: "too many noted events are dropped", run: eventFlood},
		{name: "news wake who waits", run: eventNews},
		{name: "the actor is kept whole", run: eventActor},
	}
}

// subscribe makes a reader known and returns its cursor.
func (f *fixture) subscribe(name string, need meta.Need) int64 {
	f.Helper()
	seq, err := f.Subscribe(f.ctx, name, need)
	f.ok(err)
	return seq
}

// events returns what is behind number after, in few words.
func (f *fixture) events(after int64) []string {
	f.Helper()
	list, err := f.Events(f.ctx, after, 1000)
	f.ok(err)
	var words []string
	ids := make(map[string]bool)
	for _, e := range list {
		s := fmt.Sprintf("%s %s %s", e.Action, e.Kind, e.Repo)
		if !e.From.IsZero() {
			s += " from " + e.From.String()
		}
		if !e.Tag.IsZero() {
			s += ":" + e.Tag.String()
		}
		if e.Seq <= after || ids[e.ID] {
			f.Errorf("event %d (%s) is behind %d, or its id was there already", e.Seq, e.ID, after)
		}
		after, ids[e.ID] = e.Seq, true
		words = append(words, s)
	}
	return words
}

// last is the number of the last event.
func (f *fixture) last() int64 {
	f.Helper()
	list, err := f.Events(f.ctx, 0, 100_000)
	f.ok(err)
	if len(list) == 0 {
		return 0
	}
	return list[len(list)-1].Seq
}

func eventKinds(f *fixture) {
	f.subscribe("r", meta.NeedNews)
	a, b := f.repo("a"), f.repo("b")
	by := event.Actor{Name: "bob"}
	x := f.push(a, "x")
	f.ok(f.LinkBlob(f.ctx, a, b, x.Digest, by))
	m := f.manifest(shape{parts: []string{"x"}})
	f.put(a, m)
	f.put(a, m, "v1", "v2")
	f.put(a, f.manifest(shape{parts: []string{"x"}, note: "2"}), "v3")
	f.ok(f.DeleteTag(f.ctx, a, f.tag("v3"), by))
	f.ok(f.DeleteManifest(f.ctx, a, digest(m), by))
	f.ok(f.UnlinkBlob(f.ctx, b, x.Digest, by))
	f.equal("events", f.events(0), []string{
		"push blob a", "mount blob b from a", "push manifest a", "push manifest a:v1", "push manifest a:v2", "push manifest a:v3",
		"delete tag a:v3", "delete manifest a", "delete tag a:v1", "delete tag a:v2", "delete blob b",
	})
	list, err := f.Events(f.ctx, 0, 4)
	f.ok(err)
	f.equal("how many", len(list), 4)
	f.equal("blob", []any{list[0].Digest, list[0].Size, list[0].Time}, []any{x.Digest, int64(1), f.env.Now()})
	f.equal("mount", []any{list[1].Digest, list[1].Size, list[1].By.Name}, []any{x.Digest, int64(1), "bob"})
	f.equal("manifest", []any{list[3].Digest, list[3].Size, list[3].MediaType, list[3].By.Name},
		[]any{digest(m), int64(len(m.Body)), oci.MediaTypeImage, "alice"})
	f.reopen()
	again, err := f.Events(f.ctx, 0, 4)
	f.ok(err)
	f.equal("after a restart", again, list)
}

func eventFailures(f *fixture) {
	f.subscribe("r", meta.NeedAll)
	a := f.repo("a")
	f.push(a, "x")
	f.put(a, f.manifest(shape{parts: []string{"x"}}), "v1")
	after := f.last()
	if _, ok := asInUse(f.UnlinkBlob(f.ctx, a, digestOf("x"), event.Actor{})); !ok {
		f.Error("unlinked a blob in use")
	}
	f.is(f.LinkBlob(f.ctx, a, f.repo("b"), digestOf("y"), event.Actor{}), meta.ErrNotFound)
	f.is(f.DeleteTag(f.ctx, a, f.tag("v2"), event.Actor{}), meta.ErrNotFound)
	f.is(f.DeleteManifest(f.ctx, a, digestOf("m"), event.Actor{}), meta.ErrNotFound)
	m := f.manifest(shape{parts: []string{"x"}, sizes: map[string]int64{"x": 9}})
	if _, err := f.tryPut(a, m, "v1"); err == nil {
		f.Error("put a manifest with a wrong size")
	}
	f.equal("events", f.events(after), []string(nil))
}

func eventUnread(f *fixture) {
	a := f.repo("a")
	f.push(a, "x")
	f.NoteEvent(event.Event{Action: event.Pull, Kind: event.Blob, Repo: a, Digest: digestOf("x")})
	f.ok(f.FlushEvents(f.ctx))
	f.equal("before there are readers", f.events(0), []string(nil))
	f.subscribe("r", meta.NeedNews)
	f.push(a, "y")
	f.reopen()
	f.push(a, "z")
	f.ok(f.Unsubscribe(f.ctx, "r"))
	f.ok(f.Unsubscribe(f.ctx, "r"))
	f.push(a, "w")
	f.equal("events", f.events(0), []string{"push blob a", "push blob a"})
}

func eventCollections(f *fixture) {
	a := f.repo("a")
	f.subscribe("news", meta.NeedNews)
	f.push(a, "x")
	f.pass(2 * grace)
	f.equal("collected", f.collect(), 1)
	f.equal("for news", f.events(0), []string{"push blob a"})
	f.subscribe("all", meta.NeedAll)
	f.push(a, "y")
	f.pass(2 * grace)
	f.equal("collected", f.collect(), 1)
	f.equal("for all", f.events(1), []string{"push blob a", "collect blob a"})
	list, err := f.Events(f.ctx, 2, 9)
	f.ok(err)
	f.equal("digest", list[0].Digest, digestOf("y"))
	m := f.manifest(shape{note: "untagged"})
	f.put(a, m)
	after := f.last()
	f.pass(grace)
	_, err = f.Prune(f.ctx, a, f.env.Now(), 9)
	f.ok(err)
	f.equal("pruned", f.events(after), []string{"collect manifest a"})
}

func eventCursors(f *fixture) {
	f.subscribe("one", meta.NeedNews)
	f.subscribe("two", meta.NeedAll)
	for i := range 5 {
		f.push(f.repo("a"), fmt.Sprint(i))
	}
	f.ok(f.Advance(f.ctx, "one", 3))
	f.is(f.Advance(f.ctx, "three", 3), meta.ErrNotFound)
	f.reopen()
	list, err := f.EventReaders(f.ctx)
	f.ok(err)
	f.equal("readers", list, []meta.Reader{{Name: "one", Need: meta.NeedNews, Seq: 3, Behind: 2}, {Name: "two", Need: meta.NeedAll, Behind: 5}})
	f.equal("cursor", f.subscribe("one", meta.NeedNews), int64(3))
	f.ok(f.Advance(f.ctx, "one", 1))
	f.equal("back again", f.subscribe("one", meta.NeedNews), int64(1))
}

func eventBeginning(f *fixture) {
	f.subscribe("one", meta.NeedNews)
	f.push(f.repo("a"), "x")
	f.equal("cursor", f.subscribe("two", meta.NeedNews), int64(1))
}

func eventTrim(f *fixture) {
	f.subscribe("slow", meta.NeedNews)
	f.subscribe("quick", meta.NeedNews)
	for i := range 4 {
		f.push(f.repo("a"), fmt.Sprint(i))
		f.pass(time.Hour)
	}
	f.ok(f.Advance(f.ctx, "quick", 4))
	f.ok(f.Advance(f.ctx, "slow", 1))
	trim := func(age time.Duration, limit int) meta.Trimmed {
		f.Helper()
		res, err := f.TrimEvents(f.ctx, age, limit)
		f.ok(err)
		return res
	}
	f.equal("nothing is so old", trim(5*time.Hour, 9), meta.Trimmed{})
	f.equal("a limit", trim(2*time.Hour, 2), meta.Trimmed{Events: 2, Lost: map[string]int64{"slow": 1}})
	f.equal("the rest", trim(2*time.Hour, 2), meta.Trimmed{Events: 1, Lost: map[string]int64{"slow": 1}})
	f.equal("nothing more", trim(2*time.Hour, 2), meta.Trimmed{})
	f.equal("what is left", len(f.events(0)), 1)
	f.equal("slow", f.subscribe("slow", meta.NeedNews), int64(3))
	f.equal("quick", f.subscribe("quick", meta.NeedNews), int64(4))
	trim(0, 9)
	f.reopen()
	f.push(f.repo("a"), "another")
	f.equal("numbers are not used again", f.last(), int64(5))
}

func eventTrimNeeded(f *fixture) {
	f.subscribe("all", meta.NeedAll)
	for i := range 3 {
		f.push(f.repo("a"), fmt.Sprint(i))
	}
	f.pass(time.Hour)
	res, err := f.TrimEvents(f.ctx, 0, 9)
	f.ok(err)
	f.equal("unread", res, meta.Trimmed{})
	f.ok(f.Advance(f.ctx, "all", 2))
	res, err = f.TrimEvents(f.ctx, 0, 9)
	f.ok(err)
	f.equal("read", res, meta.Trimmed{Events: 2, Lost: map[string]int64{}})
	f.equal("left", len(f.events(0)), 1)
}

func eventNotes(f *fixture) {
	f.subscribe("r", meta.NeedNews)
	a := f.repo("a")
	pull := event.Event{Action: event.Pull, Kind: event.Blob, Repo: a, Digest: digestOf("x"), Size: 1}
	f.push(a, "x")
	m := f.manifest(shape{parts: []string{"x"}})
	f.put(a, m, "v1")
	f.NoteEvent(pull)
	f.put(a, m, "v1") // changes nothing
	f.equal("not yet", f.events(2), []string(nil))
	f.ok(f.DeleteTag(f.ctx, a, f.tag("v1"), event.Actor{}))
	f.equal("in order", f.events(2), []string{"pull blob a", "push manifest a:v1", "delete tag a:v1"})
	f.NoteEvent(pull)
	f.ok(f.FlushEvents(f.ctx))
	f.ok(f.FlushEvents(f.ctx))
	f.equal("flushed", f.events(5), []string{"pull blob a"})
	f.NoteEvent(pull)
	f.reopen()
	f.equal("closed", f.events(6), []string{"pull blob a"})
	f.equal("dropped", f.DroppedEvents(), int64(0))
}

func eventFlood(f *fixture) {
	f.subscribe("r", meta.NeedNews)
	for range 20_000 {
		f.NoteEvent(event.Event{Action: event.Pull, Kind: event.Blob, Repo: f.repo("a"), Digest: digestOf("x")})
	}
	f.ok(f.FlushEvents(f.ctx))
	kept := f.last()
	f.equal("all are counted", kept+f.DroppedEvents(), int64(20_000))
	if kept == 20_000 {
		f.Error("there is no bound")
	}
}

func eventNews(f *fixture) {
	f.subscribe("r", meta.NeedNews)
	news := f.EventNews()
	u := f.upload(f.repo("a"))
	select {
	case <-news:
		f.Error("woken without an event")
	default:
	}
	_, err := f.CommitUpload(f.ctx, u, meta.Blob{Digest: digestOf("x"), Key: u.Key, Size: 1}, event.Actor{})
	f.ok(err)
	<-news
	news = f.EventNews()
	f.NoteEvent(event.Event{Action: event.Pull, Kind: event.Blob, Repo: f.repo("a"), Digest: digestOf("x")})
	f.ok(f.FlushEvents(f.ctx))
	<-news
}

func eventActor(f *fixture) {
	f.subscribe("r", meta.NeedNews)
	a := f.repo("a")
	f.push(a, "x")
	by := event.Actor{
		Name: "bob", Addr: "192.0.2.1:4000", Host: "reg.example.com", Method: "DELETE", UserAgent: "docker/1 \"ü\"", RequestID: "id-1",
		Base: "https://reg.example.com/prefix", Via: "proxy",
	}
	f.ok(f.UnlinkBlob(f.ctx, a, digestOf("x"), by))
	list, err := f.Events(f.ctx, 1, 9)
	f.ok(err)
	f.equal("actor", list[0].By, by)
}
