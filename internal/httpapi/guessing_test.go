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

func TestClosedNameIsAuditedAndDoesNotUseUpTheAddress(t *testing.T) {
	f := newFixture(t, "LATCHKEY_LIMIT_LOGIN=6/10m", "LATCHKEY_TRUSTED_PROXIES=127.0.0.1/32")
	alice := f.signUp(t, "alice")
	for range 5 {
		wantProblem(t, wrongLogin(t, f), http.StatusUnauthorized, "invalid_credentials")
	}
	for range 20 { // no guess was made
		wantLimited(t, wrongLogin(t, f), 1)
	}
	for range 6 {
		f.do(t, http.MethodPost, "/api/user/login", credentialsOf("nobody", goodPassword), "X-Forwarded-For", "192.0.2.77")
	}
	for _, want := range []string{`"user_id":"` + alice.ID.String() + `"`, `"name_hash":"[0-9a-f]{32}"`} {
		if !regexp.MustCompile(`"action":"throttle","result":"account",` + want).MatchString(f.logs.String()) {
			t.Errorf("the audit log has no throttle with %s", want)
		}
	}
	f.signUp(t, "bob")
	f.signIn(t, "bob")
	f.clock.advance(time.Second)
	f.signIn(t, "alice")
}
