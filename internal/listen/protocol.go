package listen

import (
	"fmt"
	"io"
	"net"
	"time"
)

// A protocol is what a port speaks. A peer that begins with the other one gets
// an answer it can show to a person, instead of silence.
type protocol int

const (
	anyProtocol protocol = iota
	plainHTTP
	overTLS
)

// tlsHandshake is the first byte of a TLS connection. No HTTP request begins
// with it.
const tlsHandshake = 0x16

// mistaken reports whether a connection that begins with first speaks the other
// protocol than p. TLS records begin with bytes up to 0x18, HTTP requests with
// a letter.
func (p protocol) mistaken(first byte) bool {
	switch p {
	case plainHTTP:
		return first == tlsHandshake
	case overTLS:
		return first >= 'A' && first <= 'Z' || first >= 'a' && first <= 'z'
	default:
		return false
	}
}

// The answers are HTTP in any case. To a TLS client they are a TLS error it can
// tell ("server gave HTTP response to HTTPS client"); docker relies on it when
// it tries TLS first, and other clients look for the words about HTTP and HTTPS.
const (
	saysUseHTTP = "Client sent a TLS handshake to an HTTP server: this port speaks plain http. " +
		"Use http:// here, list the registry under insecure-registries, or give the server a certificate."
	saysUseHTTPS = "Client sent an HTTP request to an HTTPS server: this port speaks TLS. Use https:// instead."
	saysBusy     = "The server has as many connections as it may have. Try again in a few seconds."
)

// Read reads, and looks at the very first byte of the connection.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.receive(p)
	if c.expect == anyProtocol || n == 0 {
		return n, err
	}
	expected := c.expect
	c.expect = anyProtocol
	if !expected.mistaken(p[0]) {
		return n, err
	}
	says := saysUseHTTP
	if expected == overTLS {
		says = saysUseHTTPS
	}
	answer(c.Conn, "400 Bad Request", "", "UNSUPPORTED", says)
	return 0, io.EOF
}

// answer writes a whole answer to c, whatever was asked, and takes what the
// peer still sends for a moment: closing at once would reset the connection and
// could take the answer away from the peer. The caller closes c.
func answer(c net.Conn, status, header, code, message string) {
	body := fmt.Sprintf(`{"errors":[{"code":%q,"message":%q}]}`+"\n", code, message)
	_ = c.SetDeadline(time.Now().Add(time.Second))
	_, err := fmt.Fprintf(c, "HTTP/1.0 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%sConnection: close\r\n\r\n%s",
		status, len(body), header, body)
	if err != nil {
		return // the peer is gone: nobody to tell
	}
	if cw, ok := c.(interface{ CloseWrite() error }); ok {
		_ = cw.CloseWrite()
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(c, 64<<10))
}
