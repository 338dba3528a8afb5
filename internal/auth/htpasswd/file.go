package htpasswd

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"log/slog"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"berth/internal/auth"
)

// Options say which file a File reads.
type Options struct {
	Path string
	Log  *slog.Logger     // nil: nothing is logged
	Now  func() time.Time // nil: time.Now
}

// A File logs users in by a password file. It may be used concurrently.
//
// The file is looked at when somebody logs in, at most once a second for those
// who are remembered and every time for others, so a new user can log in at
// once and a removed one cannot after a second. A file that went away or has
// no user any more changes nothing: the last good one stays, and Status and
// one line in the log say so.
type File struct {
	now     func() time.Time
	macs    sync.Pool // of *keyed, with the key of this process; see mac
	current atomic.Pointer[table]
	source  source
	memory  memory
	limits  throttle
	hashing *pool
	checks  flights
	hashed  atomic.Int64
	spend   func(w work, password string, done Hash) // work.spend
}

var _ auth.Authenticator = (*File)(nil)

// New reads the file. It fails if that is not possible or if the file has no
// user who could log in; its errors say what to do.
func New(ctx context.Context, o Options) (*File, error) {
	f := &File{
		now:   o.Now,
		spend: work.spend,
		// Half of the processors, so that guessers cannot take them all.
		hashing: newPool(max(1, min(runtime.GOMAXPROCS(0), runtime.NumCPU())/2)),
	}
	if f.now == nil {
		f.now = time.Now
	}
	key := make([]byte, sha256.Size)
	rand.Read(key) // never fails
	f.macs.New = func() any { return &keyed{hash: hmac.New(sha256.New, key)} }
	f.source = source{path: o.Path, log: o.Log}
	if f.source.log == nil {
		f.source.log = slog.New(slog.DiscardHandler)
	}
	t, err := f.source.open(ctx, f.now())
	if err != nil {
		return nil, err
	}
	f.current.Store(t)
	return f, nil
}

// Authenticate finds out whether c is a user of the file and their password.
// It returns an error that is auth.ErrRejected if not, which is auth.ErrNotMine
// too if the file has no such user; that takes as long. A *auth.ThrottledError
// comes only for credentials that were not good before.
func (f *File) Authenticate(ctx context.Context, c auth.Credentials) (auth.Principal, error) {
	now := f.now()
	f.reload(ctx, now, onceASecond)
	key, _ := f.lookup(c)
	level := f.memory.trust(key, now)
	if level != fresh {
		f.reload(ctx, now, always)
		var u user
		key, u = f.lookup(c)
		level = f.memory.trust(key, now)
		if level != fresh {
			if err := f.verify(ctx, attempt{c, u, key, level, now}); err != nil {
				return auth.Principal{}, err
			}
		}
	}
	return auth.Principal{Name: c.User}, nil
}

// An attempt is a log-in that must be checked.
type attempt struct {
	auth.Credentials
	user  user // the zero user if there is none
	key   credentialKey
	trust trust
	now   time.Time
}

func (f *File) verify(ctx context.Context, a attempt) error {
	from := network(a.Address)
	err := f.checks.do(ctx, flightKey{a.key, from}, func() error { return f.check(ctx, a, from) })
	if errors.Is(err, auth.ErrRejected) && a.user.name == "" {
		return unknownUserError{}
	}
	return err
}

func (f *File) check(ctx context.Context, a attempt, from netip.Addr) error {
	if f.memory.trust(a.key, a.now) == fresh { // by a check that ended since the caller looked
		return nil
	}
	forgive, err := f.reserveFailure(a, from)
	if err != nil {
		return err
	}
	if err := f.hashing.acquire(ctx, a.trust, from); err != nil {
		forgive()
		return fmt.Errorf("wait to check the password: %w", err)
	}
	defer f.hashing.release()
	f.hashed.Add(1)
	if a.user.hash.Matches(a.Password) { // the zero Hash never does
		forgive()
		f.memory.remember(a.key, a.now)
		return nil
	}
	f.spend(f.current.Load().work, a.Password, a.user.hash)
	return auth.ErrRejected
}

// reserveFailure counts a failed log-in, which forgive takes back. One that is
// known is no guess, whatever others do at its address, and counts for nothing.
func (f *File) reserveFailure(a attempt, from netip.Addr) (forgive func(), err error) {
	if a.trust == known {
		return func() {}, nil
	}
	bucket := bucketKey{f.mac(a.User), from}
	return func() { f.limits.refund(bucket) }, f.limits.reserve(bucket, a.now)
}

// Known reports whether p can log in by this file still. It is for whoever
// remembers a log-in, such as a token, and costs no hash.
func (f *File) Known(p auth.Principal) bool {
	f.reload(context.Background(), f.now(), onceASecond) // for its log only
	_, ok := f.current.Load().users[p.Name]
	return ok
}

// An unknownUserError rejects, unless another authenticator knows the user.
// It reads like every other rejection.
type unknownUserError struct{}

func (unknownUserError) Error() string   { return auth.ErrRejected.Error() }
func (unknownUserError) Unwrap() []error { return []error{auth.ErrRejected, auth.ErrNotMine} }

// lookup finds the line of the user and the key under which the credential
// would be remembered.
func (f *File) lookup(c auth.Credentials) (credentialKey, user) {
	u := f.current.Load().users[c.User]
	return f.mac(c.User, c.Password, u.stored), u
}

// mac authenticates the parts, each with its length, under the key of this process.
func (f *File) mac(parts ...string) credentialKey {
	k := f.macs.Get().(*keyed)
	defer f.macs.Put(k)
	for _, p := range parts {
		k.text = binary.AppendUvarint(k.text, uint64(len(p)))
		k.text = append(k.text, p...)
	}
	k.hash.Reset()
	k.hash.Write(k.text)
	clear(k.text) // a password was in it
	k.text = k.text[:0]
	return credentialKey(k.hash.Sum(k.sum[:0]))
}

// A keyed is a MAC that is used again and again, and its memory.
type keyed struct {
	hash hash.Hash
	text []byte
	sum  [sha256.Size]byte
}

// reload takes over the file if it changed.
func (f *File) reload(ctx context.Context, now time.Time, when urgency) {
	if t := f.source.poll(ctx, now, when); t != nil {
		f.current.Store(t)
		f.memory.distrust()
	}
}

// Status returns what is known of the file, without looking at it.
func (f *File) Status() Status {
	s := f.source.status()
	t := f.current.Load()
	s.Users, s.Weak, s.Problems, s.Hashed = len(t.users), len(t.weak), slices.Clone(t.problems), f.hashed.Load()
	return s
}
