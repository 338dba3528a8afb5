package edge

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/internal/listen"
	"berth/test/realtest"
)

func TestMain(m *testing.M) { realtest.Main(m) }

// host is the name that certificates are got for. A name server of the test's own
// knows it.
const host = "registry.example.test"

// A pebble is a running ACME server. It verifies whom it gives certificates: it
// asks the test's name server and connects.
type pebble struct {
	*realtest.Program
	directory string // its URL
	ca        string // the file with the authority of its own certificate
	admin     string
	client    *http.Client
}

// pebbleOptions say how pebble is started. Ports of 0 are ones on which nobody
// answers.
type pebbleOptions struct {
	tlsPort, httpPort int // where it looks for who wants a certificate
	validity          time.Duration
	macKeys           map[string]string // of accounts that were made before; they are then required
}

func startPebble(t *testing.T, o pebbleOptions) *pebble {
	t.Helper()
	dir := t.TempDir()
	made, err := listen.MakeSelfSigned(dir, []listen.Host{{Name: "127.0.0.1"}}, listen.KeepExisting, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if o.tlsPort == 0 {
		o.tlsPort = realtest.FreePort(t)
	}
	if o.httpPort == 0 {
		o.httpPort = realtest.FreePort(t)
	}
	api, admin := address(t), address(t)
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": api, "managementListenAddress": admin,
		"certificate": made.Cert, "privateKey": made.Key,
		"httpPort": o.httpPort, "tlsPort": o.tlsPort, "keyAlgorithm": "ecdsa",
		"externalAccountBindingRequired": o.macKeys != nil, "externalAccountMACKeys": o.macKeys,
		"retryAfter": map[string]int{"authz": 1, "order": 1},
		"profiles":   map[string]any{"default": map[string]any{"description": "as the test wants it", "validityPeriod": int(o.validity.Seconds())}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "pebble.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	p := &pebble{directory: "https://" + api + "/dir", ca: made.CA, admin: "https://" + admin, client: trusting(t, made.CA, "")}
	p.Program = realtest.StartProgram(t, realtest.ProgramOptions{
		Name: "pebble",
		Args: []string{"-config", file, "-dnsserver", startNames(t), "-strict"},
		Env:  []string{"PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=5"},
		Ready: func() error {
			for _, url := range []string{p.directory, p.admin + "/roots/0"} {
				resp, err := p.client.Get(url)
				if err != nil {
					return err
				}
				_ = resp.Body.Close()
			}
			return nil
		},
	})
	return p
}

// root returns a file with the authority of the certificates that p gives.
func (p *pebble) root(t *testing.T) string {
	t.Helper()
	resp, err := p.client.Get(p.admin + "/roots/0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "root.pem")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// trusting returns a client that trusts the authority in a file. It connects to
// addr, if that isn't empty, whichever host it is told.
func trusting(t *testing.T, caFile, addr string) *http.Client {
	t.Helper()
	text, err := os.ReadFile(caFile)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		t.Fatalf("no certificate in %s", caFile)
	}
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}
	if addr != "" {
		tr.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, addr)
		}
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func address(t *testing.T) string {
	t.Helper()
	return "127.0.0.1:" + strconv.Itoa(realtest.FreePort(t))
}

// startNames runs a name server that knows every name below .test, all at
// 127.0.0.1, and returns its address. It speaks over TCP alone, as pebble does.
func startNames(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer func() { _ = c.Close() }()
				_ = c.SetDeadline(time.Now().Add(10 * time.Second))
				var size [2]byte
				if _, err := io.ReadFull(c, size[:]); err != nil {
					return
				}
				query := make([]byte, binary.BigEndian.Uint16(size[:]))
				if _, err := io.ReadFull(c, query); err != nil {
					return
				}
				answer := answerName(query)
				binary.BigEndian.PutUint16(size[:], uint16(len(answer)))
				_, _ = c.Write(append(size[:], answer...))
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); running.Wait() })
	return l.Addr().String()
}

// answerName answers a question of DNS (RFC 1035, section 4).
func answerName(query []byte) []byte {
	const header = 12
	var labels []string
	at := header
	for at < len(query) && query[at] != 0 {
		end := at + 1 + int(query[at])
		if end > len(query) {
			return nil
		}
		labels = append(labels, string(query[at+1:end]))
		at = end
	}
	at += 5 // the root, type and class
	if at > len(query) {
		return nil
	}
	answer := append([]byte{}, query[:at]...)
	known := len(labels) > 0 && strings.EqualFold(labels[len(labels)-1], "test")
	address := binary.BigEndian.Uint16(query[at-4:]) == 1
	flags := uint16(0x8180)
	if !known {
		flags |= 3 // no such name
	}
	binary.BigEndian.PutUint16(answer[2:], flags)
	for i := 4; i < header; i++ {
		answer[i] = 0
	}
	answer[5] = 1
	if known && address {
		answer[7] = 1
		answer = append(answer, 0xc0, header, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1)
	}
	return answer
}
