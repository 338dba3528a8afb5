package distapi

import (
	"net/http"

	"berth/internal/auth"
	"berth/internal/oci"
)

// Values of headers that never change. All answers share them, and nobody may write
// to one: appending makes another, since each is as long as its memory. They are
// assigned by their canonical keys, which is what http.Header.Set spends its time on.
var (
	apiVersion  = []string{"registry/2.0"}
	noSniffing  = []string{"nosniff"}
	sandboxed   = []string{"default-src 'none'; sandbox; frame-ancestors 'none'"}
	varies      = []string{"Authorization, Accept"}
	notStored   = []string{"no-store"}
	askedAgain  = []string{"no-cache"}
	keptByOne   = []string{"private, max-age=31536000, immutable"}
	keptByAll   = []string{"max-age=31536000, immutable"}
	ofJSON      = []string{"application/json"}
	ofBytes     = []string{"application/octet-stream"}
	attached    = []string{"attachment"}
	rangesOfIt  = []string{"bytes"}
	twoBytes    = []string{"2"}
	emptyObject = []byte("{}")
)

// common sets what every answer carries, unless it knows better.
func common(header http.Header) {
	header["Docker-Distribution-Api-Version"] = apiVersion
	header["X-Content-Type-Options"] = noSniffing
	header["Content-Security-Policy"] = sandboxed
	header["Vary"] = varies
	header["Cache-Control"] = notStored
}

// describe sets the headers that tell what content an answer has: the content
// of d, which will never be another. It returns the entity tag.
func (c *call) describe(header http.Header, d oci.Digest, mediaType []string) (tag string) {
	tag = etag(d)
	header["Content-Type"] = mediaType
	header["Docker-Content-Digest"] = c.value(d.String())
	header["Etag"] = c.value(tag)
	return tag
}

// keep lets caches keep an answer whose address holds its digest. Those that
// many people share may only where everybody may pull it, from everywhere.
func (h *Handler) keep(header http.Header, repo oci.Repo) {
	if h.logsIn() || !h.Policy.Decide(auth.Principal{}, auth.Access{Repo: repo, Action: auth.Pull}).Allowed() {
		header["Cache-Control"] = keptByOne
		return
	}
	header["Cache-Control"] = keptByAll
}

// first returns the first value of a header, whose name is given in its canonical form.
func first(h http.Header, key string) string {
	if list := h[key]; len(list) > 0 {
		return list[0]
	}
	return ""
}

func etag(d oci.Digest) string { return `"` + d.String() + `"` }

// value returns s as the value of a header, in memory that the call has anyway.
func (c *call) value(s string) []string {
	i := c.used
	if i == len(c.values) {
		return []string{s}
	}
	c.values[i] = s
	c.used++
	return c.values[i : i+1 : i+1]
}
