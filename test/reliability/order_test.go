package reliability

import (
	"bytes"
	"context"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"testing"
)

// A traceStep is a request and what must have happened before its answer.
type traceStep struct {
	name  string
	send  func(context.Context) error
	check func([]call) error // nil for nothing
}

// traceSteps are the requests that are acknowledged durably, in an order in
// which each can be made.
func traceSteps(c *client) []traceStep {
	const repo = "order/app"
	var location string
	begin := func(ctx context.Context) error {
		a, err := c.do(ctx, request{method: "POST", path: uploadsPath(repo)}, 202)
		location = a.header.Get("Location")
		return err
	}
	one, two, three := newThing([]byte("one")), newThing(content(300_000, 2)), newThing(content(70_000, 3))
	body := imageManifest(one, []thing{two, three}, "1")
	image := digestOf(body)
	known := func(w []call) error { _, err := recorded(w); return err }
	put := func(ref string) func(context.Context) error {
		return func(ctx context.Context) error { return c.putManifest(ctx, repo, ref, manifestType, body) }
	}
	remove := func(path string) func(context.Context) error {
		return func(ctx context.Context) error { return c.remove(ctx, path) }
	}
	post := func(query string, b []byte, status int) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := c.do(ctx, request{method: "POST", path: uploadsPath(repo) + query, body: bytes.NewReader(b), length: int64(len(b))}, status)
			return err
		}
	}
	finish := func(d string, p []byte) func(context.Context) error {
		return func(ctx context.Context) error { return c.finish(ctx, location, d, p) }
	}
	return []traceStep{
		{"begin an upload", begin, nil},
		{"finish it with all bytes", finish(one.digest, one.data), stored},
		{"begin another", begin, nil},
		{"send the bytes", func(ctx context.Context) error { _, err := c.append(ctx, location, 0, two.data); return err }, nil},
		{"finish it with none", finish(two.digest, nil), stored},
		{"upload with one POST", post("?digest="+three.digest, three.data, 201), stored},
		{"upload what is there", post("?digest="+three.digest, three.data, 201), known},
		{"put a manifest by tag", put("v1"), known},
		{"put it again under another tag", put("v2"), known},
		{"put it with more tags", put(image + "?tag=v3&tag=v4"), known},
		{"delete a tag", remove(manifestPath(repo, "v1")), known},
		{"delete the manifest", remove(manifestPath(repo, image)), known},
		{"mount a blob", func(ctx context.Context) error {
			_, err := c.do(ctx, request{method: "POST", path: uploadsPath("order/other") + "?from=" + repo + "&mount=" + one.digest}, 201)
			return err
		}, known},
		{"delete a blob", remove(blobPath(repo, one.digest)), known},
	}
}

// TestOrder shows by the system calls of a push that nothing is acknowledged
// before it is durable: first the bytes, then their name, then the record.
func TestOrder(t *testing.T) {
	tr := startTraced(t, "", traced)
	steps := traceSteps(tr.c)
	for _, s := range steps {
		if err := s.send(t.Context()); err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
	}
	all := windows(t, tr.trace(), len(steps))
	for i, s := range steps {
		if s.check == nil {
			continue
		}
		w := all[i]
		if s.check != nil && i > 0 && steps[i-1].check == nil {
			w = slices.Concat(all[i-1], w) // the bytes may have come before
		}
		if err := s.check(w); err != nil {
			t.Errorf("%s: %v\n%s", s.name, err, show(w))
			continue
		}
		withoutEach(t, s, w)
	}
}

// withoutEach shows that the check misses every single sync that a request waits
// for: the test can fail. Only that of the database's own folder is nobody's:
// SQLite makes it once for each connection that opened the log, though the name of
// the log is durable since there is a database.
func withoutEach(t *testing.T, s traceStep, w []call) {
	t.Helper()
	missed, syncs := 0, 0
	for i, c := range w {
		if !c.sync() || path.Base(c.file()) == "berth" {
			continue
		}
		syncs++
		if s.check(slices.Delete(slices.Clone(w), i, i+1)) != nil {
			missed++
		}
	}
	if missed == 0 || missed < syncs {
		t.Errorf("%s: the check notices when one of %d of the %d syncs is not there, want all\n%s", s.name, missed, syncs, show(w))
	}
}

func show(w []call) string {
	var b bytes.Buffer
	for _, c := range w {
		fmt.Fprintf(&b, "  %d-%d %s(%s) = %s\n", c.begin, c.end, c.name, c.args, c.result)
	}
	return b.String()
}

// TestOrderAfterKill shows that what a killed server had written, and not synced,
// is not acknowledged by the next one before it is durable.
func TestOrderAfterKill(t *testing.T) {
	tr := startTraced(t, filepath.Join(t.TempDir(), "data"), traced)
	body := imageManifest(newThing([]byte("{}")), nil, "1")
	put := func() {
		t.Helper()
		if err := tr.c.putManifest(t.Context(), "order/app", "v1", manifestType, body); err != nil {
			t.Fatal(err)
		}
	}
	put()
	tr.reg.Kill()
	again := startTraced(t, tr.reg.Dir, traced)
	tr.c = again.c
	put()
	calls := again.trace()
	all := windows(t, calls, 1)
	answer := all[0][len(all[0])-1].begin
	for _, c := range calls {
		if c.sync() && c.ok() && isLog(c.file()) && c.end < answer {
			return
		}
	}
	t.Errorf("the answer in line %d says that what was found in the log is durable, and nothing synced the log before it", answer)
}
