package listen

import (
	"net/http"
	"net/url"
	"strings"
)

// Below returns a handler that serves requests below prefix with next, which
// sees them without it. outside gets all others. A prefix is "" (everything is
// below it) or begins with a slash, ends without one, and reads the same escaped
// and not.
//
// The path counts as it was sent: an escaped letter of the prefix is another
// path, as it is to the proxies in between.
func Below(prefix string, next, outside http.Handler) http.Handler {
	if prefix == "" {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inner, ok := below(prefix, r.URL)
		if !ok {
			outside.ServeHTTP(w, r)
			return
		}
		r2 := r.WithContext(r.Context())
		r2.URL = inner
		next.ServeHTTP(w, r2)
	})
}

// below returns u without the prefix, if it has it.
func below(prefix string, u *url.URL) (*url.URL, bool) {
	rest, ok := strings.CutPrefix(u.EscapedPath(), prefix)
	if !ok || rest != "" && rest[0] != '/' {
		return nil, false
	}
	if rest == "" {
		rest = "/"
	}
	path, err := url.PathUnescape(rest)
	if err != nil {
		return nil, false // EscapedPath returns nothing like it
	}
	inner := *u
	inner.Path, inner.RawPath = path, rest
	return &inner, true
}
