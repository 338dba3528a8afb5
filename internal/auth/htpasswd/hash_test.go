package htpasswd

import (
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
