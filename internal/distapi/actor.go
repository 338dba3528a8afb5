package distapi

import (
	"net/http"
	"net/netip"
	"strings"

	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

// maxAgent is how much of a User-Agent is kept, in bytes.
const maxAgent = 512

// actor tells who acts by r, for the record.
func (h *Handler) actor(w http.ResponseWriter, r *http.Request, c *call) event.Actor {
	a := event.Actor{
		Name: c.id.who.Name, Via: string(c.id.who.Via), Addr: r.RemoteAddr, Host: r.Host, Method: r.Method,
		UserAgent: strings.ToValidUTF8(first(r.Header, "User-Agent"), "?"), RequestID: first(w.Header(), "X-Request-Id"),
	}
	if len(a.UserAgent) > maxAgent {
		a.UserAgent = strings.ToValidUTF8(a.UserAgent[:maxAgent], "")
	}
	// Behind a proxy that is believed, the client's address has no port.
	if peer := c.peer; peer.Trusted && peer.Addr.IsValid() {
		if here, err := netip.ParseAddrPort(r.RemoteAddr); err != nil || here.Addr().Unmap() != peer.Addr {
			a.Addr = peer.Addr.String()
		}
	}
	if base, ok := h.base(c); ok {
		a.Base = base
	}
	return a
}

// pulled tells of content that was sent.
func (h *Handler) pulled(c *call, e event.Event) {
	if h.Pulled == nil {
		return
	}
	e.Action, e.Repo, e.By = event.Pull, c.route.Repo, c.by
	h.Pulled(e)
}

// used tells what a request for manifest d means for how long it is kept.
func (h *Handler) used(r *http.Request, c *call, d oci.Digest) {
	switch {
	case h.Used == nil:
	case r.Method != http.MethodHead:
		h.Used(c.route.Repo, d, meta.Pulled)
	case c.route.Ref.Tag.IsZero():
		h.Used(c.route.Repo, d, meta.Seen)
	}
}
