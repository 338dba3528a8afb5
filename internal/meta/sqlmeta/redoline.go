package sqlmeta

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strings"
)

// A rowChange is what happened to one row.
type rowChange struct {
	op    rowOp
	table string
	key   []any // of a row that was there: its primary key
	cols  []int // of an update: which columns have another value
	vals  []any // those values; of an insert, all
}

type rowOp byte

const (
	rowInsert rowOp = iota + 1
	rowUpdate
	rowDelete
)

// A redoRecord is what one batch changed, in the order in which it did.
type redoRecord struct {
	run, seq int64
	changes  []rowChange
	err      error // it is as it was written, and nobody here can read it
}

// A record in the file is a head of redoHead bytes, and the changes behind it: a
// mark, the length of the changes, run and number, and the checksum of all that.
const (
	redoMark = 0x31445242 // "BRD1"
	redoHead = 28
)

var errRecord = errors.New("not a record of changes")

// appendHead appends room for the head of a record.
func appendHead(b []byte) []byte { return append(b, make([]byte, redoHead)...) }

// sealRecord fills in the head of the one record that b is.
func sealRecord(b []byte, run, seq int64) {
	binary.LittleEndian.PutUint32(b, redoMark)
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)-redoHead))
	binary.LittleEndian.PutUint64(b[8:], uint64(run))
	binary.LittleEndian.PutUint64(b[16:], uint64(seq))
	binary.LittleEndian.PutUint32(b[24:], redoSum(b))
}

// redoSum is the checksum of a record, its own place left out.
func redoSum(b []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(b[:24], table), table, b[redoHead:])
}

// cutRecord takes the record apart that b begins with, and returns what is behind.
func cutRecord(b []byte) (r redoRecord, rest []byte, err error) {
	if len(b) < redoHead || binary.LittleEndian.Uint32(b) != redoMark {
		return r, nil, errRecord
	}
	size := uint64(binary.LittleEndian.Uint32(b[4:]))
	if size > uint64(len(b)-redoHead) {
		return r, nil, errRecord
	}
	whole := b[:redoHead+int(size)]
	if binary.LittleEndian.Uint32(b[24:]) != redoSum(whole) {
		return r, nil, errRecord
	}
	r.run, r.seq = int64(binary.LittleEndian.Uint64(b[8:])), int64(binary.LittleEndian.Uint64(b[16:]))
	r.changes, r.err = readChanges(whole[redoHead:])
	return r, b[len(whole):], nil
}

// runOf returns the run of the record whose head b is, of which nothing is checked but
// the mark; 0 if it has none.
func runOf(b []byte) int64 {
	if len(b) < redoHead || binary.LittleEndian.Uint32(b) != redoMark {
		return 0
	}
	return int64(binary.LittleEndian.Uint64(b[8:]))
}

// readRecords returns the records that b begins with. It ends at the first that is
// not as it was written, is another run's, or is not the next one.
func readRecords(b []byte) (list []redoRecord) {
	for {
		r, rest, err := cutRecord(b)
		if err != nil || len(list) > 0 && (r.run != list[0].run || r.seq != list[len(list)-1].seq+1) {
			return list
		}
		list, b = append(list, r), rest
	}
}

// The kinds of values.
const (
	valueNull byte = iota
	valueInt
	valueText
	valueBlob
)

// appendValue appends a value, and reports whether it can be told. A text with a
// zero in it cannot: what the database tells of a row ends there, see tx.watch.
func appendValue(b []byte, v any) ([]byte, bool) {
	switch x := v.(type) {
	case nil:
		return append(b, valueNull), true
	case int64:
		return binary.AppendVarint(append(b, valueInt), x), true
	case string:
		return append(binary.AppendUvarint(append(b, valueText), uint64(len(x))), x...), !strings.ContainsRune(x, 0)
	case []byte:
		return append(binary.AppendUvarint(append(b, valueBlob), uint64(len(x))), x...), true
	}
	return b, false
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// A lineReader reads what the append functions wrote. Once something is not so,
// everything is empty.
type lineReader struct {
	b   []byte
	bad bool
}

func (l *lineReader) fail() { l.b, l.bad = nil, true }

func (l *lineReader) byte() byte {
	if len(l.b) == 0 {
		l.fail()
		return 0
	}
	c := l.b[0]
	l.b = l.b[1:]
	return c
}

func (l *lineReader) count() int {
	n, size := binary.Uvarint(l.b)
	if size <= 0 || n > uint64(len(l.b)-size) { // whatever is counted takes a byte, at least
		l.fail()
		return 0
	}
	l.b = l.b[size:]
	return int(n)
}

func (l *lineReader) bytes() []byte {
	n := l.count()
	v := l.b[:n]
	l.b = l.b[n:]
	return v
}

func (l *lineReader) value() any {
	switch l.byte() {
	case valueNull:
		return nil
	case valueInt:
		v, size := binary.Varint(l.b)
		if size <= 0 {
			l.fail()
			return nil
		}
		l.b = l.b[size:]
		return v
	case valueText:
		return string(l.bytes())
	case valueBlob:
		return append([]byte{}, l.bytes()...) // which is not nil if it is empty
	}
	l.fail()
	return nil
}

func (l *lineReader) values() []any {
	list := make([]any, l.count())
	for i := range list {
		list[i] = l.value()
	}
	return list
}

func readChanges(b []byte) (list []rowChange, err error) {
	l := &lineReader{b: b}
	for len(l.b) > 0 {
		c := rowChange{op: rowOp(l.byte()), table: string(l.bytes())}
		switch c.op {
		case rowInsert:
			c.vals = l.values()
		case rowDelete:
			c.key = l.values()
		case rowUpdate:
			c.key = l.values()
			n := l.count()
			for range n {
				c.cols = append(c.cols, int(l.byte()))
				c.vals = append(c.vals, l.value())
			}
		default:
			l.fail()
		}
		list = append(list, c)
	}
	if l.bad {
		return nil, errRecord
	}
	return list, nil
}
