package htpasswd

import "testing"

func BenchmarkSpend(b *testing.B) {
	for name, w := range map[string]work{
		"bcrypt10": {bcrypt: 10}, "bcrypt14": {bcrypt: 14}, "sha256-1M": {sha256: maxRounds}, "sha512-1M": {sha512: maxRounds},
		"sha512-5000": {sha512: 5000}, "md5": {md5: md5Rounds},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				w.spend("correct horse battery", Hash{})
			}
		})
	}
}
