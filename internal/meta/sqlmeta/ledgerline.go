package sqlmeta

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash/crc32"
	"strconv"
	"time"

	"berth/internal/blob"
	"berth/internal/meta"
	"berth/internal/oci"
)

// A line is what the file of a ledger says of one upload: all of it, or that it
// is over. Before it, in the file, stands its checksum.
type line struct {
	ID        meta.UploadID `json:"id"`
	Over      bool          `json:"over,omitempty"`
	Repo      string        `json:"repo,omitempty"`
	By        string        `json:"by,omitempty"`
	Key       blob.Key      `json:"key,omitempty"`
	Size      int64         `json:"size,omitempty"`
	Algorithm oci.Algorithm `json:"algorithm,omitempty"`
	Hash      []byte        `json:"hash,omitempty"`
	State     []byte        `json:"state,omitempty"`
	Version   int64         `json:"version,omitempty"`
	Started   int64         `json:"started_us,omitempty"`
	Saved     int64         `json:"saved,omitempty"` // ticks
	Final     blob.Key      `json:"final,omitempty"`
}

// appendLine appends what there is to say of an upload.
func appendLine(b []byte, r *running) []byte {
	return encode(b, line{
		ID: r.ID, Repo: r.Repo.String(), By: r.By, Key: r.Key, Size: r.Size, Algorithm: r.Algorithm, Hash: r.Hash, State: r.State,
		Version: r.Version, Started: r.Started.UnixMicro(), Saved: r.saved, Final: r.final,
	})
}

// appendOver appends that an upload is over.
func appendOver(b []byte, id meta.UploadID) []byte { return encode(b, line{ID: id, Over: true}) }

const sumDigits = 8

func encode(b []byte, l line) []byte {
	text, err := json.Marshal(l)
	if err != nil {
		panic(err) // strings, numbers and bytes
	}
	b = hex.AppendEncode(b, binary.BigEndian.AppendUint32(nil, checksum(text)))
	b = append(b, ' ')
	return append(append(b, text...), '\n')
}

func checksum(text []byte) uint32 { return crc32.Checksum(text, crc32.MakeTable(crc32.Castagnoli)) }

// readLines applies what a file says to the uploads in all. A line that is not as
// it was written (the last one of a process that was killed, zeros after a loss of
// power) says nothing; each says all there is to say of its upload, so those
// behind it are none the worse.
func readLines(b []byte, all map[meta.UploadID]*running) {
	for text := range bytes.Lines(b) {
		r, over, err := decode(text)
		switch {
		case err != nil:
		case over:
			delete(all, r.ID)
		default:
			all[r.ID] = r
		}
	}
}

var errLine = errors.New("not a line of a ledger")

func decode(text []byte) (r *running, over bool, err error) {
	sum, text, ok := bytes.Cut(text, []byte{' '})
	text, whole := bytes.CutSuffix(text, []byte{'\n'})
	want, err := strconv.ParseUint(string(sum), 16, 32)
	if !ok || !whole || len(sum) != sumDigits || err != nil || uint32(want) != checksum(text) {
		return nil, false, errLine
	}
	var l line
	if err := json.Unmarshal(text, &l); err != nil {
		return nil, false, err
	}
	r = &running{saved: l.Saved, final: l.Final, Upload: meta.Upload{
		ID: l.ID, By: l.By, Key: l.Key, Size: l.Size, Algorithm: l.Algorithm, Hash: l.Hash, State: l.State, Version: l.Version,
		Started: time.UnixMicro(l.Started).UTC(),
	}}
	if l.Over {
		return r, true, nil
	}
	if r.Repo, err = oci.ParseRepo(l.Repo); err == nil && (l.ID == "" || l.Key == "" || l.Size < 0) {
		err = errLine
	}
	return r, false, err
}
