package httpapi

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"latchkey/internal/account"
)

// changingCalls are those that a page of another origin must not make with its visitor's cookie or token.
func changingCalls(f *fixture, t *testing.T, h held) map[string]func(headers ...string) answer {
	t.Helper()
	id := f.sessionsOf(t, h)[0].ID.String()
	call := func(method, path, body string, credentials ...string) func(...string) answer {
		return func(headers ...string) answer {
			t.Helper()
			return f.do(t, method, path, body, append(credentials, headers...)...)
		}
	}
	bearer, cookie := bearerOf(h.access), f.cookieOf(h.refresh)
	return map[string]func(...string) answer{
		"register":        call("POST", "/api/user/register", credentialsOf("mallory", goodPassword)),
		"login":           call("POST", "/api/user/login", credentialsOf("alice", goodPassword), cookie...),
		"refresh":         call("POST", "/api/user/refresh", "", cookie...),
		"logout":          call("POST", "/api/user/logout", "", cookie...),
		"end others":      call("DELETE", "/api/user/sessions", "", bearer...),
		"end one":         call("DELETE", "/api/user/sessions/"+id, "", bearer...),
		"change password": call("POST", "/api/user/password", passwordChangeOf(goodPassword, goodPassword+"!"), bearer...),
	}
}

const otherOrigin = "https://evil.example"

// lookalikes are origins that a sloppy comparison would take for https://app.example.com.
var lookalikes = []string{
	"https://app.example.com.evil.example", "https://evil-app.example.com", "https://evilapp.example.com",
	"http://app.example.com", "https://app.example.com:8443", "https://app.example.com:443", "https://sub.app.example.com",
	"https://example.com", "https://app.example.com/", "https://app.example.co", "https://app.example.com@evil.example",
	"https://evil.example#https://app.example.com", "https://appXexample.com", "app.example.com", "null", "https://app.example.com ,",
}

func TestCallsOfOtherOriginsChangeNothing(t *testing.T) {
	f := newFixture(t)
	f.signUp(t, "alice")
	alice, other := f.signIn(t, "alice"), f.signIn(t, "alice")
	calls := changingCalls(f, t, alice)
	for name, headers := range map[string][]string{
		"cross-site":                         {"Sec-Fetch-Site", "cross-site"},
		"cross-site with its origin":         {"Sec-Fetch-Site", "cross-site", "Origin", otherOrigin},
		"same-site":                          {"Sec-Fetch-Site", "same-site"},
		"same-site with its origin":          {"Sec-Fetch-Site", "same-site", "Origin", "http://localhost:3000"},
		"an unknown relation":                {"Sec-Fetch-Site", "canary"},
		"a relation in capitals":             {"Sec-Fetch-Site", "Same-Origin"},
		"another origin alone":               {"Origin", otherOrigin},
		"no origin to speak of":              {"Origin", "null"},
		"another port":                       {"Origin", "http://localhost:8081"},
		"another scheme":                     {"Origin", "https://localhost:8080"},
		"our host as another's user":         {"Origin", "http://localhost:8080@evil.example"},
		"our host with another's domain":     {"Origin", "http://localhost:8080.evil.example"},
		"a cross-site navigation":            {"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Origin", "null"},
		"a method that claims to be another": {"Sec-Fetch-Site", "cross-site", "X-HTTP-Method-Override", "GET"},
	} {
		t.Run(name+" is refused", func(t *testing.T) {
			for call, send := range calls {
				a := send(headers...)
				if a.StatusCode != http.StatusForbidden {
					t.Errorf("%s: %d", call, a.StatusCode)
					continue
				}
				wantProblem(t, a, http.StatusForbidden, "cross_origin")
			}
		})
	}
	if _, err := f.accounts.Find(t.Context(), "mallory"); !errors.Is(err, account.ErrNotFound) {
		t.Errorf("an account was made: %v", err)
	}
	wantStatus(t, f.get(t, "/api/user/me", other.access), http.StatusOK)
	if list := f.sessionsOf(t, alice); len(list) != 2 {
		t.Errorf("of 2 sessions there are %d", len(list))
	}
	f.signIn(t, "alice") // by the password that she had
	if next := f.refresh(t, alice.refresh).held(t); next.refresh == "" {
		t.Error("the refresh token was used")
	}
}

func TestCallsOfOwnOriginPass(t *testing.T) {
	f := newFixture(t)
	f.signUp(t, "alice")
	for name, headers := range map[string][]string{
		"no browser":                      nil,
		"same-origin":                     {"Sec-Fetch-Site", "same-origin"},
		"same-origin with its origin":     {"Sec-Fetch-Site", "same-origin", "Origin", "http://localhost:8080"},
		"by the user's hand":              {"Sec-Fetch-Site", "none"},
		"the public origin":               {"Origin", "http://localhost:8080"},
		"the origin of the request":       {"Origin", f.URL},
		"the public origin, from afar":    {"Sec-Fetch-Site", "cross-site", "Origin", "http://localhost:8080"},
		"an empty origin of no browser's": {"Origin", ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := f.signIn(t, "alice")
			wantStatus(t, f.do(t, http.MethodPost, "/api/user/refresh", "", append(f.cookieOf(h.refresh), headers...)...), http.StatusOK)
			logout := f.do(t, http.MethodPost, "/api/user/logout", "", append(f.cookieOf(h.refresh), headers...)...)
			wantStatus(t, logout, http.StatusNoContent)
		})
	}
}

// Reading is harmless without CORS headers: the browser keeps the answer from the page. A safe method must then be safe.
func TestReadsOfOtherOriginsPass(t *testing.T) {
	f := newFixture(t)
	f.signUp(t, "alice")
	h := f.signIn(t, "alice")
	for _, method := range []string{"GET", "HEAD", "OPTIONS"} {
		for _, call := range []string{"register", "login", "refresh", "logout", "password"} {
			a := f.do(t, method, "/api/user/"+call, "", append(f.cookieOf(h.refresh), "Sec-Fetch-Site", "cross-site", "Origin", otherOrigin)...)
			wantStatus(t, a, http.StatusMethodNotAllowed)
		}
	}
	a := f.do(t, "GET", "/api/user/me", "", append(bearerOf(h.access), "Sec-Fetch-Site", "cross-site", "Origin", otherOrigin)...)
	wantStatus(t, a, http.StatusOK)
	wantNoCORS(t, a)
}

func wantNoCORS(t testing.TB, a answer) {
	t.Helper()
	for name, values := range a.Header {
		if strings.HasPrefix(name, "Access-Control-") {
			t.Errorf("%s is %q", name, values)
		}
	}
}

func TestWithoutAllowedOriginsThereIsNoCORS(t *testing.T) {
	f := newFixture(t)
	for _, origin := range append([]string{otherOrigin, "http://localhost:8080", f.URL}, lookalikes...) {
		for _, a := range []answer{
			f.do(t, "GET", "/livez", "", "Origin", origin),
			f.do(t, "POST", "/api/user/refresh", "", "Origin", origin),
			f.do(t, "OPTIONS", "/api/user/refresh", "", "Origin", origin, "Access-Control-Request-Method", "POST"),
		} {
			wantNoCORS(t, a)
			if vary := a.Header.Values("Vary"); len(vary) > 0 {
				t.Errorf("Vary is %q", vary)
			}
			if a.Request.Method == http.MethodOptions {
				wantProblem(t, a, http.StatusMethodNotAllowed, "method_not_allowed")
			}
		}
	}
}

const (
	appOrigin    = "https://app.example.com"
	secondOrigin = "http://localhost:3000"
)

func TestAllowedOrigins(t *testing.T) {
	f := newFixture(t, "LATCHKEY_ALLOWED_ORIGINS="+appOrigin+", "+secondOrigin)
	f.signUp(t, "alice")
	for _, origin := range []string{appOrigin, secondOrigin} {
		t.Run(origin+" may call with credentials", func(t *testing.T) {
			from := []string{"Origin", origin, "Sec-Fetch-Site", "cross-site"}
			login := f.do(t, http.MethodPost, "/api/user/login", credentialsOf("alice", goodPassword), from...)
			wantStatus(t, login, http.StatusOK)
			wantShared(t, login, origin)
			h := login.held(t)
			refreshed := f.do(t, http.MethodPost, "/api/user/refresh", "", append(f.cookieOf(h.refresh), from...)...)
			wantStatus(t, refreshed, http.StatusOK)
			wantShared(t, refreshed, origin)
			for _, refusal := range []answer{ // a page must see why it was refused
				f.do(t, "GET", "/api/user/me", "", from...),
				f.do(t, "POST", "/api/user/refresh", "", from...),
				f.do(t, "POST", "/api/user/login", "{", from...),
				f.do(t, "GET", "/nothing", "", from...),
				f.do(t, "POST", "/api/user/login", strings.Repeat(" ", maxBody+1), from...),
			} {
				wantShared(t, refusal, origin)
			}
			logout := f.do(t, http.MethodPost, "/api/user/logout", "", append(f.cookieOf(refreshed.held(t).refresh), from...)...)
			wantStatus(t, logout, http.StatusNoContent)
			wantShared(t, logout, origin)
		})
		t.Run(origin+" passes a preflight", func(t *testing.T) {
			for _, c := range []struct{ method, headers string }{
				{"POST", "content-type"}, {"GET", "authorization"}, {"DELETE", "authorization,x-request-id"},
				{"POST", "authorization,content-type"}, {"POST", ""},
			} {
				headers := []string{"Origin", origin, "Access-Control-Request-Method", c.method}
				if c.headers != "" {
					headers = append(headers, "Access-Control-Request-Headers", c.headers)
				}
				a := f.do(t, "OPTIONS", "/api/user/sessions", "", headers...)
				wantStatus(t, a, http.StatusNoContent)
				for name, want := range map[string]string{
					"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Credentials": "true",
					"Access-Control-Allow-Methods": c.method, "Access-Control-Allow-Headers": c.headers, "Access-Control-Max-Age": "600",
				} {
					if got := a.Header.Get(name); got != want {
						t.Errorf("%s: %s is %q, want %q", c, name, got, want)
					}
				}
				wantVaryByOrigin(t, a)
			}
		})
	}
	t.Run("a preflight for more is in vain", func(t *testing.T) {
		for _, c := range []struct{ method, headers string }{
			{"PUT", ""}, {"PATCH", ""}, {"TRACE", ""}, {"POST", "x-forwarded-for"}, {"GET", "authorization,cookie"}, {"", ""},
		} {
			a := f.do(t, "OPTIONS", "/api/user/sessions", "", "Origin", appOrigin,
				"Access-Control-Request-Method", c.method, "Access-Control-Request-Headers", c.headers)
			if got := a.Header.Get("Access-Control-Allow-Methods") + a.Header.Get("Access-Control-Allow-Headers"); got != "" {
				t.Errorf("%s: allowed are %s", c, got)
			}
		}
	})
	for _, origin := range append([]string{otherOrigin}, lookalikes...) {
		t.Run(origin+" is none of them", func(t *testing.T) {
			h := f.signIn(t, "alice")
			preflight := f.do(t, "OPTIONS", "/api/user/me", "", "Origin", origin, "Access-Control-Request-Method", "GET")
			read := f.do(t, "GET", "/api/user/me", "", append(bearerOf(h.access), "Origin", origin)...)
			wantStatus(t, read, http.StatusOK)
			refused := f.do(t, "POST", "/api/user/refresh", "", append(f.cookieOf(h.refresh), "Origin", origin)...)
			wantProblem(t, refused, http.StatusForbidden, "cross_origin")
			for _, a := range []answer{preflight, read, refused} {
				wantNoCORS(t, a)
				wantVaryByOrigin(t, a) // or a cache would keep this for the allowed origins too
			}
		})
	}
	t.Run("without an origin there is nothing to share", func(t *testing.T) {
		a := f.do(t, "GET", "/livez", "")
		wantNoCORS(t, a)
		wantVaryByOrigin(t, a)
	})
}

// wantShared wants that a page of an origin can read an answer that it got with credentials.
func wantShared(t testing.TB, a answer, origin string) {
	t.Helper()
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin":      origin,
		"Access-Control-Allow-Credentials": "true",
		"Access-Control-Expose-Headers":    "Retry-After, Www-Authenticate, X-Request-Id",
	} {
		if got := a.Header.Values(name); len(got) != 1 || got[0] != want {
			t.Errorf("%s %s %d: %s is %q, want %q", a.Request.Method, a.Request.URL.Path, a.StatusCode, name, got, want)
		}
	}
	wantVaryByOrigin(t, a)
}

func wantVaryByOrigin(t testing.TB, a answer) {
	t.Helper()
	for value := range strings.SplitSeq(strings.Join(a.Header.Values("Vary"), ","), ",") {
		if strings.TrimSpace(value) == "Origin" {
			return
		}
	}
	t.Errorf("%s %s: Vary is %q", a.Request.Method, a.Request.URL.Path, a.Header.Values("Vary"))
}
