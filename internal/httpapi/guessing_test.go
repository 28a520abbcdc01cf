package httpapi

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"testing"
	"time"
)

// Known, unknown and disabled names are closed alike, and the answer is the same for each, down to the byte.
func TestGuessedNamesAreClosedAlike(t *testing.T) {
	f := newFixture(t, "LATCHKEY_LIMIT_LOGIN=off")
	f.signUp(t, "alice")
	f.signUp(t, "disabled")
	if _, err := f.accounts.Disable(t.Context(), "disabled"); err != nil {
		t.Fatal(err)
	}
	id := regexp.MustCompile(`"request_id":"[^"]*"`)
	var first []string
	for _, name := range []string{"alice", "disabled", "nobody", "\x00 no name at all"} {
		var answers []string
		for range 7 {
			a := f.do(t, http.MethodPost, "/api/user/login", credentialsOf(name, "wrong horse battery staple"))
			a.Header.Del("X-Request-Id")
			a.Header.Del("Date")
			answers = append(answers, fmt.Sprint(a.StatusCode, a.Header, id.ReplaceAllString(a.body, "")))
		}
		if first == nil {
			first = answers
		} else if !slices.Equal(answers, first) {
			t.Errorf("%q is answered by\n%q, want\n%q", name, answers, first)
		}
		wantLimited(t, f.do(t, http.MethodPost, "/api/user/login", credentialsOf(name, goodPassword)), 1)
	}
}

// A try at a closed name is cheap for who makes it and not for the database: it counts for the address.
func TestClosedNameIsAuditedAndCountsForTheAddress(t *testing.T) {
	f := newFixture(t, "LATCHKEY_LIMIT_LOGIN=8/8m", "LATCHKEY_TRUSTED_PROXIES=127.0.0.1/32")
	alice := f.signUp(t, "alice")
	for _, name := range []string{"alice", "nobody"} {
		login := func(body string) answer {
			return f.do(t, http.MethodPost, "/api/user/login", body, "X-Forwarded-For", map[string]string{"alice": "192.0.2.1", "nobody": "192.0.2.2"}[name])
		}
		for range 5 {
			wantProblem(t, login(credentialsOf(name, "wrong horse battery staple")), http.StatusUnauthorized, "invalid_credentials")
		}
		for range 3 {
			wantLimited(t, login(credentialsOf(name, goodPassword)), 1)
		}
		wantLimited(t, login(credentialsOf(name, goodPassword)), 60)
	}
	for _, want := range []string{`"user_id":"` + alice.ID.String() + `"`, `"name_hash":"[0-9a-f]{32}"`} {
		if !regexp.MustCompile(`"action":"throttle","result":"account",` + want).MatchString(f.logs.String()) {
			t.Errorf("the audit log has no throttle with %s", want)
		}
	}
	f.clock.advance(time.Second)
	f.signIn(t, "alice") // from another address
}
