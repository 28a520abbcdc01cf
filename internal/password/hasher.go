// Package password owns passwords: which ones are accepted, how they are hashed and how a hash is verified, also one that
// another program made.
//
// A password is used exactly as it was sent: not trimmed, not cut, not normalised. Hashing is the dearest thing that
// this server does, and anyone may ask for it, so a Hasher does only so much at once, and the rest waits or is refused.
package password

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

const (
	// maxWaiting is how many sign-ins, beyond those whose hash is under way, have begun to cost more than their own wait.
	maxWaiting = 64
	// maxCrowd is how many wait at all: each takes some 20 KiB of memory.
	maxCrowd = 1000
	// maxWait is how long somebody waits to begin, and after that for the hash.
	maxWait = 2 * time.Second
)

// ErrBusy says that so many hashes are under way that this one was not begun. Nothing was decided; ask again.
var ErrBusy = errors.New("password: too many hashes under way")

// Hasher hashes and verifies passwords, a bounded number at a time, first come, first served. It is safe for concurrent
// use.
type Hasher struct {
	slots   chan struct{}
	places  chan struct{}
	waiting atomic.Int64
	reserve reserve
	dummy   string
}

// NewHasher makes a Hasher that runs up to concurrency hashes at once, 19 MiB of memory each. Up to
// 1,000 others wait, for up to 2 s.
func NewHasher(concurrency int) *Hasher {
	return &Hasher{
		slots: make(chan struct{}, concurrency), places: make(chan struct{}, concurrency+maxWaiting),
		reserve: reserve{threads: concurrency}, dummy: encode(make([]byte, saltLen), make([]byte, hashLen)),
	}
}

// Admit takes one of as many places as hashes are under way and 64 more, for a caller that has other work to do before its
// hash. If none becomes free within 2 s, or before the context ends, or 1,000 wait already, it fails with ErrBusy: then that work would have been in
// vain. leave gives the place back.
//
// A client that leaves before it has a place has had nothing, so that is ErrBusy, too: it must not count as a guess.
//
// Whoever cannot be served is told so after the wait and not at once: many who are turned away at once come back at once,
// and a thousand of them would ask more of the server by that than all others do.
func (h *Hasher) Admit(ctx context.Context) (leave func(), err error) {
	if h.enter(ctx, h.places) != nil {
		return nil, ErrBusy
	}
	return func() { <-h.places }, nil
}

// Hash returns the PHC string of a password under a fresh salt. It fails only with ErrBusy or the context's error.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	if err := h.enter(ctx, h.slots); err != nil {
		return "", err
	}
	defer func() { <-h.slots }()
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
	if err := h.enter(ctx, h.slots); err != nil {
		return Verdict{}, err
	}
	defer func() { <-h.slots }()
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

// enter waits for room, for up to maxWait, unless there is a crowd already.
func (h *Hasher) enter(ctx context.Context, room chan<- struct{}) error {
	select {
	case room <- struct{}{}:
		return nil
	default:
	}
	if h.waiting.Add(1) > maxCrowd {
		h.waiting.Add(-1)
		return ErrBusy
	}
	defer h.waiting.Add(-1)
	h.reserve.call()
	timer := time.NewTimer(maxWait)
	defer timer.Stop()
	select {
	case room <- struct{}{}:
		return nil
	case <-timer.C:
		return ErrBusy
	case <-ctx.Done():
		return ctx.Err()
	}
}
