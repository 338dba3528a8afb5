// Package floor is a registry that does as little as a correct and durable one
// can do on Go's net/http: names live in memory, every change is a line in one
// journal that concurrent requests share a sync of, blobs are files that are
// hashed while they are written and sent with sendfile. It checks no manifests,
// knows no users, logs nothing, collects nothing and reads its journal from the
// beginning when it starts. It is no product but a mark: what a registry costs
// beyond it is what it does beyond it.
package floor

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// A Server is the registry.
type Server struct {
	dir     string
	journal *journal
	buffers sync.Pool // of *[2][]byte, see upload.append

	mu      sync.RWMutex
	repos   map[string]*repo
	names   []string // of repos, sorted
	blobs   map[string]int64
	uploads map[string]*upload
}

// A repo is what a repository has. It is guarded by the server's lock.
type repo struct {
	blobs     map[string]bool
	manifests map[string]*manifest
	tags      map[string]*manifest
	tagNames  []string            // sorted
	referrers map[string][]string // by subject: their descriptors, as JSON
}

// A manifest with its headers ready to be sent.
type manifest struct {
	digest string
	body   []byte
	header [3][]string // Content-Type, Docker-Content-Digest, Content-Length
	tags   []string    // that point to it
}

// Open returns a server on what it has written into dir.
func Open(dir string) (*Server, error) {
	for _, d := range []string{"blobs", "uploads"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			return nil, err
		}
	}
	s := &Server{
		dir: dir, repos: map[string]*repo{}, blobs: map[string]int64{}, uploads: map[string]*upload{},
		buffers: sync.Pool{New: func() any { return &[2][]byte{make([]byte, bufferSize), make([]byte, bufferSize)} }},
	}
	path := filepath.Join(dir, "journal")
	if err := s.replay(path); err != nil {
		return nil, err
	}
	j, err := openJournal(path)
	s.journal = j
	return s, err
}

// ServeHTTP serves the part of the distribution API that is measured.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, ok := strings.CutPrefix(r.URL.Path, "/v2/")
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if path == "" {
		return
	}
	if path == "_catalog" {
		s.catalog(w, r)
		return
	}
	for _, kind := range []string{"/manifests/", "/blobs/uploads/", "/blobs/", "/tags/list", "/referrers/"} {
		at := strings.LastIndex(path, kind)
		if at < 0 {
			continue
		}
		name, rest := path[:at], path[at+len(kind):]
		switch kind {
		case "/manifests/":
			s.manifest(w, r, name, rest)
		case "/blobs/uploads/":
			s.upload(w, r, name, rest)
		case "/blobs/":
			s.blob(w, r, name, rest)
		case "/tags/list":
			s.tags(w, r, name)
		case "/referrers/":
			s.referrers(w, r, name, rest)
		}
		return
	}
	w.WriteHeader(http.StatusNotFound)
}

// repo returns a repository, which it makes if need be. The lock is held.
func (s *Server) repo(name string) *repo {
	r := s.repos[name]
	if r == nil {
		r = &repo{blobs: map[string]bool{}, manifests: map[string]*manifest{}, tags: map[string]*manifest{}, referrers: map[string][]string{}}
		s.repos[name] = r
		s.names = insert(s.names, name)
	}
	return r
}

// insert adds s to a sorted list.
func insert(list []string, s string) []string {
	at, found := slices.BinarySearch(list, s)
	if found {
		return list
	}
	return slices.Insert(list, at, s)
}

// file is where a blob lies.
func (s *Server) file(digest string) string {
	return filepath.Join(s.dir, "blobs", strings.TrimPrefix(digest, "sha256:"))
}

func fail(w http.ResponseWriter, err error) {
	http.Error(w, fmt.Sprint(err), http.StatusInternalServerError)
}
