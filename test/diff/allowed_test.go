package diff

// The reasons, as the rows of docs/differences.md begin.
const (
	noSlash     = "`/v2` without a slash"
	pingMethods = "Other methods than GET and HEAD at `/v2/`"
	notAPI      = "What is no request to the API"
	badNames    = "Names and tags that can't be"
	noRepo      = "Repositories that are not there"
	outOfOrder  = "Pieces of an upload from the wrong place"
	badUpload   = "Uploads that are not there"
	oneRequest  = "A blob in one request"
	bySHA512    = "sha512"
	badMount    = "Malformed mounts"
	noRange     = "Ranges behind the end"
	noType      = "Manifests without a Content-Type"
	sparse      = "Manifests whose parts are missing"
	known       = "What the client has already"
	noAccept    = "`Accept` that does not name the type"
	lastPage    = "The last page of a list"
	noTags      = "Repositories without tags"
	referrers   = "Referrers"
	needed      = "Deleting what is needed"
	whatIsAllow = "`Allow`"
	tagPages    = "Order and pages of tags"
	badNumbers  = "Page sizes that are no numbers"
	deleteTags  = "Deleting a tag"
)

// allowed is every difference that may be.
func allowed() []difference {
	return []difference{
		{"ping without slash", "status", "", noSlash},
		{"ping POST", "status", "", pingMethods},
		{"version 1", "Docker-Distribution-Api-Version", "", notAPI},
		{"no such route", "code", "", notAPI},
		{"blob POST", "code", "", notAPI},
		{"manifest POST", "code", "", notAPI},
		{"name in upper case", "status", "", badNames},
		{"start in upper case", "status", "", badNames},
		{"push under a malformed tag", "status", "", badNames},
		{"manifest of nothing", "code", "", noRepo},
		{"log-in: pull right", "code", "", noRepo},
		{"piece from the wrong place", "status", "2.8", outOfOrder},
		{"piece from the wrong place", "Location,Range,Docker-Upload-Uuid", "3.1", outOfOrder},
		{"status of an unknown one", "code", "2.8", badUpload},
		{"monolithic", "status", "", oneRequest},
		{"finish sha512", "Docker-Content-Digest,Location", "", bySHA512},
		{"blob by sha512", "Docker-Content-Digest,Etag", "", bySHA512},
		{"mount malformed", "status", "", badMount},
		{"bytes behind the end", "code,Docker-Content-Digest", "", noRange},
		{"bytes behind the end", "Etag", "2.8", noRange},
		{"push without a type", "status", "", noType},
		{"push with a missing layer", "status", "", sparse},
		{"push an index with a missing image", "status", "", sparse},
		{"pull what is known", "Docker-Content-Digest,Etag", "", known},
		{"pull OCI without Accept", "status", "", noAccept},
		{"pull a list without Accept", "status", "", noAccept},
		{"tags after one", "Link", "3.1", lastPage},
		{"tags of what has none", "status", "", noTags},
		{"catalog", "body", "2.8", noTags},
		{"catalog after one", "body", "2.8", noTags},
		{"tags", "?body", "2.8", tagPages},
		{"two tags", "body,Link", "2.8", tagPages},
		{"tags after one", "body", "2.8", tagPages},
		{"tags after the last", "body", "2.8", tagPages},
		{"no tags", "body", "2.8", tagPages},
		{"tags by a negative number", "status", "2.8", badNumbers},
		{"tags by a word", "status", "2.8", badNumbers},
		{"catalog by a word", "status", "2.8", badNumbers},
		{"delete an unknown tag", "status", "2.8", deleteTags},
		{"delete a tag", "status", "2.8", deleteTags},
		{"referrers", "status", "", referrers},
		{"delete a blob in use", "status", "", needed},
		{"delete a child in use", "status", "", needed},
		{"delete a manifest", "status", "", needed},
		{"off: delete a blob", "Allow", "", whatIsAllow},
		{"off: delete an unknown blob", "Allow", "", whatIsAllow},
		{"off: delete a manifest", "Allow", "", whatIsAllow},
	}
}
