package password

import (
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

// The costs of bcrypt that are taken: below, a hash is found too fast; above, a sign-in takes seconds.
const (
	minBcryptCost = 10
	maxBcryptCost = 14
)

// maxBcrypt is the longest password that bcrypt hashes, in bytes. The library compares the first 72 of a longer one,
// and C programs end one at a NUL: either would let a password in that is not the user's.
const maxBcrypt = 72

// $2a$, $2b$ and $2y$ are one algorithm for passwords within these bounds. $2x$ marks hashes of a faulty one.
var bcryptForm = regexp.MustCompile(`^\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}$`)

type bcryptHash string

func parseBcrypt(stored string) (storedHash, error) {
	parts := bcryptForm.FindStringSubmatch(stored)
	if parts == nil {
		return nil, malformed("is no hash of bcrypt: want $2a$, $2b$ or $2y$, two digits, $ and 53 characters")
	}
	if cost, _ := strconv.Atoi(parts[1]); cost < minBcryptCost || cost > maxBcryptCost {
		return nil, malformedf("is of bcrypt with cost %d: want %d to %d", cost, minBcryptCost, maxBcryptCost)
	}
	return bcryptHash(stored), nil
}

func (b bcryptHash) matches(password string) bool {
	possible := len(password) <= maxBcrypt && !strings.Contains(password, "\x00")
	if !possible {
		password = "" // the work is done all the same: its time would tell whose hash is of bcrypt
	}
	return bcrypt.CompareHashAndPassword([]byte(b), []byte(password)) == nil && possible
}

func (bcryptHash) isCurrent() bool { return false }
