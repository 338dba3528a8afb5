package listen

import (
	"io"
	"sync"
)

// copySize is the memory in bytes that a body takes which the kernel can't send by
// itself, as long as its client lets it wait: as much as a record of TLS and a frame
// of HTTP/2 hold. Larger buffers were not seen to be faster.
const copySize = 16 << 10

// copyBuffers are buffers that bodies are copied through, kept for the next ones.
type copyBuffers struct{ pool sync.Pool }

func newCopyBuffers() *copyBuffers {
	return &copyBuffers{sync.Pool{New: func() any { return new([copySize]byte) }}}
}

// copy copies src to to, by their plainest methods.
func (b *copyBuffers) copy(to io.Writer, src io.Reader) (int64, error) {
	buf := b.pool.Get().(*[copySize]byte)
	defer b.pool.Put(buf)
	return io.CopyBuffer(struct{ io.Writer }{to}, src, buf[:])
}
