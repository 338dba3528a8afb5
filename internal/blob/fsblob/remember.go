package fsblob

import (
	"bytes"
	"container/list"
	"context"
	"sync"
	"time"

	"berth/internal/blob"
)

// maxSmall is up to which size in bytes an object is read at once and kept in
// memory. Larger ones are the kernel's to send.
const maxSmall = 64 << 10

// entryCost is what an object in memory takes besides its bytes and its names.
const entryCost = 400

// believed is for how long Open believes a look at a file that found it as it was.
// Whoever deletes or damages a file of ours cannot tell a pull that gets its bytes
// so soon after from one that came a moment before.
const believed = 100 * time.Millisecond

// A Remembering is a Store whose Open keeps small objects in memory: for those who
// serve clients. Who wants to know what is on the disk asks the Store itself.
//
// Objects never change, but files can be deleted, damaged, replaced and put right
// again by others. So it remembers which state of which file the bytes were read
// from (see stamp), and serves them only as long as a look at the file finds that
// very state. What is said of an object, as opposed to its bytes, always rests on a
// look: see Look. Bytes are served without one if there was one just before, and
// this process has taken no file away since. Deleting an object therefore needs no
// care here.
type Remembering struct {
	*Store
	limit int64
	now   func() time.Time

	mu      sync.Mutex
	used    int64
	objects map[blob.Key]*list.Element
	recent  list.List // of *remembered, the one used last in front
}

var (
	_ blob.Store     = (*Remembering)(nil)
	_ blob.Recoverer = (*Remembering)(nil)
	_ blob.Looker    = (*Remembering)(nil)
)

// A remembered is the content of one object. Only when it was looked at changes.
type remembered struct {
	key     blob.Key
	name    string
	stamp   stamp
	content []byte // nil if only the stamp was asked for so far
	looked  look   // guarded by the lock of the memory
}

// A look is when a file was looked at; the zero one is no look. A moment is not
// enough: see disk.taken.
type look struct {
	at    time.Time
	taken int64
}

// holds reports whether l may be believed at the time of now.
func (l look) holds(now look) bool { return l.taken == now.taken && now.at.Sub(l.at) < believed }

func (r *remembered) cost() int64 {
	return int64(len(r.content)+len(r.key)+len(r.name)) + entryCost
}

// Remember returns s with a memory of limit bytes, 0 for none.
func (s *Store) Remember(limit int64) *Remembering {
	if !hasStamps {
		limit = 0
	}
	return &Remembering{Store: s, limit: limit, now: time.Now, objects: make(map[blob.Key]*list.Element)}
}

// Open implements blob.Store: with one look at the file for what is in memory, or
// none if there was one just before, and as the Store's does for all else. Readers
// of small objects are blob.Small.
func (m *Remembering) Open(ctx context.Context, key blob.Key) (blob.Reader, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if r := m.recall(key); r != nil {
		return r, nil
	}
	name, f, stamp, err := m.openFile(key)
	if err != nil {
		return nil, err
	}
	r := reader{f: f, size: stamp.size}
	if r.size > maxSmall || m.limit == 0 {
		return &r, nil
	}
	return &smallReader{reader: r, m: m, key: key, name: name, stamp: stamp}, nil
}

// Look implements blob.Looker, with one look at the file once it has been opened. No
// earlier look is believed: who is told that an object is there doesn't upload it.
func (m *Remembering) Look(ctx context.Context, key blob.Key) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if o, _ := m.find(key); o != nil && m.isAsItWas(o) {
		return o.stamp.size, nil
	}
	name, f, stamp, err := m.openFile(key)
	if err != nil {
		return 0, err
	}
	f.Close() // nothing was written
	m.keep(&remembered{key: key, name: name, stamp: stamp})
	return stamp.size, nil
}

// isAsItWas reports whether the file of o is as it was when o was read, and else
// forgets o. The one look tells what Open's open and fstat tell, so that what is
// missing or damaged is found by the next request. That it follows links on the way
// does no harm: nothing is read, and what it finds must be the very file that was
// once reached without.
func (m *Remembering) isAsItWas(o *remembered) bool {
	before := m.moment()
	now, err := m.d.stamp(o.name)
	if err != nil || now != o.stamp {
		m.forget(o.key)
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	o.looked = before
	return true
}

// moment returns a look that begins now.
func (m *Remembering) moment() look { return look{m.now(), m.d.taken.Load()} }

// recall opens key from memory. It returns nil where there is nothing of it, or
// where the file is not as it was any more.
func (m *Remembering) recall(key blob.Key) blob.Reader {
	o, looked := m.find(key)
	if o == nil || o.content == nil || !looked.holds(m.moment()) && !m.isAsItWas(o) {
		return nil
	}
	r := &memoryReader{content: o.content}
	r.Reset(o.content)
	return r
}

// find returns what is in memory of key and the last look at it, or nil.
func (m *Remembering) find(key blob.Key) (*remembered, look) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.objects[key]
	if e == nil {
		return nil, look{}
	}
	m.recent.MoveToFront(e)
	o := e.Value.(*remembered)
	return o, o.looked
}

// keep keeps o, in the place of what was used longest ago.
func (m *Remembering) keep(o *remembered) {
	if o.cost() > m.limit {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drop(m.objects[o.key])
	for m.used+o.cost() > m.limit {
		m.drop(m.recent.Back())
	}
	m.used += o.cost()
	m.objects[o.key] = m.recent.PushFront(o)
}

func (m *Remembering) forget(key blob.Key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drop(m.objects[key])
}

// drop takes e, which may be nil, out. The lock is held.
func (m *Remembering) drop(e *list.Element) {
	if e == nil {
		return
	}
	o := m.recent.Remove(e).(*remembered)
	delete(m.objects, o.key)
	m.used -= o.cost()
}

// Delete implements blob.Store.
func (m *Remembering) Delete(ctx context.Context, key blob.Key) error {
	defer m.forget(key) // only to have the memory back
	return m.Store.Delete(ctx, key)
}

// A memoryReader reads an object that is in memory.
type memoryReader struct {
	bytes.Reader
	content []byte
}

var _ blob.Small = (*memoryReader)(nil)

// Bytes implements blob.Small.
func (r *memoryReader) Bytes() ([]byte, error) { return r.content, nil }

// Close implements blob.Reader.
func (r *memoryReader) Close() error { return nil }

// A smallReader reads the file of a small object, which comes into memory when all
// of it is wanted at once.
type smallReader struct {
	reader
	m     *Remembering
	key   blob.Key
	name  string
	stamp stamp
}

var _ blob.Small = (*smallReader)(nil)

// Bytes implements blob.Small with one pread. The error is io.EOF if the file has
// become shorter since it was opened.
func (r *smallReader) Bytes() ([]byte, error) {
	content := make([]byte, r.size)
	if _, err := r.f.ReadAt(content, 0); err != nil {
		return nil, err
	}
	r.m.keep(&remembered{key: r.key, name: r.name, stamp: r.stamp, content: content})
	return content, nil
}
