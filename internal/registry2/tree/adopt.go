package tree

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"berth/internal/blob"
	"berth/internal/meta"
	"berth/internal/oci"
)

// Records is where an Adopter records what it finds.
type Records interface {
	meta.Adoption

	// Compare is that of meta.Shadow.
	Compare(ctx context.Context, repo oci.Repo) error
}

// An Adopter takes over what the tree says: everything the first time, and what
// registry:2 has changed each other time. Its fields must be set before use.
type Adopter struct {
	Tree    *Tree
	Data    Data
	Records Records
	Log     *slog.Logger

	// Shadow says that links are written from now on; see Shadow.
	Shadow bool

	running sync.Mutex // held by the Run that runs
	done    atomic.Bool
	count   counter

	mu     sync.Mutex
	visits map[oci.Repo]*visit
}

// A visit is the taking over of one repository.
type visit struct {
	done chan struct{}
	err  error
}

// Done reports whether everything has been taken over.
func (a *Adopter) Done() bool { return a.done.Load() }

// Report returns what was found so far.
func (a *Adopter) Report() Report { return a.count.report() }

// Run takes over all that there is. What it could not is in the Report; an error
// says that records could not be written, or that ctx has ended. Interrupted
// anywhere, the next Run goes on, in another process too.
func (a *Adopter) Run(ctx context.Context) error {
	a.running.Lock()
	defer a.running.Unlock()
	if a.Done() {
		return nil
	}
	state, err := a.Records.Tree(ctx)
	if err != nil {
		return err
	}
	if state == meta.TreeNone {
		if err := a.Records.SetTree(ctx, meta.TreeAdopting); err != nil {
			return err
		}
	}
	if err := a.visitAll(ctx); err != nil {
		return err
	}
	if state != meta.TreeAdopted {
		if err := a.Records.SetTree(ctx, meta.TreeAdopted); err != nil {
			return err
		}
	}
	a.done.Store(true)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.visits = nil
	return nil
}

// workers is how many repositories are read at the same time.
func workers() int { return min(runtime.GOMAXPROCS(0), 4) }

// visitAll visits the repositories in the tree, then those that are gone from it.
func (a *Adopter) visitAll(ctx context.Context) error {
	exists, err := a.Tree.Exists()
	if err != nil || !exists {
		// That nothing at all is left is not registry:2's doing; the database
		// knows what has to be written again.
		return errors.Join(err, a.eachLinked(ctx, func(repo oci.Repo) error { return a.forgetLinks(ctx, repo) }))
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	repos := make(chan oci.Repo)
	var group sync.WaitGroup
	for range workers() {
		group.Go(func() {
			for repo := range repos {
				if err := a.visit(ctx, repo); err != nil {
					stop(err)
				}
			}
		})
	}
	send := func(repo oci.Repo) error {
		select {
		case repos <- repo:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	err = a.Tree.walk(ctx, "", func(name string) error {
		repo, err := oci.ParseRepo(name)
		if err != nil {
			a.count.problem(Problem{Path: name, What: err.(*oci.Error).Message})
			return nil
		}
		return send(repo)
	}, a.count.problem)
	if err == nil {
		err = a.eachLinked(ctx, send)
	}
	close(repos)
	group.Wait()
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// eachLinked calls f with all repositories of which links are remembered.
func (a *Adopter) eachLinked(ctx context.Context, f func(oci.Repo) error) error {
	for after := ""; ; {
		list, err := a.Records.LinkedRepos(ctx, after, 100)
		if err != nil || len(list) == 0 {
			return err
		}
		for _, repo := range list {
			if err := f(repo); err != nil {
				return err
			}
		}
		after = list[len(list)-1].String()
	}
}

// forgetLinks records that no link of repo is there, without any meaning.
func (a *Adopter) forgetLinks(ctx context.Context, repo oci.Repo) error {
	list, err := a.Records.Links(ctx, repo)
	if err != nil {
		return err
	}
	for i := range list {
		list[i].Target, list[i].ModTime = oci.Digest{}, time.Unix(0, 0)
	}
	if _, err := a.Records.TakeRepo(ctx, meta.RepoTake{Repo: repo, Seen: list}); err != nil || !a.Shadow {
		return err
	}
	return a.Records.Compare(ctx, repo)
}

// Ensure takes over repo if that has not been done yet. When it takes long, or
// ctx ends, the error wraps blob.ErrBusy, and it goes on.
func (a *Adopter) Ensure(ctx context.Context, repo oci.Repo) error {
	if a.Done() {
		return nil
	}
	result := make(chan error, 1)
	go func() { result <- a.visit(context.WithoutCancel(ctx), repo) }()
	patience := time.NewTimer(ensurePatience)
	defer patience.Stop()
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
	case <-patience.C:
	}
	return fmt.Errorf("%w: what registry:2 has of %s is being taken over", blob.ErrBusy, repo)
}

// ensurePatience is how long a client waits for its repository: less than the
// time after which it, or a proxy, would give up.
const ensurePatience = 10 * time.Second

// visit takes over one repository, once.
func (a *Adopter) visit(ctx context.Context, repo oci.Repo) error {
	v, mine := a.join(repo)
	if v == nil {
		return nil
	}
	if !mine {
		select {
		case <-v.done:
			return v.err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	v.err = a.takeRepo(ctx, repo)
	if v.err != nil { // somebody else may try
		a.mu.Lock()
		delete(a.visits, repo)
		a.mu.Unlock()
	}
	close(v.done)
	return v.err
}

// join returns the visit of repo, and whether it is the caller's to make; nil
// when all have been made.
func (a *Adopter) join(repo oci.Repo) (v *visit, mine bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.Done() {
		return nil, false
	}
	if v := a.visits[repo]; v != nil {
		return v, false
	}
	if a.visits == nil {
		a.visits = map[oci.Repo]*visit{}
	}
	v = &visit{done: make(chan struct{})}
	a.visits[repo] = v
	return v, true
}

// takeRepo reads one repository and records what is to be taken.
func (a *Adopter) takeRepo(ctx context.Context, repo oci.Repo) error {
	root, err := a.Tree.openRepo(repo)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.count.problem(Problem{Path: repo.String(), What: "cannot be read: " + reason(err)})
		return nil
	}
	list, err := a.Records.Links(ctx, repo)
	if err != nil || root == nil && len(list) == 0 {
		return err
	}
	k := &taker{tree: a.Tree, data: a.Data, count: &a.count, repo: repo, root: root, was: make(map[meta.LinkName]meta.Link, len(list))}
	for _, l := range list {
		k.was[l.LinkName] = l
	}
	if root != nil {
		defer root.Close()
		a.count.add(func(r *Report) { r.Repositories++ })
	}
	if err := k.read(ctx); err != nil {
		if ctx.Err() == nil {
			a.count.problem(Problem{Path: repo.String(), What: "cannot be read: " + reason(err)})
			return nil
		}
		return err
	}
	if n := len(k.take.Gone); n > 0 {
		a.Log.Info("links were taken away while Berth was not running", "repository", repo.String(), "links", n)
	}
	if !k.empty() {
		overridden, err := a.Records.TakeRepo(ctx, k.take)
		if err != nil {
			return fmt.Errorf("record what registry:2 has of %s: %w", repo, err)
		}
		for _, m := range overridden {
			a.Log.Warn("registry:2 has changed a tag that is immutable here: it does not know the setting tags.immutable",
				"repository", repo.String(), "tag", m.Tag.String(), "from", m.From.String(), "to", m.To.String())
		}
	}
	if !a.Shadow {
		return nil
	}
	return a.Records.Compare(ctx, repo)
}
