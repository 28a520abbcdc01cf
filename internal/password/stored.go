package password

import (
	"errors"
	"fmt"
	"strings"
)

// maxStored is the longest hash that the database's column takes, in bytes.
const maxStored = 255

// ErrMalformedHash says that a stored hash is not one that Verify understands.
var ErrMalformedHash = errors.New("password: malformed hash")

// malformed is an ErrMalformedHash that says in words what is wrong, without the hash.
type malformed string

func malformedf(format string, arguments ...any) error {
	return malformed(fmt.Sprintf(format, arguments...))
}

func (e malformed) Error() string { return string(e) }

// Is makes it an ErrMalformedHash.
func (malformed) Is(target error) bool { return target == ErrMalformedHash }

// storedHash is a hash of one of the forms, within the bounds of what verifying it may cost.
type storedHash interface {
	// matches does the whole work for any password of up to MaxBytes.
	matches(password string) bool
	// isCurrent says whether Hash makes hashes of this form and these parameters.
	isCurrent() bool
}

// CheckHash returns nil for a hash that Verify understands, and otherwise an ErrMalformedHash whose text says what is
// wrong with it, and does not repeat it.
func CheckHash(stored string) error {
	_, err := parse(stored)
	return err
}

// parse reads a hash and refuses one that would cost too much, before anything is spent on it: a row of the database
// must not be able to take the server's memory or its time.
func parse(stored string) (storedHash, error) {
	switch {
	case stored == "":
		return nil, malformed("is empty")
	case len(stored) > maxStored:
		return nil, malformedf("is longer than %d bytes", maxStored)
	case strings.HasPrefix(stored, "$argon2"):
		return parseArgon2(stored)
	case strings.HasPrefix(stored, "$2"):
		return parseBcrypt(stored)
	case stored[0] == 'A': // in base64, a first byte of 0 to 3
		return parseIdentity(stored)
	}
	return nil, malformed("is of no form that is known here: want argon2id ($argon2id$…), bcrypt ($2b$…) or ASP.NET Core Identity (AQ…)")
}
