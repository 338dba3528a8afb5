//go:build unix

package reliability

import (
	"berth/test/realtest"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// A hanging backup is one that stands still in the middle, as when what it writes
// to hangs, until its output is read on.
type hanging struct {
	cmd  *exec.Cmd
	done chan error
	pipe *os.File
}

func hang(t *testing.T, reg *realtest.Registry) *hanging {
	t.Helper()
	fifo := filepath.Join(t.TempDir(), "archive")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	h := &hanging{cmd: exec.Command("sh", "-c", `exec "$0" backup - --data "$1" > "$2"`, realtest.Berth(t), reg.Dir, fifo), done: make(chan error, 1)}
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { h.done <- h.cmd.Wait() }()
	t.Cleanup(func() { killIt(h.cmd) })
	var err error
	if h.pipe, err = os.Open(fifo); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.pipe.Close() })
	return h
}

// ended counts the blobs that collections have let go of.
func ended(log *realtest.Log) (n int) {
	for _, e := range log.Entries() {
		if e.Text("msg") == "collected garbage" {
			n += int(e.Number("blobs"))
		}
	}
	return n
}

// TestBackupHold deletes everything while a backup stands still, and has it
// collected: the backup holds it all the same, and then it goes. It goes, too, when
// the command is killed instead.
func TestBackupHold(t *testing.T) {
	reg := realtest.Start(t, realtest.Options{Env: append(quiet(), collecting()...)})
	f := &filler{c: newClient(t, reg.URL), l: newLedger(), acked: map[string]bool{}}
	for _, killing := range []bool{false, true} {
		for range 20 { // more than what fits into the pipe
			if err := f.push(t.Context(), "app", 40_000); err != nil {
				t.Fatal(err)
			}
		}
		whole, mark := f.l.clone(), reg.Log.Mark()
		objects := len(blobFiles(t, reg.Dir))
		h := hang(t, reg)
		begun := make([]byte, 512)
		if _, err := io.ReadFull(h.pipe, begun); err != nil {
			t.Fatal(err)
		}
		for k, v := range whole.facts {
			if k.kind == aManifest && v != "" {
				if err := f.c.remove(t.Context(), manifestPath("app", k.name)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if !reg.Log.Await(func(log *realtest.Log) bool { return ended(log.Since(mark)) >= len(f.acked) }) {
			t.Fatalf("nothing is collected\n%s", reg.Log.Tail(20))
		}
		f.l, f.acked = newLedger(), map[string]bool{}
		if n := len(blobFiles(t, reg.Dir)); n != objects {
			t.Errorf("%d of %d objects are there while a backup is taken", n, objects)
		}
		if killing {
			killIt(h.cmd)
			<-h.done
		} else {
			h.finish(t, begun, whole)
		}
		if !await(func() bool { return len(blobFiles(t, reg.Dir)) == 0 }) {
			t.Errorf("after it nothing is deleted: %d objects", len(blobFiles(t, reg.Dir)))
		}
		if !await(func() bool { return len(files(t, filepath.Join(reg.Dir, "berth", "backups"))) == 0 }) {
			t.Error("the copy of the database is left behind")
		}
	}
}

// finish reads the rest of the archive, and wants everything in it.
func (h *hanging) finish(t *testing.T, begun []byte, whole *ledger) {
	t.Helper()
	rest, err := io.ReadAll(h.pipe)
	if err = errors.Join(err, <-h.done); err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "backup.tar")
	if err := os.WriteFile(to, append(begun, rest...), 0o600); err != nil {
		t.Fatal(err)
	}
	wantRestored(t, to, whole)
}
