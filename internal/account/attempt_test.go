package account

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/internal/password"
	"latchkey/internal/store"
	"latchkey/internal/store/storetest"
)

// nowhere is the place of an attempt that has none of its own.
func nowhere() (string, error) { return "", nil }

// begin charges an attempt at a name.
func (f *fixture) begin(t testing.TB, name string) *attempt {
	t.Helper()
	a, err := f.beginAttempt(t.Context(), name, nowhere)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// wantFiveGuesses wants a name to have no failures: five more are free.
func (f *fixture) wantFiveGuesses(t testing.TB, name string) {
	t.Helper()
	for range 5 {
		if wait := f.guess(t, name, elsewhere); wait != 0 {
			t.Fatalf("a guess has to wait %s", wait)
		}
	}
}

// Whether a network is familiar is not decided by a database that is away.
func TestClosedNameWhosePlaceCannotBeAskedForIsNoWait(t *testing.T) {
	f := newFixture(t)
	for range 5 {
		f.guess(t, "alice", elsewhere)
	}
	_, err := f.beginAttempt(t.Context(), "alice", func() (string, error) { return "", store.ErrUnavailable })
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("an attempt gives %v, want ErrUnavailable", err)
	}
}

// Charging comes before the work and is one conditional statement: parallel guesses at two servers are no way around it.
func TestParallelGuessesAreNoMoreThanFive(t *testing.T) {
	f := newFixture(t)
	f.create(t, "alice")
	second := NewService(Dependencies{ // another server's has nothing in common with it but the database and the secret
		Store: f.store, Hasher: password.NewHasher(8), Policy: f.policy, Sessions: f.sessions, Names: f.names, Audit: f.audit,
		Now: func() time.Time { return f.now },
	})
	guesses := storetest.Crowd(t, 100, f.store)
	for _, name := range []string{"alice", "nobody"} {
		var looked, refused atomic.Int64
		var wg sync.WaitGroup
		begin := make(chan struct{})
		for i := range guesses {
			service := []*Service{f.Service, second}[i%2]
			wg.Go(func() {
				<-begin
				_, err := service.Login(t.Context(), name, "a wrong password", elsewhere, "")
				var throttled *ThrottledError
				switch {
				case errors.Is(err, ErrInvalidCredentials):
					looked.Add(1)
				case errors.As(err, &throttled):
					refused.Add(1)
				default:
					t.Errorf("a guess gives %v", err)
				}
			})
		}
		close(begin)
		wg.Wait()
		if looked.Load() != 5 || refused.Load() != int64(guesses-5) {
			t.Errorf("%s: of %d guesses at once %d were looked at and %d refused, want 5 looked at", name, guesses, looked.Load(), refused.Load())
		}
	}
}

// A flood of sign-ins is turned away before it costs the database anything, and what is turned away is not counted.
func TestBusyServerTurnsAwayBeforeItAsksTheDatabase(t *testing.T) {
	f := newFixture(t)
	f.create(t, "alice")
	var leave []func()
	for range 8 + 64 { // for hashes, and to wait
		give, err := f.hasher.Admit(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		leave = append(leave, give)
	}
	if err := f.store.Close(); err != nil { // whoever asks it gets another error
		t.Fatal(err)
	}
	if _, err := f.Login(t.Context(), "alice", goodPassword, home, ""); !errors.Is(err, password.ErrBusy) {
		t.Errorf("Login gives %v, want ErrBusy", err)
	}
	for _, give := range leave {
		give()
	}
	for range 8 + 64 + 1 { // each gives its place back
		if _, err := f.Login(t.Context(), "alice", goodPassword, home, ""); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("with places again Login gives %v, want the closed database's error", err)
		}
	}
}

// An attempt that was never decided, because the server was busy or its client left, is not held against the name.
func TestUndecidedAttemptIsNotCounted(t *testing.T) {
	f := newFixture(t)
	f.create(t, "alice")
	for range 20 {
		a := f.begin(t, "alice")
		a.settle(t.Context(), store.ErrUnavailable)
	}
	f.wantFiveGuesses(t, "alice")
}

func TestUndecidedAttemptGivesTheWaitBackThatWasOver(t *testing.T) {
	f := newFixture(t)
	for range 8 {
		f.now = f.now.Add(longestWait)
		f.guess(t, "alice", elsewhere)
	}
	f.now = f.now.Add(longestWait)
	a := f.begin(t, "alice")
	a.settle(t.Context(), store.ErrUnavailable)
	if wait := f.guess(t, "alice", elsewhere); wait != 0 {
		t.Errorf("after a try of which nothing came there is a wait of %s", wait)
	}
}

// A charge whose client has left is written all the same, so it must be known, and taken back.
func TestClientThatLeavesChargesNothing(t *testing.T) {
	f := newFixture(t)
	f.create(t, "alice")
	gone, leave := context.WithCancel(t.Context())
	leave()
	for range 20 {
		if _, err := f.Login(gone, "alice", "a wrong password", elsewhere, ""); !errors.Is(err, context.Canceled) {
			t.Fatalf("Login gives %v", err)
		}
	}
	f.wantFiveGuesses(t, "alice")
}

// Whoever finds a request that panics must not have the count forgotten by it.
func TestPanicIsNoSuccess(t *testing.T) {
	f := newFixture(t)
	for range 4 {
		f.guess(t, "alice", elsewhere)
	}
	func() {
		defer func() { _ = recover() }()
		a, err := f.beginAttempt(t.Context(), "alice", nowhere)
		if err != nil {
			t.Errorf("an attempt gives %v", err)
			return
		}
		_ = a.run(t.Context(), func() error { panic("in the middle") })
	}()
	f.guess(t, "alice", elsewhere)
	if f.guess(t, "alice", elsewhere) == 0 {
		t.Error("a sixth wrong password was looked at")
	}
}

// A statement whose client leaves in the middle may have been written all the same, so none of a charge's is broken off.
func TestChargeIsMadeThoughTheClientHasLeft(t *testing.T) {
	f := newFixture(t)
	gone, leave := context.WithCancel(t.Context())
	leave()
	a, err := f.beginAttempt(gone, "alice", nowhere)
	if err != nil {
		t.Fatalf("the charge gives %v", err)
	}
	a.settle(gone, context.Canceled)
}

// Others were charged since, so each is taken back for itself, with the wait that it brought.
func TestUndecidedAttemptsTakeTheirWaitsBack(t *testing.T) {
	f := newFixture(t)
	for range 4 {
		f.guess(t, "alice", elsewhere)
	}
	var attempts []*attempt
	for range 2 {
		a := f.begin(t, "alice")
		attempts = append(attempts, a)
		f.now = f.now.Add(time.Second) // the first wait
	}
	for _, a := range attempts {
		a.settle(t.Context(), store.ErrUnavailable)
	}
	if wait := f.guess(t, "alice", elsewhere); wait != 0 {
		t.Errorf("after two tries of which nothing came there is a wait of %s", wait)
	}
}

func TestParallelUndecidedAttemptsAreAllTakenBack(t *testing.T) {
	f := newFixture(t)
	for range 20 {
		var attempts []*attempt
		for range 5 {
			a, err := f.beginAttempt(t.Context(), "alice", nowhere)
			if err != nil {
				t.Fatal(err)
			}
			attempts = append(attempts, a)
		}
		var wg sync.WaitGroup
		for _, a := range attempts {
			wg.Go(func() { a.settle(t.Context(), store.ErrUnavailable) })
		}
		wg.Wait()
	}
}

// The success has forgotten the charge already: there is nothing to take back, and no row to make.
func TestUndecidedAttemptAfterASuccessLeavesNothing(t *testing.T) {
	f := newFixture(t)
	f.create(t, "alice")
	a := f.begin(t, "alice")
	f.login(t, "alice", goodPassword)
	a.settle(t.Context(), store.ErrUnavailable)
	f.login(t, "alice", goodPassword)
}

func TestPanicTakesTheChargeAndThePlaceBack(t *testing.T) {
	f := newFixture(t)
	for range 8 + 64 + 1 {
		func() {
			defer func() { _ = recover() }()
			a, err := f.beginAttempt(t.Context(), "alice", nowhere)
			if err != nil {
				t.Errorf("an attempt gives %v", err)
				return
			}
			_ = a.run(t.Context(), func() error { panic("in the middle") })
		}()
	}
}
