package password

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// The parameters of a new hash: the least that OWASP's Password Storage cheat sheet accepts, 19 MiB of memory and two
// passes, so that a server can check as many as possible at once.
const (
	memory  = 19 * 1024 // KiB
	passes  = 2
	threads = 1
	saltLen = 16
	hashLen = 32
)

// The most that a stored hash may ask for.
const (
	maxMemory  = 128 * 1024 // KiB
	maxPasses  = 10
	maxThreads = 4
)

// argon2id is a hash in the PHC string format.
type argon2id struct {
	memory, passes uint32
	threads        uint8
	salt, hash     []byte
}

// newHash hashes a password in today's form, under a fresh salt.
func newHash(password string) string {
	salt := make([]byte, saltLen)
	_, _ = rand.Read(salt) // never fails: it ends the program rather than return weak bytes
	return encode(salt, argon2.IDKey([]byte(password), salt, passes, memory, threads, hashLen))
}

func encode(salt, hash []byte) string {
	return argon2id{memory: memory, passes: passes, threads: threads, salt: salt, hash: hash}.String()
}

// String returns the PHC string.
func (a argon2id) String() string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, a.memory, a.passes, a.threads,
		base64.RawStdEncoding.EncodeToString(a.salt), base64.RawStdEncoding.EncodeToString(a.hash))
}

func (a argon2id) matches(password string) bool {
	hash := argon2.IDKey([]byte(password), a.salt, a.passes, a.memory, a.threads, uint32(len(a.hash))) //nolint:gosec // at most 64, see parse
	return subtle.ConstantTimeCompare(hash, a.hash) == 1
}

func (a argon2id) isCurrent() bool {
	return a.memory == memory && a.passes == passes && a.threads == threads && len(a.salt) == saltLen && len(a.hash) == hashLen
}

func parseArgon2(phc string) (storedHash, error) {
	var a argon2id
	var version int
	parts := strings.Split(phc, "$")
	if parts[1] != "argon2id" {
		return nil, malformed("is of another Argon2 than argon2id")
	}
	if len(parts) != 6 {
		return nil, errArgon2Form
	}
	if _, err := fmt.Sscanf(parts[2]+" "+parts[3], "v=%d m=%d,t=%d,p=%d", &version, &a.memory, &a.passes, &a.threads); err != nil {
		return nil, errArgon2Form
	}
	var saltErr, hashErr error
	a.salt, saltErr = base64.RawStdEncoding.Strict().DecodeString(parts[4])
	a.hash, hashErr = base64.RawStdEncoding.Strict().DecodeString(parts[5])
	switch {
	case version != argon2.Version:
		return nil, malformedf("is of version %d of Argon2: want %d", version, argon2.Version)
	// Sscanf is lenient about what stands behind the numbers: only the one spelling of these parameters will do.
	case saltErr != nil || hashErr != nil || a.String() != phc:
		return nil, errArgon2Form
	case a.passes < 1 || a.passes > maxPasses || a.threads < 1 || a.threads > maxThreads ||
		a.memory < 8*uint32(a.threads) || a.memory > maxMemory:
		return nil, malformedf("has parameters out of bounds: want m up to %d and at least 8 for each thread, t from 1 to %d, p from 1 to %d",
			maxMemory, maxPasses, maxThreads)
	case len(a.salt) < 8 || len(a.salt) > 64 || len(a.hash) < 16 || len(a.hash) > 64:
		return nil, malformed("must have a salt of 8 to 64 bytes and a hash of 16 to 64")
	}
	return a, nil
}

var errArgon2Form = malformed("is no PHC string of argon2id: want $argon2id$v=19$m=…,t=…,p=…$SALT$HASH, in base64 without padding")
