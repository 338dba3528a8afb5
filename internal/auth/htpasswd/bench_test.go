package htpasswd

import (
	"encoding/binary"
	"net/netip"
	"os"
	"strings"
	"testing"

	"berth/internal/auth"
)

// BenchmarkAuthenticate shows what a log-in costs: nothing to speak of when it
// is remembered, and the same for every other user, known or not.
func BenchmarkAuthenticate(b *testing.B) {
	path := b.TempDir() + "/users"
	text := strings.Join([]string{"ten:$2y$10$" + bcOfP[7:], "eight:$2y$08$" + bcOfP[7:], "apr1:$apr1$Vo8UTm3h$2SvKU3xLhlW/2Da44hlGF1", "sha:" + shaOfP}, "\n")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	f, err := New(b.Context(), Options{Path: path})
	if err != nil {
		b.Fatal(err)
	}
	address := func(i int) netip.Addr { // another one each time, so that none is throttled
		return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, uint32(i))))
	}
	b.Run("remembered", func(b *testing.B) {
		for b.Loop() {
			if _, err := f.Authenticate(b.Context(), auth.Credentials{User: "sha", Password: "p"}); err != nil {
				b.Fatal(err)
			}
		}
	})
	n := 0
	for _, user := range []string{"ten", "eight", "apr1", "sha", "nobody"} {
		b.Run("wrong for "+user, func(b *testing.B) {
			for b.Loop() {
				n++
				if _, err := f.Authenticate(b.Context(), auth.Credentials{User: user, Password: "q", Address: address(n)}); err == nil {
					b.Fatal("let in")
				}
			}
		})
	}
}

// BenchmarkSpend shows what the dearest hashes that are accepted cost.
func BenchmarkSpend(b *testing.B) {
	for name, w := range map[string]work{
		"bcrypt 10": {bcrypt: 10}, "bcrypt 14": {bcrypt: MaxBcryptCost}, "SHA-256 rounds": {sha256: maxRounds},
		"SHA-512 rounds": {sha512: maxRounds}, "SHA-512 default": {sha512: defaultRounds}, "apr1": {md5: true},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				w.spend("correct horse battery", Hash{})
			}
		})
	}
}
