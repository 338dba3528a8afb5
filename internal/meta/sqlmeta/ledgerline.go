package sqlmeta

import (
	"bytes"
	"encoding/base64"
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
	at := len(b)
	b = append(b, "00000000 "...)
	b = l.appendJSON(b)
	var sum [sumDigits / 2]byte
	binary.BigEndian.PutUint32(sum[:], checksum(b[at+sumDigits+1:]))
	hex.Encode(b[at:], sum[:])
	return append(b, '\n')
}

// appendJSON appends l as json.Marshal writes it, of which a test makes sure,
// without looking for what there is to write: three lines are written for a blob.
func (l *line) appendJSON(b []byte) []byte {
	b = append(b, `{"id":`...)
	b = appendString(b, string(l.ID))
	if l.Over {
		b = append(b, `,"over":true`...)
	}
	text := func(name, value string) {
		if value != "" {
			b = appendString(append(b, name...), value)
		}
	}
	number := func(name string, value int64) {
		if value != 0 {
			b = strconv.AppendInt(append(b, name...), value, 10)
		}
	}
	bytes := func(name string, value []byte) {
		if len(value) > 0 {
			b = append(base64.StdEncoding.AppendEncode(append(b, name...), value), '"')
		}
	}
	text(`,"repo":`, l.Repo)
	text(`,"by":`, l.By)
	text(`,"key":`, string(l.Key))
	number(`,"size":`, l.Size)
	text(`,"algorithm":`, string(l.Algorithm))
	bytes(`,"hash":"`, l.Hash)
	bytes(`,"state":"`, l.State)
	number(`,"version":`, l.Version)
	number(`,"started_us":`, l.Started)
	number(`,"saved":`, l.Saved)
	text(`,"final":`, string(l.Final))
	return append(b, '}')
}

// appendString appends s as JSON. What may have to be escaped, as some names of
// users have, is left to package json.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			text, err := json.Marshal(s)
			if err != nil {
				panic(err) // a string
			}
			return append(b, text...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
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
