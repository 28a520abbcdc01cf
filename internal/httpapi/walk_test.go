package httpapi

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
)

// The walk of the blog post that this server stands for: what its reader types, in that order.
func TestWalk(t *testing.T) {
	f := newFixture(t)
	body := credentialsOf("Alice", goodPassword)

	registered := f.do(t, http.MethodPost, "/api/user/register", body)
	wantStatus(t, registered, http.StatusCreated)
	var user userBody
	registered.decode(t, &user)
	if user.Username != "Alice" || len(user.Roles) != 0 || !user.CreatedAt.Equal(f.clock.Now()) || user.ID.Version() != 7 {
		t.Errorf("registered %s", registered.body)
	}
	if registered.cookie(t) != nil {
		t.Error("registering signs in")
	}

	again := wantProblem(t, f.do(t, http.MethodPost, "/api/user/register", body), http.StatusConflict, "username_taken")
	if again.Detail != "Username already exists" {
		t.Errorf("the detail is %q", again.Detail)
	}

	login := f.do(t, http.MethodPost, "/api/user/login", body)
	wantStatus(t, login, http.StatusOK)
	var tokens tokensBody
	login.decode(t, &tokens)
	if tokens.TokenType != "Bearer" || tokens.ExpiresIn != 600 {
		t.Errorf("login: %s", login.body)
	}
	wantCookie(t, login, http.Cookie{
		Name: "refresh_token", Path: "/", MaxAge: 7 * 24 * 3600, HttpOnly: true, SameSite: http.SameSiteStrictMode,
	})
	first := login.held(t)
	wantClaims(t, f, first.access, user.ID, 1)

	wantProblem(t, f.do(t, http.MethodGet, "/api/user/protected", ""), http.StatusUnauthorized, "invalid_token")
	wantProblem(t, f.get(t, "/api/user/protected", first.access), http.StatusForbidden, "forbidden")
	if _, err := f.accounts.SetRoles(t.Context(), "alice", []string{"admin"}); err != nil {
		t.Fatal(err)
	}
	protected := f.get(t, "/api/user/protected", first.access) // the token from before: roles count as they stand now
	wantStatus(t, protected, http.StatusOK)
	var message messageBody
	if protected.decode(t, &message); message.Message != "Protected Resource. You are authorized to access this resource" {
		t.Errorf("protected says %q", message.Message)
	}

	f.clock.advance(10 * time.Minute)
	refreshed := f.refresh(t, first.refresh)
	wantStatus(t, refreshed, http.StatusOK)
	second := refreshed.held(t)
	if second.refresh == "" || second.refresh == first.refresh || second.access == first.access {
		t.Errorf("refresh hands over %+v after %+v", second, first)
	}
	wantClaims(t, f, second.access, user.ID, 2, "admin")
	retried := f.refresh(t, first.refresh).held(t)
	if retried.refresh != second.refresh {
		t.Error("a retry with the old cookie gets another successor")
	}
	repeated := f.refresh(t, second.refresh)
	wantStatus(t, repeated, http.StatusOK)
	if repeated.cookie(t) != nil {
		t.Error("the newest cookie, just issued, is set again")
	}

	me := f.get(t, "/api/user/me", second.access)
	wantStatus(t, me, http.StatusOK)
	var myself userBody
	if me.decode(t, &myself); myself.ID != user.ID || !slices.Equal(myself.Roles, []string{"admin"}) {
		t.Errorf("me is %s", me.body)
	}

	logout := f.do(t, http.MethodPost, "/api/user/logout", "", f.cookieOf(second.refresh)...)
	wantStatus(t, logout, http.StatusNoContent)
	wantCookie(t, logout, http.Cookie{
		Name: "refresh_token", Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteStrictMode,
	})
	f.wantDead(t, first)
	f.wantDead(t, second)
	wantStatus(t, f.do(t, http.MethodPost, "/api/user/logout", "", f.cookieOf(second.refresh)...), http.StatusNoContent)
}

func TestStrictRotationEndsTheSessionOnReuse(t *testing.T) {
	f := newFixture(t, "LATCHKEY_REFRESH_GRACE=0s")
	f.signUp(t, "alice")
	first := f.signIn(t, "alice")
	second := f.refresh(t, first.refresh).held(t)
	wantStatus(t, f.get(t, "/api/user/me", second.access), http.StatusOK) // the successor has been seen in use
	f.clock.advance(time.Millisecond)

	wantProblem(t, f.refresh(t, first.refresh), http.StatusBadRequest, "invalid_refresh_token")
	f.wantDead(t, first)
	f.wantDead(t, second)
	if !strings.Contains(f.logs.String(), `"action":"session.reuse"`) {
		t.Error("no alarm in the log")
	}
}

func TestLogoutTakesEitherCredential(t *testing.T) {
	f := newFixture(t)
	f.signUp(t, "alice")
	for name, credentials := range map[string]func(held) []string{
		"the cookie":       func(h held) []string { return f.cookieOf(h.refresh) },
		"the access token": func(h held) []string { return bearerOf(h.access) },
		"both":             func(h held) []string { return append(bearerOf(h.access), f.cookieOf(h.refresh)...) },
		"a good cookie and a bad access token": func(h held) []string {
			return append(bearerOf("no-access-token"), f.cookieOf(h.refresh)...)
		},
		"two cookies, of which it is one": func(h held) []string {
			return append(f.cookieOf("no-refresh-token"), f.cookieOf(h.refresh)...)
		},
		"a bad cookie and a good access token": func(h held) []string {
			return append(bearerOf(h.access), f.cookieOf("no-refresh-token")...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := f.signIn(t, "alice")
			logout := f.do(t, http.MethodPost, "/api/user/logout", "", credentials(h)...)
			wantStatus(t, logout, http.StatusNoContent)
			if c := logout.cookie(t); c == nil || c.MaxAge >= 0 || c.Value != "" {
				t.Errorf("the cookie is not cleared: %v", c)
			}
			f.wantDead(t, h)
		})
	}
	t.Run("an expired access token", func(t *testing.T) {
		h := f.signIn(t, "alice")
		f.clock.advance(time.Hour)
		wantProblem(t, f.get(t, "/api/user/me", h.access), http.StatusUnauthorized, "invalid_token")
		wantStatus(t, f.do(t, http.MethodPost, "/api/user/logout", "", bearerOf(h.access)...), http.StatusNoContent)
		f.wantDead(t, h)
	})
	t.Run("nothing at all", func(t *testing.T) {
		wantStatus(t, f.do(t, http.MethodPost, "/api/user/logout", ""), http.StatusNoContent)
	})
}

func TestPasswordChange(t *testing.T) {
	f := newFixture(t)
	f.signUp(t, "alice")
	mine, other := f.signIn(t, "alice"), f.signIn(t, "alice")
	change := func(current, replacement string) answer {
		return f.do(t, http.MethodPost, "/api/user/password", passwordChangeOf(current, replacement), bearerOf(mine.access)...)
	}
	const replacement = "tall ships sail at midnight"

	wrong := change("wrong horse battery staple", replacement)
	wantProblem(t, wrong, http.StatusUnauthorized, "invalid_credentials")
	if got := wrong.Header.Get("WWW-Authenticate"); got != "Bearer" {
		t.Errorf("WWW-Authenticate is %q: the token was good", got)
	}
	for bad, code := range map[string]string{"short": "too_short", "Password": "too_common", "alice-2026": "too_obvious"} {
		refused := wantProblem(t, change(goodPassword, bad), http.StatusUnprocessableEntity, "validation_failed")
		if len(refused.Errors) != 1 || refused.Errors[0].Field != "new_password" || refused.Errors[0].Code != code {
			t.Errorf("%s: %+v, want %s", bad, refused.Errors, code)
		}
	}
	wantStatus(t, f.get(t, "/api/user/me", other.access), http.StatusOK) // so far nothing has changed

	wantStatus(t, change(goodPassword, replacement), http.StatusNoContent)
	f.wantDead(t, other)
	wantStatus(t, f.get(t, "/api/user/me", mine.access), http.StatusOK)
	wantStatus(t, f.refresh(t, mine.refresh), http.StatusOK)
	wantProblem(t, f.do(t, http.MethodPost, "/api/user/login", credentialsOf("alice", goodPassword)),
		http.StatusUnauthorized, "invalid_credentials")
	wantStatus(t, f.do(t, http.MethodPost, "/api/user/login", credentialsOf("alice", replacement)), http.StatusOK)
}

// A new sign-in in a browser takes the place of the one before, which nobody could end later.
func TestLoginReplacesTheSessionOfTheCookie(t *testing.T) {
	f := newFixture(t)
	f.signUp(t, "alice")
	before := f.signIn(t, "alice")
	wrong := f.do(t, http.MethodPost, "/api/user/login", credentialsOf("alice", goodPassword+"!"), f.cookieOf(before.refresh)...)
	wantProblem(t, wrong, http.StatusUnauthorized, "invalid_credentials")
	wantStatus(t, f.get(t, "/api/user/me", before.access), http.StatusOK) // a failure replaces nothing
	wantStatus(t, f.do(t, http.MethodPost, "/api/user/login", credentialsOf("alice", goodPassword),
		f.cookieOf(before.refresh)...), http.StatusOK)
	f.wantDead(t, before)
}

// The last moments of a session: what is handed over must not look as if it lasted.
func TestGrantAtTheEndOfASession(t *testing.T) {
	f := newFixture(t, "LATCHKEY_SESSION_TTL=2m", "LATCHKEY_REFRESH_TOKEN_TTL=2m")
	f.clock.advance(400 * time.Millisecond) // a session does not begin at a whole second
	f.signUp(t, "alice")
	h := f.signIn(t, "alice")
	f.clock.advance(2*time.Minute - 300*time.Millisecond)
	a := f.refresh(t, h.refresh) // send holds expires_in against its minimum
	wantStatus(t, a, http.StatusOK)
	if c := a.cookie(t); c == nil || c.MaxAge <= 0 {
		t.Errorf("without Max-Age the cookie outlives the session: %q", a.Header.Get("Set-Cookie"))
	}
	f.clock.advance(300 * time.Millisecond)
	f.wantDead(t, h)
}

// wantDead wants that neither token of a client is good for anything, and that presenting them sets no cookie.
func (f *fixture) wantDead(t testing.TB, h held) {
	t.Helper()
	wantProblem(t, f.get(t, "/api/user/me", h.access), http.StatusUnauthorized, "invalid_token")
	wantProblem(t, f.refresh(t, h.refresh), http.StatusBadRequest, "invalid_refresh_token")
}

// wantCookie compares everything but the value.
func wantCookie(t testing.TB, a answer, want http.Cookie) {
	t.Helper()
	got := a.cookie(t)
	if got == nil {
		t.Fatal("no cookie is set")
	}
	want.Value = got.Value
	if got.String() != want.String() || got.Domain != "" {
		t.Errorf("Set-Cookie is %q, want %q", got, want.String())
	}
}

// wantClaims reads an access token as another service would: by the published key, with the usual checks.
func wantClaims(t testing.TB, f *fixture, access string, user uuid.UUID, generation float64, roles ...string) {
	t.Helper()
	claims := jwt.MapClaims{}
	parsed, _, err := jwt.NewParser().ParseUnverified(access, claims)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, role := range claims["roles"].([]any) {
		got = append(got, role.(string))
	}
	if parsed.Header["typ"] != "at+jwt" || parsed.Header["kid"] != f.keys[0].ID || claims["sub"] != user.String() ||
		claims["iss"] != "http://localhost:8080" || claims["gen"] != generation || !slices.Equal(got, roles) {
		t.Errorf("the token says %v %v", parsed.Header, claims)
	}
}
