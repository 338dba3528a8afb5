package token

import (
	"encoding/base64"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"berth/internal/auth"
	"berth/internal/oci"
)

// A clock is set by hand.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func newIssuer(t testing.TB, key byte, c *clock) *Issuer {
	t.Helper()
	i, err := NewIssuer([]byte(strings.Repeat(string(rune(key)), KeySize)), c.now)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func repo(t testing.TB, s string) oci.Repo {
	t.Helper()
	r, err := oci.ParseRepo(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func someGrants(t testing.TB) auth.Grants {
	return auth.Grants{Catalog: true, Repos: []auth.RepoGrant{
		{Repo: repo(t, "a/b"), Actions: []auth.Action{auth.Pull, auth.Push}},
		{Repo: repo(t, "c"), Actions: []auth.Action{auth.Delete}},
	}}
}

func start() *clock { return &clock{time.Date(2026, 11, 24, 1, 2, 3, 4, time.FixedZone("x", 3600))} }

func TestIssueAndVerify(t *testing.T) {
	c := start()
	i := newIssuer(t, 'k', c)
	for _, who := range []auth.Principal{{}, {Name: "alice"}, {Name: "a:b \" ü\x00"}} {
		text, said, err := i.Issue(who, someGrants(t))
		if err != nil {
			t.Fatal(err)
		}
		got, err := i.Verify(text)
		if err != nil || !reflect.DeepEqual(got, said) || got.Principal != who {
			t.Errorf("got %+v, %v\nwant %+v", got, err, said)
		}
		if strings.ContainsAny(text, " \",;=") {
			t.Errorf("token %s would need quoting in a header", text)
		}
	}
}

func TestGrantsAllow(t *testing.T) {
	g := someGrants(t)
	tests := []struct {
		repo   string
		action auth.Action
		want   bool
	}{
		{"a/b", auth.Pull, true}, {"a/b", auth.Push, true}, {"a/b", auth.Delete, false},
		{"c", auth.Delete, true}, {"c", auth.Pull, false}, {"a", auth.Pull, false}, {"a/b/c", auth.Pull, false}, {"a/b", "", false},
	}
	for _, tt := range tests {
		if got := g.Allows(auth.Access{Repo: repo(t, tt.repo), Action: tt.action}); got != tt.want {
			t.Errorf("%s %s: got %v, want %v", tt.repo, tt.action, got, tt.want)
		}
	}
}

func TestVerifyTimes(t *testing.T) {
	tests := []struct {
		name  string
		after time.Duration
		want  error
	}{
		{"at once", 0, nil},
		{"just before the end", TTL - time.Second, nil},
		{"at the end", TTL, auth.ErrExpired},
		{"a long push", auth.Overtime, auth.ErrExpired},
		{"too long", TTL + auth.Overtime, auth.ErrInvalid},
		{"clock set back a little", -30 * time.Second, nil},
		{"clock set back an hour", -time.Hour, auth.ErrInvalid},
		{"ten years later", 10 * 365 * 24 * time.Hour, auth.ErrInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := start()
			i := newIssuer(t, 'k', c)
			text, _, err := i.Issue(auth.Principal{Name: "alice"}, auth.Grants{})
			if err != nil {
				t.Fatal(err)
			}
			c.t = c.t.Truncate(time.Second).Add(tt.after)
			got, err := i.Verify(text)
			if err != tt.want {
				t.Errorf("got error %v, want %v", err, tt.want)
			}
			if known := got.Principal.Name == "alice"; known == (err == auth.ErrInvalid) {
				t.Errorf("got %+v with %v", got, err)
			}
		})
	}
}

func TestVerifyRefuses(t *testing.T) {
	c := start()
	i := newIssuer(t, 'k', c)
	text, _, err := i.Issue(auth.Principal{Name: "alice"}, auth.Grants{})
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := newIssuer(t, 'x', c).Issue(auth.Principal{Name: "alice"}, auth.Grants{})
	if err != nil {
		t.Fatal(err)
	}
	payload := strings.Split(text, ".")[1]
	signed := func(body string) string {
		s := prefix + base64.RawURLEncoding.EncodeToString([]byte(body))
		return s + "." + i.sign(s)
	}
	tests := map[string]string{
		"empty":                "",
		"prefix only":          prefix,
		"another key":          other,
		"no signature":         prefix + payload,
		"empty signature":      prefix + payload + ".",
		"signature cut":        text[:len(text)-1],
		"signature longer":     text + "A",
		"signature twice":      text + text[strings.LastIndexByte(text, '.'):],
		"padded":               text + "=",
		"a space behind":       text + " ",
		"a space before":       " " + text,
		"a new line":           text[:len(text)-4] + "\n" + text[len(text)-4:],
		"upper case prefix":    strings.ToUpper(prefix) + text[len(prefix):],
		"signed prefix only":   prefix[:6] + "." + i.sign(prefix[:6]),
		"JWT without":          "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9.",
		"signed, no JSON":      signed("x"),
		"signed, not base64":   prefix + "***." + i.sign(prefix+"***"),
		"signed, bad name":     signed(`{"u":"a","i":1795480000,"e":1795490000,"r":[["UPPER","pull"]]}`),
		"signed, empty grant":  signed(`{"u":"a","i":1795480000,"e":1795490000,"r":[[]]}`),
		"too long":             prefix + strings.Repeat("A", MaxSize),
		"a megabyte of dots":   strings.Repeat(".", 1<<20),
		"payload of another":   prefix + strings.Split(other, ".")[1] + "A" + text[strings.LastIndexByte(text, '.'):],
		"signature of nothing": prefix + payload + "." + i.sign(""),
	}
	for name, s := range tests {
		t.Run(name, func(t *testing.T) {
			if got, err := i.Verify(s); err != auth.ErrInvalid || !reflect.DeepEqual(got, auth.Claims{}) {
				t.Errorf("got %+v, %v; want ErrInvalid", got, err)
			}
		})
	}
	for n := range len(text) { // every flipped bit
		b := []byte(text)
		b[n] ^= 1
		if _, err := i.Verify(string(b)); err != auth.ErrInvalid {
			t.Fatalf("byte %d changed: got %v, want ErrInvalid", n, err)
		}
	}
}

func TestNewIssuerKey(t *testing.T) {
	for _, n := range []int{0, 16, 31, 33} {
		if _, err := NewIssuer(make([]byte, n), time.Now); err == nil {
			t.Errorf("no error for a key of %d bytes", n)
		}
	}
	key := make([]byte, KeySize)
	i, err := NewIssuer(key, start().now)
	if err != nil {
		t.Fatal(err)
	}
	before := i.sign("x")
	key[0] = 1
	if i.sign("x") != before {
		t.Error("the issuer uses the caller's memory")
	}
}

func TestIssueTooMuch(t *testing.T) {
	var g auth.Grants
	for range MaxScopes {
		g.Repos = append(g.Repos, auth.RepoGrant{Repo: repo(t, strings.Repeat("a", 255)), Actions: []auth.Action{auth.Pull}})
	}
	if _, _, err := newIssuer(t, 'k', start()).Issue(auth.Principal{}, g); !errors.Is(err, ErrTooMany) {
		t.Errorf("got %v, want ErrTooMany", err)
	}
}

func FuzzVerify(f *testing.F) {
	c := start()
	i := newIssuer(f, 'k', c)
	text, _, err := i.Issue(auth.Principal{Name: "alice"}, someGrants(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add("")
	f.Add(prefix + ".")
	f.Fuzz(func(t *testing.T, s string) {
		if _, err := i.Verify(s); err == nil && s != text {
			t.Errorf("%q passes for a token", s)
		}
		// The same with a right signature: whatever the body is, it is read or
		// refused.
		body := prefix + base64.RawURLEncoding.EncodeToString([]byte(s))
		if got, err := i.Verify(body + "." + i.sign(body)); err == auth.ErrInvalid && !reflect.DeepEqual(got, auth.Claims{}) {
			t.Errorf("%q: got %+v with an error", s, got)
		}
	})
}
