package berth

import (
	"context"
	"fmt"
	"net/url"
	"strconv"

	"berth/internal/fsck"
	"berth/internal/oci"
)

// A fsckLine is what a check tells: first what it finds, one by one, and in the
// end the sum of it.
type fsckLine struct {
	Finding *fsck.Finding `json:"finding,omitempty"`
	Sum     *fsck.Summary `json:"sum,omitempty"`
}

// check is an action: records and storage are compared. Its parameters are
// read_data, how many percent of the blobs are read whole; repo, which may be there
// several times and limits the check; repair and empty_quarantine, which are set
// when they are not empty.
func (s *Server) check(ctx context.Context, parameters url.Values, tell func(any) error) error {
	o, err := checkOptions(parameters)
	if err != nil {
		return err
	}
	if err := s.awaitAdopted(ctx, func(any) error { return nil }); err != nil {
		return err
	}
	o.Tell = func(f fsck.Finding) error { return tell(fsckLine{Finding: &f}) }
	o.Progress = func(p fsck.Progress) error {
		return tell(progress{What: p.What, Done: p.Done, Total: p.Total, Bytes: p.Bytes})
	}
	c := fsck.Checker{Records: s.meta, Mender: s.meta, Blobs: s.blobs, Now: s.now}
	sum, err := c.Run(ctx, o)
	if err != nil {
		return err
	}
	return tell(fsckLine{Sum: &sum})
}

// checkOptions reads the parameters of a check.
func checkOptions(parameters url.Values) (o fsck.Options, err error) {
	if p := parameters.Get("read_data"); p != "" {
		if o.ReadData, err = strconv.Atoi(p); err != nil || o.ReadData < 0 || o.ReadData > 100 {
			return o, fmt.Errorf("read_data: %q is no number of percent", p)
		}
	}
	if parameters.Get("repair") != "" {
		o.Repair = fsck.RepairSafely
	}
	o.EmptyQuarantine = parameters.Get("empty_quarantine") != ""
	for _, name := range parameters["repo"] {
		repo, err := oci.ParseRepo(name)
		if err != nil {
			return o, err
		}
		o.Repos = append(o.Repos, repo)
	}
	return o, nil
}
