package listen

// chunks follow a body that comes in chunks to where it ends. Only such chunks are
// followed that everybody reads in the same way: a length of hexadecimal digits and
// nothing else, and no trailer. net/http reads the body; nothing is taken from it.
type chunks struct {
	at     chunkPart
	left   int64 // of the data of the chunk
	digits int   // of its length, so far
}

// A chunkPart is what comes next in chunks.
type chunkPart uint8

const (
	chunkLength  chunkPart = iota // or the end of its line
	chunkBegins                   // the second byte of that line's end
	chunkData                     // and behind it two bytes of line end
	chunkEnd                      // the first of them
	chunkEnds                     // the second
	chunksEnd                     // the first byte of the empty line behind the last one
	chunksEnding                  // the second
	chunksOver                    // nothing
)

// maxChunkDigits keeps the length of a chunk in an int64.
const maxChunkDigits = 15

// follow goes on with p, and returns how much of it belongs to the body. It reports
// false if that is not for it to say.
func (c *chunks) follow(p []byte) (n int, ok bool) {
	for n < len(p) && c.at != chunksOver {
		if c.at == chunkData {
			k := min(int64(len(p)-n), c.left)
			n += int(k)
			if c.left -= k; c.left == 0 {
				c.at = chunkEnd
			}
			continue
		}
		if !c.step(p[n]) {
			return n, false
		}
		n++
	}
	return n, true
}

// step goes on with a byte that is no data.
func (c *chunks) step(b byte) bool {
	want := byte('\n')
	switch c.at {
	case chunkLength:
		if digit := hexDigit(b); digit >= 0 {
			c.left = c.left<<4 | digit
			c.digits++
			return c.digits <= maxChunkDigits
		}
		if c.digits == 0 {
			return false
		}
		want = '\r'
	case chunkEnd, chunksEnd:
		want = '\r'
	}
	if b != want {
		return false
	}
	switch c.at {
	case chunkEnds:
		*c = chunks{}
	case chunkBegins:
		c.at = chunkData
		if c.left == 0 {
			c.at = chunksEnd
		}
	default:
		c.at++
	}
	return true
}

// hexDigit returns the value of a digit; -1 if it is none.
func hexDigit(b byte) int64 {
	switch {
	case b >= '0' && b <= '9':
		return int64(b - '0')
	case b >= 'a' && b <= 'f':
		return int64(b-'a') + 10
	case b >= 'A' && b <= 'F':
		return int64(b-'A') + 10
	}
	return -1
}
