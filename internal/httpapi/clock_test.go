package httpapi

import (
	"net/http"
	"testing"
	"time"
)

// What a client does anyway, at a 401 refresh and go on, is enough whatever the clock does.
func TestClientsGoOnWhenTheClockIsSet(t *testing.T) {
	for _, by := range []time.Duration{time.Hour, 24 * time.Hour, -time.Minute, -24 * time.Hour} {
		t.Run(by.String(), func(t *testing.T) {
			f := newFixture(t)
			f.signUp(t, "alice")
			first := f.signIn(t, "alice")
			second := f.refresh(t, first.refresh).held(t)
			wantStatus(t, f.get(t, "/api/user/me", second.access), http.StatusOK)
			f.clock.advance(5 * time.Second)
			f.clock.step(by)
			wantProblem(t, f.get(t, "/api/user/me", second.access), http.StatusUnauthorized, "invalid_token")
			// The other tab's request, with the token from before, was under way.
			if late := f.refresh(t, first.refresh).held(t); late.refresh != second.refresh {
				t.Error("the other tab got a successor of its own")
			}
			next := f.refresh(t, second.refresh)
			wantStatus(t, next, http.StatusOK)
			wantStatus(t, f.get(t, "/api/user/me", next.held(t).access), http.StatusOK)
			wantStatus(t, f.get(t, "/api/user/me", f.signIn(t, "alice").access), http.StatusOK)
		})
	}
}
