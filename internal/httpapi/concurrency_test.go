package httpapi

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"latchkey/internal/store/storetest"
)

// untilServed is parallel for requests that cost a hash each: those that are told to come back do so, for how many can
// be hashed in time is the machine's affair.
func (f *fixture) untilServed(t *testing.T, requests []*http.Request) []answer {
	t.Helper()
	answers := make([]answer, len(requests))
	for range 50 {
		var pending []int
		var again []*http.Request
		for i, a := range answers {
			if a.Response == nil || a.StatusCode == http.StatusServiceUnavailable {
				r := requests[i].Clone(t.Context())
				body, err := requests[i].GetBody()
				if err != nil {
					t.Fatal(err)
				}
				r.Body = body
				pending, again = append(pending, i), append(again, r)
			}
		}
		if len(pending) == 0 {
			return answers
		}
		for i, a := range f.parallel(t, again) {
			answers[pending[i]] = a
		}
	}
	t.Fatal("some are never served")
	return nil
}

// One name in all the spellings that count as one, by as many people at once.
func TestParallelRegistrationsOfOneName(t *testing.T) {
	f := newFixture(t)
	spellings := []string{
		"strasse", "STRASSE", "Strasse", "straße", "ＳＴＲＡＳＳＥ", "ｓｔｒａｓｓｅ", " strasse ", "ſtrasse", "StRaSsE", "ﬆrasse",
	}
	var requests []*http.Request
	for i := range 50 {
		body := credentialsOf(spellings[i%len(spellings)], goodPassword)
		requests = append(requests, f.request(t, http.MethodPost, "/api/user/register", body))
	}
	created := ""
	for _, a := range f.untilServed(t, requests) {
		if a.StatusCode != http.StatusCreated {
			wantProblem(t, a, http.StatusConflict, "username_taken")
			continue
		}
		var user userBody
		if a.decode(t, &user); created != "" {
			t.Errorf("both %q and %q were created", created, user.Username)
		}
		created = user.Username
	}
	if created == "" {
		t.Fatal("nobody got the name")
	}
	for _, name := range spellings {
		h := f.signIn(t, name)
		var me userBody
		if f.get(t, "/api/user/me", h.access).decode(t, &me); me.Username != created {
			t.Errorf("%q signs in as %q, want %q", name, me.Username, created)
		}
	}
}

// Any number of tabs that share a cookie jar: whoever answers last must not leave another cookie in it.
func TestParallelRefreshesHaveOneSuccessor(t *testing.T) {
	for name, settings := range map[string][]string{
		"with grace": nil, "without grace": {"LATCHKEY_REFRESH_GRACE=0s"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, settings...)
			f.signUp(t, "alice")
			h := f.signIn(t, "alice")
			tabs := storetest.Crowd(t, 64, f.store)
			for round := range 3 {
				var requests []*http.Request
				for range tabs {
					requests = append(requests, f.request(t, http.MethodPost, "/api/user/refresh", "", f.cookieOf(h.refresh)...))
				}
				next := held{}
				for _, a := range f.parallel(t, requests) {
					wantStatus(t, a, http.StatusOK)
					got := a.held(t)
					if next.refresh != "" && got.refresh != next.refresh || got.refresh == h.refresh || got.refresh == "" {
						t.Fatalf("round %d: two successors of one token", round)
					}
					next = got
				}
				wantStatus(t, f.get(t, "/api/user/me", next.access), http.StatusOK)
				f.clock.advance(5 * time.Minute)
				h = next
			}
		})
	}
}

// Dead is dead: in whatever order a logout and refreshes arrive, nothing is left of the session.
func TestLogoutRacesRefreshes(t *testing.T) {
	f := newFixture(t)
	f.signUp(t, "alice")
	pairs := storetest.Crowd(t, 30, f.store) / 2
	for range 5 {
		h := f.signIn(t, "alice")
		requests := []*http.Request{f.request(t, http.MethodPost, "/api/user/logout", "", f.cookieOf(h.refresh)...)}
		for range pairs {
			requests = append(requests,
				f.request(t, http.MethodPost, "/api/user/refresh", "", f.cookieOf(h.refresh)...),
				f.request(t, http.MethodGet, "/api/user/me", "", bearerOf(h.access)...))
		}
		answers := f.parallel(t, requests)
		wantStatus(t, answers[0], http.StatusNoContent)
		f.wantDead(t, h)
		for _, a := range answers[1:] {
			if a.StatusCode == http.StatusOK && strings.HasSuffix(a.Request.URL.Path, "refresh") {
				f.wantDead(t, a.held(t))
			}
		}
	}
}

// Sign-ins at the same moment cannot pass the bound on sessions together.
func TestParallelLoginsKeepTheBoundOnSessions(t *testing.T) {
	f := newFixture(t, "LATCHKEY_MAX_SESSIONS_PER_USER=2")
	f.signUp(t, "alice")
	var requests []*http.Request
	for range 5 { // of one name no more are let through at once
		requests = append(requests, f.request(t, http.MethodPost, "/api/user/login", credentialsOf("alice", goodPassword)))
	}
	live := 0
	var survivor held
	for _, a := range f.untilServed(t, requests) {
		wantStatus(t, a, http.StatusOK)
		if h := a.held(t); f.get(t, "/api/user/me", h.access).StatusCode == http.StatusOK {
			live, survivor = live+1, h
		}
	}
	if live != 2 || len(f.sessionsOf(t, survivor)) != 2 {
		t.Errorf("%d sessions live", live)
	}
}

// Two changes of one password by two who both know it: one of them comes first, and the other learns that it failed.
func TestParallelPasswordChanges(t *testing.T) {
	f := newFixture(t)
	f.signUp(t, "alice")
	h := f.signIn(t, "alice")
	replacements := []string{"tall ships sail at dawn", "tall ships sail at noon", "tall ships sail at dusk"}
	var requests []*http.Request
	for _, replacement := range replacements {
		requests = append(requests, f.request(t, http.MethodPost, "/api/user/password",
			passwordChangeOf(goodPassword, replacement), bearerOf(h.access)...))
	}
	changed := -1
	for i, a := range f.untilServed(t, requests) {
		if a.StatusCode != http.StatusNoContent {
			wantProblem(t, a, http.StatusUnauthorized, "invalid_credentials")
			continue
		}
		if changed >= 0 {
			t.Error("two of them succeed")
		}
		changed = i
	}
	if changed < 0 {
		t.Fatal("none succeeds")
	}
	wantStatus(t, f.do(t, http.MethodPost, "/api/user/login", credentialsOf("alice", replacements[changed])), http.StatusOK)
}
