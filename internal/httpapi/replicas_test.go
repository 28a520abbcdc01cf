package httpapi

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// another starts one more server on the fixture's database, with the same keys, clock and log.
func (f *fixture) another(t *testing.T) *fixture {
	t.Helper()
	second := *f
	second.start(t)
	return &second
}

// What ends a session, or every session of an account, ends its tokens: at once at the server that did it, and within
// the delay at the others.
func TestEndedSessionsAreOverAtEveryServer(t *testing.T) {
	ends := map[string]func(t *testing.T, f *fixture, h, other held){
		"logout with the cookie": func(t *testing.T, f *fixture, h, _ held) {
			wantStatus(t, f.do(t, http.MethodPost, "/api/user/logout", "", f.cookieOf(h.refresh)...), http.StatusNoContent)
		},
		"logout with the access token": func(t *testing.T, f *fixture, h, _ held) {
			wantStatus(t, f.do(t, http.MethodPost, "/api/user/logout", "", bearerOf(h.access)...), http.StatusNoContent)
		},
		"the end of the others, from another session": func(t *testing.T, f *fixture, _, other held) {
			wantStatus(t, f.do(t, http.MethodDelete, "/api/user/sessions", "", bearerOf(other.access)...), http.StatusNoContent)
		},
		"a change of password in another session": func(t *testing.T, f *fixture, _, other held) {
			body := passwordChangeOf(goodPassword, goodPassword+"!")
			wantStatus(t, f.do(t, http.MethodPost, "/api/user/password", body, bearerOf(other.access)...), http.StatusNoContent)
		},
		"a new password from the operator": func(t *testing.T, f *fixture, _, _ held) {
			if _, err := f.accounts.SetPassword(t.Context(), "alice", goodPassword+"!"); err != nil {
				t.Error(err)
			}
		},
		"the operator's end of all sessions": func(t *testing.T, f *fixture, _, _ held) {
			if _, err := f.accounts.EndSessions(t.Context(), ""); err != nil {
				t.Error(err)
			}
		},
		"the account disabled": func(t *testing.T, f *fixture, _, _ held) {
			if _, err := f.accounts.Disable(t.Context(), "alice"); err != nil {
				t.Error(err)
			}
		},
		"the account deleted": func(t *testing.T, f *fixture, _, _ held) {
			if _, err := f.accounts.Delete(t.Context(), "alice"); err != nil {
				t.Error(err)
			}
		},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			here := newFixture(t)
			elsewhere := here.another(t)
			here.signUp(t, "alice", "admin")
			h, other := here.signIn(t, "alice"), here.signIn(t, "alice")
			for _, f := range []*fixture{here, elsewhere} { // both remember the session
				wantStatus(t, f.get(t, "/api/user/protected", h.access), http.StatusOK)
			}
			end(t, here, h, other)
			here.wantDead(t, h)
			wantProblem(t, elsewhere.refresh(t, h.refresh), http.StatusBadRequest, "invalid_refresh_token") // which remembers nothing
			here.clock.advance(here.config.RevocationDelay)
			elsewhere.wantDead(t, h)
		})
	}
}

// Three tokens in a row, and the first is presented once more, long after the second was used.
func TestReuseEndsTheWholeSessionAndNoOther(t *testing.T) {
	f := newFixture(t)
	elsewhere := f.another(t)
	f.signUp(t, "alice")
	first, other := f.signIn(t, "alice"), f.signIn(t, "alice")
	held := []held{first}
	for range 2 {
		f.clock.advance(time.Minute)
		next := f.refresh(t, held[len(held)-1].refresh).held(t)
		for _, server := range []*fixture{f, elsewhere} {
			wantStatus(t, server.get(t, "/api/user/me", next.access), http.StatusOK)
		}
		held = append(held, next)
	}
	f.clock.advance(time.Minute)
	junk, reuse := f.refresh(t, "junk"), f.refresh(t, first.refresh)
	wantProblem(t, reuse, http.StatusBadRequest, "invalid_refresh_token")
	if without(reuse) != without(junk) {
		t.Errorf("reuse gets\n%s\nand junk\n%s", reuse.body, junk.body)
	}
	for _, server := range []*fixture{f, elsewhere} {
		for _, h := range held {
			server.wantDead(t, h)
		}
		wantStatus(t, server.get(t, "/api/user/me", other.access), http.StatusOK)
	}
	wantStatus(t, f.refresh(t, other.refresh), http.StatusOK)
	f.Close()
	if n := strings.Count(f.logs.String(), `"action":"session.reuse"`); n != 1 {
		t.Errorf("the alarm is in the log %d times", n)
	}
}

// without is a body without the id of its request.
func without(a answer) string { return strings.ReplaceAll(a.body, a.Header.Get("X-Request-Id"), "") }

// Mallory puts a cookie of her own into alice's browser, and waits for her to sign in.
func TestSignInDoesNotAdoptACookieThatWasThereBefore(t *testing.T) {
	f := newFixture(t)
	alice := f.signUp(t, "alice")
	f.signUp(t, "mallory")
	planted := f.signIn(t, "mallory")
	login := f.do(t, http.MethodPost, "/api/user/login", credentialsOf("alice", goodPassword), f.cookieOf(planted.refresh)...)
	wantStatus(t, login, http.StatusOK)
	h := login.held(t)
	if h.refresh == "" || h.refresh == planted.refresh {
		t.Error("alice goes on with the cookie that was planted")
	}
	f.wantDead(t, planted)
	var me userBody
	if f.get(t, "/api/user/me", h.access).decode(t, &me); me.ID != alice.ID {
		t.Errorf("alice is signed in as %s", me.Username)
	}
	wantStatus(t, f.refresh(t, h.refresh), http.StatusOK)
}
