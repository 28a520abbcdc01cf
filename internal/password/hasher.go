// Package password owns passwords: which ones are accepted, how they are hashed and how a hash is verified, also one that
// another program made.
//
// A password is used exactly as it was sent: not trimmed, not cut, not normalised. Hashing is the dearest thing that
// this server does, and anyone may ask for it, so a Hasher does only so much at once and refuses the rest at once.
package password

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

const (
	maxWaiting = 64
	maxWait    = 2 * time.Second
)

// ErrBusy says that so many hashes are under way that this one was not begun. Nothing was decided; ask again.
var ErrBusy = errors.New("password: too many hashes under way")

// Hasher hashes and verifies passwords, a bounded number at a time. It is safe for concurrent use.
type Hasher struct {
	slots   chan struct{}
	places  chan struct{}
	waiting atomic.Int64
	dummy   string
}

// NewHasher makes a Hasher that runs up to concurrency hashes at once, 19 MiB of memory each. Up to 64 more wait, for
// up to 2 s.
func NewHasher(concurrency int) *Hasher {
	return &Hasher{
		slots: make(chan struct{}, concurrency), places: make(chan struct{}, concurrency+maxWaiting),
		dummy: encode(make([]byte, saltLen), make([]byte, hashLen)),
	}
}

// Admit takes one of as many places as hashes can be under way or wait, for a caller that has other work to do before
// its hash, or fails with ErrBusy at once: then that work would have been in vain. leave gives the place back.
func (h *Hasher) Admit() (leave func(), err error) {
	select {
	case h.places <- struct{}{}:
		return func() { <-h.places }, nil
	default:
		return nil, ErrBusy
	}
}

// Hash returns the PHC string of a password under a fresh salt. It fails only with ErrBusy or the context's error.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	if err := h.enter(ctx); err != nil {
		return "", err
	}
	defer h.leave()
	return newHash(password), nil
}

// Verdict is what Verify found.
type Verdict struct {
	Right bool
	// Replacement is the hash that Hash would give, to be stored from now on, where the password is right and the stored
	// hash has another form or other parameters; otherwise "".
	Replacement string
}

// Verify tells whether a password has a stored hash: one that Hash made, or one of another program's that CheckHash
// accepts. It fails with ErrBusy, the context's error or, before any work, ErrMalformedHash. A password beyond the
// policy's upper bounds is wrong without being hashed: no such one was ever set.
//
// A right and a wrong password take the same time: one hash of today's form, and where the stored one has another, that
// before it.
func (h *Hasher) Verify(ctx context.Context, password, stored string) (Verdict, error) {
	hash, err := parse(stored)
	if err != nil || tooLong(password) {
		return Verdict{}, err
	}
	if err := h.enter(ctx); err != nil {
		return Verdict{}, err
	}
	defer h.leave()
	right := hash.matches(password)
	if hash.isCurrent() {
		return Verdict{Right: right}, nil
	}
	replacement := newHash(password) // for a wrong password too, whose answer would come sooner without it
	if !right {
		return Verdict{}, nil
	}
	return Verdict{Right: true, Replacement: replacement}, nil
}

// VerifyNone does what Verify does, for an account that does not exist: the same work as for a hash of today's form, so
// that the time of an answer does not tell which names there are.
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
