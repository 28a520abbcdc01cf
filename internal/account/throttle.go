package account

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"latchkey/internal/audit"
	"latchkey/internal/store"
)

// Guessing at one name becomes slow: after five failures in a row each further one doubles the wait, from a second to a
// quarter of an hour, which leaves a guesser 96 attempts a day (NIST SP 800-63B-4, section 3.2.2, asks for a limit). The
// count is forgotten after a success, or a day without an attempt: waiting that day gains a guesser nothing.
const (
	freeFailures = 5
	firstWait    = time.Second
	longestWait  = 15 * time.Minute
)

// ForgetAfter is how long after the last attempt at a name the failures at it are forgotten.
const ForgetAfter = 24 * time.Hour

// FamiliarTime is for how long after a sign-in its network is taken for one of the owner's.
const FamiliarTime = 30 * 24 * time.Hour

// clockTolerance is how far ahead of this server's clock a charge may have been made: by a replica whose clock differs.
const clockTolerance = time.Minute

// maxCharges bounds how often a charge is tried again because a parallel attempt came first. The sixth of them is
// refused, so more than that takes successes in between.
const maxCharges = 20

// throttleTime bounds each change of a throttle. It is made even if the client has left: a charge that is written, but
// whose answer the client did not wait for, could not be taken back.
const throttleTime = 5 * time.Second

// errUndecided is what came of an attempt that did not come to its end.
var errUndecided = errors.New("account: undecided")

// ThrottledError says that there have been too many wrong guesses at a name, whether or not it exists. Nothing was
// decided and nothing counted.
type ThrottledError struct {
	// Wait is how long the next attempt has to wait.
	Wait time.Duration
}

// Error says how long to wait.
func (e *ThrottledError) Error() string {
	return fmt.Sprintf("account: too many failed attempts, wait %s", e.Wait)
}

// waitAfter is the wait before the next attempt, after so many failures in a row.
func waitAfter(failures int) time.Duration {
	switch n := failures - freeFailures; {
	case n < 0:
		return 0
	case n < 10: // 2^10 s is beyond the longest
		return firstWait << n
	}
	return longestWait
}

// charged counts one more attempt, as a failure until it is known to be none, or returns how long it has to wait: then
// nothing is counted, so that attempts during a wait do not lengthen it.
func charged(t store.LoginThrottle, now time.Time) (next store.LoginThrottle, wait time.Duration) {
	switch age := now.Sub(t.ChargedAt); {
	case age > ForgetAfter:
		t.Failures, t.BlockedUntil = 0, time.Time{}
	case age < -clockTolerance: // a clock was set back: it would close the name for as long as that
		t.BlockedUntil = time.Time{}
	}
	// Never longer than the count says: a parallel attempt, or one at another server, may have been charged a little later
	// than now, so that the first five would be in each other's way.
	if wait := min(t.BlockedUntil.Sub(now), waitAfter(t.Failures)); wait > 0 {
		return t, wait
	}
	t.Failures++
	t.ChargedAt, t.BlockedUntil = now, now.Add(waitAfter(t.Failures))
	return t, 0
}

// refunded takes back one of the attempts that are charged, of which nothing came, right or wrong.
func refunded(t store.LoginThrottle) store.LoginThrottle {
	t.Failures--
	t.BlockedUntil = t.ChargedAt.Add(waitAfter(t.Failures))
	return t
}

// attempt is one try at a password, charged before the work is done: of any number of parallel ones, on any number of
// servers, no more are let through than of as many in a row.
type attempt struct {
	service *Service
	// leave gives back the place among the hashes under way.
	leave func()
	key   []byte
	// nameHash stands for the name in the audit log, if nobody has it.
	nameHash string
	// before and after are the throttle as the charge found and left it.
	before, after store.LoginThrottle
}

// beginAttempt charges an attempt at a canonical name. Where wrong guesses have closed the name to everybody, source
// may name a place whose attempts are counted apart, so that nobody can lock the owner out: a network from which they
// have signed in, or a session of theirs; "" is none. *ThrottledError: the attempt must not be made now. password.ErrBusy:
// it would only wait in vain; that is found out first, so that a flood of attempts does not become one of writes.
func (s *Service) beginAttempt(ctx context.Context, canonical string, source func() (string, error)) (_ *attempt, err error) {
	leave, err := s.hasher.Admit(ctx)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			leave()
		}
	}()
	hash := s.names.NameHash(canonical)
	a := &attempt{service: s, leave: leave, key: hash[:], nameHash: inAudit(hash)}
	err = a.charge(ctx)
	var throttled *ThrottledError
	if errors.As(err, &throttled) {
		place, sourceErr := source()
		if sourceErr != nil {
			return nil, sourceErr
		}
		if place != "" {
			// Hashed twice: nobody can make up a name that has the key of another one's place.
			of := s.names.NameHash(string(a.key) + place)
			a.key = of[:]
			err = a.charge(ctx)
		}
	}
	if errors.As(err, &throttled) {
		s.recordThrottle(ctx, canonical, a.nameHash)
	}
	return a, err
}

// recordThrottle records an attempt at a closed name, under its user if there is one: whoever looks into an account
// should find it. What the database is asked is the same for every name.
func (s *Service) recordThrottle(ctx context.Context, canonical, nameHash string) {
	event := audit.Event{Action: audit.Throttle, Result: "account"}
	if user, err := s.store.UserByName(ctx, canonical); err == nil {
		event.UserID = user.ID
	} else {
		event.NameHash = nameHash
	}
	s.audit.Record(ctx, event)
}

// nameHash stands for a name in the audit log.
func (s *Service) nameHash(name string) string { return inAudit(s.names.NameHash(CanonicalName(name))) }

func inAudit(hash [sha256.Size]byte) string { return hex.EncodeToString(hash[:16]) }

func (a *attempt) charge(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), throttleTime)
	defer cancel()
	for range maxCharges {
		t, err := a.service.store.LoginThrottle(ctx, a.key)
		if err != nil {
			return err
		}
		next, wait := charged(t, a.service.now()) // not as it was before a read that may have had to wait
		if wait > 0 {
			return &ThrottledError{Wait: wait}
		}
		if counted, err := a.service.store.AdvanceLoginThrottle(ctx, t, next); counted || err != nil {
			a.before, a.after = t, next
			return err
		}
	}
	return fmt.Errorf("%w: a login throttle kept moving", store.ErrUnavailable)
}

// run does what the attempt is about, and settles it.
func (a *attempt) run(ctx context.Context, f func() error) error {
	err := errUndecided // what a panic leaves behind
	defer func() { a.settle(ctx, err) }()
	err = f()
	return err
}

// settle ends the attempt by what came of it: a success forgets the failures, a wrong guess stays charged, and anything
// else is taken back. Where the database does not let it, the charge stays.
func (a *attempt) settle(ctx context.Context, err error) {
	defer a.leave()
	if errors.Is(err, ErrInvalidCredentials) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), throttleTime)
	defer cancel()
	if err == nil {
		_ = a.service.store.DeleteLoginThrottle(ctx, a.key)
		return
	}
	if !a.before.ChargedAt.IsZero() {
		if moved, err := a.service.store.AdvanceLoginThrottle(ctx, a.after, a.before); moved || err != nil {
			return
		}
	}
	for range maxCharges { // others were charged since, or it was the first
		t, err := a.service.store.LoginThrottle(ctx, a.key)
		if err != nil || t.Failures == 0 { // the database is away, or a success has come in between
			return
		}
		if moved, err := a.service.store.AdvanceLoginThrottle(ctx, t, refunded(t)); moved || err != nil {
			return
		}
	}
}

// familiarNetwork returns the network of an address if the owner of a name has signed in from it lately, else "".
func (s *Service) familiarNetwork(ctx context.Context, canonical, address string) (string, error) {
	known, err := s.store.SignInAddresses(ctx, canonical, s.now().Add(-FamiliarTime))
	if err != nil {
		return "", err
	}
	here, err := netip.ParseAddr(address)
	if err != nil {
		return "", nil //nolint:nilerr // an address that is none is no network of anybody's
	}
	for _, text := range known {
		if there, err := netip.ParseAddr(text); err == nil && Network(there) == Network(here) {
			return Network(here).String(), nil
		}
	}
	return "", nil
}

// Network returns what one client commands of the addresses: its own, or with IPv6 the whole /64. An invalid address
// has the zero prefix.
func Network(a netip.Addr) netip.Prefix {
	bits := 32
	if a = a.Unmap(); a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // which drops the zone
	return p
}
