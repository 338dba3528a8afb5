package sqlmeta

import (
	"slices"

	"berth/internal/blob"
	"berth/internal/meta"
	"berth/internal/meta/hot"
	"berth/internal/oci"
)

// What is kept in memory. A value is of exactly one row, or of a list, so that
// the rows which a transaction changes say what it changes here: see changes.row.
const (
	hotRepo      hot.Kind = iota // by name: *hotRepoRow
	hotTag                       // by repository and tag: its oci.Digest
	hotManifest                  // by repository and digest: *hotManifestRow, whose body is what its digest says
	hotMembers                   // by repository and digest of a blob: hotMember
	hotContents                  // by digest: *meta.Blob
	hotTags                      // by repository: what is made of its tags
	hotReferrers                 // by repository and subject: what is made of the manifests that refer to it
	hotCatalog                   // what is made of the names of repositories that are listed
)

// A hotRepoRow is what is kept of a repository.
type hotRepoRow struct {
	id     int64
	listed bool // it is known to have a manifest
}

// A hotManifestRow is what is kept of a manifest.
type hotManifestRow struct {
	meta.Manifest
	id int64
}

// A hotMember is what is kept of a membership.
type hotMember struct {
	touched   int64 // ticks
	candidate bool
}

// maxPublished bounds how many new values a transaction puts into the memory. One
// that writes more is no client's.
const maxPublished = 256

// A noted is a key whose value a transaction changes.
type noted struct {
	key   hot.Key
	value any // the new one, if it is known and worth keeping; else nil
	size  int64
}

// changes is what a transaction changes of what is kept in memory. It is filled
// by the database itself, row by row, so that no statement can be forgotten: see
// watch. Only the writer uses it.
type changes struct {
	list   []noted
	all    bool    // it is not known what is changed: everything may be
	learnt []noted // values that the transaction has read
	unsure bool    // what is told of rows may not be what there is: none is published, nor recorded

	unknown *hot.Filter // is told of what rows will be
}

// reset is called when a transaction begins.
func (c *changes) reset() { *c = changes{list: c.list[:0], learnt: c.learnt[:0], unknown: c.unknown} }

// any reports whether there are changes.
func (c *changes) any() bool { return c.all || len(c.list) > 0 }

// touch reports whether the value of a key may be changed.
func (c *changes) touch(k hot.Key) bool {
	return c.all || slices.ContainsFunc(c.list, func(n noted) bool { return n.key == k })
}

// undo is called when what was changed since the list was so long is undone. It
// is dropped from the memory all the same.
func (c *changes) undo(since int) {
	for i := range c.list[since:] {
		c.list[since+i].value = nil
	}
	c.unsure = c.unsure || since < len(c.list)
}

// begin drops from the memory what is going to be changed.
func (c *changes) begin(from *hot.Cache) {
	if c.all {
		from.BeginAll()
		return
	}
	keys := make([]hot.Key, len(c.list))
	for i, n := range c.list {
		keys[i] = n.key
	}
	from.Begin(keys)
}

func (c *changes) note(k hot.Key) { c.list = append(c.list, noted{key: k}) }

// row notes that a row of a table is changed from was to is: see watcher.
func (c *changes) row(table string, was, is []any) {
	defer func() {
		if recover() != nil { // a column is not of the type that it ought to have
			c.all = true
			c.unknown.GiveUp()
		}
	}()
	if is != nil {
		c.known(table, is)
	}
	for _, row := range [][]any{was, is} {
		if row != nil {
			c.noteRow(table, row)
		}
	}
	if is != nil && len(c.list) < maxPublished {
		c.publishRow(table, is)
	}
}

// noteRow notes what depends on a row.
func (c *changes) noteRow(table string, row []any) {
	switch table {
	case "repos":
		c.note(hot.Key{Kind: hotRepo, Name: row[1].(string)})
		if row[2].(int64) != 0 {
			c.note(hot.Key{Kind: hotCatalog})
		}
	case "tags":
		repo := row[0].(int64)
		c.note(hot.Key{Kind: hotTag, Repo: repo, Name: row[1].(string)})
		c.note(hot.Key{Kind: hotTags, Repo: repo})
	case "manifests":
		repo := row[1].(int64)
		c.note(hot.Key{Kind: hotManifest, Repo: repo, Name: row[2].(string)})
		if subject := row[5].(string); subject != "" {
			c.note(hot.Key{Kind: hotReferrers, Repo: repo, Name: subject})
		}
	case "repo_blobs":
		c.note(hot.Key{Kind: hotMembers, Repo: row[0].(int64), Name: row[1].(string)})
	case "blobs":
		c.note(hot.Key{Kind: hotContents, Name: row[0].(string)})
	case "losses": // nothing of them is kept
	default:
		// A manifest was found to be damaged, or no longer is. What is in memory may
		// be better than what there is, and would keep it from being healed.
		c.all = true
	}
}

// publishRow makes what a row will be one of the values that are put when it is
// committed. Its keys have just been noted.
func (c *changes) publishRow(table string, row []any) {
	switch table {
	case "repos":
		k := hot.Key{Kind: hotRepo, Name: row[1].(string)}
		c.list = append(c.list, noted{k, &hotRepoRow{id: row[0].(int64), listed: row[2].(int64) != 0}, sizeRepo})
	case "tags":
		d, err := oci.ParseDigest(row[2].(string))
		if err == nil {
			k := hot.Key{Kind: hotTag, Repo: row[0].(int64), Name: row[1].(string)}
			c.list = append(c.list, noted{k, &d, sizeTag(d)})
		}
	case "manifests":
		if m := manifestOfRow(row); m != nil {
			k := hot.Key{Kind: hotManifest, Repo: row[1].(int64), Name: row[2].(string)}
			c.list = append(c.list, noted{k, m, sizeManifest(m)})
		}
	case "repo_blobs":
		k := hot.Key{Kind: hotMembers, Repo: row[0].(int64), Name: row[1].(string)}
		c.list = append(c.list, noted{k, &hotMember{touched: row[2].(int64), candidate: row[3].(int64) != 0}, sizeMember})
	case "blobs":
		d, err := oci.ParseDigest(row[0].(string))
		if err == nil {
			b := &meta.Blob{Digest: d, Key: blob.Key(row[1].(string)), Size: row[2].(int64), Damaged: row[3].(int64) != 0, Left: meta.Forever}
			c.list = append(c.list, noted{hot.Key{Kind: hotContents, Name: row[0].(string)}, b, sizeContent(b)})
		}
	}
}

// publish puts the values that there are since a transaction was committed, m
// being the moment since when.
func (c *changes) publish(to *hot.Cache, m hot.Moment) {
	if c.all || c.unsure || len(c.list) > 2*maxPublished {
		return
	}
	last := make(map[hot.Key]noted, len(c.list))
	for _, n := range c.list {
		last[n.key] = n
	}
	for k, n := range last {
		if n.value != nil {
			to.Put(m, k, n.value, n.size)
		}
	}
	for _, n := range c.learnt {
		if _, changed := last[n.key]; !changed { // else it may have been read before
			to.Put(m, n.key, n.value, n.size)
		}
	}
}
