package listen

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"testing"
	"time"
)

// TestStreams is row E5 of docs/security.md: an HTTP/2 client is told that it
// may have a hundred requests at once on a connection. The number stands in the
// server's first frame, SETTINGS (RFC 9113, sections 4.1 and 6.5).
func TestStreams(t *testing.T) {
	certs, tc := selfSigned(t)
	s := serve(t, ServerOptions{TLS: tlsConfig(t, certs)}, hello)
	tc = tc.Clone()
	tc.NextProtos = []string{"h2"}
	c, err := tls.Dial("tcp", s.addr, tc)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"); err != nil {
		t.Fatal(err)
	}
	var head [9]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		t.Fatal(err)
	}
	const settings, maxStreams, maxHeaders = 4, 3, 6
	frame := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
	if _, err := io.ReadFull(c, frame); err != nil || head[3] != settings {
		t.Fatalf("the first frame is of type %d (error %v), want SETTINGS", head[3], err)
	}
	got := map[uint16]uint32{}
	for ; len(frame) >= 6; frame = frame[6:] {
		got[binary.BigEndian.Uint16(frame)] = binary.BigEndian.Uint32(frame[2:])
	}
	if got[maxStreams] != 100 || got[maxHeaders] == 0 || got[maxHeaders] > 70<<10 {
		t.Errorf("got settings %v, want %d: 100, and for %d about 64 KiB", got, maxStreams, maxHeaders)
	}
}
