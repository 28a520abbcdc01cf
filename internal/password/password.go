// Package password owns passwords: which ones are accepted, how they are hashed and how a hash is verified.
//
// A password is used exactly as it was sent: not trimmed, not cut, not normalised. Hashing is the dearest thing that
// this server does, and anyone may ask for it, so a Hasher does only so much at once and refuses the rest at once.
package password

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
)

// The policy: at least 8 code points (ASVS 6.2.1), at most 128 and 512 bytes so that no request costs more than
// another, and no rule of composition (ASVS 6.2.5, NIST SP 800-63B-4 section 3.1.1.2).
const (
	MinLength = 8
	MaxLength = 128
	MaxBytes  = 512
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

// The most that a stored hash may ask for. A row of the database must not be able to take the server's memory.
const (
	maxMemory  = 128 * 1024 // KiB
	maxPasses  = 10
	maxThreads = 4
)

const (
	maxWaiting = 64
	maxWait    = 2 * time.Second
)

var (
	// ErrTooShort says that a password has fewer than MinLength code points.
	ErrTooShort = fmt.Errorf("must have at least %d characters", MinLength)
	// ErrTooLong says that a password has more than MaxLength code points or MaxBytes bytes.
	ErrTooLong = fmt.Errorf("must have at most %d characters and %d bytes", MaxLength, MaxBytes)
	// ErrNotText says that a password is not valid UTF-8, so that no JSON could ever carry it.
	ErrNotText = errors.New("must be text in UTF-8")
	// ErrBusy says that so many hashes are under way that this one was not begun. Nothing was decided; ask again.
	ErrBusy = errors.New("password: too many hashes under way")
	// ErrMalformedHash says that a stored hash is not one that Verify understands.
	ErrMalformedHash = errors.New("password: malformed hash")
)

// Check returns nil for a password that the policy accepts, and ErrTooShort, ErrTooLong or ErrNotText otherwise.
func Check(password string) error {
	switch n := utf8.RuneCountInString(password); {
	case n < MinLength:
		return ErrTooShort
	case n > MaxLength || len(password) > MaxBytes:
		return ErrTooLong
	case !utf8.ValidString(password):
		return ErrNotText
	}
	return nil
}

// Hasher hashes and verifies passwords, a bounded number at a time. It is safe for concurrent use.
type Hasher struct {
	slots   chan struct{}
	waiting atomic.Int64
	dummy   string
}

// NewHasher makes a Hasher that runs up to concurrency hashes at once, 19 MiB of memory each. Up to 64 more wait, for
// up to 2 s.
func NewHasher(concurrency int) *Hasher {
	h := &Hasher{slots: make(chan struct{}, concurrency)}
	h.dummy = encode(make([]byte, saltLen), make([]byte, hashLen))
	return h
}

// Hash returns the PHC string of a password under a fresh salt. It fails only with ErrBusy or the context's error.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	if err := h.enter(ctx); err != nil {
		return "", err
	}
	defer h.leave()
	salt := make([]byte, saltLen)
	_, _ = rand.Read(salt) // never fails: it ends the program rather than return weak bytes
	return encode(salt, argon2.IDKey([]byte(password), salt, passes, memory, threads, hashLen)), nil
}

// Verify tells whether a password has this PHC string, which Hash made. It fails with ErrBusy, the context's error or
// ErrMalformedHash. A password beyond the policy's upper bounds is wrong without being hashed: no such one was ever set.
func (h *Hasher) Verify(ctx context.Context, password, phc string) (bool, error) {
	p, err := parse(phc)
	if err != nil {
		return false, err
	}
	if errors.Is(Check(password), ErrTooLong) {
		return false, nil
	}
	if err := h.enter(ctx); err != nil {
		return false, err
	}
	defer h.leave()
	hash := argon2.IDKey([]byte(password), p.salt, p.passes, p.memory, p.threads, uint32(len(p.hash))) //nolint:gosec // at most 64, see parse
	return subtle.ConstantTimeCompare(hash, p.hash) == 1, nil
}

// VerifyNone does what Verify does, for an account that does not exist: the same work, so that the time of an answer
// does not tell which names there are.
func (h *Hasher) VerifyNone(ctx context.Context, password string) error {
	_, err := h.Verify(ctx, password, h.dummy)
	return err
}

func (h *Hasher) enter(ctx context.Context) error {
	select {
	case h.slots <- struct{}{}:
		return nil
	default:
	}
	if h.waiting.Add(1) > maxWaiting {
		h.waiting.Add(-1)
		return ErrBusy
	}
	defer h.waiting.Add(-1)
	timer := time.NewTimer(maxWait)
	defer timer.Stop()
	select {
	case h.slots <- struct{}{}:
		return nil
	case <-timer.C:
		return ErrBusy
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *Hasher) leave() { <-h.slots }

type parameters struct {
	memory, passes uint32
	threads        uint8
	salt, hash     []byte
}

// String returns the PHC string.
func (p parameters) String() string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, p.memory, p.passes, p.threads,
		base64.RawStdEncoding.EncodeToString(p.salt), base64.RawStdEncoding.EncodeToString(p.hash))
}

func encode(salt, hash []byte) string {
	return parameters{memory: memory, passes: passes, threads: threads, salt: salt, hash: hash}.String()
}

func parse(phc string) (parameters, error) {
	var p parameters
	var version int
	parts := strings.Split(phc, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" {
		return p, ErrMalformedHash
	}
	if _, err := fmt.Sscanf(parts[2]+" "+parts[3], "v=%d m=%d,t=%d,p=%d", &version, &p.memory, &p.passes, &p.threads); err != nil {
		return p, ErrMalformedHash
	}
	var saltErr, hashErr error
	p.salt, saltErr = base64.RawStdEncoding.Strict().DecodeString(parts[4])
	p.hash, hashErr = base64.RawStdEncoding.Strict().DecodeString(parts[5])
	inBounds := version == argon2.Version && 1 <= p.passes && p.passes <= maxPasses && 1 <= p.threads && p.threads <= maxThreads &&
		8*uint32(p.threads) <= p.memory && p.memory <= maxMemory &&
		8 <= len(p.salt) && len(p.salt) <= 64 && 16 <= len(p.hash) && len(p.hash) <= 64
	// Sscanf is lenient about what stands behind the numbers: only the one spelling of these parameters will do.
	if saltErr != nil || hashErr != nil || !inBounds || p.String() != phc {
		return p, ErrMalformedHash
	}
	return p, nil
}
