package tree

import (
	"context"

	"berth/internal/blob/fsblob"
	"berth/internal/oci"
)

// DryRun says what there is to take over in a data directory, without changing
// anything in it. registry:2, or Berth, may be running on it.
func DryRun(ctx context.Context, dir string) (Report, error) {
	t, err := Open(dir)
	if err != nil {
		return Report{}, err
	}
	defer t.Close()
	data, err := fsblob.View(dir)
	if err != nil {
		return Report{}, err
	}
	defer data.Close()
	c := &counter{found: map[oci.Digest]int64{}}
	err = t.walk(ctx, "", func(name string) error {
		repo, err := oci.ParseRepo(name)
		if err != nil {
			c.problem(Problem{Path: name, What: err.(*oci.Error).Message})
			return nil
		}
		return t.countRepo(ctx, data, c, repo)
	}, c.problem)
	if err != nil {
		return Report{}, err
	}
	unused, err := data.Unused(ctx, func(d oci.Digest) (bool, error) {
		_, needed := c.found[d]
		return needed, nil
	})
	r := c.report()
	r.Unused, r.UnusedBytes = unused.Files, unused.Bytes
	return r, err
}

func (t *Tree) countRepo(ctx context.Context, data Data, c *counter, repo oci.Repo) error {
	root, err := t.openRepo(repo)
	if err == nil {
		defer root.Close()
		c.add(func(r *Report) { r.Repositories++ })
		k := &taker{tree: t, data: data, count: c, repo: repo, root: root}
		err = k.read(ctx)
	}
	if err != nil && ctx.Err() == nil {
		c.problem(Problem{Path: repo.String(), What: "cannot be read: " + reason(err)})
		return nil
	}
	return err
}
