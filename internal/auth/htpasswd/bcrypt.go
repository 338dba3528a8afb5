package htpasswd

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

const (
	// MaxBcryptCost is the highest cost of a hash that is accepted: cost 14
	// already takes close to a second.
	MaxBcryptCost = 14

	// DefaultBcryptCost is the cost of new hashes.
	DefaultBcryptCost = 10

	minBcryptCost = 4
	apacheMaxCost = 17 // what Apache's htpasswd makes at most

	// maxBcryptPassword is how many bytes bcrypt looks at.
	maxBcryptPassword = 72

	bcryptLen = 60 // "$2y$10$", 22 characters of salt, 31 of hash
)

func parseBcrypt(text string) (Hash, error) {
	if len(text) != bcryptLen || text[6] != '$' || !cryptText(text[7:]) {
		return Hash{}, errMalformed
	}
	cost, err := strconv.ParseUint(text[4:6], 10, 8)
	if err != nil || cost < minBcryptCost {
		return Hash{}, errMalformed
	}
	if cost > MaxBcryptCost {
		return Hash{}, errCost
	}
	return Hash{scheme: Bcrypt, cost: int(cost), sum: text}, nil
}

// matchesBcrypt compares no more than 72 bytes, because the library cuts there
// without a word, and refuses what was longer.
func (h Hash) matchesBcrypt(password string) bool {
	cut := password[:min(len(password), maxBcryptPassword)]
	return bcrypt.CompareHashAndPassword([]byte(h.sum), []byte(cut)) == nil && len(cut) == len(password)
}

// spendBcrypt takes the time of one check against a hash of that cost.
func spendBcrypt(password string, cost int) {
	text := fmt.Sprintf("$2y$%02d$%s", cost, strings.Repeat(".", bcryptLen-7))
	_ = Hash{scheme: Bcrypt, sum: text}.matchesBcrypt(password)
}

func makeBcrypt(password string, cost int) (string, error) {
	if len(password) > maxBcryptPassword {
		return "", &TooLongError{Scheme: Bcrypt, Max: maxBcryptPassword}
	}
	if cost == 0 {
		cost = DefaultBcryptCost
	}
	if cost < minBcryptCost || cost > apacheMaxCost {
		return "", errBcryptCost
	}
	text, err := bcrypt.GenerateFromPassword([]byte(password), cost)
	if err != nil {
		return "", fmt.Errorf("hash the password: %w", err)
	}
	text[2] = 'y' // as Apache marks it; 2a and 2y are one algorithm here
	return string(text), nil
}
