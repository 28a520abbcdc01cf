//go:build e2e

package replicas

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// revocationDelay is the default of LATCHKEY_REVOCATION_DELAY.
const revocationDelay = 2 * time.Second

// What ends a session ends it at the replica that did it at once, and everywhere when the delay is over. A refresh is
// refused everywhere at once.
func TestEndedSessionsAreOverAtBothReplicas(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	here, elsewhere := s.replicas[0], s.replicas[1]
	type signedIn struct{ ended, other *client }
	ends := map[string]struct {
		end func(t *testing.T, name string, c signedIn)
		at  *replica // that did it, or nil: a command did
	}{
		"logout by the cookie": {func(t *testing.T, _ string, c signedIn) {
			gone := c.ended.at(here)
			gone.want(t, http.StatusNoContent, "POST", "/api/user/logout", "")
		}, here},
		"the end of the others": {func(t *testing.T, _ string, c signedIn) {
			c.other.at(here).want(t, http.StatusNoContent, "DELETE", "/api/user/sessions", "")
		}, here},
		"a change of password": {func(t *testing.T, _ string, c signedIn) {
			change := fmt.Sprintf(`{"current_password": %q, "new_password": "another horse battery staple"}`, password)
			c.other.at(here).want(t, http.StatusNoContent, "POST", "/api/user/password", change)
		}, here},
		"latchkey user disable": {func(t *testing.T, name string, _ signedIn) {
			s.operate(t, "user", "disable", name)
		}, nil},
		"latchkey sessions revoke": {func(t *testing.T, name string, _ signedIn) {
			s.operate(t, "sessions", "revoke", "--user", name)
		}, nil},
	}
	n := 0
	for name, c := range ends {
		n++
		user := fmt.Sprintf("user%d", n)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			who := signedIn{s.client(), s.client()}
			who.ended.signUp(t, user)
			who.other.want(t, http.StatusOK, "POST", "/api/user/login", credentials(user))
			for _, r := range s.replicas { // both remember the session
				who.ended.at(r).want(t, http.StatusOK, "GET", "/api/user/me", "")
			}
			c.end(t, user, who)
			for _, r := range s.replicas {
				wantRefused(t, who.ended.at(r), "POST", "/api/user/refresh")
			}
			if c.at != nil {
				wantRefused(t, who.ended.at(c.at), "GET", "/api/user/me")
			}
			time.Sleep(revocationDelay)
			for _, r := range []*replica{elsewhere, here} {
				wantRefused(t, who.ended.at(r), "GET", "/api/user/me")
				wantRefused(t, who.ended.at(r), "POST", "/api/user/refresh")
			}
			if c.at != nil && name != "logout by the cookie" {
				who.other.wantSignedIn(t) // the session that did it
			}
		})
	}
}

// wantRefused checks that the session is over, for that call.
func wantRefused(t *testing.T, c *client, method, path string) {
	t.Helper()
	status, code := http.StatusUnauthorized, "invalid_token"
	if path == "/api/user/refresh" {
		status, code = http.StatusBadRequest, "invalid_refresh_token"
	}
	copied := *c // whatever comes back is not kept
	if a := copied.want(t, status, method, path, ""); a.body.Code != code {
		t.Errorf("%s %s: %v", method, path, a)
	}
}
