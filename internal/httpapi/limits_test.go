package httpapi

import (
	"errors"
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/internal/config"
)

func wrongLogin(t *testing.T, f *fixture, headers ...string) answer {
	t.Helper()
	return f.do(t, http.MethodPost, "/api/user/login", credentialsOf("alice", "wrong horse battery staple"), headers...)
}

func wantLimited(t *testing.T, a answer, wait int) {
	t.Helper()
	wantProblem(t, a, http.StatusTooManyRequests, "too_many_requests")
	if got := a.Header.Get("Retry-After"); got != strconv.Itoa(wait) {
		t.Errorf("Retry-After is %s, want %d", got, wait)
	}
}

func TestLoginLimitCountsFailures(t *testing.T) {
	f := newFixture(t, "LATCHKEY_LIMIT_LOGIN=3/30s")
	f.signUp(t, "alice")
	for range 5 { // neither successes nor what was never a guess
		f.signIn(t, "alice")
		wantProblem(t, f.do(t, http.MethodPost, "/api/user/login", "{"), http.StatusBadRequest, "malformed_request")
	}
	for range 3 {
		wantProblem(t, wrongLogin(t, f), http.StatusUnauthorized, "invalid_credentials")
	}
	wantLimited(t, wrongLogin(t, f), 10)
	wantLimited(t, f.do(t, http.MethodPost, "/api/user/login", credentialsOf("alice", goodPassword)), 10)
	if !strings.Contains(f.logs.String(), `"action":"throttle","result":"login"`) {
		t.Error("nothing in the audit log")
	}

	f.clock.advance(9 * time.Second)
	wantLimited(t, wrongLogin(t, f), 1)
	f.clock.advance(time.Second) // a third of the period gives back a third of the count
	f.signIn(t, "alice")
	wantProblem(t, wrongLogin(t, f), http.StatusUnauthorized, "invalid_credentials")
	wantLimited(t, wrongLogin(t, f), 10)
	f.clock.advance(time.Hour) // but never more than the count
	for range 3 {
		wantProblem(t, wrongLogin(t, f), http.StatusUnauthorized, "invalid_credentials")
	}
	wantLimited(t, wrongLogin(t, f), 10)
	f.clock.advance(-time.Hour) // a clock set back gives nothing, and takes nothing
	wantLimited(t, wrongLogin(t, f), 10)
	f.clock.advance(10 * time.Second)
	wantProblem(t, wrongLogin(t, f), http.StatusUnauthorized, "invalid_credentials")
	wantLimited(t, wrongLogin(t, f), 10)
}

// A wrong current password is a guess too, whoever has the access token.
func TestLoginLimitCountsWrongCurrentPasswords(t *testing.T) {
	f := newFixture(t, "LATCHKEY_LIMIT_LOGIN=2/1m")
	f.signUp(t, "alice")
	h := f.signIn(t, "alice")
	change := func(current, replacement string) answer {
		return f.do(t, http.MethodPost, "/api/user/password", passwordChangeOf(current, replacement), bearerOf(h.access)...)
	}
	for range 4 {
		wantProblem(t, change(goodPassword, "short"), http.StatusUnprocessableEntity, "validation_failed")
		wantStatus(t, change(goodPassword, goodPassword), http.StatusNoContent)
	}
	for range 2 {
		wantProblem(t, change("wrong horse battery staple", goodPassword), http.StatusUnauthorized, "invalid_credentials")
	}
	wantLimited(t, change(goodPassword, goodPassword), 30)
	wantLimited(t, wrongLogin(t, f), 30)
	wantStatus(t, f.refresh(t, h.refresh), http.StatusOK) // nothing else is limited by it
}

func TestRegisterLimit(t *testing.T) {
	f := newFixture(t, "LATCHKEY_LIMIT_REGISTER=3/30m")
	register := func(name, pass string) answer {
		return f.do(t, http.MethodPost, "/api/user/register", credentialsOf(name, pass))
	}
	for range 5 {
		wantProblem(t, register("x", "short"), http.StatusUnprocessableEntity, "validation_failed")
		wantProblem(t, f.do(t, http.MethodPost, "/api/user/register", "{}"), http.StatusBadRequest, "malformed_request")
	}
	wantStatus(t, register("alice", goodPassword), http.StatusCreated)
	for range 2 { // each of these tells which names there are
		wantProblem(t, register("Alice", goodPassword), http.StatusConflict, "username_taken")
	}
	wantLimited(t, register("bob", goodPassword), 600)
	f.clock.advance(10 * time.Minute)
	wantStatus(t, register("bob", goodPassword), http.StatusCreated)
	wantLimited(t, register("carol", goodPassword), 600)
	f.signIn(t, "alice")
}

func TestRefreshLimit(t *testing.T) {
	f := newFixture(t, "LATCHKEY_LIMIT_REFRESH=3/1m")
	f.signUp(t, "alice")
	h := f.signIn(t, "alice")
	wantProblem(t, f.refresh(t, "junk"), http.StatusBadRequest, "invalid_refresh_token")
	next := f.refresh(t, h.refresh)
	wantStatus(t, next, http.StatusOK)
	wantProblem(t, f.refresh(t, "junk"), http.StatusBadRequest, "invalid_refresh_token")
	limited := f.refresh(t, next.held(t).refresh)
	wantLimited(t, limited, 20)
	if len(limited.Header.Values("Set-Cookie")) > 0 {
		t.Error("a 429 sets a cookie")
	}
	f.clock.advance(20 * time.Second)
	wantStatus(t, f.refresh(t, next.held(t).refresh), http.StatusOK)
	wantStatus(t, f.do(t, http.MethodPost, "/api/user/logout", "", f.cookieOf(h.refresh)...), http.StatusNoContent)
}

func TestLimitsMayBeOff(t *testing.T) {
	f := newFixture(t) // the fixture's settings
	for range 200 {
		wantProblem(t, f.refresh(t, "junk"), http.StatusBadRequest, "invalid_refresh_token")
	}
}

func TestParallelRequestsCannotOvershoot(t *testing.T) {
	f := newFixture(t, "LATCHKEY_LIMIT_LOGIN=5/10m", "LATCHKEY_LIMIT_REFRESH=7/10m",
		"LATCHKEY_HASH_CONCURRENCY=5") // so that no guess has to wait for its turn
	f.signUp(t, "alice")
	var logins, refreshes []*http.Request
	for range 40 {
		logins = append(logins, f.request(t, http.MethodPost, "/api/user/login", credentialsOf("alice", "wrong horse battery staple")))
		refreshes = append(refreshes, f.request(t, http.MethodPost, "/api/user/refresh", ""))
	}
	count := map[int]int{}
	for _, a := range f.parallel(t, append(logins, refreshes...)) {
		count[a.StatusCode]++
	}
	if count[http.StatusUnauthorized] != 5 || count[http.StatusBadRequest] != 7 || count[http.StatusTooManyRequests] != 68 {
		t.Errorf("answers by status: %v, want 5 guesses, 7 refreshes and 68 refusals", count)
	}
}

func TestLimiter(t *testing.T) {
	now := &clock{now: time.Unix(1_000_000, 0)}
	address := netip.MustParseAddr("203.0.113.1")
	t.Run("is exact under parallel charges and refunds", func(t *testing.T) {
		l := newLimiter(config.Limit{Count: 100, Per: time.Hour}, now.Now)
		var passed atomic.Int64
		var group sync.WaitGroup
		for range 20 {
			group.Go(func() {
				for range 50 {
					if l.charge(address) == nil {
						passed.Add(1)
					}
				}
			})
		}
		group.Wait()
		if passed.Load() != 100 {
			t.Errorf("%d passed", passed.Load())
		}
		l.refund(address)
		if l.charge(address) != nil || l.charge(address) == nil {
			t.Error("a refund is not good for one")
		}
	})
	t.Run("says truthfully how long to wait", func(t *testing.T) {
		l := newLimiter(config.Limit{Count: 7, Per: time.Minute}, now.Now)
		for range 7 {
			if err := l.charge(address); err != nil {
				t.Fatal(err)
			}
		}
		var limited limitError
		if err := l.charge(address); !errors.As(err, &limited) {
			t.Fatal(err)
		}
		now.advance(limited.wait - time.Millisecond)
		if l.charge(address) == nil {
			t.Error("less is enough")
		}
		now.advance(2 * time.Millisecond)
		if err := l.charge(address); err != nil {
			t.Error(err)
		}
	})
	t.Run("refunds to the network that it has charged", func(t *testing.T) {
		l := newLimiter(config.Limit{Count: 1, Per: time.Minute}, now.Now)
		one, other := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
		if err := l.charge(one); err != nil {
			t.Fatal(err)
		}
		if l.refund(one); l.charge(other) != nil || l.charge(one) == nil {
			t.Error("a refund is not good for one of the network")
		}
	})
	t.Run("refunds nothing to whom it does not know", func(t *testing.T) {
		l := newLimiter(config.Limit{Count: 1, Per: time.Minute}, now.Now)
		l.refund(address)
		l.refund(address)
		if l.charge(address) != nil || l.charge(address) == nil {
			t.Error("refunds have piled up")
		}
	})
	t.Run("keeps so many buckets and no more", func(t *testing.T) {
		l := newLimiter(config.Limit{Count: 1, Per: time.Hour}, now.Now)
		var b [16]byte
		b[0], b[1] = 0x20, 0x01
		for i := range maxBuckets + 50 {
			b[4], b[5], b[6] = byte(i), byte(i>>8), byte(i>>16)
			if err := l.charge(netip.AddrFrom16(b)); err != nil {
				t.Fatal(i, err)
			}
		}
		if len(l.buckets) > maxBuckets {
			t.Errorf("%d buckets", len(l.buckets))
		}
		now.advance(2 * time.Hour) // all are empty again: each new one sweeps some of them out
		if err := l.charge(address); err != nil || len(l.buckets) > maxBuckets-evictionLook {
			t.Errorf("%d buckets after they were empty: %v", len(l.buckets), err)
		}
	})
	t.Run("bears extreme settings", func(t *testing.T) {
		l := newLimiter(config.Limit{Count: 1_000_000, Per: time.Second}, now.Now)
		for i := range 1_000_000 {
			if err := l.charge(address); err != nil {
				t.Fatal(i, err)
			}
		}
		var limited limitError
		if err := l.charge(address); !errors.As(err, &limited) || limited.wait < 0 || limited.wait > time.Second ||
			math.IsNaN(limited.wait.Seconds()) {
			t.Error(limited)
		}
	})
}

// While all buckets are in use, each new address takes another's place. What that costs is paid under the lock that
// everybody waits for, and an attacker with a large IPv6 network can ask for it at will.
func BenchmarkChargeWhenFull(b *testing.B) {
	now := &clock{now: time.Unix(1_000_000, 0)}
	l := newLimiter(config.Limit{Count: 1, Per: time.Hour}, now.Now)
	fresh := 0
	charge := func() {
		var a [16]byte
		a[0], a[4], a[5], a[6], a[7] = 0x20, byte(fresh), byte(fresh>>8), byte(fresh>>16), byte(fresh>>24)
		fresh++
		if err := l.charge(netip.AddrFrom16(a)); err != nil {
			b.Fatal(err)
		}
	}
	for range maxBuckets {
		charge()
	}
	for b.Loop() {
		charge()
	}
}
