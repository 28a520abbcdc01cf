package account

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

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
	f.now = f.now.Add(ForgetAfter)
	f.guess(t, "alice", elsewhere)
	if wait := f.guess(t, "alice", elsewhere); wait != 2*time.Second {
		t.Errorf("after a day to the millisecond the wait is %s, want the next one, 2s", wait)
	}
	f.now = f.now.Add(ForgetAfter + time.Millisecond)
	for range 5 {
		if wait := f.guess(t, "alice", elsewhere); wait != 0 {
			t.Errorf("after more than a day a guess has to wait %s", wait)
		}
	}
}

// What the database is asked at a failed sign-in must not tell whether the name exists: its time would show from outside.
// Only SQLite lets a test count statements.
func TestFailedLoginsCostTheDatabaseTheSame(t *testing.T) {
	url := storetest.SQLite(t)
	counts := storetest.CountStatements(t, strings.TrimPrefix(url, "sqlite:"))
	f := newFixtureOn(t, url)
	f.create(t, "alice")
	f.create(t, "disabled")
	if _, err := f.Disable(t.Context(), "disabled"); err != nil {
		t.Fatal(err)
	}
	cost := func(name string) storetest.Count {
		counts.Take()
		f.guess(t, name, elsewhere)
		return counts.Take()
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

// A try at a closed name stands under its user, and under a hash only where nobody has the name.
func TestTryAtAClosedNameIsAuditedUnderItsUser(t *testing.T) {
	f := newFixture(t)
	user := f.create(t, "alice")
	for name, want := range map[string]string{"alice": `"user_id":"` + user.ID.String() + `"`, "nobody": `"name_hash":"`} {
		for range 5 {
			f.guess(t, name, elsewhere)
		}
		f.logs.events(t)
		f.guess(t, name, elsewhere)
		f.logs.mu.Lock()
		text := f.logs.b.String()
		f.logs.mu.Unlock()
		if !strings.Contains(text, want) || strings.Contains(text, "user_id") == strings.Contains(text, "name_hash") {
			t.Errorf("%s: the audit log has %s, want %s alone", name, text, want)
		}
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
	f.now = f.now.Add(FamiliarTime + time.Millisecond)
	for f.guess(t, "alice", elsewhere) == 0 {
	}
	if f.guess(t, "alice", home) == 0 {
		t.Error("a network is familiar for longer than it should be")
	}
}

// Two users of one household, or of one proxy, have a count each.
func TestFamiliarNetworkIsCountedForEachName(t *testing.T) {
	f := newFixture(t)
	for _, name := range []string{"alice", "bob"} {
		f.create(t, name)
		f.login(t, name, goodPassword)
		for range 5 {
			f.guess(t, name, elsewhere)
		}
	}
	for f.guess(t, "alice", home) == 0 {
	}
	if wait := f.guess(t, "bob", home); wait != 0 {
		t.Errorf("bob has to wait %s for guesses at alice", wait)
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

func TestWrongCurrentPasswordsCountUnderTheCanonicalName(t *testing.T) {
	f := newFixture(t)
	f.create(t, "Alice")
	p := f.principal(t, f.login(t, "Alice", goodPassword))
	for range 5 {
		if err := f.ChangePassword(t.Context(), p, "a wrong password", "another good phrase"); !errors.Is(err, ErrInvalidCredentials) {
			t.Fatalf("a wrong password gives %v", err)
		}
	}
	if f.guess(t, "alice", elsewhere) == 0 {
		t.Error("a name with a capital letter has two counts")
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

// A clock that was set back keeps the count, and lets one try pass instead of closing the name until it has come to where
// it was. Replicas' clocks differ by a little: that opens nothing.
func TestClockThatWasSetBackOpensANameForOneTry(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	row := store.LoginThrottle{Failures: 20, ChargedAt: now, BlockedUntil: now.Add(longestWait)}
	for back, open := range map[time.Duration]bool{
		time.Second: false, 30 * time.Second: false, time.Minute: false, time.Minute + time.Millisecond: true,
		10 * time.Minute: true, 24 * time.Hour: true,
	} {
		then := now.Add(-back)
		next, wait := charged(row, then)
		if (wait == 0) != open || wait > longestWait || wait < 0 {
			t.Errorf("%s back the wait is %s, want none: %v", back, wait, open)
		}
		if !open {
			continue
		}
		if next.Failures != 21 || !next.ChargedAt.Equal(then) {
			t.Errorf("%s back the charge makes %+v", back, next)
		}
		if _, wait := charged(next, then); wait != longestWait {
			t.Errorf("%s back the next one waits %s, want %s", back, wait, longestWait)
		}
	}
	for ahead, want := range map[time.Duration]int{30 * time.Second: 20, 10 * time.Minute: 20, ForgetAfter: 21, ForgetAfter + time.Millisecond: 1} {
		if next, _ := charged(row, now.Add(ahead)); next.Failures != want {
			t.Errorf("%s ahead there are %d failures, want %d", ahead, next.Failures, want)
		}
	}
}

// What another server, or a parallel request, has charged a little later than this one's now closes nothing by itself: the
// first five attempts are free, and after that no wait is longer than the count says.
func TestChargeOfAMomentLaterIsNoWait(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, ahead := range []time.Duration{time.Millisecond, 20 * time.Second, clockTolerance} {
		var row store.LoginThrottle
		for n := range freeFailures {
			next, wait := charged(row, now.Add(ahead*time.Duration((n+1)%2))) // the one's clock, the other's, in turn
			if wait != 0 {
				t.Fatalf("with clocks that differ by %s attempt %d waits %s", ahead, n+1, wait)
			}
			row = next
		}
		if _, wait := charged(row, now); wait != firstWait {
			t.Errorf("with clocks that differ by %s the sixth attempt waits %s, want %s", ahead, wait, firstWait)
		}
	}
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
