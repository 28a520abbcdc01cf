package store_test

import (
	"bytes"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/internal/store"
	"latchkey/internal/store/storetest"
)

func newThrottle(key byte) store.LoginThrottle {
	return store.LoginThrottle{
		KeyHash: bytes.Repeat([]byte{key}, 32), Failures: 1, ChargedAt: testTime, BlockedUntil: testTime.Add(time.Second),
	}
}

func TestLoginThrottleReadsBackUntilItIsDeleted(t *testing.T) {
	s := storetest.Open(t)
	want, other := newThrottle(1), newThrottle(2)
	none := store.LoginThrottle{KeyHash: want.KeyHash}
	if got, err := s.LoginThrottle(t.Context(), want.KeyHash); err != nil || !reflect.DeepEqual(got, none) {
		t.Errorf("before there is one LoginThrottle gives %+v and %v, want one without failures", got, err)
	}
	for _, throttle := range []store.LoginThrottle{want, other} {
		if made, err := s.AdvanceLoginThrottle(t.Context(), store.LoginThrottle{KeyHash: throttle.KeyHash}, throttle); err != nil || !made {
			t.Fatal(err)
		}
	}
	if made, err := s.AdvanceLoginThrottle(t.Context(), none, want); err != nil || made {
		t.Errorf("a second one with its key is made: %t (%v)", made, err)
	}
	if got, err := s.LoginThrottle(t.Context(), want.KeyHash); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("LoginThrottle gives\n%+v (%v), want\n%+v", got, err, want)
	}
	for range 2 { // there being none is no error
		if err := s.DeleteLoginThrottle(t.Context(), want.KeyHash); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := s.LoginThrottle(t.Context(), want.KeyHash); err != nil || !reflect.DeepEqual(got, none) {
		t.Errorf("a deleted one gives %+v and %v", got, err)
	}
	if got, err := s.LoginThrottle(t.Context(), other.KeyHash); err != nil || !reflect.DeepEqual(got, other) {
		t.Errorf("the other one gives %+v and %v", got, err)
	}
}

func TestLoginThrottleAdvancesOnlyFromWhatItIs(t *testing.T) {
	s := storetest.Open(t)
	row := newThrottle(1)
	if _, err := s.AdvanceLoginThrottle(t.Context(), store.LoginThrottle{}, row); err != nil {
		t.Fatal(err)
	}
	next := row
	next.Failures, next.ChargedAt, next.BlockedUntil = 2, testTime.Add(time.Minute), testTime.Add(time.Hour)
	for name, stale := range map[string]func(*store.LoginThrottle){
		"other failures":    func(t *store.LoginThrottle) { t.Failures = 5 },
		"another charge":    func(t *store.LoginThrottle) { t.ChargedAt = t.ChargedAt.Add(time.Millisecond) },
		"another wait":      func(t *store.LoginThrottle) { t.BlockedUntil = t.BlockedUntil.Add(time.Millisecond) },
		"a key that is not": func(t *store.LoginThrottle) { t.KeyHash = bytes.Repeat([]byte{9}, 32) },
	} {
		from := row
		stale(&from)
		if moved, err := s.AdvanceLoginThrottle(t.Context(), from, next); err != nil || moved {
			t.Errorf("from %s it moves: %t (%v)", name, moved, err)
		}
	}
	if moved, err := s.AdvanceLoginThrottle(t.Context(), row, next); err != nil || !moved {
		t.Fatalf("AdvanceLoginThrottle gives %t and %v", moved, err)
	}
	if got, err := s.LoginThrottle(t.Context(), row.KeyHash); err != nil || !reflect.DeepEqual(got, next) {
		t.Errorf("it is now\n%+v (%v), want\n%+v", got, err, next)
	}
}

func TestOneOfParallelChargesWins(t *testing.T) {
	s := storetest.Open(t)
	row := newThrottle(1)
	if _, err := s.AdvanceLoginThrottle(t.Context(), store.LoginThrottle{}, row); err != nil {
		t.Fatal(err)
	}
	callers := storetest.Crowd(t, 16, s)
	for range 10 {
		next := row
		next.Failures++
		var won atomic.Int64
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() {
				moved, err := s.AdvanceLoginThrottle(t.Context(), row, next)
				if err != nil {
					t.Error(err)
				}
				if moved {
					won.Add(1)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Fatalf("%d of %d won, want 1", won.Load(), callers)
		}
		row = next
	}
}

func TestSignInAddressesAreTheOwnersSinceATime(t *testing.T) {
	s := storetest.Open(t)
	for i, name := range []string{"alice", "bob"} {
		user := newUser(i + 1)
		user.Username, user.CanonicalName = name, name
		if err := s.CreateUser(t.Context(), &user); err != nil {
			t.Fatal(err)
		}
		for j, ip := range []string{"192.0.2.1", "192.0.2.1", "192.0.2.2", "2001:db8::1"} {
			session := newSession(i+1, 10*i+j+1)
			session.IP, session.CreatedAt = ip, testTime.Add(time.Duration(j)*time.Hour)
			if name == "bob" {
				session.IP = "203.0.113.1"
			}
			if err := s.CreateSession(t.Context(), &session); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, test := range map[string]struct {
		owner string
		since time.Time
		want  []string
	}{
		"all of them":             {"alice", testTime.Add(-time.Millisecond), []string{"2001:db8::1", "192.0.2.2", "192.0.2.1", "192.0.2.1"}},
		"those after a time":      {"alice", testTime.Add(2 * time.Hour), []string{"2001:db8::1"}},
		"another owner's":         {"bob", testTime.Add(-time.Millisecond), []string{"203.0.113.1", "203.0.113.1", "203.0.113.1", "203.0.113.1"}},
		"of a name nobody has":    {"nobody", testTime.Add(-time.Millisecond), nil},
		"of a spelling of a name": {"Alice", testTime.Add(-time.Millisecond), nil},
	} {
		got, err := s.SignInAddresses(t.Context(), test.owner, test.since)
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%s: %v (%v), want %v", name, got, err, test.want)
		}
	}
}

func TestSignInAddressesAreTheLastHundred(t *testing.T) {
	s := storetest.Open(t)
	user := newUser(1)
	if err := s.CreateUser(t.Context(), &user); err != nil {
		t.Fatal(err)
	}
	for i := range 101 {
		session := newSession(1, i+1)
		session.IP, session.CreatedAt = "192.0.2.1", testTime.Add(time.Duration(i)*time.Second)
		if i == 0 {
			session.IP = "203.0.113.1" // the oldest
		}
		if err := s.CreateSession(t.Context(), &session); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.SignInAddresses(t.Context(), user.CanonicalName, testTime.Add(-time.Hour))
	if err != nil || len(got) != 100 || slices.Contains(got, "203.0.113.1") {
		t.Errorf("of 101 sign-ins it lists %d (%v), want the last 100", len(got), err)
	}
}
