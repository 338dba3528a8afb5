package fsck

import (
	"context"
	"strings"

	"berth/internal/meta"
	"berth/internal/oci"
)

// database reads the database file whole.
func (r *run) database(ctx context.Context) error {
	if r.o.Progress != nil {
		if err := r.o.Progress(Progress{What: "read the database", Total: 1}); err != nil {
			return err
		}
	}
	err := r.Records.CheckPages(ctx)
	if err == nil || ctx.Err() != nil {
		return ctx.Err()
	}
	f := newFinding(Database)
	f.Detail = err.Error()
	return r.report(f)
}

// records looks for contradictions among records. Each kind is found by one query,
// which sees one moment: no second look is needed.
func (r *run) records(ctx context.Context) error {
	return r.Records.Contradictions(ctx, func(c meta.Contradiction) error {
		if r.only != nil && !r.only[c.Repo.ID] {
			return nil
		}
		return r.contradiction(ctx, c)
	})
}

func (r *run) contradiction(ctx context.Context, c meta.Contradiction) error {
	f, err := r.describe(ctx, c)
	if err != nil {
		return err
	}
	if r.repairing() {
		if err := r.repairRecord(ctx, &f, c); err != nil {
			return err
		}
	}
	return r.report(f)
}

// describe makes a finding of a contradiction.
func (r *run) describe(ctx context.Context, c meta.Contradiction) (Finding, error) {
	f := newFinding(Kind(c.Fault))
	f.Repository, f.Digest = c.Repo.Name, c.Digest
	switch c.Fault {
	case meta.FaultTag:
		f.Tag = c.Name
	case meta.FaultOrphan:
		f.Detail = "table " + c.Name
	case meta.FaultNoSubject:
		f.Digest, f.Detail = c.Name, "its subject is "+c.Digest
	case meta.FaultPartLost, meta.FaultPartAbsent:
		f.Digest, f.Detail = c.Name, "the part is "+c.Digest
		if c.Fault == meta.FaultPartLost {
			return r.foreign(ctx, f, c)
		}
	}
	return f, nil
}

// foreign turns a lost part into a mere note if the manifest says that it is to
// be had elsewhere: such layers are never pushed.
func (r *run) foreign(ctx context.Context, f Finding, c meta.Contradiction) (Finding, error) {
	m, err := r.Records.FindAuditManifestOf(ctx, c.Repo.ID, c.Name)
	if err != nil {
		return f, nil // gone meanwhile, or unreadable, which is told elsewhere
	}
	p, err := parse(m)
	if err != nil {
		return f, nil
	}
	for _, d := range p.Blobs {
		if d.Digest.String() == c.Digest && isForeign(d) {
			note := newFinding(Kind(meta.FaultPartAbsent))
			note.Repository, note.Digest, note.Detail = f.Repository, f.Digest, f.Detail+", which is to be had elsewhere"
			return note, nil
		}
	}
	return f, nil
}

// isForeign reports whether a layer is one that its makers do not let others
// distribute.
func isForeign(d oci.Descriptor) bool {
	return len(d.URLs) > 0 || strings.Contains(d.MediaType, ".foreign.") || strings.Contains(d.MediaType, ".nondistributable.")
}
