package htpasswd

import (
	"bytes"
	"encoding/binary"
	"unicode/utf16"
)

// An Encoding is how the text of a file was saved.
type Encoding string

// The encodings that editors and shells leave behind.
const (
	UTF8        Encoding = "UTF-8"
	UTF8BOM     Encoding = "UTF-8 with a byte order mark"
	UTF16Little Encoding = "UTF-16 (little endian)"
	UTF16Big    Encoding = "UTF-16 (big endian)"
	Mixed       Encoding = "UTF-16 mixed with another encoding"
)

// decodeText returns data as UTF-8 without byte order mark, and what it was.
// Bytes that are no UTF-8 in a file without a sign of UTF-16 stay as they are.
//
// A sign of UTF-16 is its byte order mark or a NUL byte. Which kind it is, and
// whether it is all of the file, shows in how many lines have a colon then:
// PowerShell's > writes UTF-16 with a mark, its >> adds UTF-16 without a mark
// to whatever was there.
func decodeText(data []byte) ([]byte, Encoding) {
	marked := bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff"))
	if !marked && !bytes.Contains(data, []byte{0}) {
		if rest, ok := bytes.CutPrefix(data, []byte("\xef\xbb\xbf")); ok {
			return rest, UTF8BOM
		}
		return data, UTF8
	}
	best, encoding := decodeUTF16(data, binary.LittleEndian), UTF16Little
	if text := decodeUTF16(data, binary.BigEndian); linesWithColon(text) > linesWithColon(best) {
		best, encoding = text, UTF16Big
	}
	if text := unmix(data); linesWithColon(text) > linesWithColon(best) {
		best, encoding = text, Mixed
	}
	return best, encoding
}

func linesWithColon(text []byte) int {
	n := 0
	for line := range bytes.Lines(text) {
		if bytes.IndexByte(line, ':') >= 0 {
			n++
		}
	}
	return n
}

func decodeUTF16(data []byte, order binary.ByteOrder) []byte {
	units := make([]uint16, 0, len(data)/2+1)
	for ; len(data) >= 2; data = data[2:] {
		units = append(units, order.Uint16(data))
	}
	if len(data) == 1 { // half a character at the end makes that line a bad one
		units = append(units, '\ufffd')
	}
	if len(units) > 0 && units[0] == '\ufeff' {
		units = units[1:]
	}
	return []byte(string(utf16.Decode(units)))
}

// unmix reads text of which parts are UTF-16: what is ASCII remains when NUL
// bytes and byte order marks are taken out.
func unmix(data []byte) []byte {
	for _, mark := range []string{"\xef\xbb\xbf", "\xff\xfe", "\xfe\xff", "\x00"} {
		data = bytes.ReplaceAll(data, []byte(mark), nil)
	}
	return data
}
