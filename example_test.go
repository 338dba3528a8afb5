package berth_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	"berth"
	"berth/config"
)

// A registry inside another program: it is an http.Handler.
func Example() {
	dir, err := os.MkdirTemp("", "berth-example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	cfg := config.Default()
	cfg.Data = dir
	registry, err := berth.Open(context.Background(), berth.Options{Config: cfg})
	if err != nil {
		log.Fatal(err)
	}
	defer registry.Close()
	server := httptest.NewServer(registry)
	defer server.Close()

	const hello = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
	resp, err := http.Post(server.URL+"/v2/greetings/blobs/uploads/?digest="+hello, "application/octet-stream", strings.NewReader("hello"))
	if err != nil {
		log.Fatal(err)
	}
	resp.Body.Close()
	fmt.Println(resp.Status, resp.Header.Get("Location"))
	// Output: 201 Created /v2/greetings/blobs/sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824
}

// A registry that runs by itself, with everything the berth command has:
// listeners, TLS, garbage collection, snapshots, a shutdown that waits for
// transfers.
func ExampleServer_ListenAndServe() {
	dir, err := os.MkdirTemp("", "berth-example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	cfg := config.Default()
	cfg.Data = dir
	cfg.HTTP.Listen = []string{"127.0.0.1:0"}
	registry, err := berth.Open(context.Background(), berth.Options{Config: cfg})
	if err != nil {
		log.Fatal(err)
	}
	defer registry.Close()

	ctx, stop := context.WithCancel(context.Background())
	err = registry.ListenAndServe(ctx, func(hello string) {
		fmt.Println(strings.Contains(hello, "listens on http://127.0.0.1:"))
		stop() // as a signal would
	})
	fmt.Println(err)
	// Output:
	// true
	// <nil>
}
