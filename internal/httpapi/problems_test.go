package httpapi

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// Every code that the source has, by a real request.
func TestProblems(t *testing.T) {
	f := newFixture(t)
	f.signUp(t, "alice")
	alice := f.signIn(t, "alice")
	closed := newFixture(t, "LATCHKEY_REGISTRATION=closed")
	limited := newFixture(t, "LATCHKEY_LIMIT_REFRESH=1/1m")
	limited.do(t, http.MethodPost, "/api/user/refresh", "")
	away := newFixture(t)
	if err := away.store.Close(); err != nil {
		t.Fatal(err)
	}
	broken := newFixture(t)
	broken.dependencies.Accounts = nil
	broken.serve(t, New(broken.dependencies))
	good, wrong := credentialsOf("alice", goodPassword), credentialsOf("alice", "wrong horse battery staple")
	answers := map[string]struct {
		status int
		answer answer
	}{
		"malformed_request":     {400, f.do(t, "POST", "/api/user/login", "{}")},
		"invalid_refresh_token": {400, f.do(t, "POST", "/api/user/refresh", "")},
		"invalid_credentials":   {401, f.do(t, "POST", "/api/user/login", wrong)},
		"invalid_token":         {401, f.do(t, "GET", "/api/user/me", "")},
		"cross_origin":          {403, f.do(t, "POST", "/api/user/logout", "", "Sec-Fetch-Site", "cross-site")},
		"forbidden":             {403, f.get(t, "/api/user/protected", alice.access)},
		"registration_closed":   {403, closed.do(t, "POST", "/api/user/register", credentialsOf("bob", goodPassword))},
		"not_found":             {404, f.do(t, "GET", "/nothing", "")},
		"method_not_allowed":    {405, f.do(t, "GET", "/api/user/login", "")},
		"request_timeout":       {408, impatient(t, f).stall(t, "/api/user/login", good[:10], len(good))},
		"username_taken":        {409, f.do(t, "POST", "/api/user/register", good)},
		"payload_too_large":     {413, f.do(t, "POST", "/api/user/login", strings.Repeat(" ", maxBody+1))},
		"unsupported_media_type": {415, f.do(t, "POST", "/api/user/login", good,
			"Content-Type", "text/plain")},
		"validation_failed": {422, f.do(t, "POST", "/api/user/register", credentialsOf("", ""))},
		"too_many_requests": {429, limited.do(t, "POST", "/api/user/refresh", "")},
		"internal":          {500, broken.do(t, "POST", "/api/user/login", good)},
		"headers_too_large": {431, f.do(t, "GET", "/livez", "", "X-A", strings.Repeat("a", maxHeaders))},
		"unavailable":       {503, away.do(t, "GET", "/readyz", "")},
	}
	for code := range sourceProblems(t) {
		c, tested := answers[code]
		if !tested {
			t.Errorf("no request is known that gets %s", code)
			continue
		}
		body := wantProblem(t, c.answer, c.status, code)
		if body.Type != "about:blank" || body.Detail == "" {
			t.Errorf("%s: %+v", code, body)
		}
	}
	if fault := answers["internal"].answer.body; strings.Contains(fault, "nil pointer") {
		t.Errorf("the cause of a fault is sent: %s", fault)
	}
	if !strings.Contains(broken.logs.String(), "nil pointer") {
		t.Error("the cause of a fault is not logged")
	}
}

func TestAllowHeader(t *testing.T) {
	f := newFixture(t)
	for _, c := range []struct{ method, path, allow string }{
		{"GET", "/api/user/register", "POST"},
		{"HEAD", "/api/user/login", "POST"},
		{"PUT", "/api/user/refresh", "POST"},
		{"DELETE", "/api/user/logout", "POST"},
		{"OPTIONS", "/api/user/login", "POST"},
		{"POST", "/api/user/me", "GET, HEAD"},
		{"PATCH", "/api/user/protected", "GET, HEAD"},
		{"POST", "/api/user/sessions", "GET, HEAD, DELETE"},
		{"OPTIONS", "/api/user/sessions", "GET, HEAD, DELETE"},
		{"GET", "/api/user/sessions/" + uuid.NewString(), "DELETE"},
		{"HEAD", "/api/user/sessions/" + uuid.NewString(), "DELETE"},
		{"GET", "/api/user/password", "POST"},
		{"DELETE", "/livez", "GET, HEAD"},
		{"POST", "/readyz", "GET, HEAD"},
		{"TRACE", "/livez", "GET, HEAD"},
		{"PROPFIND", "/livez", "GET, HEAD"},
		{"POST", "/.well-known/jwks.json", "GET, HEAD"},
		{"POST", "/openapi.yaml", "GET, HEAD"},
	} {
		t.Run(c.method+" "+c.path, func(t *testing.T) {
			a := f.do(t, c.method, c.path, "")
			wantStatus(t, a, http.StatusMethodNotAllowed)
			if got := a.Header.Values("Allow"); len(got) != 1 || got[0] != c.allow {
				t.Errorf("Allow is %q, want %q", got, c.allow)
			}
		})
	}
}

// Which of two cookies another host has planted cannot be told, so neither counts.
func TestTwoRefreshCookiesAreRefused(t *testing.T) {
	f := newFixture(t)
	f.signUp(t, "alice")
	f.signUp(t, "mallory")
	alice, mallory := f.signIn(t, "alice"), f.signIn(t, "mallory")
	pair := func(name, value string) string { return name + "=" + value }
	const name = "refresh_token"
	for what, cookies := range map[string][]string{
		"the planted one last":     {pair(name, alice.refresh) + "; " + pair(name, mallory.refresh)},
		"the planted one first":    {pair(name, mallory.refresh) + "; " + pair(name, alice.refresh)},
		"one twice":                {pair(name, alice.refresh) + "; " + pair(name, alice.refresh)},
		"in two headers":           {pair(name, alice.refresh), pair(name, mallory.refresh)},
		"one of them empty":        {pair(name, "") + "; " + pair(name, alice.refresh)},
		"the name of https":        {pair("__Host-"+name, alice.refresh)},
		"the name in another case": {pair("Refresh_Token", alice.refresh)},
		"no name":                  {"=" + name + "=" + alice.refresh},
	} {
		t.Run(what, func(t *testing.T) {
			var headers []string
			for _, c := range cookies {
				headers = append(headers, "Cookie", c)
			}
			a := f.do(t, http.MethodPost, "/api/user/refresh", "", headers...)
			wantProblem(t, a, http.StatusBadRequest, "invalid_refresh_token")
		})
	}
	wantStatus(t, f.refresh(t, alice.refresh), http.StatusOK)
	wantStatus(t, f.refresh(t, mallory.refresh), http.StatusOK)
}

// A refusal of refresh must look the same whatever its cause, and leave the jar alone, which may hold a newer sign-in's
// cookie by the time it arrives.
func TestRefusedRefreshes(t *testing.T) {
	f := newFixture(t)
	for _, name := range []string{"alice", "disabled", "deleted", "idle"} {
		f.signUp(t, name)
	}
	idle := f.signIn(t, "idle")
	f.clock.advance(8 * 24 * time.Hour)
	alice, revoked := f.signIn(t, "alice"), f.signIn(t, "alice")
	disabled, deleted := f.signIn(t, "disabled"), f.signIn(t, "deleted")
	f.do(t, http.MethodPost, "/api/user/logout", "", f.cookieOf(revoked.refresh)...)
	if _, err := f.accounts.Disable(t.Context(), "disabled"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.accounts.Delete(t.Context(), "deleted"); err != nil {
		t.Fatal(err)
	}
	reused := f.signIn(t, "alice")
	f.get(t, "/api/user/me", f.refresh(t, reused.refresh).held(t).access)
	f.clock.advance(time.Minute)

	unknown := f.refreshKeys.Encode(f.refreshKeys.First(uuid.Must(uuid.NewV7())))
	tampered := flip(alice.refresh, 40)
	bodies := map[string]string{}
	for cause, token := range map[string]string{
		"no cookie": "", "junk": "junk", "the right length": strings.Repeat("A", 87),
		"a long one": strings.Repeat("A", 8000),
		"tampered":   tampered, "another tag": flip(alice.refresh, 80), "padded": alice.refresh + "=",
		"quoted":                "%22" + alice.refresh,
		"of an unknown session": unknown, "revoked": revoked.refresh, "idle for too long": idle.refresh,
		"of a disabled user": disabled.refresh, "of a deleted user": deleted.refresh, "reused": reused.refresh,
	} {
		t.Run(cause, func(t *testing.T) {
			var headers []string
			if token != "" {
				headers = f.cookieOf(token)
			}
			a := f.do(t, http.MethodPost, "/api/user/refresh", "", headers...)
			body := wantProblem(t, a, http.StatusBadRequest, "invalid_refresh_token")
			if set := a.Header.Values("Set-Cookie"); len(set) > 0 {
				t.Errorf("Set-Cookie %q", set)
			}
			bodies[strings.Replace(a.body, body.RequestID, "", 1)] = cause
		})
	}
	if len(bodies) != 1 {
		t.Errorf("causes can be told apart: %q", bodies)
	}
	wantStatus(t, f.refresh(t, alice.refresh), http.StatusOK) // nobody's attempts have harmed the session
}

// flip replaces one character of a token.
func flip(token string, at int) string {
	replacement := "A"
	if token[at] == 'A' {
		replacement = "B"
	}
	return token[:at] + replacement + token[at+1:]
}

// Whether an account exists must not show in what a failed sign-in looks like.
func TestRefusedLoginsLookTheSame(t *testing.T) {
	f := newFixture(t)
	f.signUp(t, "alice")
	f.signUp(t, "disabled")
	if _, err := f.accounts.Disable(t.Context(), "disabled"); err != nil {
		t.Fatal(err)
	}
	answers := map[string]string{}
	for cause, body := range map[string]string{
		"a wrong password":      credentialsOf("alice", "wrong horse battery staple"),
		"an unknown name":       credentialsOf("nobody", goodPassword),
		"a disabled account":    credentialsOf("disabled", goodPassword),
		"an empty password":     credentialsOf("alice", ""),
		"an endless password":   credentialsOf("alice", strings.Repeat("a", 10_000)),
		"an empty name":         credentialsOf("", goodPassword),
		"an endless name":       credentialsOf(strings.Repeat("a", 10_000), goodPassword),
		"a name with a NUL":     credentialsOf("alice\x00", goodPassword),
		"an SQL expression":     credentialsOf("' OR 1=1 --", goodPassword),
		"a padded password":     credentialsOf("alice", goodPassword+" "),
		"a name that expands":   credentialsOf(strings.Repeat("\ufdfa", 1000), goodPassword),
		"a NUL in the password": credentialsOf("alice", goodPassword+"\x00"),
	} {
		a := f.do(t, http.MethodPost, "/api/user/login", body)
		problem := wantProblem(t, a, http.StatusUnauthorized, "invalid_credentials")
		a.Header.Del("X-Request-Id")
		a.Header.Del("Date")
		answers[fmt.Sprint(a.Header, strings.Replace(a.body, problem.RequestID, "", 1))] = cause
	}
	if len(answers) != 1 {
		t.Errorf("causes can be told apart: %q", answers)
	}
}
