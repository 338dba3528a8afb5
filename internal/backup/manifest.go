package backup

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"berth/internal/blob"
	"berth/internal/meta/sqlmeta"
)

// Format is the version of the form of backups. One with a higher number is
// refused.
const Format = 1

// A Manifest says what a backup is. While one is being written it says what is
// coming: the counts are then the most there can be.
type Manifest struct {
	Format int       `json:"format"`
	ID     blob.Key  `json:"id"`               // made up for each backup
	Origin string    `json:"origin,omitempty"` // tells registries apart; empty: not known
	Berth  string    `json:"berth"`            // the version that wrote it
	Taken  time.Time `json:"taken"`            // everything acknowledged before is in it

	sqlmeta.Contents

	Files    int      `json:"files"` // small files besides
	Database Database `json:"database"`
}

// Database says which database belongs to a manifest.
type Database struct {
	Size   int64  `json:"size"`             // bytes
	SHA256 string `json:"sha256,omitempty"` // hexadecimal; empty while it is not known
}

// maxManifest bounds the text of a manifest.
const maxManifest = 64 << 10

// parseManifest reads a manifest.
func parseManifest(text []byte) (m Manifest, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(&m); err != nil {
		return m, fmt.Errorf("the manifest can't be read: %w", err)
	}
	switch {
	case m.Format > Format:
		return m, fmt.Errorf("it was written by Berth %q, whose backups have a newer form (%d): use that version or a newer one", m.Berth, m.Format)
	case m.Format < 1 || m.ID.Check() != nil:
		return m, errors.New("the manifest is not one of a backup")
	}
	for _, n := range []int64{m.Repositories, m.Tags, m.Manifests, m.Objects, m.Bytes, m.Damaged, int64(m.Files), m.Database.Size} {
		if n < 0 {
			return m, errors.New("the manifest has a number below zero")
		}
	}
	return m, nil
}

func (m Manifest) text() ([]byte, error) {
	text, err := json.MarshalIndent(m, "", "  ")
	return append(text, '\n'), err
}

func readManifest(r io.Reader) (Manifest, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxManifest+1))
	if err != nil {
		return Manifest{}, err
	}
	if len(text) > maxManifest {
		return Manifest{}, errors.New("the manifest is too large to be one")
	}
	return parseManifest(text)
}

// OriginName is the file of a data directory that tells its registry from others.
const OriginName = "berth/backup.id"

// The small files of a data directory that a backup holds besides: the key that
// tokens are signed with, and the certificates of ACME.
const (
	tokenKeyName = "berth/token.key"
	acmeDir      = "berth/acme"
)

// Bounds of the small files.
const (
	maxFiles = 10000
	maxFile  = 1 << 20
)

// isFile reports whether name is that of a small file. Only such names are ever
// written from a backup.
func isFile(name string) bool {
	if name == tokenKeyName || name == OriginName {
		return true
	}
	base, ok := strings.CutPrefix(name, acmeDir+"/")
	return ok && base == path.Base(base) && base != "." && base != ".." && base != "/" && len(base) < 200 &&
		strings.Trim(base, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-") == ""
}
