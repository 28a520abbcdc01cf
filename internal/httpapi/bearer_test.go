package httpapi

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// RFC 6750, section 3: a challenge names an error only where a token was sent.
func TestChallenges(t *testing.T) {
	f := newFixture(t)
	f.signUp(t, "alice")
	const plain, refused = "Bearer", `Bearer error="invalid_token"`
	for name, c := range map[string]struct {
		authorization []string
		want          string
	}{
		"no header":              {nil, plain},
		"another scheme":         {[]string{"Authorization", "Basic YWxpY2U6cGFzc3dvcmQ="}, plain},
		"a scheme that is alike": {[]string{"Authorization", "BearerX some-access-token"}, plain},
		"junk":                   {bearerOf("some-access-token"), refused},
		"junk, in lower case":    {[]string{"Authorization", "bearer some-access-token"}, refused},
		"two in one header":      {bearerOf("some-access-token, Bearer another-one"), refused},
		"a line break":           {bearerOf("some-access\ttoken"), refused},
	} {
		t.Run(name, func(t *testing.T) {
			for _, path := range []string{"/api/user/me", "/api/user/protected", "/api/user/sessions"} {
				a := f.do(t, http.MethodGet, path, "", c.authorization...)
				wantProblem(t, a, http.StatusUnauthorized, "invalid_token")
				if got := a.Header.Get("WWW-Authenticate"); got != c.want {
					t.Errorf("%s: %q, want %q", path, got, c.want)
				}
			}
		})
	}
	t.Run("a wrong password", func(t *testing.T) {
		body := credentialsOf("alice", "wrong horse battery staple")
		a := f.do(t, http.MethodPost, "/api/user/login", body, bearerOf("junk-token")...)
		wantProblem(t, a, http.StatusUnauthorized, "invalid_credentials")
		if got := a.Header.Get("WWW-Authenticate"); got != plain {
			t.Errorf("%q, want %q", got, plain)
		}
	})
	t.Run("the scheme in any case is good", func(t *testing.T) {
		h := f.signIn(t, "alice")
		wantStatus(t, f.do(t, http.MethodGet, "/api/user/me", "", "Authorization", "bEARER  "+h.access), http.StatusOK)
	})
}

// anonymous are the calls of users that need no access token.
var anonymous = []string{"/api/user/register", "/api/user/login", "/api/user/refresh", "/api/user/logout"}

func TestAccessTokenCountsOnlyInTheHeader(t *testing.T) {
	f := newFixture(t)
	f.signUp(t, "alice")
	h := f.signIn(t, "alice")
	const form = "application/x-www-form-urlencoded"
	jar := "access_token=" + h.access + "; Authorization=Bearer " + h.access
	for name, a := range map[string]answer{
		"the query":             f.do(t, "GET", "/api/user/me?access_token="+h.access, ""),
		"a cookie":              f.do(t, "GET", "/api/user/me", "", "Cookie", jar),
		"a form":                f.do(t, "GET", "/api/user/me", "access_token="+h.access, "Content-Type", form),
		"another header":        f.do(t, "GET", "/api/user/me", "", "X-Access-Token", h.access),
		"the proxy's header":    f.do(t, "GET", "/api/user/me", "", "Proxy-Authorization", "Bearer "+h.access),
		"another scheme":        f.do(t, "GET", "/api/user/me", "", "Authorization", "Token "+h.access),
		"the refresh cookie":    f.do(t, "GET", "/api/user/me", "", f.cookieOf(h.access)...),
		"a refresh token there": f.get(t, "/api/user/me", h.refresh),
	} {
		if a.StatusCode != http.StatusUnauthorized {
			t.Errorf("a token in %s: %d", name, a.StatusCode)
		}
	}
	for _, call := range everyCall { // that of the query, of the form and of the cookie all at once
		if strings.HasPrefix(call.path, "/api/user/") && !slices.Contains(anonymous, call.path) {
			a := f.do(t, call.method, call.path+"?access_token="+h.access, "access_token="+h.access, "Content-Type", form, "Cookie", jar)
			wantProblem(t, a, http.StatusUnauthorized, "invalid_token")
			if got := a.Header.Get("WWW-Authenticate"); got != "Bearer" { // none was sent, so far as HTTP knows
				t.Errorf("%s: the challenge is %q", call.path, got)
			}
		}
	}
	logout := f.do(t, "POST", "/api/user/logout?access_token="+h.access, "access_token="+h.access, "Content-Type", form, "Cookie", jar)
	wantStatus(t, logout, http.StatusNoContent)
	wantStatus(t, f.get(t, "/api/user/me", h.access), http.StatusOK) // it has ended nothing
	wantProblem(t, f.refresh(t, h.access), http.StatusBadRequest, "invalid_refresh_token")
}

func TestTwoAuthorizationHeadersAreMalformed(t *testing.T) {
	f := newFixture(t)
	f.signUp(t, "alice")
	h := f.signIn(t, "alice")
	for _, second := range []string{h.access, "some-other-token"} {
		for _, c := range []struct{ method, path, body string }{
			{"GET", "/api/user/me", ""},
			{"GET", "/api/user/protected", ""},
			{"GET", "/api/user/sessions", ""},
			{"DELETE", "/api/user/sessions", ""},
			{"DELETE", "/api/user/sessions/" + f.sessionsOf(t, h)[0].ID.String(), ""},
			{"POST", "/api/user/password", passwordChangeOf(goodPassword, goodPassword)},
			{"POST", "/api/user/logout", ""},
		} {
			a := f.do(t, c.method, c.path, c.body, append(bearerOf(h.access), bearerOf(second)...)...)
			wantProblem(t, a, http.StatusBadRequest, "malformed_request")
		}
	}
	wantStatus(t, f.get(t, "/api/user/me", h.access), http.StatusOK)
}
