package reliability

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"berth/test/realtest"
)

// TestKilledInTheTrash kills the server at one system call after the other of a
// repository's deletion, of its return, of its return to a repository that has
// something by then, and of the end of what was deleted. After each it has
// happened, or it has not, or it goes on when it is asked for again. Nothing that
// was not given up is lost, and fsck finds nothing. With BERTH_SOAK=1 no call of the
// first hundred is left out, and every tenth of the others is tried.
func TestKilledInTheTrash(t *testing.T) {
	realtest.Root(t)
	for _, what := range []struct {
		name string
		do   func(k *trashKill, fault string) bool
	}{
		{"delete", (*trashKill).deletion},
		{"restore", (*trashKill).comingBack},
		{"merge", (*trashKill).merging},
		{"empty", (*trashKill).emptying},
	} {
		t.Run(what.name, func(t *testing.T) {
			k := newTrashKill(t)
			for _, calls := range []string{"fsync,fdatasync", "pwrite64"} {
				kills := 0
				for n := 1; what.do(k, fmt.Sprintf("%s:signal=KILL:when=%d", calls, n)); n = k.next(calls, n) {
					kills++
				}
				t.Logf("%s: killed %d times", calls, kills)
				if kills == 0 {
					t.Errorf("%s: never killed", calls)
				}
			}
			if what.name == "merge" && k.half == 0 {
				t.Error("never killed when a part had come back")
			}
		})
	}
}

// A trashKill kills what is done with the trash. The repository app is the one
// that must not lose anything; doomed is given up.
type trashKill struct {
	*collectKill
	tags map[string]string // of app, and what they point to
	half int               // how often app had come back in part
	soak bool
}

// newTrashKill starts a server with more images in app than one step of a return
// moves.
func newTrashKill(t *testing.T) *trashKill {
	t.Helper()
	// One thread, as strace counts the calls of each.
	env := append(quiet(), "BERTH_GC_EVERY=1h", "GOMAXPROCS=1")
	reg := realtest.Start(t, realtest.Options{Env: env})
	k := &trashKill{
		collectKill: &collectKill{t: t, reg: reg, c: newClient(t, reg.URL), seed: seed(t)},
		tags:        map[string]string{}, soak: os.Getenv("BERTH_SOAK") != "",
	}
	k.keep()
	k.tags["kept"] = digestOf(k.image)
	for i := range 130 {
		k.tag(fmt.Sprint("t", i))
	}
	return k
}

// next is the call to be killed at after the n-th.
func (k *trashKill) next(calls string, n int) int {
	switch {
	case k.soak && n >= 100:
		return n + 10
	case k.soak:
		return n + 1
	case calls == "pwrite64":
		return n*5 + 2
	}
	return n * 2
}

// tag pushes one more image with the config and layers that app has.
func (k *trashKill) tag(name string) {
	k.t.Helper()
	body := imageManifest(k.config, k.layers, name)
	k.ok(k.c.putManifest(k.t.Context(), "app", name, manifestType, body))
	k.tags[name] = digestOf(body)
}

// berth runs a command on the server. Whether that has failed is told, not why.
func (k *trashKill) berth(args ...string) (string, bool) {
	k.t.Helper()
	out, err := exec.Command(realtest.Berth(k.t), append(args, "--data", k.reg.Dir)...).CombinedOutput()
	if _, exit := errors.AsType[*exec.ExitError](err); err != nil && !exit {
		k.t.Fatal(err)
	}
	return string(out), err == nil
}

func (k *trashKill) must(args ...string) {
	k.t.Helper()
	if out, ok := k.berth(args...); !ok {
		k.t.Fatalf("berth %s: %s", strings.Join(args, " "), out)
	}
}

// entries lists the numbers of what a repository has in the trash, the newest
// first.
func (k *trashKill) entries(repo string) []string {
	k.t.Helper()
	out, ok := k.berth("trash", "ls", repo, "--json")
	if !ok {
		k.t.Fatalf("berth trash ls: %s", out)
	}
	var list []string
	for d := json.NewDecoder(strings.NewReader(out)); d.More(); {
		var e struct{ ID json.Number }
		k.ok(d.Decode(&e))
		list = append(list, e.ID.String())
	}
	return list
}

// under runs commands with a fault that kills the server, up to the one that
// fails, and starts the server again. It reports whether it was killed.
func (k *trashKill) under(fault string, commands ...[]string) bool {
	k.t.Helper()
	end := inject(k.t, k.reg, fault)
	killed := false
	for _, args := range commands {
		if out, ok := k.berth(args...); !ok {
			killed = true
			if err := k.reg.Wait(); err == nil {
				k.t.Fatalf("%s: berth %s: %s, but the server ended by itself", fault, strings.Join(args, " "), out)
			}
			break
		}
	}
	end()
	if killed {
		k.reg.Restart()
		k.c.http.CloseIdleConnections()
	}
	return killed
}

// state reports how many tags of app are there, each with the image that it had.
func (k *trashKill) state(fault string) int {
	k.t.Helper()
	list, err := k.c.list(k.t.Context(), "/v2/app/tags/list", "tags")
	k.ok(err)
	for _, tag := range list {
		if d, err := k.c.manifest(k.t.Context(), "app", tag); err != nil || d != k.tags[tag] {
			k.t.Fatalf("%s: %s is %s, %v, want %s", fault, tag, d, err, k.tags[tag])
		}
	}
	if len(list) > 0 {
		for _, b := range append(k.layers, k.config) {
			if d, _, err := k.c.blob(k.t.Context(), "app", b.digest); err != nil || d != b.digest {
				k.t.Fatalf("%s: blob %s came as %q, %v", fault, b.digest, d, err)
			}
		}
	}
	return len(list)
}

// clean wants fsck to find nothing.
func (k *trashKill) clean(fault string) {
	k.t.Helper()
	if out, code := fsck(k.t, k.reg.Dir, "--read-data"); code != 0 {
		k.t.Fatalf("%s: berth fsck: exit code %d\n%s", fault, code, out)
	}
}

// allOrNothing wants app to be whole, or in the trash, and not both.
func (k *trashKill) allOrNothing(fault string) (there bool) {
	k.t.Helper()
	n, in := k.state(fault), k.entries("app")
	if whole := n == len(k.tags) && len(in) == 0; !whole && !(n == 0 && len(in) == 1) {
		k.t.Fatalf("%s: app has %d of %d tags, and is in the trash as %v", fault, n, len(k.tags), in)
	}
	k.clean(fault)
	return n > 0
}

// back brings app back, if it is gone, and wants all of it.
func (k *trashKill) back(fault string) {
	k.t.Helper()
	for _, id := range k.entries("app") {
		k.must("trash", "restore", id)
	}
	if !k.allOrNothing(fault) {
		k.t.Fatalf("%s: app is not back", fault)
	}
}

func (k *trashKill) deletion(fault string) bool {
	killed := k.under(fault, []string{"rm", "app", "--yes"})
	if k.allOrNothing(fault) {
		if !killed {
			k.t.Fatalf("%s: deleted, and it is still there", fault)
		}
		k.must("rm", "app", "--yes")
	}
	k.back(fault)
	return killed
}

func (k *trashKill) comingBack(fault string) bool {
	k.must("rm", "app", "--yes")
	killed := k.under(fault, []string{"trash", "restore", "app"})
	if !k.allOrNothing(fault) && !killed {
		k.t.Fatalf("%s: restored, and it is not there", fault)
	}
	k.back(fault)
	return killed
}

// merging brings app back when somebody has pushed to it again.
func (k *trashKill) merging(fault string) bool {
	k.must("rm", "app", "--yes")
	before := len(k.tags)
	for _, b := range append(k.layers, k.config) {
		k.ok(k.c.push(k.t.Context(), "app", b))
	}
	k.made++
	k.tag(fmt.Sprint("again", k.made))
	killed := k.under(fault, []string{"trash", "restore", "app"})
	// What has come back is whole, and the rest is where it was.
	n, in := k.state(fault), k.entries("app")
	if n == 0 || n <= before && len(in) != 1 || !killed && n <= before {
		k.t.Fatalf("%s: app has %d of %d tags, and is in the trash as %v", fault, n, len(k.tags), in)
	}
	if n > 1 && n < len(k.tags) {
		k.half++
	}
	k.clean(fault)
	k.back(fault)
	return killed
}

// emptying gives up a repository that shares a layer with app, and collects what
// only that had.
func (k *trashKill) emptying(fault string) bool {
	own := k.thing()
	for _, b := range []thing{own, k.config, k.layers[0]} {
		k.ok(k.c.push(k.t.Context(), "doomed", b))
	}
	body := imageManifest(k.config, []thing{own, k.layers[0]}, fmt.Sprint("doomed ", k.made))
	k.ok(k.c.putManifest(k.t.Context(), "doomed", "v1", manifestType, body))
	k.must("rm", "doomed", "--yes")
	empty, collect := []string{"trash", "empty", "doomed", "--yes"}, []string{"gc", "--grace", "0s"}
	killed := k.under(fault, empty, collect)
	if d, err := k.c.manifest(k.t.Context(), "doomed", "v1"); err != nil || d != "" {
		k.t.Fatalf("%s: what was deleted is there: %s, %v", fault, d, err)
	}
	if in := k.entries("doomed"); len(in) > 1 || !killed && len(in) > 0 {
		k.t.Fatalf("%s: in the trash as %v", fault, in)
	}
	if !k.allOrNothing(fault) {
		k.t.Fatalf("%s: app is gone", fault)
	}
	k.must(empty...)
	k.must(collect...)
	if left := blobFiles(k.t, k.reg.Dir); len(left) != 3 {
		k.t.Fatalf("%s: %d files are left, want 3", fault, len(left))
	}
	if !k.allOrNothing(fault) {
		k.t.Fatalf("%s: app is gone", fault)
	}
	return killed
}
