package httpapi

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
)

// databaseCalls are one of each call that needs the database, by a client that is in order.
func databaseCalls(f *fixture, t *testing.T, h held) map[string]*http.Request {
	t.Helper()
	request := func(method, path, body string, headers ...string) *http.Request {
		return f.request(t, method, path, body, headers...)
	}
	bearer := bearerOf(h.access)
	return map[string]*http.Request{
		"register":             request("POST", "/api/user/register", credentialsOf("newcomer", goodPassword)),
		"register again":       request("POST", "/api/user/register", credentialsOf("alice", goodPassword)),
		"login":                request("POST", "/api/user/login", credentialsOf("alice", goodPassword)),
		"login, wrong":         request("POST", "/api/user/login", credentialsOf("alice", "wrong horse battery staple")),
		"login, unknown":       request("POST", "/api/user/login", credentialsOf("nobody", goodPassword)),
		"refresh":              request("POST", "/api/user/refresh", "", f.cookieOf(h.refresh)...),
		"logout by cookie":     request("POST", "/api/user/logout", "", f.cookieOf(h.refresh)...),
		"logout by token":      request("POST", "/api/user/logout", "", bearer...),
		"me":                   request("GET", "/api/user/me", "", bearer...),
		"me, HEAD":             request("HEAD", "/api/user/me", "", bearer...),
		"protected":            request("GET", "/api/user/protected", "", bearer...),
		"list the sessions":    request("GET", "/api/user/sessions", "", bearer...),
		"end the others":       request("DELETE", "/api/user/sessions", "", bearer...),
		"end one":              request("DELETE", "/api/user/sessions/"+uuid.NewString(), "", bearer...),
		"change the password":  request("POST", "/api/user/password", passwordChangeOf(goodPassword, goodPassword+"!"), bearer...),
		"change it, but wrong": request("POST", "/api/user/password", passwordChangeOf("wrong horse", goodPassword+"!"), bearer...),
		"audit":                request("GET", "/api/admin/audit", "", bearer...),
		"readyz":               request("GET", "/readyz", ""),
	}
}

// migrateDown takes the schema back to a version.
func (f *fixture) migrateDown(t *testing.T, to int64) {
	t.Helper()
	for {
		switch version, err := f.store.SchemaVersion(t.Context()); {
		case err != nil:
			t.Fatal(err)
		case version == to:
			return
		}
		if _, err := f.store.MigrateDown(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// Without its database the server must neither let anybody in nor tell a client that its session is over.
func TestDatabaseAway(t *testing.T) {
	for name, takeAway := range map[string]func(*testing.T, *fixture){
		"closed": func(t *testing.T, f *fixture) {
			if err := f.store.Close(); err != nil {
				t.Fatal(err)
			}
		},
		"without its tables":          func(t *testing.T, f *fixture) { f.migrateDown(t, 0) },
		"without the sessions' table": func(t *testing.T, f *fixture) { f.migrateDown(t, 1) },
	} {
		t.Run("a database that is "+name, func(t *testing.T) {
			f := newFixture(t)
			f.signUp(t, "alice")
			h := f.signIn(t, "alice")
			wantStatus(t, f.get(t, "/api/user/me", h.access), http.StatusOK)
			wantStatus(t, f.do(t, http.MethodGet, "/readyz", ""), http.StatusOK)
			takeAway(t, f)
			// What was read a moment ago may still be used, and a session that is in use needs no query.
			wantStatus(t, f.get(t, "/api/user/me", h.access), http.StatusOK)
			f.clock.advance(3 * time.Second)
			for call, r := range databaseCalls(f, t, h) {
				a := f.send(t, r)
				usersThere := name == "without the sessions' table"
				if usersThere && (call == "register" || call == "register again" || call == "login, wrong" || call == "login, unknown") {
					continue // these have all that they need
				}
				if a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Retry-After") != "2" {
					t.Errorf("%s: %d, Retry-After %q", call, a.StatusCode, a.Header.Get("Retry-After"))
				}
				if r.Method != http.MethodHead {
					wantProblem(t, a, http.StatusServiceUnavailable, "unavailable")
				}
				if set := a.Header.Values("Set-Cookie"); len(set) > 0 {
					t.Errorf("%s: Set-Cookie %q", call, set)
				}
			}
			for _, path := range []string{"/livez", "/.well-known/jwks.json", "/openapi.yaml", "/swagger/"} {
				wantStatus(t, f.do(t, http.MethodGet, path, ""), http.StatusOK)
			}
			// What is refused without asking the database is still refused.
			wantProblem(t, f.refresh(t, "junk"), http.StatusBadRequest, "invalid_refresh_token")
			wantProblem(t, f.get(t, "/api/user/me", "junk"), http.StatusUnauthorized, "invalid_token")
			wantStatus(t, f.do(t, http.MethodPost, "/api/user/logout", ""), http.StatusNoContent)
		})
	}
}

// However far a request has come when the database goes, it succeeds or says that it was not done.
func TestDatabaseGoesAwayInTraffic(t *testing.T) {
	f := newFixture(t, "LATCHKEY_REVOCATION_DELAY=0s")
	f.signUp(t, "alice")
	h := f.signIn(t, "alice")
	var requests []*http.Request
	for range 20 {
		requests = append(requests,
			f.request(t, http.MethodGet, "/api/user/me", "", bearerOf(h.access)...),
			f.request(t, http.MethodPost, "/api/user/refresh", "", f.cookieOf(h.refresh)...),
			f.request(t, http.MethodPost, "/api/user/login", credentialsOf("alice", goodPassword)))
	}
	closed := make(chan error)
	go func() { closed <- f.store.Close() }()
	for _, a := range f.parallel(t, requests) {
		if a.StatusCode != http.StatusOK {
			wantProblem(t, a, http.StatusServiceUnavailable, "unavailable")
		}
	}
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	f.start(t)
	wantStatus(t, f.refresh(t, h.refresh), http.StatusOK)
}

func TestSessionsOutliveAnOutage(t *testing.T) {
	f := newFixture(t)
	f.signUp(t, "alice")
	h := f.signIn(t, "alice")
	if err := f.store.Close(); err != nil {
		t.Fatal(err)
	}
	wantProblem(t, f.refresh(t, h.refresh), http.StatusServiceUnavailable, "unavailable")
	logout := f.do(t, http.MethodPost, "/api/user/logout", "", f.cookieOf(h.refresh)...)
	wantProblem(t, logout, http.StatusServiceUnavailable, "unavailable")
	f.start(t)
	wantStatus(t, f.get(t, "/api/user/me", h.access), http.StatusOK)
	next := f.refresh(t, h.refresh)
	wantStatus(t, next, http.StatusOK)
	wantStatus(t, f.do(t, http.MethodPost, "/api/user/logout", "", f.cookieOf(next.held(t).refresh)...), http.StatusNoContent)
	f.wantDead(t, h)
}

// The memory of a moment must not let a session live on that this very server has ended.
func TestOutageRevivesNothing(t *testing.T) {
	f := newFixture(t)
	f.signUp(t, "alice")
	h := f.signIn(t, "alice")
	wantStatus(t, f.get(t, "/api/user/me", h.access), http.StatusOK)
	wantStatus(t, f.do(t, http.MethodPost, "/api/user/logout", "", bearerOf(h.access)...), http.StatusNoContent)
	if err := f.store.Close(); err != nil {
		t.Fatal(err)
	}
	wantProblem(t, f.get(t, "/api/user/me", h.access), http.StatusServiceUnavailable, "unavailable")
}

func TestDraining(t *testing.T) {
	f := newFixture(t)
	f.signUp(t, "alice")
	wantStatus(t, f.do(t, http.MethodGet, "/readyz", ""), http.StatusOK)
	close(f.draining)
	a := f.do(t, http.MethodGet, "/readyz", "")
	wantProblem(t, a, http.StatusServiceUnavailable, "unavailable")
	wantStatus(t, f.do(t, http.MethodGet, "/livez", ""), http.StatusOK)
	f.signIn(t, "alice") // whoever still comes is served
}

// More sign-ins at once than can be hashed or may wait: the rest are told to come back, and nobody is told a lie.
func TestHashGate(t *testing.T) {
	f := newFixture(t, "LATCHKEY_HASH_CONCURRENCY=1", "LATCHKEY_LIMIT_LOGIN=1000/10m")
	alice := f.signUp(t, "alice")
	var requests []*http.Request
	for i := range 300 {
		name := fmt.Sprintf("user%d", i)
		if i%3 < 2 { // each with a name of its own, for one name would be closed after five
			user := alice
			user.ID, user.Username, user.CanonicalName = uuid.New(), name, name
			if err := f.store.CreateUser(t.Context(), &user); err != nil {
				t.Fatal(err)
			}
		}
		body := credentialsOf(name, goodPassword)
		if i%3 == 1 {
			body = credentialsOf(name, "wrong horse battery staple")
		}
		requests = append(requests, f.request(t, http.MethodPost, "/api/user/login", body))
	}
	count := map[int]int{}
	for i, a := range f.parallel(t, requests) {
		count[a.StatusCode]++
		switch a.StatusCode {
		case http.StatusOK:
			if i%3 != 0 {
				t.Error("a wrong password signs in")
			}
		case http.StatusUnauthorized:
			if i%3 == 0 {
				t.Error("a right password is refused")
			}
		default:
			wantProblem(t, a, http.StatusServiceUnavailable, "unavailable")
		}
	}
	// One is hashed at a time and 64 more may have begun. The others wait for 2 s at most, which is not enough for all unless a
	// hash takes less than 8 ms.
	if count[http.StatusServiceUnavailable] == 0 || count[http.StatusOK]+count[http.StatusUnauthorized] == 0 {
		t.Errorf("answers by status: %v", count)
	}
	f.signIn(t, "alice") // the gate is free again
}
