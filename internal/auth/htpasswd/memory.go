package htpasswd

import (
	"sync"
	"time"
)

const (
	// freshFor is how long a verified credential is believed without hashing.
	freshFor = 5 * time.Minute

	// knownFor is how long one that was good before is checked ahead of others
	// and is not throttled: long enough for what runs once a night.
	knownFor = 36 * time.Hour

	// maxRemembered bounds each of the two generations, together about 1 MiB.
	maxRemembered = 8192
)

// A credentialKey stands for user, password and stored hash together. It is
// a MAC under a key of this process, so nothing can be learnt from it.
type credentialKey [32]byte

// trust is what a memory knows of a credential.
type trust int

const (
	stranger trust = iota // nothing
	known                 // it was good before, against the same hash: check it, but ahead of others
	fresh                 // it is good
)

// A memory remembers verified credentials. It is two maps and no library:
// what is new goes into the young one; when that is full it becomes the old
// one, and what the old one still held is forgotten. So it is bounded, a look
// costs a few dozen nanoseconds, and whatever is in use is kept.
// It may be used concurrently.
type memory struct {
	mu         sync.Mutex
	epoch      int // grows with every change of the file
	young, old map[credentialKey]verified
}

type verified struct {
	at    time.Time
	epoch int
}

func (m *memory) trust(k credentialKey, now time.Time) trust {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.young[k]
	if !ok {
		if v, ok = m.old[k]; !ok {
			return stranger
		}
		m.put(k, v)
	}
	switch age := now.Sub(v.at); {
	case age < 0 || age >= knownFor:
		return stranger
	case v.epoch != m.epoch || age >= freshFor:
		return known
	}
	return fresh
}

// remember notes that k was verified at now. The file may have changed since:
// k has the stored hash in it and is not asked for once that is another one.
func (m *memory) remember(k credentialKey, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.put(k, verified{at: now, epoch: m.epoch})
}

func (m *memory) put(k credentialKey, v verified) {
	if m.young == nil || len(m.young) >= maxRemembered {
		m.young, m.old = make(map[credentialKey]verified), m.young
	}
	m.young[k] = v
}

// distrust makes every credential one that must be checked again, because the
// file changed. Credentials whose own line changed are not even known any
// more: their key has the stored hash in it.
func (m *memory) distrust() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.epoch++
}
