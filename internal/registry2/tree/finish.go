package tree

import (
	"context"
	"fmt"

	"berth/internal/blob"
	"berth/internal/meta"
)

// Owner makes registry:2's files Berth's own.
type Owner interface {
	// Own gives the object of a key another key, of Berth's own; the same one each
	// time.
	Own(ctx context.Context, key blob.Key) (blob.Key, error)

	// RemoveData takes registry:2's names of all content away.
	RemoveData(ctx context.Context) error
}

// FinishRecords is what a Finisher changes.
type FinishRecords interface {
	meta.Adoption
	meta.Finish
}

// A Finisher ends living together with registry:2: what it left becomes Berth's
// own, and the tree goes. There is no way back. Its fields must be set before use.
type Finisher struct {
	Tree    *Tree
	Owner   Owner
	Records FinishRecords
}

// adoptedPrefix begins the keys of registry:2's own files.
const adoptedPrefix = "adopted/"

// finishBatch is how many keys are read at a time.
const finishBatch = 100

// Run does it. Interrupted anywhere, the next Run goes on. Nothing may write
// links meanwhile.
func (f *Finisher) Run(ctx context.Context) error {
	state, err := f.Records.Tree(ctx)
	if err != nil || state == meta.TreeFinished {
		return err
	}
	if state != meta.TreeFinishing && state != meta.TreeAdopted {
		return fmt.Errorf("there is nothing to finish: run berth adopt first")
	}
	// From here on the tree is not believed any more.
	if err := f.Records.SetTree(ctx, meta.TreeFinishing); err != nil {
		return err
	}
	if err := f.own(ctx); err != nil {
		return err
	}
	for {
		list, err := f.Records.LinkedRepos(ctx, "", finishBatch)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			break
		}
		for _, repo := range list {
			if err := f.Records.FinishRepo(ctx, repo); err != nil {
				return err
			}
		}
	}
	if err := f.Tree.root.RemoveAll(reposDir); err != nil {
		return fmt.Errorf("remove registry:2's links: %w", err)
	}
	if err := f.Owner.RemoveData(ctx); err != nil {
		return fmt.Errorf("remove registry:2's names of content: %w", err)
	}
	return f.Records.SetTree(ctx, meta.TreeFinished)
}

// own gives every blob whose bytes are registry:2's a key of Berth's own.
func (f *Finisher) own(ctx context.Context) error {
	for after := blob.Key(""); ; {
		keys, err := f.Records.AdoptedKeys(ctx, adoptedPrefix, after, finishBatch)
		if err != nil || len(keys) == 0 {
			return err
		}
		for _, key := range keys {
			own, err := f.Owner.Own(ctx, key)
			if err == nil {
				err = f.Records.Rekey(ctx, key, own)
			}
			if err != nil {
				return err
			}
			after = key
		}
	}
}
