package distapi

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"berth/internal/registry"
)

// A slow is a registry in which manifests take until they are let go on.
type slow struct {
	registry.Service
	begun chan int // the length of each that is being stored
	goOn  chan struct{}

	mu          sync.Mutex
	bytes, most int
}

func (s *slow) PutManifest(ctx context.Context, p registry.Put) (registry.PutResult, error) {
	s.add(len(p.Manifest.Body))
	defer s.add(-len(p.Manifest.Body))
	s.begun <- len(p.Manifest.Body)
	<-s.goOn
	return s.Service.PutManifest(ctx, p)
}

func (s *slow) add(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bytes += n
	s.most = max(s.most, s.bytes)
}

// manifestOf returns a manifest of so many bytes.
func manifestOf(size int) string {
	head := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`
	return head + strings.Repeat(" ", size-len(head))
}

// TestLargeManifestsWait pushes many large manifests at once, with lengths that
// are told and that are not: only so many bytes of them are in memory, and a small
// one passes by.
func TestLargeManifestsWait(t *testing.T) {
	f := newFake()
	s := &slow{Service: fakeUser{fake: f}, begun: make(chan int), goOn: make(chan struct{})}
	b := newBenchOf(t, "open", func(string) registry.Service { return s })
	var pushing sync.WaitGroup
	push := func(name string, body io.Reader, want int) {
		pushing.Go(func() {
			header := http.Header{"Content-Type": {"application/vnd.oci.image.index.v1+json"}}
			if resp, text := b.send(t, "PUT", "/v2/app/manifests/"+name, header, body); resp.StatusCode != want {
				t.Errorf("%s: %s %s", name, resp.Status, text)
			}
		})
	}
	const size, many = MaxManifest, 12
	for i := range many {
		body := io.Reader(strings.NewReader(manifestOf(size)))
		if i%2 == 1 {
			body = io.MultiReader(body) // of which the client does not know the length
		}
		push(fmt.Sprintf("large%d", i), body, http.StatusCreated)
	}
	for range largeManifests / size {
		<-s.begun
	}
	push("small", strings.NewReader(manifestOf(smallManifest)), http.StatusCreated)
	if n := <-s.begun; n != smallManifest {
		t.Errorf("a manifest of %d bytes passed", n)
	}
	go func() {
		for range s.begun {
		}
	}()
	close(s.goOn)
	push("too-large", io.MultiReader(strings.NewReader(manifestOf(size+1))), http.StatusRequestEntityTooLarge)
	pushing.Wait()
	close(s.begun)
	if s.most > largeManifests+smallManifest {
		t.Errorf("%d bytes of manifests were in memory, at most %d are to be", s.most, largeManifests)
	}
	for i := range many {
		if _, body := b.send(t, "GET", fmt.Sprintf("/v2/app/manifests/large%d", i), nil, nil); string(body) != manifestOf(size) {
			t.Errorf("large%d is not what was pushed", i)
		}
	}
}

// TestManifestsOfEveryLength pushes manifests around the lengths at which they are
// read in another way, and breaks some off.
func TestManifestsOfEveryLength(t *testing.T) {
	b := newBench(t, "open")
	header := http.Header{"Content-Type": {"application/vnd.oci.image.index.v1+json"}}
	for _, size := range []int{100, 511, 512, smallManifest - 1, smallManifest, smallManifest + 1, MaxManifest - 1, MaxManifest} {
		for name, body := range map[string]io.Reader{
			"told": strings.NewReader(manifestOf(size)), "untold": io.MultiReader(strings.NewReader(manifestOf(size))),
		} {
			target := fmt.Sprintf("/v2/app/manifests/%s%d", name, size)
			if resp, text := b.send(t, "PUT", target, header, body); resp.StatusCode != http.StatusCreated {
				t.Errorf("%d bytes, length %s: %s %s", size, name, resp.Status, text)
			}
			if _, text := b.send(t, "GET", target, nil, nil); string(text) != manifestOf(size) {
				t.Errorf("%d bytes, length %s: %d came back", size, name, len(text))
			}
		}
	}
	for _, size := range []int{1000, 2 * smallManifest} {
		for _, text := range []string{
			fmt.Sprintf("Content-Length: %d\r\n\r\n", size+1) + manifestOf(size),
			fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n", size) + manifestOf(size) + "\r\n",
		} {
			if got := b.cutOff(t, "PUT /v2/app/manifests/cut HTTP/1.1\r\nHost: x\r\nContent-Type: application/vnd.oci.image.index.v1+json\r\n"+text); !strings.Contains(got, "400") {
				t.Errorf("%d bytes of a manifest that was cut: %.60q", size, got)
			}
		}
	}
	if resp, _ := b.send(t, "GET", "/v2/app/manifests/cut", nil, nil); resp.StatusCode != http.StatusNotFound {
		t.Errorf("a manifest that was cut: %s", resp.Status)
	}
}

// cutOff sends text, ends what is sent there, and returns what comes back.
func (b *bench) cutOff(t *testing.T, text string) string {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(b.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil && len(answer) == 0 {
		t.Fatal(err)
	}
	return string(answer)
}
