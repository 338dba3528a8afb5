package htpasswd

import (
	"errors"
	"maps"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// vectors are hashes made by other programs: Apache's htpasswd, openssl passwd
// and libxcrypt.
func vectors() []struct{ name, password, text string } {
	return []struct{ name, password, text string }{
		{"Apache bcrypt short", "p", `$2y$04$5a6g2QTGYCQGKHBT28BmUebt5wz4/u4eOXkqw/4o97CclW7pE5IBS`},
		{"Apache apr1 short", "p", `$apr1$I02qMjsv$eTv1Ekfv8kKgc4PoiBKyC0`},
		{"Apache SHA short", "p", `{SHA}UWuXg/ylF+7L0dBk2i0WUxCxl1k=`},
		{"Apache SHA-256 short", "p", `$5$cy2bYU9DUHDVSEWS$oC2EJ01vP8VAJ7CoeFrZmpvDvDG02pLoS5WNo5oyDc6`},
		{"Apache SHA-512 short", "p", `$6$0XJvjc/hD7qfUo3P$jPFpPeIrjN.aXfy7IdcPnug/PeX6jfMpZERJkCF9hcF1sL7MimUFH5Bv6U/JJsA9FVNWTosyuWgSrWVYzwbCk/`},
		{"Apache bcrypt words", "correct horse", `$2y$04$J605HV9v8LTeNNKfDAevMevYbW9DEua26vGT11uRYyC0KUf9A7TH.`},
		{"Apache apr1 words", "correct horse", `$apr1$N0aZ0.gp$7e5dNI3.64iS2EJsrHY1r1`},
		{"Apache SHA words", "correct horse", `{SHA}L55TUjtiq8FBorTWAZ0jy6g129A=`},
		{"Apache SHA-256 words", "correct horse", `$5$Wh1gBLulwA0Nunma$J2WVynbQnBo6TpxctstfuzmL/Q6JuVekiTtAGFOtcu6`},
		{"Apache SHA-512 words", "correct horse", `$6$9A4M4b6NfN.KaI8z$CzdtT40WFQT1jt8w6i.md.MxyICaHt8q0JNBymvonF5QrZOa1xV.E9HJWdemnBKCowfuAdgpKecL1BgvPup1C1`},
		{"Apache bcrypt empty", "", `$2y$04$yaT2uWp76f0TvYExmwaT7e9NDjIqKv/iw9.eTNEV1utP7JHRkPA0u`},
		{"Apache apr1 empty", "", `$apr1$sMYPqnJb$G6uzc/lHoS4msJGya2V3A/`},
		{"Apache SHA empty", "", `{SHA}2jmj7l5rSw0yVb/vlWAYkK/YBwk=`},
		{"Apache SHA-256 empty", "", `$5$ZOx3uWoWVuIZkCVQ$rE5lIyY0arUN/My4QUU..uVxOjVE2G9VyN1GdKfxAM2`},
		{"Apache SHA-512 empty", "", `$6$f7E6dFFm0Y0V0VOs$fDqVYxPJUYv/TJliAkbHZQ0/3laSlLEbNuwZo/suFx6cnjiX3Eym640848Ys5gEnkShb0tykWNjbFbdTXuPZx0`},
		{"Apache bcrypt umlaut", "pässwörd", `$2y$04$TsFD2PDNUrdWohgqnDJolu7.h6M5Mdo/Wvm2ctLIefcw3RoSzsYuS`},
		{"Apache apr1 umlaut", "pässwörd", `$apr1$6qdP/cxl$tVT7up8sYeO/izbljJdHq.`},
		{"Apache SHA umlaut", "pässwörd", `{SHA}9Rfd8dMqES/xrVXGbRsSyzjn6Pc=`},
		{"Apache SHA-256 umlaut", "pässwörd", `$5$icMV3rnQPlq3rs7N$aF3PYBLLe7xxczDqvnZMYbNLwBAhZH3UzHx9JYpvz02`},
		{"Apache SHA-512 umlaut", "pässwörd", `$6$JWCcWRGV7cIB/1eZ$8MIozR286lFe8y1lCokea8PiBCGnmBPHYZqYbgE1oHx/8hn9zQjXDd3VaK2R6xnrnvX/p71yLsx8RL.1epZR90`},
		{"Apache bcrypt sixteen", "0123456789abcdef", `$2y$04$sKVeqUjziZHy4k9wF4U0KuaxQT4C1vCXUQWEmSQ/IA3wNEvIZzXU6`},
		{"Apache apr1 sixteen", "0123456789abcdef", `$apr1$OninVOw8$i79oXxtvnMnQ28kPl0Xt.1`},
		{"Apache SHA sixteen", "0123456789abcdef", `{SHA}/lVn6NdpVQhSGCzfaddLsW3/jik=`},
		{"Apache SHA-256 sixteen", "0123456789abcdef", `$5$UiTTyZhwOa2FLgUA$c9yEdwE2C4PgOnknDS0RfhLGSshfHkJBFtuTCYUxcSB`},
		{"Apache SHA-512 sixteen", "0123456789abcdef", `$6$F742B5.qeSVx6LgY$NdADotBLysSOzFS2JaBdgrSzpT19/jwXzVR7MVXi6kMLKvzbKcmVFPyrfFjtaFxRJVZOifmhKXmRB4BEh8BAx1`},
		{"Apache bcrypt long", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaabc", `$2y$04$fzosa6i4XAd5z.9T1joT9uAKkm4yZQug0/zghhT9cqwSnNkIG.9Jq`},
		{"Apache apr1 long", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaabc", `$apr1$0EkfEqE8$LYwFyz8..J6L4GUiOB6yB0`},
		{"Apache SHA long", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaabc", `{SHA}Ivsa7cQohZK8pxW6nOHmFH4Ytoo=`},
		{"Apache SHA-256 long", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaabc", `$5$RNr1pIixOxwBcFMf$jjermpcolnxBvoHmNVomAOS1evRwg3c1OntOGOa9pB3`},
		{"Apache SHA-512 long", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaabc", `$6$JOaZNxCciRQz3ZzB$3M2LIZHXJSo2iuI2kSzpce6orH1Jyuz3IlL2BXh.4sTc127Rqc/dv8L3BmeebOAudl6YndGZYgnKRRc3MY4tg.`},
		{"Apache SHA-256 rounds", "p", `$5$rounds=1000$O6XCA9Ny.4UItLy7$TX5tGRz70kUPij6lq7LmJmFKTJ.BL0sC4QIhT/sosZ7`},
		{"Apache SHA-512 rounds", "p", `$6$rounds=1234$lPno.S65SvD/FXXr$ntVKMFzRxmstzc0dhNKEsJ79F..0TvNMwAA.8VVrefhThBGQ6p.rfThFzjoE4MjWk6xbmldfZEjmSS7X4cUJ30`},
		{"openssl MD5", "correct horse", `$1$mNs77bq1$oyRxvoxPtKGiNuQ/jxwbw1`},
		{"openssl MD5 short salt", "p", `$1$ab$lTzPedJomxi5Cai/PnmfX.`},
		{"openssl apr1 short salt", "p", `$apr1$x$ya00XvwA0viq10Nb5bv6L.`},
		{"openssl SHA-256 short salt", "p", `$5$ab$.u6xZl0Lo0bPDqKr8OQCjZwHJsk/TeRzog85vu6a3E.`},
		{"openssl SHA-512", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", `$6$saltstring$uWN9pY.KhGnare7fKkHaJ9Yigj/zTvsnRxehbi1IxTIsxWCwSiZFnGzN/eYmk8cr7nzuA.isHBIgOiu1Ihu0Z0`},
		{"libxcrypt 2a", "p", `$2a$04$abcdefghijklmnopqrstuudMegMbPN37MbpdEfAtP66w1z0RBCtLG`},
		{"libxcrypt 2b", "p", `$2b$04$abcdefghijklmnopqrstuudMegMbPN37MbpdEfAtP66w1z0RBCtLG`},
		{"libxcrypt 2y", "päss", `$2y$04$abcdefghijklmnopqrstuuF7KK/SfP9IRGj0pPJMr8GdtCS8xpmpC`},
		{"salted SHA-1", "p", `{SSHA}KVznuh4n9gPoTRC56Cp+JXDfvJxzYWx0`},
	}
}

func TestMatches(t *testing.T) {
	for _, tt := range vectors() {
		t.Run(tt.name, func(t *testing.T) {
			h, err := ParseHash(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if !h.Matches(tt.password) {
				t.Error("got no match for the right password")
			}
			for _, wrong := range []string{tt.password + "x", "x" + tt.password, "", tt.text, tt.password + "\x00"} {
				if wrong != tt.password && h.Matches(wrong) {
					t.Errorf("got a match for %q", wrong)
				}
			}
			if s := h.String(); strings.Contains(s, h.sum) || strings.Contains(s, tt.text) {
				t.Errorf("String tells the hash: %q", s)
			}
		})
	}
}

// TestParseHashRefuses holds which hashes never match, and that the reason
// tells nothing of them.
func TestParseHashRefuses(t *testing.T) {
	const sum22, sum43 = "OF8fIHegSxIdrNQlod3gk.", "hO9nquVYWgyutg5sWJmUqZ2sljJ51uO87dOnOjcSWa7"
	const bcrypt53 = "abcdefghijklmnopqrstuudMegMbPN37MbpdEfAtP66w1z0RBCtLG"
	tests := []struct {
		name, text string
		want       error
	}{
		{"nothing", "", errEmptyHash},
		{"DES crypt", "/odsO6SZd14sc", errDES},
		{"clear text", "secret", errClear},
		{"clear text of 13 characters", "!odsO6SZd14sc", errClear},
		{"yescrypt", "$y$j9T$abcdefgh$" + sum43, errUnknown},
		{"LDAP plain", "{PLAIN}secret", errUnknown},
		{"argon2", "$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA", errUnknown},
		{"bcrypt 2x", "$2x$05$" + bcrypt53, errUnknown},
		{"bcrypt cost 15", "$2y$15$" + bcrypt53, errCost},
		{"bcrypt cost 31", "$2b$31$" + bcrypt53, errCost},
		{"bcrypt cost 3", "$2y$03$" + bcrypt53, errMalformed},
		{"bcrypt cost signed", "$2y$+5$" + bcrypt53, errMalformed},
		{"bcrypt cut", "$2y$05$" + bcrypt53[:52], errMalformed},
		{"bcrypt longer", "$2y$05$" + bcrypt53 + "a", errMalformed},
		{"bcrypt, wrong alphabet", "$2y$05$=" + bcrypt53[1:], errMalformed},
		{"bcrypt, only the mark", "$2y$", errMalformed},
		{"SHA-256, no hash", "$5$salt", errMalformed},
		{"SHA-256 cut", "$5$salt$" + sum43[:42], errMalformed},
		{"SHA-256, salt too long", "$5$0123456789abcdefg$" + sum43, errMalformed},
		{"SHA-256, rounds too few", "$5$rounds=999$salt$" + sum43, errMalformed},
		{"SHA-256, rounds with zero", "$5$rounds=05000$salt$" + sum43, errMalformed},
		{"SHA-256, rounds no number", "$5$rounds=x$salt$" + sum43, errMalformed},
		{"SHA-256, rounds and nothing", "$5$rounds=5000", errMalformed},
		{"SHA-256, absurd rounds", "$5$rounds=999999999$salt$" + sum43, errRounds},
		{"SHA-256, one round too many", "$5$rounds=1000001$salt$" + sum43, errRounds},
		{"SHA-256, rounds out of range", "$5$rounds=99999999999999999999$salt$" + sum43, errMalformed},
		{"SHA-512 with a hash of 256", "$6$salt$" + sum43, errMalformed},
		{"apr1 cut", "$apr1$salt$" + sum22[1:], errMalformed},
		{"apr1, salt too long", "$apr1$saltsalts$" + sum22, errMalformed},
		{"MD5, wrong alphabet", "$1$salt$!" + sum22[1:], errMalformed},
		{"SHA-1, no base64", "{SHA}%%%", errMalformed},
		{"SHA-1, short", "{SHA}c2hvcnQ=", errMalformed},
		{"SHA-1, long", "{SHA}UWuXg/ylF+7L0dBk2i0WUxCxl1lYWFg=", errMalformed},
		{"salted SHA-1 without salt", "{SSHA}UWuXg/ylF+7L0dBk2i0WUxCxl1k=", errMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, err := ParseHash(tt.text)
			if err != tt.want {
				t.Fatalf("got %v, %v, want error %v", h, err, tt.want)
			}
			if h.Matches(tt.text) || h.Matches("") || h.Matches("secret") {
				t.Error("a hash that could not be read matches")
			}
			if len(tt.text) > 4 && strings.Contains(err.Error(), tt.text) {
				t.Errorf("the error tells the hash: %v", err)
			}
		})
	}
}

// TestLongPasswords holds that no password matches by a part of it.
func TestLongPasswords(t *testing.T) {
	for _, scheme := range []Scheme{Bcrypt, SHA256Crypt, SHA512Crypt, APR1, SHA1} {
		t.Run(scheme.String(), func(t *testing.T) {
			longest := strings.Repeat("0123456789abcdef", maxPassword/16)
			if scheme == Bcrypt {
				longest = longest[:maxBcryptPassword]
			}
			h := made(t, scheme, longest)
			if !h.Matches(longest) {
				t.Error("got no match for the longest password")
			}
			for _, longer := range []string{longest + "x", longest + "\x00", longest + longest} {
				if h.Matches(longer) {
					t.Errorf("got a match for %d bytes", len(longer))
				}
			}
			_, err := Make(scheme, longest+"x", minCost(scheme))
			if _, ok := errors.AsType[*TooLongError](err); !ok {
				t.Errorf("made a hash of %d bytes, error %v", len(longest)+1, err)
			}
		})
	}
	// What a program that cuts at 72 bytes stored must not be opened by 80.
	cut := made(t, Bcrypt, strings.Repeat("a", 72))
	if cut.Matches(strings.Repeat("a", 80)) {
		t.Error("got a match for 80 bytes where 72 were hashed")
	}
}

func TestMakeRefuses(t *testing.T) {
	tests := []struct {
		name, password string
		scheme         Scheme
		cost           int
	}{
		{"NUL", "a\x00b", Bcrypt, 4},
		{"bcrypt cost too low", "a", Bcrypt, 3},
		{"bcrypt cost too high", "a", Bcrypt, 18},
		{"rounds too few", "a", SHA256Crypt, 999},
		{"rounds too many", "a", SHA512Crypt, 1_000_001},
		{"MD5 crypt is only read", "a", MD5Crypt, 0},
		{"no scheme", "a", 0, 0},
	}
	for _, tt := range tests {
		if text, err := Make(tt.scheme, tt.password, tt.cost); err == nil {
			t.Errorf("%s: got %q, want an error", tt.name, text)
		}
	}
}

// made returns a new hash of password, as cheap as may be.
func made(t *testing.T, s Scheme, password string) Hash {
	t.Helper()
	text, err := Make(s, password, minCost(s))
	if err != nil {
		t.Fatal(err)
	}
	h, err := ParseHash(text)
	if err != nil {
		t.Fatalf("made a hash that cannot be read: %v", err)
	}
	if h.Scheme() != s {
		t.Fatalf("made %v, want %v", h.Scheme(), s)
	}
	return h
}

func minCost(s Scheme) int {
	switch s {
	case Bcrypt:
		return minBcryptCost
	case SHA256Crypt, SHA512Crypt:
		return minRounds
	}
	return 0
}

// TestOpenSSL compares with openssl passwd, over passwords and salts of every
// length up to beyond a block of the hash.
func TestOpenSSL(t *testing.T) {
	if err := exec.Command("openssl", "passwd", "-6", "-salt", "x", "x").Run(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("openssl is needed: %v", err)
		}
		t.Skipf("SKIPPED, nothing compared: openssl is needed: %v", err)
	}
	for _, tt := range []struct {
		flag    string
		saltMax int
	}{{"-apr1", 8}, {"-1", 8}, {"-5", 16}, {"-6", 16}} {
		t.Run(tt.flag, func(t *testing.T) {
			var passwords []string
			for n := range 140 {
				passwords = append(passwords, strings.Repeat("0123456789ü", 14)[:n])
			}
			salt := "saltSALT./012345"[:tt.saltMax]
			for i, text := range openssl(t, tt.flag, salt, passwords[1:]) {
				checkVector(t, passwords[i+1], text)
			}
			for n := 1; n < tt.saltMax; n++ {
				checkVector(t, "password", openssl(t, tt.flag, salt[:n], []string{"password"})[0])
			}
		})
	}
}

func openssl(t *testing.T, flag, salt string, passwords []string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "openssl", "passwd", flag, "-salt", salt, "-stdin")
	cmd.Stdin = strings.NewReader(strings.Join(passwords, "\n") + "\n")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(string(out))
	if len(lines) != len(passwords) {
		t.Fatalf("openssl made %d hashes of %d passwords", len(lines), len(passwords))
	}
	return lines
}

func checkVector(t *testing.T, password, text string) {
	t.Helper()
	h, err := ParseHash(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if !h.Matches(password) {
		t.Errorf("%s does not match %q", text, password)
	}
	if h.Matches(password + "x") {
		t.Errorf("%s matches too much", text)
	}
}

// TestWork holds that checking a hash and the rest of the work add up to the
// same amount for everybody.
func TestWork(t *testing.T) {
	hashes := []Hash{
		{}, // an unknown user
		{scheme: Bcrypt, cost: 4}, {scheme: Bcrypt, cost: 9}, {scheme: Bcrypt, cost: 12},
		{scheme: SHA256Crypt, cost: 5000}, {scheme: SHA512Crypt, cost: 5000}, {scheme: SHA512Crypt, cost: 656_000},
		{scheme: APR1}, {scheme: MD5Crypt}, {scheme: SHA1},
	}
	var w work
	for _, h := range hashes {
		w.cover(h)
	}
	want := map[Scheme]int{Bcrypt: 1 << 12, SHA256Crypt: 5000, SHA512Crypt: 656_000, APR1: md5Rounds}
	for _, h := range hashes {
		got := map[Scheme]int{}
		count := func(s Scheme, cost int) {
			switch s {
			case Bcrypt:
				cost = 1 << cost
			case APR1, MD5Crypt:
				s, cost = APR1, md5Rounds
			}
			got[s] += cost
		}
		if h.scheme != 0 && h.scheme != SHA1 {
			count(h.scheme, h.cost)
		}
		for _, s := range w.rest(h) {
			count(s.scheme, s.cost)
		}
		if !maps.Equal(got, want) {
			t.Errorf("%v: got %v, want %v", h, got, want)
		}
	}
}

func FuzzHash(f *testing.F) {
	for _, v := range vectors() {
		f.Add(v.text, v.password)
	}
	f.Add("$5$rounds=1000$$", "")
	f.Add("{SSHA}", "x")
	f.Fuzz(func(t *testing.T, text, password string) {
		h, err := ParseHash(text)
		if err != nil {
			return
		}
		if h.cost > 5000 || h.scheme == Bcrypt && h.cost > 4 {
			return // too slow to try many
		}
		if h.Matches(text) {
			t.Errorf("%q matches itself", text)
		}
		if h.Matches(password + "\x00" + password) {
			t.Errorf("%q matches a password with NUL", text)
		}
		var w work
		w.cover(h)
		w.spend(password, Hash{})
	})
}
