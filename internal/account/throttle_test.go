package account

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"latchkey/internal/password"
	"latchkey/internal/session"
	"latchkey/internal/store"
	"latchkey/internal/store/storetest"
	"latchkey/internal/token"
)

var (
	home      = session.Client{IP: "192.0.2.1"} // where fixture.login signs in
	elsewhere = session.Client{IP: "203.0.113.9"}
)

// guess is one wrong password at a name; it returns how long the next one has to wait, or 0 if it was looked at.
func (f *fixture) guess(t testing.TB, name string, client session.Client) time.Duration {
	t.Helper()
	_, err := f.Login(t.Context(), name, "a wrong password", client, "")
	var throttled *ThrottledError
	switch {
	case errors.As(err, &throttled):
		return throttled.Wait
	case !errors.Is(err, ErrInvalidCredentials):
		t.Fatalf("a guess gives %v", err)
	}
	return 0
}

func TestWaitDoublesAfterFiveFailuresForAnyName(t *testing.T) {
	f := newFixture(t)
	f.create(t, "alice")
	for _, name := range []string{"alice", "nobody"} {
		for range 5 {
			if wait := f.guess(t, name, elsewhere); wait != 0 {
				t.Fatalf("%s: one of the first five guesses has to wait %s", name, wait)
			}
		}
		for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900} {
			want *= time.Second
			if wait := f.guess(t, name, elsewhere); wait != want {
				t.Errorf("%s: the next guess has to wait %s, want %s", name, wait, want)
			}
			f.now = f.now.Add(want - time.Millisecond)
			if wait := f.guess(t, name, elsewhere); wait != time.Millisecond {
				t.Errorf("%s: a millisecond before the end the wait is %s: a try during it must not lengthen it", name, wait)
			}
			f.now = f.now.Add(time.Millisecond)
			if wait := f.guess(t, name, elsewhere); wait != 0 {
				t.Errorf("%s: after the wait of %s there is another of %s", name, want, wait)
			}
		}
	}
}

func TestSpellingsOfANameShareOneCount(t *testing.T) {
	f := newFixture(t)
	for _, name := range []string{"alice", "ALICE", " alice", "alice ", "Ａlice"} {
		if wait := f.guess(t, name, elsewhere); wait != 0 {
			t.Fatalf("%q has to wait %s", name, wait)
		}
	}
	if f.guess(t, "aLiCe", elsewhere) == 0 {
		t.Error("the sixth spelling of a name was looked at")
	}
	if f.guess(t, "bob", elsewhere) != 0 {
		t.Error("another name has to wait")
	}
}

func TestSuccessForgetsTheFailures(t *testing.T) {
	f := newFixture(t)
	f.create(t, "alice")
	for range 3 {
		for range 4 {
			if wait := f.guess(t, "alice", elsewhere); wait != 0 {
				t.Fatalf("a guess has to wait %s", wait)
			}
		}
		f.login(t, "alice", goodPassword)
	}
}

func TestADayWithoutATryForgetsTheFailures(t *testing.T) {
	f := newFixture(t)
	for range 5 {
		f.guess(t, "alice", elsewhere)
	}
	f.now = f.now.Add(forgetAfter)
	f.guess(t, "alice", elsewhere)
	if wait := f.guess(t, "alice", elsewhere); wait != 2*time.Second {
		t.Errorf("after a day to the millisecond the wait is %s, want the next one, 2s", wait)
	}
	f.now = f.now.Add(forgetAfter + time.Millisecond)
	for range 5 {
		if wait := f.guess(t, "alice", elsewhere); wait != 0 {
			t.Errorf("after more than a day a guess has to wait %s", wait)
		}
	}
}

// What the database is asked at a failed sign-in must not tell whether the name exists: its time would show from outside.
func TestFailedLoginsCostTheDatabaseTheSame(t *testing.T) {
	f := newFixture(t)
	f.create(t, "alice")
	f.create(t, "disabled")
	if _, err := f.Disable(t.Context(), "disabled"); err != nil {
		t.Fatal(err)
	}
	cost := func(name string) storetest.Count {
		f.counts.Take()
		f.guess(t, name, elsewhere)
		return f.counts.Take()
	}
	f.guess(t, "somebody", elsewhere) // the first statements on a connection are compiled twice
	for try := range 8 {              // from the sixth on the name is closed
		want := cost("alice")
		if want.Reads == 0 {
			t.Fatal("nothing is counted")
		}
		for _, name := range []string{"nobody", "disabled"} {
			if got := cost(name); got != want {
				t.Errorf("try %d: %q costs %+v, a name with an account %+v", try+1, name, got, want)
			}
		}
	}
}

func TestThrottledLoginCostsNoHash(t *testing.T) {
	f := newFixture(t)
	f.create(t, "alice")
	for range 5 {
		f.guess(t, "alice", elsewhere)
	}
	f.logs.events(t)
	var throttled *ThrottledError
	n := hashes(func() {
		if _, err := f.Login(t.Context(), "alice", goodPassword, elsewhere, ""); !errors.As(err, &throttled) {
			t.Errorf("the right password gives %v: the answer would tell a guesser that it is right", err)
		}
	})
	if n != 0 {
		t.Errorf("it costs %d hashes, want none", n)
	}
	if got := f.logs.events(t); len(got) != 1 || got[0] != "throttle account" {
		t.Errorf("the audit log has %v, want the throttle", got)
	}
}

// The owner is not locked out by whoever guesses at their name from elsewhere, for as long as it goes on.
func TestGuessesFromElsewhereDoNotLockTheOwnerOut(t *testing.T) {
	f := newFixture(t)
	f.create(t, "alice")
	grant := f.login(t, "alice", goodPassword)
	for end := f.now.Add(30 * time.Minute); f.now.Before(end); f.now = f.now.Add(time.Second) {
		f.guess(t, "alice", elsewhere)
	}
	if f.guess(t, "alice", elsewhere) == 0 {
		t.Fatal("the name is not closed: the test shows nothing")
	}
	refreshed, err := f.sessions.Refresh(t.Context(), grant.RefreshToken)
	if err != nil {
		t.Fatalf("the owner's session: %v", err)
	}
	f.login(t, "alice", goodPassword) // from home
	if f.guess(t, "alice", elsewhere) == 0 {
		t.Error("the owner's sign-in has opened the name to the guesser")
	}
	if err := f.ChangePassword(t.Context(), f.principal(t, refreshed), goodPassword, "another good phrase"); err != nil {
		t.Errorf("changing the password: %v", err)
	}
}

func TestGuessesFromAFamiliarNetworkAreCountedToo(t *testing.T) {
	f := newFixture(t)
	f.create(t, "alice")
	f.login(t, "alice", goodPassword)
	for range 5 {
		f.guess(t, "alice", elsewhere)
	}
	for range 5 {
		if wait := f.guess(t, "alice", home); wait != 0 {
			t.Errorf("a guess from home has to wait %s", wait)
		}
	}
	if f.guess(t, "alice", home) == 0 {
		t.Error("the sixth guess from home was looked at")
	}
	f.now = f.now.Add(familiarTime + time.Millisecond)
	for f.guess(t, "alice", elsewhere) == 0 {
	}
	if f.guess(t, "alice", home) == 0 {
		t.Error("a network is familiar for longer than it should be")
	}
}

func TestFamiliarIsAnAddressOrAnIPv6Network(t *testing.T) {
	for name, test := range map[string]struct {
		signIn, guess string
		familiar      bool
	}{
		"the same IPv4 address":        {"192.0.2.1", "192.0.2.1", true},
		"the IPv4 address in IPv6":     {"192.0.2.1", "::ffff:192.0.2.1", true},
		"the next IPv4 address":        {"192.0.2.1", "192.0.2.2", false},
		"another host of the IPv6 /64": {"2001:db8::1", "2001:db8::ffff:1", true},
		"another IPv6 /64":             {"2001:db8::1", "2001:db8:0:1::1", false},
		"no address at the sign-in":    {"", "", false},
		"no address now":               {"192.0.2.1", "unknown", false},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.create(t, "alice")
			if _, err := f.Login(t.Context(), "alice", goodPassword, session.Client{IP: test.signIn}, ""); err != nil {
				t.Fatal(err)
			}
			for range 5 {
				f.guess(t, "alice", elsewhere)
			}
			if got := f.guess(t, "alice", session.Client{IP: test.guess}) == 0; got != test.familiar {
				t.Errorf("familiar: %t, want %t", got, test.familiar)
			}
		})
	}
}

// The count of a familiar network has a key that no name has.
func TestNoNameReachesTheCountOfAFamiliarNetwork(t *testing.T) {
	f := newFixture(t)
	f.create(t, "alice")
	f.login(t, "alice", goodPassword)
	for _, made := range []string{"alice" + home.IP, "alice192.0.2.1/32", "alice\x00192.0.2.1/32", "192.0.2.1/32alice"} {
		for range 5 {
			f.guess(t, made, elsewhere)
		}
	}
	for range 5 {
		f.guess(t, "alice", elsewhere)
	}
	for range 5 {
		if wait := f.guess(t, "alice", home); wait != 0 {
			t.Fatalf("at home there is a wait of %s: somebody has used up its count", wait)
		}
	}
}

func TestWrongCurrentPasswordCountsAsAGuess(t *testing.T) {
	f := newFixture(t)
	f.create(t, "alice")
	p := f.principal(t, f.login(t, "alice", goodPassword))
	for range 5 {
		if err := f.ChangePassword(t.Context(), p, "a wrong password", "another good phrase"); !errors.Is(err, ErrInvalidCredentials) {
			t.Fatalf("a wrong password gives %v", err)
		}
	}
	if f.guess(t, "alice", elsewhere) == 0 {
		t.Error("login knows nothing of the guesses that a thief of an access token has made")
	}
	for range 5 { // the session's own count
		if err := f.ChangePassword(t.Context(), p, "a wrong password", "another good phrase"); !errors.Is(err, ErrInvalidCredentials) {
			t.Fatalf("a wrong password gives %v", err)
		}
	}
	var throttled *ThrottledError
	if err := f.ChangePassword(t.Context(), p, goodPassword, "another good phrase"); !errors.As(err, &throttled) {
		t.Errorf("after ten wrong passwords the next try gives %v", err)
	}
}

// The command may use another secret than the running server: one that came to it without a time.
func TestOperatorsNewPasswordOpensTheNameUnderAnySecret(t *testing.T) {
	f := newFixture(t)
	f.create(t, "alice")
	for range 6 {
		f.guess(t, "alice", elsewhere)
	}
	old := token.RefreshSecret{Value: f.secret}
	operator := *f.Service
	var err error
	if operator.names, err = token.NewRefreshKeys([]token.RefreshSecret{{Value: bytes.Repeat([]byte{1}, token.SecretSize)}, old}, time.Now); err != nil {
		t.Fatal(err)
	}
	if _, err := operator.SetPassword(t.Context(), "alice", "another good phrase"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Login(t.Context(), "alice", "another good phrase", elsewhere, ""); err != nil {
		t.Errorf("the new password gives %v", err)
	}
}

func TestOperatorsNewPasswordOpensTheName(t *testing.T) {
	f := newFixture(t)
	f.create(t, "alice")
	for range 6 {
		f.guess(t, "alice", elsewhere)
	}
	if _, err := f.SetPassword(t.Context(), "alice", "another good phrase"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Login(t.Context(), "alice", "another good phrase", elsewhere, ""); err != nil {
		t.Errorf("the new password gives %v", err)
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
	for _, name := range []string{"alice", "nobody"} {
		var looked, refused atomic.Int64
		var wg sync.WaitGroup
		begin := make(chan struct{})
		for i := range 100 {
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
		if looked.Load() != 5 || refused.Load() != 95 {
			t.Errorf("%s: of 100 guesses at once %d were looked at and %d refused, want 5 and 95", name, looked.Load(), refused.Load())
		}
	}
}

// A flood of sign-ins is turned away before it costs the database anything, and what is turned away is not counted.
func TestBusyServerTurnsAwayBeforeItAsksTheDatabase(t *testing.T) {
	f := newFixture(t)
	f.create(t, "alice")
	var leave []func()
	for {
		give, err := f.hasher.Admit()
		if err != nil {
			break
		}
		leave = append(leave, give)
	}
	if len(leave) != 8+64 {
		t.Errorf("%d places were given, want 8 for hashes and 64 to wait", len(leave))
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
		a, err := f.beginAttempt(t.Context(), "alice", func() (string, error) { return "", nil })
		if err != nil {
			t.Fatal(err)
		}
		a.settle(t.Context(), store.ErrUnavailable)
	}
	for range 5 {
		if wait := f.guess(t, "alice", elsewhere); wait != 0 {
			t.Fatalf("a guess has to wait %s", wait)
		}
	}
}

func TestUndecidedAttemptGivesTheWaitBackThatWasOver(t *testing.T) {
	f := newFixture(t)
	for range 8 {
		f.now = f.now.Add(longestWait)
		f.guess(t, "alice", elsewhere)
	}
	f.now = f.now.Add(longestWait)
	a, err := f.beginAttempt(t.Context(), "alice", func() (string, error) { return "", nil })
	if err != nil {
		t.Fatal(err)
	}
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
	for range 5 {
		if wait := f.guess(t, "alice", elsewhere); wait != 0 {
			t.Fatalf("a guess has to wait %s", wait)
		}
	}
}

func TestPanicTakesTheChargeAndThePlaceBack(t *testing.T) {
	f := newFixture(t)
	for range 8 + 64 + 1 {
		func() {
			defer func() { _ = recover() }()
			a, err := f.beginAttempt(t.Context(), "alice", func() (string, error) { return "", nil })
			if err != nil {
				t.Errorf("an attempt gives %v", err)
				return
			}
			_ = a.run(t.Context(), func() error { panic("in the middle") })
		}()
	}
}

// Six guesses by a clock that ran a year ahead must not close the name for a year.
func TestClockThatWasSetBackClosesNoName(t *testing.T) {
	f := newFixture(t)
	f.create(t, "alice")
	f.now = f.now.Add(365 * 24 * time.Hour)
	for range 6 {
		f.guess(t, "alice", elsewhere)
	}
	f.now = f.now.Add(-365 * 24 * time.Hour)
	f.login(t, "alice", goodPassword)
}

func TestNameIsKeptAsKeyedHashOnly(t *testing.T) {
	f := newFixture(t)
	const typo = "my secret passphrase" // typed into the field for the name
	f.guess(t, typo, elsewhere)
	f.logs.mu.Lock()
	text := f.logs.b.String()
	f.logs.mu.Unlock()
	if strings.Contains(text, typo) || !strings.Contains(text, `"name_hash":"`) {
		t.Errorf("the audit log has %s, want a hash in place of the name", text)
	}
}

func TestPropertyWaitIsBoundedAndNoTryLengthensIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		var row store.LoginThrottle
		inARow := 0
		for range rapid.IntRange(1, 60).Draw(t, "tries") {
			now = now.Add(time.Duration(rapid.Int64Range(-1000, 2_000_000).Draw(t, "milliseconds later")) * time.Millisecond)
			next, wait := charged(row, now)
			switch {
			case wait < 0 || wait > longestWait:
				t.Fatalf("the wait is %s", wait)
			case wait > 0 && (next.Failures != row.Failures || next.BlockedUntil != row.BlockedUntil):
				t.Fatalf("a try during the wait changes %+v to %+v", row, next)
			case wait == 0:
				if inARow++; next.Failures > inARow {
					t.Fatalf("%d failures after %d tries", next.Failures, inARow)
				}
				if back := refunded(next); back.Failures != next.Failures-1 {
					t.Fatalf("refunding %+v gives %+v", next, back)
				}
			}
			row = next
		}
	})
}

func TestNetworkOfAnAddress(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.1": "192.0.2.1/32", "::ffff:192.0.2.1": "192.0.2.1/32", "2001:db8::1": "2001:db8::/64", "fe80::1%eth0": "fe80::/64",
	} {
		if got := Network(netip.MustParseAddr(address)).String(); got != want {
			t.Errorf("Network(%s) is %s, want %s", address, got, want)
		}
	}
	if got := Network(netip.Addr{}); got != (netip.Prefix{}) {
		t.Errorf("the network of no address is %v, want the zero prefix", got)
	}
}
