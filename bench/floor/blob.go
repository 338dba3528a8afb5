package floor

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

func (s *Server) blob(w http.ResponseWriter, r *http.Request, name, digest string) {
	s.mu.RLock()
	repo := s.repos[name]
	has := repo != nil && repo.blobs[digest]
	size := s.blobs[digest]
	s.mu.RUnlock()
	if !has {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Docker-Content-Digest", digest)
	if r.Method == http.MethodHead {
		h.Set("Content-Length", strconv.FormatInt(size, 10))
		return
	}
	f, err := os.Open(s.file(digest))
	if err != nil {
		fail(w, err)
		return
	}
	defer f.Close()
	http.ServeContent(w, r, "", time.Time{}, f)
}

// An upload is a session.
type upload struct {
	mu   sync.Mutex
	file *os.File
	hash hash.Hash
	size int64
}

// bufferSize is the size of what a body is read into.
const bufferSize = 1 << 20

func (s *Server) upload(w http.ResponseWriter, r *http.Request, name, id string) {
	q := r.URL.Query()
	if r.Method == http.MethodPost {
		if digest := q.Get("mount"); digest != "" && s.mount(w, q.Get("from"), name, digest) {
			return
		}
		s.start(w, name)
		return
	}
	s.mu.RLock()
	u := s.uploads[id]
	s.mu.RUnlock()
	if u == nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	bufs := s.buffers.Get().(*[2][]byte)
	defer s.buffers.Put(bufs)
	if err := u.append(r.Body, bufs); err != nil {
		fail(w, err)
		return
	}
	if r.Method == http.MethodPatch {
		h := w.Header()
		h.Set("Location", r.URL.Path)
		h.Set("Range", "0-"+strconv.FormatInt(u.size-1, 10))
		w.WriteHeader(http.StatusAccepted)
		return
	}
	s.finish(w, u, name, id, q.Get("digest"))
}

func (s *Server) mount(w http.ResponseWriter, from, to, digest string) bool {
	s.mu.RLock()
	repo := s.repos[from]
	has := repo != nil && repo.blobs[digest]
	s.mu.RUnlock()
	if !has || s.journal.add("link "+to+" "+digest) != nil {
		return false
	}
	s.mu.Lock()
	s.repo(to).blobs[digest] = true
	s.mu.Unlock()
	w.Header().Set("Location", "/v2/"+to+"/blobs/"+digest)
	w.WriteHeader(http.StatusCreated)
	return true
}

func (s *Server) start(w http.ResponseWriter, name string) {
	id := rand.Text()
	f, err := os.OpenFile(filepath.Join(s.dir, "uploads", id), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		fail(w, err)
		return
	}
	s.mu.Lock()
	s.uploads[id] = &upload{file: f, hash: sha256.New()}
	s.mu.Unlock()
	h := w.Header()
	h.Set("Location", "/v2/"+name+"/blobs/uploads/"+id)
	h.Set("Range", "0-0")
	w.WriteHeader(http.StatusAccepted)
}

// append hashes what was read while it is being written, and the next part is
// read into the other buffer. A body that fits into one needs no company.
func (u *upload) append(body io.Reader, bufs *[2][]byte) error {
	pending := make(chan error, 1)
	pending <- nil
	for i := 0; ; i = 1 - i {
		n, err := io.ReadFull(body, bufs[i])
		last := err == io.EOF || err == io.ErrUnexpectedEOF
		if werr := <-pending; werr != nil || err != nil && !last {
			return errors.Join(werr, err)
		}
		u.size += int64(n)
		if last {
			u.hash.Write(bufs[i][:n])
			_, err := u.file.Write(bufs[i][:n])
			return err
		}
		go func() {
			_, err := u.file.Write(bufs[i][:n])
			pending <- err
		}()
		u.hash.Write(bufs[i][:n])
	}
}

func (s *Server) finish(w http.ResponseWriter, u *upload, name, id, digest string) {
	s.mu.Lock()
	delete(s.uploads, id)
	s.mu.Unlock()
	defer u.file.Close()
	if "sha256:"+hex.EncodeToString(u.hash.Sum(nil)) != digest {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	err := syncData(u.file)
	if err == nil {
		err = os.Rename(u.file.Name(), s.file(digest))
	}
	if err == nil {
		err = s.syncDir()
	}
	if err == nil {
		err = s.journal.add("blob " + name + " " + digest + " " + strconv.FormatInt(u.size, 10))
	}
	if err != nil {
		fail(w, err)
		return
	}
	s.mu.Lock()
	s.blobs[digest] = u.size
	s.repo(name).blobs[digest] = true
	s.mu.Unlock()
	w.Header().Set("Location", "/v2/"+name+"/blobs/"+digest)
	w.Header().Set("Docker-Content-Digest", digest)
	w.WriteHeader(http.StatusCreated)
}

// syncDir makes the names of finished blobs durable.
func (s *Server) syncDir() error {
	d, err := os.Open(filepath.Join(s.dir, "blobs"))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
