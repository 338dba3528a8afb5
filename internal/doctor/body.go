package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sort"
	"sync"
)

// limits are the sizes that people and programs set as the largest one of a
// body, in MiB.
func limits() []int64 {
	return []int64{1, 2, 4, 5, 8, 10, 16, 20, 25, 30, 32, 50, 64, 100, 128, 200, 250, 256, 300, 500, 512, 1000, 1024, 2048, 4096, 5120, 10240, 20480}
}

// bodyLimit finds out how large a body may be, and returns it. Nothing is sent
// for it but the size, with the question whether to go on.
func (e *exam) bodyLimit(ctx context.Context, to *url.URL) int64 {
	const name = "size of bodies"
	var sizes []int64 // one byte more than a limit
	for _, n := range limits() {
		if n<<20 < e.o.Max {
			sizes = append(sizes, n<<20+1)
		}
	}
	sizes = append(sizes, e.o.Max)
	var refusal answer
	var failed error
	i := sort.Search(len(sizes), func(i int) bool {
		if failed != nil {
			return true
		}
		a, refused, err := e.refuses(ctx, to, sizes[i])
		if err != nil {
			failed = err
		} else if refused {
			refusal = a
		}
		return refused
	})
	switch {
	case failed != nil:
		e.skip(name, fmt.Sprintf("asking for it failed: %v", cause(failed)))
		return sizes[0]
	case i == len(sizes):
		e.fine(name, "up to "+bytesOf(e.o.Max)+" and more")
		return e.o.Max
	}
	below := int64(0)
	if i > 0 {
		below = sizes[i-1]
	}
	e.found(name, bodyLimited(refusal), fmt.Sprintf("a body of more than %s is answered %s; %s", bytesOf(sizes[i]-1), refusal, largest(below)))
	return max(below, 256<<10)
}

// bodyLimited tells a proxy's limit from that of the registry itself.
func bodyLimited(a answer) trouble {
	if a.ofRegistry() {
		return registryLimit
	}
	return bodyLimit
}

func largest(below int64) string {
	if below == 0 {
		return "smaller limits were not looked for"
	}
	return "one of " + bytesOf(below) + " is not"
}

// refuses asks whether a body of a size would be taken, without sending it.
func (e *exam) refuses(ctx context.Context, to *url.URL, size int64) (a answer, refused bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, e.o.Timeout)
	defer cancel()
	body := &unsent{wanted: make(chan struct{}), ctxDone: ctx.Done()}
	trace := &httptrace.ClientTrace{Got100Continue: body.want}
	req, err := e.request(httptrace.WithClientTrace(ctx, trace), question{
		method: http.MethodPatch, to: to, body: body, length: size, header: http.Header{"Expect": {"100-continue"}},
	})
	if err != nil {
		return answer{}, false, err
	}
	type reply struct {
		a   answer
		err error
	}
	replies := make(chan reply, 1)
	go func() {
		resp, err := e.plain.Do(req)
		if err != nil {
			replies <- reply{err: err}
			return
		}
		a, err := read(resp)
		replies <- reply{a, err}
	}()
	select {
	case r := <-replies:
		if r.err != nil {
			return answer{}, false, r.err
		}
		return r.a, r.a.status == http.StatusRequestEntityTooLarge, nil
	case <-body.wanted:
		cancel()
		<-replies
		return answer{}, false, nil
	}
}

// An unsent body is one whose bytes nobody gets: it says when they are wanted.
type unsent struct {
	once    sync.Once
	wanted  chan struct{}
	ctxDone <-chan struct{}
}

func (u *unsent) want() { u.once.Do(func() { close(u.wanted) }) }

// Read tells that bytes are wanted, and waits for the end of the request.
func (u *unsent) Read([]byte) (int, error) {
	u.want()
	<-u.ctxDone
	return 0, errors.Join(io.ErrUnexpectedEOF, context.Canceled)
}

// bytesOf writes a number of bytes for people.
func bytesOf(n int64) string {
	switch {
	case n >= 1<<30 && n%(1<<30) < 2:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 1<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}
