package floor

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strconv"
)

func (s *Server) manifest(w http.ResponseWriter, r *http.Request, name, ref string) {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		s.getManifest(w, r, name, ref)
	case http.MethodPut:
		s.putManifest(w, r, name, ref)
	case http.MethodDelete:
		s.deleteManifest(w, name, ref)
	default:
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

// find returns a manifest by tag or digest, or nil. The lock is held.
func (s *Server) find(name, ref string) *manifest {
	repo := s.repos[name]
	if repo == nil {
		return nil
	}
	if m := repo.tags[ref]; m != nil {
		return m
	}
	return repo.manifests[ref]
}

func (s *Server) getManifest(w http.ResponseWriter, r *http.Request, name, ref string) {
	s.mu.RLock()
	m := s.find(name, ref)
	s.mu.RUnlock()
	if m == nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	h := w.Header()
	h["Content-Type"], h["Docker-Content-Digest"], h["Content-Length"] = m.header[0], m.header[1], m.header[2]
	if r.Method == http.MethodGet {
		_, _ = w.Write(m.body)
	}
}

// a document is what is looked at in a manifest.
type document struct {
	MediaType    string
	ArtifactType string
	Subject      *struct{ Digest string }
}

func (s *Server) putManifest(w http.ResponseWriter, r *http.Request, name, ref string) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 4<<20))
	if err != nil {
		fail(w, err)
		return
	}
	sum := sha256.Sum256(body)
	digest := "sha256:" + hex.EncodeToString(sum[:])
	var doc document
	if err := json.Unmarshal(body, &doc); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	h := w.Header()
	h.Set("Docker-Content-Digest", digest)
	h.Set("Location", "/v2/"+name+"/manifests/"+digest)
	mediaType := r.Header.Get("Content-Type")
	if doc.Subject != nil {
		h.Set("OCI-Subject", doc.Subject.Digest)
	}
	s.mu.RLock()
	same := s.find(name, ref)
	s.mu.RUnlock()
	if same == nil || same.digest != digest {
		if err := s.journal.add("put " + strconv.Itoa(len(body)) + " " + name + " " + ref + " " + mediaType + "\n" + string(body)); err != nil {
			fail(w, err)
			return
		}
		s.store(name, ref, doc, newManifest(digest, mediaType, body))
	}
	w.WriteHeader(http.StatusCreated)
}

func newManifest(digest, mediaType string, body []byte) *manifest {
	return &manifest{digest: digest, body: body, header: [3][]string{{mediaType}, {digest}, {strconv.Itoa(len(body))}}}
}

func (s *Server) store(name, ref string, doc document, m *manifest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	repo := s.repo(name)
	if old := repo.manifests[m.digest]; old != nil {
		m = old
	} else if doc.Subject != nil {
		descriptor, _ := json.Marshal(map[string]any{"mediaType": m.header[0][0], "digest": m.digest, "size": len(m.body), "artifactType": doc.ArtifactType})
		repo.referrers[doc.Subject.Digest] = append(repo.referrers[doc.Subject.Digest], string(descriptor))
	}
	repo.manifests[m.digest] = m
	if ref == m.digest {
		return
	}
	if old := repo.tags[ref]; old != nil {
		old.tags = slices.DeleteFunc(old.tags, func(tag string) bool { return tag == ref })
	} else {
		repo.tagNames = insert(repo.tagNames, ref)
	}
	m.tags = append(m.tags, ref)
	repo.tags[ref] = m
}

func (s *Server) deleteManifest(w http.ResponseWriter, name, ref string) {
	s.mu.RLock()
	m := s.find(name, ref)
	s.mu.RUnlock()
	if m == nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if err := s.journal.add("delete " + name + " " + ref); err != nil {
		fail(w, err)
		return
	}
	s.forget(name, m)
	w.WriteHeader(http.StatusAccepted)
}

// forget drops a manifest and its tags.
func (s *Server) forget(name string, m *manifest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	repo := s.repos[name]
	delete(repo.manifests, m.digest)
	for _, tag := range m.tags {
		delete(repo.tags, tag)
		if at, found := slices.BinarySearch(repo.tagNames, tag); found {
			repo.tagNames = slices.Delete(repo.tagNames, at, at+1)
		}
	}
}
