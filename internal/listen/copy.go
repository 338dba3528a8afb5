package listen

import (
	"io"
	"sync"
)

// copySize is the memory in bytes that a body takes which the kernel can't send by
// itself. Larger buffers were not seen to be faster, not under TLS either.
const copySize = 32 << 10

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
