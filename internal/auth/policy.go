package auth

// AllowAll is the Policy of a registry without log-in: everybody may do
// everything. It is only ever chosen when no authenticator is configured.
type AllowAll struct{}

// Allows reports true.
func (AllowAll) Allows(Principal, Access) bool { return true }

// Enters reports true.
func (AllowAll) Enters(Principal) bool { return true }

// LogIn is the Policy of a registry with log-in: whoever is logged in may do
// everything, and the anonymous may do nothing, or only what AnonymousPull adds.
type LogIn struct {
	AnonymousPull bool // the anonymous may pull from every repository
}

// Allows reports whether p is logged in, or asks for a pull that is open to all.
func (l LogIn) Allows(p Principal, a Access) bool {
	return !p.Anonymous() || l.AnonymousPull && a.Action == Pull
}

// Enters reports whether p is logged in or the anonymous are let in at all.
//
// Where the anonymous may pull, GET /v2/ still answers them with a challenge:
// docker decides by that answer whether it sends its credentials, and a client
// without any goes on without them (see docs/adr).
func (l LogIn) Enters(p Principal) bool { return !p.Anonymous() }
