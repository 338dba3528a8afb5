package floor

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// page returns the names that a request asks for, and the query of the next page.
func page(names []string, q url.Values) (list []string, next string) {
	if last := q.Get("last"); last != "" {
		at, found := slices.BinarySearch(names, last)
		if found {
			at++
		}
		names = names[at:]
	}
	n, err := strconv.Atoi(q.Get("n"))
	if err != nil || n <= 0 || n >= len(names) {
		return names, ""
	}
	return names[:n], "last=" + url.QueryEscape(names[n-1]) + "&n=" + strconv.Itoa(n)
}

// write answers with a list of names. The lock is held.
func write(w http.ResponseWriter, path, before string, list []string, next string) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	if next != "" {
		h.Set("Link", "<"+path+"?"+next+`>; rel="next"`)
	}
	size := len(before) + 2
	for _, name := range list {
		size += len(name) + 3
	}
	b := append(make([]byte, 0, size), before...)
	for i, name := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), name...), '"')
	}
	_, _ = w.Write(append(b, "]}"...))
}

func (s *Server) catalog(w http.ResponseWriter, r *http.Request) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	list, next := page(s.names, r.URL.Query())
	write(w, r.URL.Path, `{"repositories":[`, list, next)
}

func (s *Server) tags(w http.ResponseWriter, r *http.Request, name string) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	repo := s.repos[name]
	if repo == nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	list, next := page(repo.tagNames, r.URL.Query())
	write(w, r.URL.Path, `{"name":"`+name+`","tags":[`, list, next)
}

// referrers are paged by their number, and come whole without n.
func (s *Server) referrers(w http.ResponseWriter, r *http.Request, name, subject string) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var list []string
	if repo := s.repos[name]; repo != nil {
		list = repo.referrers[subject]
	}
	h := w.Header()
	h.Set("Content-Type", "application/vnd.oci.image.index.v1+json")
	if r.URL.RawQuery != "" {
		q := r.URL.Query()
		from, _ := strconv.Atoi(q.Get("last"))
		list = list[min(max(0, from), len(list)):]
		if n, err := strconv.Atoi(q.Get("n")); err == nil && n > 0 && n < len(list) {
			list = list[:n]
			h.Set("Link", "<"+r.URL.Path+"?last="+strconv.Itoa(from+n)+"&n="+strconv.Itoa(n)+`>; rel="next"`)
		}
	}
	_, _ = w.Write([]byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[` + strings.Join(list, ",") + `]}`))
}
