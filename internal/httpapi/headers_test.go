package httpapi

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/google/uuid"
)

// withRoutes serves the fixture's API with more routes than it has, inside the same middleware.
func (f *fixture) withRoutes(t *testing.T, add func(chi.Router)) {
	t.Helper()
	d := f.dependencies
	s := &server{
		Dependencies: d, logins: newLimiter(d.Config.LimitLogin, d.Now),
		registrations: newLimiter(d.Config.LimitRegister, d.Now), refreshes: newLimiter(d.Config.LimitRefresh, d.Now),
	}
	routes := s.routes()
	add(routes)
	f.serve(t, routes)
}

// send holds the headers of every answer against checkHeaders; this makes sure that there is one of each kind, over
// http and https.
func TestSecurityHeaders(t *testing.T) {
	for _, publicURL := range []string{"http://localhost:8080", "https://auth.example.com"} {
		t.Run(publicURL, func(t *testing.T) {
			f := newFixture(t, "LATCHKEY_PUBLIC_URL="+publicURL, "LATCHKEY_LIMIT_REFRESH=2/1m")
			f.withRoutes(t, func(r chi.Router) {
				r.Get("/panic", func(http.ResponseWriter, *http.Request) { panic("canary") })
			})
			f.signUp(t, "alice")
			h := f.signIn(t, "alice")
			good := credentialsOf("alice", goodPassword)
			var statuses []int
			for _, a := range []answer{
				f.do(t, "GET", "/livez", ""),
				f.do(t, "HEAD", "/livez", ""),
				f.do(t, "GET", "/.well-known/jwks.json", ""),
				f.do(t, "GET", "/openapi.yaml", ""),
				f.do(t, "GET", "/swagger/", ""),
				f.do(t, "GET", "/swagger", ""),
				f.do(t, "POST", "/api/user/register", credentialsOf("bob", goodPassword)),
				f.do(t, "DELETE", "/api/user/sessions", "", bearerOf(h.access)...),
				f.do(t, "POST", "/api/user/login", "{"),
				f.do(t, "GET", "/api/user/me", ""),
				f.do(t, "POST", "/api/user/logout", "", "Sec-Fetch-Site", "cross-site"),
				f.do(t, "GET", "/nothing", ""),
				f.do(t, "GET", "/api/user/nothing", ""),
				f.do(t, "GET", "/swagger/nothing", ""),
				f.do(t, "PUT", "/livez", ""),
				f.do(t, "POST", "/api/user/register", good),
				f.do(t, "POST", "/nothing", strings.Repeat(" ", maxBody+1)),
				f.do(t, "POST", "/api/user/login", good, "Content-Type", "text/plain"),
				f.do(t, "POST", "/api/user/register", credentialsOf("", "")),
				f.refresh(t, "junk"), f.refresh(t, "junk"), f.refresh(t, "junk"),
				f.do(t, "GET", "/panic", ""),
			} {
				statuses = append(statuses, a.StatusCode)
			}
			if err := f.store.Close(); err != nil {
				t.Fatal(err)
			}
			statuses = append(statuses, f.do(t, "GET", "/readyz", "").StatusCode)
			for _, want := range []int{200, 201, 204, 301, 400, 401, 403, 404, 405, 409, 413, 415, 422, 429, 500, 503} {
				if !slices.Contains(statuses, want) {
					t.Errorf("no %d among %v", want, statuses)
				}
			}
		})
	}
}

func TestKeySetMayBeCached(t *testing.T) {
	f := newFixture(t)
	a := f.do(t, http.MethodGet, "/.well-known/jwks.json", "")
	wantStatus(t, a, http.StatusOK)
	if got := a.Header.Get("Cache-Control"); got != "public, max-age=300" {
		t.Errorf("Cache-Control is %q", got)
	}
	for _, private := range []string{`"d"`, `"p"`, `"q"`, `"k"`, "PRIVATE"} {
		if strings.Contains(a.body, private) {
			t.Errorf("%s is in %s", private, a.body)
		}
	}
}

func TestCookieAttributes(t *testing.T) {
	for name, c := range map[string]struct {
		settings []string
		want     http.Cookie
	}{
		"http, strict": {nil, http.Cookie{Name: "refresh_token", SameSite: http.SameSiteStrictMode}},
		"http, lax": {[]string{"LATCHKEY_COOKIE_SAMESITE=lax"},
			http.Cookie{Name: "refresh_token", SameSite: http.SameSiteLaxMode}},
		"https, strict": {[]string{"LATCHKEY_PUBLIC_URL=https://auth.example.com"},
			http.Cookie{Name: "__Host-refresh_token", Secure: true, SameSite: http.SameSiteStrictMode}},
		"https, lax": {[]string{"LATCHKEY_PUBLIC_URL=https://auth.example.com", "LATCHKEY_COOKIE_SAMESITE=lax"},
			http.Cookie{Name: "__Host-refresh_token", Secure: true, SameSite: http.SameSiteLaxMode}},
		"https, none": {[]string{"LATCHKEY_PUBLIC_URL=https://auth.example.com", "LATCHKEY_COOKIE_SAMESITE=none"},
			http.Cookie{Name: "__Host-refresh_token", Secure: true, SameSite: http.SameSiteNoneMode}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, c.settings...)
			f.signUp(t, "alice")
			login := f.do(t, http.MethodPost, "/api/user/login", credentialsOf("alice", goodPassword))
			want := c.want
			want.Path, want.HttpOnly, want.MaxAge = "/", true, 7*24*3600
			wantCookie(t, login, want)
			if set := login.Header.Get("Set-Cookie"); len(set) > 4096 || strings.Contains(login.body, login.cookie(t).Value) {
				t.Errorf("%s, and %s", set, login.body)
			}
			refreshed := f.refresh(t, login.cookie(t).Value)
			wantCookie(t, refreshed, want)
			want.MaxAge = -1
			wantCookie(t, f.do(t, http.MethodPost, "/api/user/logout", "", f.cookieOf(refreshed.cookie(t).Value)...), want)
		})
	}
	t.Run("the name of http is none on https", func(t *testing.T) {
		f := newFixture(t, "LATCHKEY_PUBLIC_URL=https://auth.example.com")
		f.signUp(t, "alice")
		h := f.signIn(t, "alice")
		a := f.do(t, http.MethodPost, "/api/user/refresh", "", "Cookie", "refresh_token="+h.refresh)
		wantProblem(t, a, http.StatusBadRequest, "invalid_refresh_token")
	})
	t.Run("Max-Age ends with the session", func(t *testing.T) {
		f := newFixture(t, "LATCHKEY_SESSION_TTL=168h")
		f.signUp(t, "alice")
		h := f.signIn(t, "alice")
		f.clock.advance(100 * 3600e9)
		if got := f.refresh(t, h.refresh).cookie(t).MaxAge; got != 68*3600 {
			t.Errorf("Max-Age is %d s, with 68 h left", got)
		}
	})
}

func TestRequestID(t *testing.T) {
	f := newFixture(t)
	for _, id := range []string{"a", "A-z_0.9", strings.Repeat("x", 64), uuid.NewString()} {
		if got := f.do(t, "GET", "/livez", "", "X-Request-Id", id).Header.Values("X-Request-Id"); len(got) != 1 || got[0] != id {
			t.Errorf("%q comes back as %q", id, got)
		}
	}
	for _, id := range []string{
		"", strings.Repeat("x", 65), "a b", "a\tb", "<script>", `"`, "a:b", "é",
		"a\u202eb", "../x", "a;b", "%0a", "a\\n", "a,b",
	} {
		a := f.do(t, "GET", "/nothing", "", "X-Request-Id", id) // with a body that has it too
		if got := a.Header.Values("X-Request-Id"); len(got) != 1 || uuid.Validate(got[0]) != nil {
			t.Errorf("%q comes back as %q, want a new one", id, got)
		}
	}
	first, second := f.do(t, "GET", "/livez", ""), f.do(t, "GET", "/livez", "")
	if first.Header.Get("X-Request-Id") == second.Header.Get("X-Request-Id") {
		t.Error("two requests have one id")
	}
}

// That each request has one line, and that none has a secret, is held against every fixture's log. This is about what
// a line says, and about everything else that a client could want to put into it.
func TestRequestLog(t *testing.T) {
	f := newFixture(t, "LATCHKEY_TRUSTED_PROXIES=127.0.0.1/32")
	f.signUp(t, "alice")
	h := f.signIn(t, "alice")
	f.do(t, "GET", "/api/user/me?canary=1", "", append(bearerOf(h.access), "X-Request-Id", "me-1", "User-Agent", "canary\t\xff",
		"X-Forwarded-For", "2001:db8::1", "Referer", "https://canary.example", "Origin", "https://canary.example",
		"X-Canary", "canary")...)
	f.do(t, "GET", "/canary%0a%1b[31m/\u202e", "", "X-Request-Id", "unknown-1", "X-Forwarded-For", "canary")
	f.do(t, "DELETE", "/api/user/sessions/canary", "", append(bearerOf(h.access), "X-Request-Id", "end-1")...)
	f.do(t, "CANARY", "/livez", "", "X-Request-Id", "method-1")
	f.do(t, "POST", "/api/user/register", credentialsOf("canary", "canary"), "X-Request-Id", "register-1")
	f.do(t, "POST", "/api/user/login", credentialsOf("canary", "canary"), "X-Request-Id", "login-1")
	f.do(t, "POST", "/api/user/login", `{"canary":`, "X-Request-Id", "broken-1", "Content-Type", "application/json; canary=canary")
	f.Close() // the last line is there
	if strings.Contains(strings.ToLower(f.logs.String()), "canary") {
		t.Errorf("a client's text is in the log: %s", f.logs.String())
	}
	lines := map[string]map[string]any{}
	for line := range strings.Lines(f.logs.String()) {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatal(err)
		}
		if id, ok := entry["request_id"].(string); ok && entry["msg"] == "request" {
			lines[id] = entry
		}
	}
	for id, want := range map[string]map[string]any{
		"me-1":       {"method": "GET", "route": "/api/user/me", "status": 200.0, "address": "2001:db8::1"},
		"unknown-1":  {"method": "GET", "route": "none", "status": 404.0, "address": "127.0.0.1"},
		"end-1":      {"method": "DELETE", "route": "/api/user/sessions/{id}", "status": 404.0},
		"method-1":   {"method": "other", "status": 405.0},
		"register-1": {"method": "POST", "route": "/api/user/register", "status": 422.0},
		"login-1":    {"method": "POST", "route": "/api/user/login", "status": 401.0},
		"broken-1":   {"method": "POST", "route": "/api/user/login", "status": 400.0},
	} {
		for name, value := range want {
			if got := lines[id][name]; got != value {
				t.Errorf("%s: %s is %v, want %v", id, name, got, value)
			}
		}
		if took, ok := lines[id]["took_ms"].(float64); !ok || took < 0 {
			t.Errorf("%s took %v", id, lines[id]["took_ms"])
		}
	}
}
