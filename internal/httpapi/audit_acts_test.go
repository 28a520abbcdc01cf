package httpapi

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/internal/audit"
	"latchkey/internal/store"
)

// kept has the events written that wait, and returns all, oldest first. The server records no further ones.
func (f *fixture) kept(t *testing.T) []audit.Event {
	t.Helper()
	f.Close()
	f.closeAudit(t, f.audit)
	events, err := f.store.AuditEvents(t.Context(), store.AuditFilter{}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(events)
	return events
}

// Every act that somebody may have to answer for is in the table, under its request and its user, once.
func TestEveryActIsKept(t *testing.T) {
	f := newFixture(t, "LATCHKEY_LIMIT_LOGIN=4/1h", "LATCHKEY_REFRESH_GRACE=0s", "LATCHKEY_TRUSTED_PROXIES=127.0.0.1/32")
	const forwarded = "203.0.113.7"
	var want []string
	act := func(id string, r *http.Request, events ...string) answer {
		t.Helper()
		r.Header.Set("X-Request-Id", id)
		r.Header.Set("X-Forwarded-For", forwarded)
		for _, e := range events {
			want = append(want, id+": "+e)
		}
		return f.send(t, r)
	}
	post := func(path, body string, headers ...string) *http.Request {
		return f.request(t, http.MethodPost, "/api/user"+path, body, headers...)
	}
	get := func(path string, headers ...string) *http.Request {
		return f.request(t, http.MethodGet, path, "", headers...)
	}

	act("register", post("/register", credentialsOf("alice", goodPassword)), "user.register ok alice")
	act("taken", post("/register", credentialsOf("ALICE", goodPassword)), "user.register taken")
	act("invalid", post("/register", credentialsOf("al", "short")), "user.register invalid")
	one := act("login", post("/login", credentialsOf("alice", goodPassword)), "user.login ok alice session").held(t)
	act("wrong", post("/login", credentialsOf("alice", "wrong horse battery")), "user.login wrong_password alice")
	act("unknown", post("/login", credentialsOf("nobody", goodPassword)), "user.login unknown_user")
	act("me", get("/api/user/me", bearerOf(one.access)...))
	two := act("refresh", post("/refresh", "", f.cookieOf(one.refresh)...), "session.refresh rotate alice session").held(t)
	act("use", get("/api/user/me", bearerOf(two.access)...))
	act("reuse", post("/refresh", "", f.cookieOf(one.refresh)...),
		"session.reuse revoked alice session", "session.refresh reuse alice session")
	act("revoked", get("/api/user/me", bearerOf(two.access)...), "token.verify revoked alice session")
	act("junk", get("/api/user/me", bearerOf("a.b.c")...), "token.verify invalid")
	act("none", post("/refresh", ""), "session.refresh malformed")
	three := act("again", post("/login", credentialsOf("alice", goodPassword)), "user.login ok alice session").held(t)
	act("replace", post("/login", credentialsOf("alice", goodPassword), f.cookieOf(three.refresh)...),
		"session.end replaced alice session", "user.login ok alice session")
	four := act("fourth", post("/login", credentialsOf("alice", goodPassword)), "user.login ok alice session").held(t)
	act("forbidden", get("/api/user/protected", bearerOf(four.access)...), "forbidden role alice session")
	act("unfit", post("/password", passwordChangeOf(goodPassword, "short"), bearerOf(four.access)...),
		"user.password_change invalid alice session")
	act("guess", post("/password", passwordChangeOf("wrong horse battery", goodPassword+"!"), bearerOf(four.access)...),
		"user.password_change wrong_password alice session")
	act("password", post("/password", passwordChangeOf(goodPassword, goodPassword+"!"), bearerOf(four.access)...),
		"session.end password alice", "user.password_change ok alice session")
	act("foreign", post("/refresh", "", append(f.cookieOf(four.refresh), "Origin", "https://evil.example")...), "cross_origin refused")
	act("logout", post("/logout", "", f.cookieOf(four.refresh)...), "session.end logout alice session")
	act("guess-2", post("/login", credentialsOf("alice", "wrong horse battery")), "user.login wrong_password alice")
	act("throttle", post("/login", credentialsOf("alice", "wrong horse battery")), "throttle login")

	user, err := f.accounts.Find(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range f.kept(t) {
		words := []string{e.RequestID + ":", string(e.Action), e.Result}
		if e.UserID == user.ID {
			words = append(words, "alice")
		}
		if e.SessionID.Version() == 7 {
			words = append(words, "session")
		}
		got = append(got, strings.Join(words, " "))
		if e.Address != forwarded || !e.At.Equal(f.clock.Now()) {
			t.Errorf("%s: from %s at %s", e.RequestID, e.Address, e.At)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the table has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestClosedRegistrationIsKept(t *testing.T) {
	f := newFixture(t, "LATCHKEY_REGISTRATION=closed")
	wantProblem(t, f.do(t, "POST", "/api/user/register", credentialsOf("alice", goodPassword)), http.StatusForbidden, "registration_closed")
	if events := f.kept(t); len(events) != 1 || events[0].Action != audit.Register || events[0].Result != "closed" {
		t.Errorf("the table has %+v", events)
	}
}

// What is answered does not hang on the table, and what could not be written is written when the database is back.
func TestEventsOfAnOutageAreKeptAfterIt(t *testing.T) {
	f := newFixture(t)
	f.signUp(t, "alice")
	h := f.signIn(t, "alice")
	f.migrateDown(t, 3)
	wantStatus(t, f.get(t, "/api/user/me", h.access), http.StatusOK)
	f.clock.advance(time.Minute)
	wantStatus(t, f.refresh(t, h.refresh), http.StatusOK)
	if _, err := f.store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range f.kept(t) {
		got = append(got, string(e.Action))
	}
	if i := slices.Index(got, "session.refresh"); i < 0 {
		t.Errorf("the table has %v", got)
	}
}
