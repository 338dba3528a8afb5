package sqlmeta

import "slices"

// A batch is what shares a transaction.
type batch struct {
	taken []*job // that are to be answered; the first is the leader's own
	jobs  []*job // of those, the ones whose callers still wait for them
}

// admit lets in those whose callers still wait.
func (b *batch) admit(taken []*job) {
	for _, j := range taken {
		if j.err = j.gone(); j.err == nil {
			j.err = errLost
			b.jobs = append(b.jobs, j)
		}
	}
}

// kind is what the batch as a whole waits for.
func (b *batch) kind() kind {
	k := b.jobs[0].kind
	for _, j := range b.jobs[1:] {
		k = min(k, j.kind)
	}
	return k
}

// done returns the jobs that are to be committed.
func (b *batch) done() []*job {
	if !slices.ContainsFunc(b.jobs, func(j *job) bool { return j.err != nil }) {
		return b.jobs
	}
	var list []*job
	for _, j := range b.jobs {
		if j.err == nil {
			list = append(list, j)
		}
	}
	return list
}
