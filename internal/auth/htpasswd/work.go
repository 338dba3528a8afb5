package htpasswd

// A work is how much hashing every failed log-in costs, whoever it was for: of
// each family of schemes that the file has, one check of its highest cost. So
// the time of an answer does not tell who has a line in the file, nor of which
// kind it is.
type work struct {
	bcrypt         int // the highest cost; 0 if the file has none
	sha256, sha512 int // the most rounds; 0 if the file has none
	md5            int // 1000 if the file has $1$ or $apr1$
}

// cover raises w so that h costs no more than it.
func (w *work) cover(h Hash) {
	switch h.scheme {
	case Bcrypt:
		w.bcrypt = max(w.bcrypt, h.cost)
	case SHA256Crypt:
		w.sha256 = max(w.sha256, h.cost)
	case SHA512Crypt:
		w.sha512 = max(w.sha512, h.cost)
	case APR1, MD5Crypt:
		w.md5 = md5Rounds
	}
}

// spend does the work of a failed log-in, less what checking done already
// cost; the zero Hash, of an unknown user, has cost nothing.
//
// The rest is exact, not estimated: each step of the bcrypt cost doubles the
// work, so checks of the costs c, c, c+1, … m-1 add up to one of cost m, and
// the rounds of SHA-crypt simply add up.
func (w work) spend(password string, done Hash) {
	password, _ = boundPassword(password)
	switch {
	case w.bcrypt == 0:
	case done.scheme != Bcrypt:
		spendBcrypt(password, w.bcrypt)
	default:
		for cost := done.cost; cost < w.bcrypt; cost++ {
			spendBcrypt(password, cost)
		}
	}
	const salt = "................"
	if rounds := w.sha256 - done.roundsOf(SHA256Crypt); rounds > 0 {
		shaCrypt(SHA256Crypt, password, salt, rounds)
	}
	if rounds := w.sha512 - done.roundsOf(SHA512Crypt); rounds > 0 {
		shaCrypt(SHA512Crypt, password, salt, rounds)
	}
	if w.md5 > 0 && done.scheme != APR1 && done.scheme != MD5Crypt {
		md5Crypt(APR1, password, salt[:md5SaltMax])
	}
}

// roundsOf returns the rounds of h if it is of the scheme s.
func (h Hash) roundsOf(s Scheme) int {
	if h.scheme != s {
		return 0
	}
	return h.cost
}
