package htpasswd

// A work is how much hashing every failed log-in costs, whoever it was for: of
// each family of schemes that the file has, one check of its highest cost. So
// the time of an answer does not tell who has a line in the file, nor of which
// kind it is.
type work struct {
	bcrypt         int  // the highest cost; 0 if the file has none
	sha256, sha512 int  // the most rounds; 0 if the file has none
	md5            bool // it has $1$ or $apr1$
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
		w.md5 = true
	}
}

// A step is one check that is computed for its time only.
type step struct {
	scheme Scheme
	cost   int
}

// spend does the work of a failed log-in, less what checking done already
// cost; the zero Hash, of an unknown user, has cost nothing.
func (w work) spend(password string, done Hash) {
	password, _ = boundPassword(password)
	const salt = "................"
	for _, s := range w.rest(done) {
		switch s.scheme {
		case Bcrypt:
			spendBcrypt(password, s.cost)
		case SHA256Crypt, SHA512Crypt:
			shaCrypt(s.scheme, password, salt, s.cost)
		case APR1:
			md5Crypt(APR1, password, salt[:md5SaltMax])
		}
	}
}

// rest returns what is missing from done to the whole of w. It is exact, not
// estimated: each step of the bcrypt cost doubles the work, so checks of the
// costs c, c, c+1, … m-1 add up to one of cost m, and the rounds of SHA-crypt
// simply add up.
func (w work) rest(done Hash) []step {
	var steps []step
	if done.scheme != Bcrypt && w.bcrypt > 0 {
		steps = append(steps, step{Bcrypt, w.bcrypt})
	}
	if done.scheme == Bcrypt {
		for cost := done.cost; cost < w.bcrypt; cost++ {
			steps = append(steps, step{Bcrypt, cost})
		}
	}
	if rounds := w.sha256 - done.roundsOf(SHA256Crypt); rounds > 0 {
		steps = append(steps, step{SHA256Crypt, rounds})
	}
	if rounds := w.sha512 - done.roundsOf(SHA512Crypt); rounds > 0 {
		steps = append(steps, step{SHA512Crypt, rounds})
	}
	if w.md5 && done.scheme != APR1 && done.scheme != MD5Crypt {
		steps = append(steps, step{APR1, md5Rounds})
	}
	return steps
}

// roundsOf returns the rounds of h if it is of the scheme s.
func (h Hash) roundsOf(s Scheme) int {
	if h.scheme != s {
		return 0
	}
	return h.cost
}
