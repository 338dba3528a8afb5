package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"berth/internal/meta"
	"berth/internal/oci"
)

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

func blobUnknown(d oci.Digest) error {
	return &oci.Error{Code: oci.BlobUnknown, Message: "the repository has no blob " + d.String()}
}

func uploadUnknown(id meta.UploadID) error {
	return &oci.Error{Code: oci.BlobUploadUnknown, Message: "there is no such upload (any more): begin a new one", Detail: map[string]string{"upload": string(id)}}
}

func errTooManyUploads() error {
	return &oci.Error{Code: oci.TooManyRequests, Message: "there are as many unfinished uploads as the registry may have: " +
		"try again in a minute. Whoever runs it can raise uploads.max_open, or have those that rest given up sooner (uploads.expire)"}
}

func errDeletionOff() error {
	return &oci.Error{Code: oci.Unsupported, Message: "deleting is turned off in this registry: delete.enabled turns it on"}
}

// manifestUnknown tells a missing repository from a missing manifest.
func (c *Core) manifestUnknown(ctx context.Context, repo oci.Repo, ref oci.Ref) error {
	if err := c.nameUnknown(ctx, repo); err != nil {
		return err
	}
	return &oci.Error{Code: oci.ManifestUnknown, Message: fmt.Sprintf("repository %s has no manifest %s", repo, ref)}
}

// nameUnknown returns NAME_UNKNOWN if there is no such repository.
func (c *Core) nameUnknown(ctx context.Context, repo oci.Repo) error {
	has, err := c.Records.HasRepo(ctx, repo)
	if err != nil || has {
		return err
	}
	return &oci.Error{Code: oci.NameUnknown, Message: fmt.Sprintf("there is no repository %s", repo)}
}

// inUse words an InUseError for the client.
func inUse(err error, what string) error {
	if e, ok := errors.AsType[*meta.InUseError](err); ok {
		return &oci.Error{
			Code:    oci.Unsupported,
			Message: fmt.Sprintf("%s is needed by manifest %s: delete that one first", what, e.Holder),
			Detail:  map[string]string{"holder": e.Holder.String()},
		}
	}
	return err
}

// manifestError words what PutManifest of the records refuses.
func manifestError(err error) error {
	if e, ok := errors.AsType[*meta.MissingError](err); ok {
		names := make([]string, len(e.Digests))
		for i, d := range e.Digests {
			names[i] = d.String()
		}
		return &oci.Error{
			Code:    oci.ManifestBlobUnknown,
			Message: fmt.Sprintf("the repository does not have (any more) %s: push it, then push the manifest again", names[0]),
			Detail:  map[string][]string{"digests": names},
		}
	}
	if e, ok := errors.AsType[*meta.TagTakenError](err); ok {
		return &oci.Error{
			Code:    oci.Denied,
			Message: fmt.Sprintf("tag %s exists already, and you may make new tags here but not move those that exist: push under another tag", e.Tag),
			Detail:  map[string]string{"tag": e.Tag.String()},
		}
	}
	if e, ok := errors.AsType[*meta.SizeError](err); ok {
		return &oci.Error{
			Code:    oci.ManifestInvalid,
			Message: fmt.Sprintf("the manifest says that %s has %d bytes, and it has %d", e.Digest, e.Says, e.Has),
		}
	}
	return immutable(err, "push under another tag")
}
