package distapi

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"berth/internal/auth"
	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
	"berth/internal/registry"
)

// TestPulled holds which requests are told of as pulls, and what is told.
func TestPulled(t *testing.T) {
	b := newBench(t, "basic")
	var got []event.Event
	b.Pulled = func(e event.Event) { got = append(got, e) }
	blob := b.pushBlob("a/b", "some bytes")
	manifest := b.pushManifest(t, "a/b", `{"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`, "v1")
	alice := http.Header{"Authorization": {"Basic YWxpY2U6c2VjcmV0"}, "User-Agent": {"docker/1"}, "Host": {"reg.example.com:5000"}}
	with := func(key, value string) http.Header {
		h := alice.Clone()
		h[key] = []string{value}
		return h
	}
	for _, tt := range []struct {
		method, target string
		header         http.Header
		want           string // kind, method and tag; empty: nothing
	}{
		{"GET", "/v2/a/b/blobs/" + blob.String(), alice, "blob GET "},
		{"HEAD", "/v2/a/b/blobs/" + blob.String(), alice, "blob HEAD "},
		{"GET", "/v2/a/b/blobs/" + blob.String(), with("Range", "bytes=2-3"), "blob GET "},
		{"GET", "/v2/a/b/blobs/" + blob.String(), with("If-None-Match", etag(blob)), "blob GET "},
		{"GET", "/v2/a/b/blobs/" + blob.String(), with("If-Match", `"another"`), ""},
		{"GET", "/v2/a/b/manifests/v1", alice, "manifest GET v1"},
		{"HEAD", "/v2/a/b/manifests/" + manifest.String(), alice, "manifest HEAD "},
		{"GET", "/v2/a/b/manifests/v1", with("If-None-Match", etag(manifest)), ""},
		{"GET", "/v2/a/b/manifests/v2", alice, ""},
		{"GET", "/v2/a/b/blobs/" + manifest.String()[:70] + "0", alice, ""},
		{"GET", "/v2/a/b/manifests/v1", nil, ""},
		{"GET", "/v2/a/b/tags/list", alice, ""},
	} {
		got = nil
		b.send(t, tt.method, tt.target, tt.header, nil)
		var have string
		for _, e := range got {
			have += string(e.Kind) + " " + e.By.Method + " " + e.Tag.String()
			size, digest := int64(10), blob
			if e.Kind == event.Manifest {
				size, digest = 70, manifest
			}
			if e.Action != event.Pull || e.Repo.String() != "a/b" || e.Size != size || e.Digest != digest || (e.MediaType == "") != (e.Kind == event.Blob) {
				t.Errorf("%s %s: told of %+v", tt.method, tt.target, e)
			}
			by := e.By
			by.Addr, by.Method, by.RequestID = "", "", ""
			want := event.Actor{Name: "alice", Host: "reg.example.com:5000", UserAgent: "docker/1", Base: "http://reg.example.com:5000"}
			if by != want {
				t.Errorf("%s %s: by %+v, want %+v", tt.method, tt.target, by, want)
			}
		}
		if have != tt.want {
			t.Errorf("%s %s: told of %q, want %q", tt.method, tt.target, have, tt.want)
		}
	}
}

// TestUsed holds what is noted of manifests, for how long they are kept.
func TestUsed(t *testing.T) {
	b := newBench(t, "basic")
	var got []string
	b.Used = func(r oci.Repo, d oci.Digest, u meta.Use) { got = append(got, fmt.Sprint(r, " ", d, " ", u)) }
	manifest := b.pushManifest(t, "a/b", `{"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`, "v1")
	blob := b.pushBlob("a/b", "some bytes")
	alice := http.Header{"Authorization": {"Basic YWxpY2U6c2VjcmV0"}}
	fresh := alice.Clone()
	fresh.Set("If-None-Match", etag(manifest))
	pulled, seen := fmt.Sprint("a/b ", manifest, " ", meta.Pulled), fmt.Sprint("a/b ", manifest, " ", meta.Seen)
	for _, tt := range []struct {
		method, target string
		header         http.Header
		want           string
	}{
		{"GET", "/v2/a/b/manifests/v1", alice, pulled},
		{"GET", "/v2/a/b/manifests/" + manifest.String(), alice, pulled},
		{"GET", "/v2/a/b/manifests/v1", fresh, pulled}, // from a cache in between
		{"HEAD", "/v2/a/b/manifests/v1", alice, ""},
		{"HEAD", "/v2/a/b/manifests/" + manifest.String(), alice, seen},
		{"GET", "/v2/a/b/manifests/v2", alice, ""},
		{"GET", "/v2/a/b/manifests/v1", nil, ""},
		{"GET", "/v2/a/b/blobs/" + blob.String(), alice, ""},
		{"GET", "/v2/a/b/tags/list", alice, ""},
	} {
		got = nil
		b.send(t, tt.method, tt.target, tt.header, nil)
		if have := strings.Join(got, ", "); have != tt.want {
			t.Errorf("%s %s: noted %q, want %q", tt.method, tt.target, have, tt.want)
		}
	}
}

// TestActor holds what is recorded of who acts, behind a proxy, too, and that
// what a client makes up stays within bounds.
func TestActor(t *testing.T) {
	client := netip.MustParseAddr("192.0.2.7")
	for _, tt := range []struct {
		name       string
		peer       Peer
		external   string
		agent      string
		addr, base string
	}{
		{"direct", Peer{Addr: netip.MustParseAddr("127.0.0.1"), Scheme: "http", Host: "reg:5000"}, "", "a", "127.0.0.1:", "http://reg:5000/pre"},
		{"behind a proxy", Peer{Addr: client, Trusted: true, Scheme: "https", Host: "reg"}, "", "a", "192.0.2.7", "https://reg/pre"},
		{"on a socket", Peer{Scheme: "http", Host: "reg"}, "", "a", "127.0.0.1:", "http://reg/pre"},
		{"with an address", Peer{Addr: client, Trusted: true, Scheme: "http", Host: "reg"}, "https://ext/pre", "a", "192.0.2.7", "https://ext/pre"},
		{"a strange host", Peer{Addr: client, Trusted: true, Scheme: "http", Host: `re"g`}, "", strings.Repeat("é", 400) + "\xff", "192.0.2.7", ""},
	} {
		b := newBench(t, "open")
		var by event.Actor
		open := b.Open
		b.Open = func(p auth.Principal, a event.Actor) registry.Service { by = a; return open(p, a) }
		b.Peer = func(*http.Request) Peer { return tt.peer }
		b.ExternalURL, b.Prefix = tt.external, "/pre"
		b.send(t, "GET", "/v2/", http.Header{"User-Agent": {tt.agent}}, nil)
		first := tt.peer
		for _, other := range []Peer{{Scheme: first.Scheme, Host: first.Host + "x"}, {Scheme: "other", Host: first.Host}, {Scheme: first.Scheme}} {
			tt.peer = other
			b.send(t, "GET", "/v2/", nil, nil)
			tt.peer = first
			b.send(t, "GET", "/v2/", http.Header{"User-Agent": {tt.agent}}, nil)
			if by.Base != tt.base {
				t.Errorf("%s, behind %v: got %s, want %s", tt.name, other, by.Base, tt.base)
			}
		}
		if !strings.HasPrefix(by.Addr, tt.addr) || by.Base != tt.base || len(by.UserAgent) > 512 {
			t.Errorf("%s: got %+v", tt.name, by)
		}
	}
}
