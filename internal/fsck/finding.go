// Package fsck compares the records of a registry with what is stored, in either
// direction, and says what is wrong, what that means and what to do about it. On
// demand it repairs what can be repaired without guessing.
//
// It works beside any traffic. Nothing is reported that was not looked at again:
// records and storage change while they are being compared, and what looks wrong
// for that reason alone is right at the second look. The order of the looks is
// what makes that hold; each comparison says which.
package fsck

import (
	"berth/internal/blob"
	"berth/internal/meta"
)

// A Kind says what was found.
type Kind string

// The kinds that a meta.Fault does not name.
const (
	BlobMissing    Kind = "blob-missing"      // recorded, and there is no object
	BlobNoFile     Kind = "blob-not-a-file"   // a link, a directory or the like in its place
	BlobSize       Kind = "blob-size"         // of another size than recorded
	BlobBytes      Kind = "blob-bytes"        // other bytes than its digest says
	BlobUnreadable Kind = "blob-unreadable"   // it cannot be read now, which proves nothing
	BlobMarked     Kind = "blob-damaged"      // known to be damaged, and not pushed again since
	BlobGood       Kind = "blob-good"         // marked damaged, and its bytes are right
	BlobRecord     Kind = "blob-record"       // the record of a blob makes no sense
	ObjectUnknown  Kind = "object-unknown"    // an object that no record names
	UploadUnknown  Kind = "upload-unknown"    // a file of an upload of which there is no record
	UploadLost     Kind = "upload-lost"       // a recorded upload whose bytes are not there
	ManifestBytes  Kind = "manifest-bytes"    // other bytes than its digest says
	ManifestForm   Kind = "manifest-unparsed" // no manifest, though its digest is right
	Database       Kind = "database"          // the database is damaged as a file
	Quarantined    Kind = "quarantined"       // put aside earlier
)

// A Weight says how bad a finding is.
type Weight string

// The weights.
const (
	Problem Weight = "problem" // something is not as it should be
	Info    Weight = "info"    // worth knowing; nothing is wrong
)

// A Finding is something that was found.
type Finding struct {
	Kind       Kind     `json:"kind"`
	Weight     Weight   `json:"weight"`
	Repository string   `json:"repository,omitempty"`
	Digest     string   `json:"digest,omitempty"`
	Tag        string   `json:"tag,omitempty"`
	Key        blob.Key `json:"key,omitempty"`
	Size       int64    `json:"size,omitempty" doc:"bytes of what it is about"`
	Age        string   `json:"age,omitempty" doc:"of a file that nobody knows"`
	Detail     string   `json:"detail,omitempty"`
	Holders    []string `json:"holders,omitempty" doc:"some of the repositories that have it"`
	Means      string   `json:"means"`
	Do         string   `json:"do,omitempty" doc:"what a person can do about it"`
	Done       string   `json:"done,omitempty" doc:"what a repair did about it"`
	Cured      bool     `json:"cured,omitempty" doc:"whether nothing is wrong any more"`
}

// An account is what a kind means and what to do about it.
type account struct {
	weight Weight
	means  string
	do     string
}

const (
	pushAgain = "push the image again, or anything that has this blob; --repair puts away what is left of it"
	repairIt  = "run berth fsck --repair"
)

// explain returns the account of a kind.
func explain(k Kind) account {
	for _, list := range []map[Kind]account{ofBlobs(), ofManifests(), ofRest()} {
		if a, ok := list[k]; ok {
			return a
		}
	}
	return account{Problem, string(k), ""}
}

func ofBlobs() map[Kind]account {
	return map[Kind]account{
		BlobMissing:    {Problem, "the blob's file is gone: pulls of it fail", pushAgain},
		BlobNoFile:     {Problem, "something else stands in the place of the blob's file: pulls of it fail", pushAgain},
		BlobSize:       {Problem, "the blob's file has another size than was pushed: pulls of it fail", pushAgain},
		BlobBytes:      {Problem, "the blob's bytes have changed since they were pushed", pushAgain},
		BlobUnreadable: {Problem, "the blob's file could not be read; this does not prove that it is damaged", "look at the disk and at the rights of the file, and run this again"},
		BlobMarked:     {Problem, "the blob is known to be damaged and is not served", pushAgain},
		BlobGood:       {Problem, "the blob is marked as damaged, and its bytes are right", repairIt + ", which serves it again"},
		BlobRecord:     {Problem, "the record of this blob cannot be right", "restore the database from a backup or a snapshot"},
		ObjectUnknown:  {Problem, "a file that no record names: it takes up space and nobody can pull it", repairIt + ", which puts it where the records want it, or else into the quarantine"},
		Kind(meta.FaultUnheld): {Problem, "no repository has this blob, so it would stay for ever",
			repairIt + ", which gives it back to the repositories whose manifests need it, or else to the collector"},
		Kind(meta.FaultForgotten):  {Problem, "nothing needs this blob, and the collector does not know it", repairIt + ", which tells the collector"},
		Kind(meta.FaultMember):     {Problem, "the repository has a blob of which there is no record: pulls of it fail", pushAgain},
		Kind(meta.FaultKeyGarbage): {Problem, "the file of a blob that is needed is about to be deleted", repairIt + " now, before the collector runs"},
		Quarantined:                {Info, "it was damaged or unknown and was put aside; nobody reads it", "berth fsck --repair --empty-quarantine deletes it for good"},
	}
}

func ofManifests() map[Kind]account {
	return map[Kind]account{
		ManifestBytes:                {Problem, "the manifest's bytes have changed since they were pushed: pulls of it fail", "push the image again; --repair takes the bytes from elsewhere if there are any"},
		ManifestForm:                 {Problem, "this is no manifest, so nobody knows what it needs", "look at where it came from; delete it if nobody wants it"},
		Kind(meta.FaultManifestSize): {Problem, "the recorded size of the manifest is wrong", repairIt},
		Kind(meta.FaultReferences):   {Problem, "what is recorded of the manifest's parts is not what it says, so that parts of it could be collected", repairIt + " now"},
		Kind(meta.FaultPartLost):     {Problem, "the repository has lost a part of this manifest: pulls of it fail", "push the image again; --repair gives the part back if another repository has it"},
		Kind(meta.FaultPartAbsent):   {Info, "the manifest names a part that the repository never had; that is allowed", ""},
		Kind(meta.FaultNoSubject):    {Info, "the manifest refers to one that is not there; that is allowed", ""},
		Kind(meta.FaultTag):          {Problem, "the tag does not lead to its manifest", repairIt + ", which points it to its digest if that is there and removes it otherwise"},
		Kind(meta.FaultListed):       {Problem, "the repository is in the catalog and has nothing, or has something and is not", repairIt},
	}
}

func ofRest() map[Kind]account {
	return map[Kind]account{
		UploadUnknown:          {Problem, "what is left of an upload that nobody can go on with", "it goes at the next start of the server, or with --repair"},
		UploadLost:             {Problem, "an unfinished upload has lost its bytes: its client will be told to begin anew", "nothing; --repair ends it now"},
		Kind(meta.FaultTrash):  {Problem, "something in the trash has lost its entry: it can't be had back", "restore the database from a backup or a snapshot if it is wanted"},
		Kind(meta.FaultOrphan): {Problem, "a row of the database belongs to something that is not there", repairIt},
		Database:               {Problem, "the database file is damaged", "stop the server, copy the data directory, and see \"The database\" in docs/checks.md"},
	}
}

// newFinding returns a finding of kind k with its account.
func newFinding(k Kind) Finding {
	a := explain(k)
	return Finding{Kind: k, Weight: a.weight, Means: a.means, Do: a.do}
}
