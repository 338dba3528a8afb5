package hostile

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// An attack is a request as it goes over the wire, and the statuses that are a
// right answer to it.
type attack struct {
	request string
	want    []int
	plain   bool // net/http may refuse it before Berth sees it, without JSON
}

func (a attack) allows(status int) bool { return slices.Contains(a.want, status) }

// json reports whether a refusal has to be an OCI error.
func (a attack) json() bool { return !a.plain && !strings.HasPrefix(a.request, "HEAD ") }

func (a attack) String() string {
	line, _, _ := strings.Cut(a.request, "\r\n")
	if len(line) > 150 {
		line = line[:150] + "…"
	}
	return fmt.Sprintf("%q", line)
}

// A group is attacks of one kind.
type group struct {
	name    string
	attacks []attack
}

func (g *group) add(request string, want ...int) {
	g.attacks = append(g.attacks, attack{request: request, want: want})
}

// addPlain adds an attack on HTTP itself.
func (g *group) addPlain(request string, want ...int) {
	g.attacks = append(g.attacks, attack{request: request, want: want, plain: true})
}

// get, with and raw write requests.
func get(method, target string, headers ...string) string {
	return raw(method, target, "", headers...)
}

// raw writes a request with a body and its right length.
func raw(method, target, body string, headers ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: registry\r\nConnection: close\r\n", method, target)
	for _, h := range headers {
		b.WriteString(h + "\r\n")
	}
	if body != "" || method == "PUT" || method == "POST" || method == "PATCH" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	b.WriteString("\r\n" + body)
	return b.String()
}

// An answer is an answer that was read to its end.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// send writes a request as it is, closes its half of the connection, and reads
// the answer.
func send(addr, request string) (answer, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return answer{}, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(slowest * time.Second)); err != nil {
		return answer{}, err
	}
	wrote := make(chan error, 1)
	go func() {
		_, err := io.WriteString(conn, request)
		wrote <- err
	}()
	method, _, _ := strings.Cut(request, " ")
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		return answer{}, fmt.Errorf("%w (sending: %v)", err, <-wrote)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return answer{resp.StatusCode, resp.Header, body}, err
}
