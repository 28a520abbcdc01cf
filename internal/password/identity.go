package password

import (
	"crypto/pbkdf2"
	"crypto/sha1" //nolint:gosec // for hashes that are there already
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"strings"
)

// The most that a hash of ASP.NET Core Identity may ask for, and the least that makes it one.
const (
	maxIterations = 1_000_000
	minPart       = 16 // bytes of salt, and of subkey
	maxPart       = 64
)

// identityHash is a hash of ASP.NET Core Identity's PasswordHasher: PBKDF2 with HMAC. Its bytes, in base64, are
//
//	version 2:  0, 16 of salt, 32 of subkey; SHA-1, 1,000 iterations
//	version 3:  1, PRF (0 SHA-1, 1 SHA-256, 2 SHA-512), iterations, length of the salt, each in 4 bytes, big-endian;
//	            the salt; the subkey
type identityHash struct {
	prf          func() hash.Hash
	iterations   int
	salt, subkey []byte
}

func parseIdentity(stored string) (storedHash, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(stored)
	if err != nil || base64.StdEncoding.EncodeToString(b) != stored { // the decoder passes over line breaks
		return nil, malformed("is no hash of ASP.NET Core Identity: it is not in base64")
	}
	switch {
	case b[0] == 0 && len(b) == 1+16+32:
		return identityHash{sha1.New, 1000, b[1:17], b[17:]}, nil
	case b[0] == 0:
		return nil, malformed("is no hash of ASP.NET Core Identity: version 2 has 49 bytes")
	case b[0] != 1 || len(b) < 13+2*minPart:
		return nil, malformed("is no hash of ASP.NET Core Identity: version 3 has 45 bytes or more, the first of which is 1")
	}
	prf, iterations, saltLen := binary.BigEndian.Uint32(b[1:]), binary.BigEndian.Uint32(b[5:]), binary.BigEndian.Uint32(b[9:])
	if saltLen < minPart || saltLen > maxPart || len(b) < 13+int(saltLen)+minPart || len(b) > 13+int(saltLen)+maxPart {
		return nil, malformedf("must have a salt and a subkey of %d to %d bytes", minPart, maxPart)
	}
	if iterations < 1 || iterations > maxIterations {
		return nil, malformedf("has %d iterations: want 1 to %d", iterations, maxIterations)
	}
	h := identityHash{iterations: int(iterations), salt: b[13 : 13+saltLen], subkey: b[13+saltLen:]}
	switch prf {
	case 0:
		h.prf = sha1.New
	case 1:
		h.prf = sha256.New
	case 2:
		h.prf = sha512.New
	default:
		return nil, malformed("names a function that ASP.NET Core Identity does not know: want 0, 1 or 2")
	}
	return h, nil
}

func (h identityHash) matches(password string) bool {
	// It fails only where a build of Go allows nothing but what FIPS 140 approves.
	subkey, err := pbkdf2.Key(h.prf, password, h.salt, h.iterations, len(h.subkey))
	// HMAC fills a key up with NULs, so that with some behind it the password would still be right.
	exact := !strings.HasSuffix(password, "\x00")
	return err == nil && exact && subtle.ConstantTimeCompare(subkey, h.subkey) == 1
}

func (identityHash) isCurrent() bool { return false }
