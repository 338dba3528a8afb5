package hot

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
)

// A Filter knows of keys that the records surely have nothing of, so that nobody
// has to look there for them. It is a Bloom filter: of some keys that there is
// nothing of it does not know, and of no key that there is something of it says so.
//
// # For who writes
//
// Whoever writes calls Add with each key that a transaction puts something under,
// before that is committed, and before anybody is told of it. If it cannot say which
// keys these are it calls GiveUp. What is deleted needs no call, and what is undone
// does no harm: bits are left.
//
// # For who fills it
//
// At first it knows nothing. It learns from one who reads all keys that there are,
// while others write:
//
//	f.Begin()
//	// wait until all that was added before Begin is committed, or never will be
//	for all keys that there are: ok := f.Found(key)
//	f.End()
//
// What is committed meanwhile need not be found: Add knows of Begin. If Found has no
// room it says so, and all begins anew, with more. When more was added than there is
// room for, or so much was deleted that it could be, Full says that it is time for
// another filling; until that ends the old one answers, no less truly.
//
// A nil Filter knows nothing. All methods may be called concurrently, but those of
// filling, which one does at a time.
type Filter struct {
	cache *Cache // has so much less room
	seed  maphash.Seed
	most  int           // blocks
	full  chan struct{} // has a token when it is time to fill it

	now  atomic.Pointer[bitset] // answers; nil: nothing is known
	next atomic.Pointer[bitset] // is being filled

	mu   sync.Mutex // for what follows, and for whoever puts a set into now or next
	size int        // blocks of the next set
	over bool       // nothing will be known any more
}

// How many keys a block of a set is meant for, how many bits each key sets there, and
// how many blocks the first set has.
const (
	perBlock   = 32
	bitsOfKey  = 6
	leastSize  = 2048
	blockWords = 8 // a line of the processor's cache
)

// A bitset is divided into blocks. All bits of a key are in one.
type bitset struct {
	words []atomic.Uint64
	keys  atomic.Int64 // how many were added, about
	found int64        // of those, by Found
}

// bytes is what it takes in memory.
func (b *bitset) bytes() int64 {
	if b == nil {
		return 0
	}
	return int64(len(b.words)) * 8
}

// room is how many keys it is meant for.
func (b *bitset) room() int64 { return int64(len(b.words) / blockWords * perBlock) }

// block returns the words that the bits of a key with that hash are in, and the
// bits' numbers, one behind the other.
func (b *bitset) block(hash uint64) (words []atomic.Uint64, bits uint64) {
	at := (hash >> 32) * uint64(len(b.words)/blockWords) >> 32 * blockWords
	bits = hash * 0x9e3779b97f4a7c15
	return b.words[at : at+blockWords : at+blockWords], bits ^ bits>>29
}

// add sets the bits of a key. A key whose bits are set is not counted.
func (b *bitset) add(hash uint64) {
	words, bits := b.block(hash)
	fresh := false
	for range bitsOfKey {
		mask := uint64(1) << (bits & 63)
		fresh = words[bits>>6&(blockWords-1)].Or(mask)&mask == 0 || fresh
		bits >>= 9
	}
	if fresh {
		b.keys.Add(1)
	}
}

// lacks reports whether a key was surely not added.
func (b *bitset) lacks(hash uint64) bool {
	words, bits := b.block(hash)
	for range bitsOfKey {
		if words[bits>>6&(blockWords-1)].Load()&(1<<(bits&63)) == 0 {
			return true
		}
		bits >>= 9
	}
	return false
}

// NewFilter returns a Filter that takes at most an eighth of what the cache may, and
// as much again while it is being filled, or nil if that is too little. The cache has
// so much less.
func NewFilter(c *Cache) *Filter {
	if c == nil {
		return nil
	}
	most := int(min(c.limit/8/(8*blockWords), 1<<31))
	if most < leastSize {
		return nil
	}
	return &Filter{cache: c, seed: maphash.MakeSeed(), most: most, size: leastSize, full: make(chan struct{}, 1)}
}

// hash depends on a number that nobody knows, so that nobody can choose names that
// share their bits with others.
func (f *Filter) hash(k Key) uint64 {
	h := maphash.String(f.seed, k.Name) ^ (uint64(k.Repo)<<8+uint64(k.Kind))*0xff51afd7ed558ccd
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>32
}

// Lacks reports whether there is surely nothing under k. It has been so at a moment
// between its beginning and its end, of all that is committed or will be.
func (f *Filter) Lacks(k Key) bool {
	if f == nil {
		return false
	}
	b := f.now.Load()
	return b != nil && b.lacks(f.hash(k))
}

// Add says that something is about to be under k. It looks for the set that is being
// filled first: one that is full becomes the one that answers, and only then is gone.
func (f *Filter) Add(k Key) {
	if f == nil {
		return
	}
	h := f.hash(k)
	next := f.next.Load()
	if next != nil {
		next.add(h)
	}
	now := f.now.Load()
	if now == nil || now == next {
		return
	}
	if now.add(h); now.keys.Load() > now.room() && next == nil {
		f.ask()
	}
}

// ask says that it is time to fill it.
func (f *Filter) ask() {
	select {
	case f.full <- struct{}{}:
	default:
	}
}

// GiveUp says that something is about to be under keys that nobody knows.
func (f *Filter) GiveUp() {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.over = true
	f.set(nil, nil)
}

// set makes now answer and next be filled.
func (f *Filter) set(now, next *bitset) {
	f.now.Store(now) // before next goes, see Add
	f.next.Store(next)
	f.cache.reserve(now.bytes() + next.bytes())
}

// Begin begins to fill it, and reports whether that is of any use: there may be too
// many keys.
func (f *Filter) Begin() bool {
	if f == nil {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over = f.over || f.size > f.most; f.over {
		f.set(nil, nil)
		return false
	}
	select {
	case <-f.full: // which is what is about to be done
	default:
	}
	f.set(f.now.Load(), &bitset{words: make([]atomic.Uint64, f.size*blockWords)})
	return true
}

// Found says that there is something under k, and reports whether there is room.
// There is as much room as that for what comes later.
func (f *Filter) Found(k Key) bool {
	next := f.next.Load()
	if next == nil {
		return false
	}
	next.add(f.hash(k))
	next.found++
	if next.found <= next.room()/2 {
		return true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.size *= 4
	if f.size > f.most && f.size < 4*f.most {
		f.size = f.most
	}
	return false
}

// End says that all there is was found. It answers from now on.
func (f *Filter) End() {
	f.mu.Lock()
	defer f.mu.Unlock()
	next := f.next.Load()
	if f.over || next == nil {
		return
	}
	f.size = leastSize // of the next one, which may find twice as much
	for int64(f.size)*perBlock/4 < next.found && f.size < f.most {
		f.size = min(2*f.size, f.most)
	}
	f.set(next, nil)
	if next.keys.Load() > next.room() { // so many came meanwhile
		f.ask()
	}
}

// Full returns a channel that tells when it is time to fill it again.
func (f *Filter) Full() <-chan struct{} {
	if f == nil {
		return nil
	}
	return f.full
}

// Whole reports whether it knows anything.
func (f *Filter) Whole() bool { return f != nil && f.now.Load() != nil }
