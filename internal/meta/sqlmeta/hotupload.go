package sqlmeta

import (
	"context"
	"time"

	"berth/internal/blob"
	"berth/internal/meta"
	"berth/internal/meta/hot"
	"berth/internal/oci"
)

// wholeUpload is how many columns of an upload are kept: all but when it was saved.
const wholeUpload = 10

// A hotUploadRow is what is kept of an upload. Each of its requests asks for it.
type hotUploadRow struct {
	repo int64
	meta.Upload
}

// sizeUpload is what an upload takes in memory, without its strings.
const sizeUpload = 480

// uploadOfRow returns the upload of a row of the table.
func uploadOfRow(row []any) *hotUploadRow {
	u := &hotUploadRow{repo: row[1].(int64), Upload: meta.Upload{
		ID: meta.UploadID(row[0].(string)), By: row[2].(string), Key: blob.Key(row[3].(string)), Size: row[4].(int64),
		Algorithm: oci.Algorithm(row[5].(string)), Version: row[8].(int64), Started: time.UnixMicro(row[9].(int64)).UTC(),
	}}
	u.Hash, _ = row[6].([]byte) // or NULL
	u.State, _ = row[7].([]byte)
	return u
}

func (u *hotUploadRow) size() int64 {
	return sizeUpload + int64(2*len(u.ID)+len(u.By)+len(u.Key)+cap(u.Hash)+cap(u.State))
}

// hotUpload returns an upload of a repository if it is in memory.
func (db *DB) hotUpload(repo oci.Repo, id meta.UploadID) (meta.Upload, bool) {
	v := db.hot.View()
	n, ok := hotNumber(v, repo)
	if !ok {
		return meta.Upload{}, false
	}
	row, ok := v.Get(hot.Key{Kind: hotUploads, Name: string(id)}).(*hotUploadRow)
	if !ok || row.repo != n || !v.Whole() {
		return meta.Upload{}, false
	}
	u := row.Upload
	u.Repo = repo
	return u, true
}

// FindUpload implements meta.Uploads.
func (db *DB) FindUpload(ctx context.Context, repo oci.Repo, id meta.UploadID) (meta.Upload, error) {
	if u, ok := db.hotUpload(repo, id); ok {
		return u, nil
	}
	u := meta.Upload{ID: id, Repo: repo}
	var started int64
	err := db.reader.get(ctx, `SELECT u.owner, u.key, u.size, u.algorithm, u.hash, u.state, u.version, u.started_us
		FROM uploads u JOIN repos r ON r.id = u.repo_id WHERE u.id = $1 AND r.name = $2`,
		args{string(id), repo.String()}, &u.By, &u.Key, &u.Size, &u.Algorithm, &u.Hash, &u.State, &u.Version, &started)
	if err != nil {
		return meta.Upload{}, notFound(err, "upload "+string(id), repo)
	}
	u.Started = time.UnixMicro(started).UTC()
	return u, nil
}
