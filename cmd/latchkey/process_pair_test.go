package main

import (
	"net/http"
	"strconv"
	"sync"
	"testing"
)

func TestTwoServersOnOneFile(t *testing.T) {
	t.Parallel()
	for round := range 3 { // each is another race for an empty folder
		t.Run("both started at once on an empty folder, round "+strconv.Itoa(round), func(t *testing.T) {
			dir := t.TempDir()
			servers := []*process{launch(t, dir, unlimited...), launch(t, dir, unlimited...)}
			for _, p := range servers {
				p.awaitListening(t)
			}
			one, other := servers[0].url, servers[1].url

			if a, b := publishedKeys(t, one), publishedKeys(t, other); a != b {
				t.Errorf("they publish different keys:\n%s\n%s", a, b)
			}
			in := credentials("alice", "correct horse")
			mustCall(t, http.StatusCreated, http.MethodPost, one+"/api/user/register", in, "", "")
			fromOne := mustCall(t, http.StatusOK, http.MethodPost, one+"/api/user/login", in, "", "")
			fromOther := mustCall(t, http.StatusOK, http.MethodPost, other+"/api/user/login", in, "", "")
			for _, url := range []string{one, other} {
				mustCall(t, http.StatusOK, http.MethodGet, url+"/api/user/me", "", "", fromOne.body.AccessToken)
				mustCall(t, http.StatusOK, http.MethodGet, url+"/api/user/me", "", "", fromOther.body.AccessToken)
			}
			successor := refreshInParallel(t, fromOne.cookie, one, other)
			refreshInParallel(t, fromOther.cookie, one, other)
			mustCall(t, http.StatusOK, http.MethodPost, other+"/api/user/refresh", "", successor, "")
		})
	}
}

func publishedKeys(t *testing.T, url string) string {
	t.Helper()
	return fetch(t, url+"/.well-known/jwks.json")
}

// refreshInParallel refreshes one token many times at once, in turn at each server, and returns its only successor.
func refreshInParallel(t *testing.T, token string, urls ...string) string {
	t.Helper()
	const n = 64
	answers := make([]answer, n)
	errs := make([]error, n)
	begin := make(chan struct{})
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			<-begin
			answers[i], errs[i] = call(t.Context(), http.MethodPost, urls[i%len(urls)]+"/api/user/refresh", "", token, "")
		})
	}
	close(begin)
	all.Wait()
	successors := map[string]bool{}
	for i, a := range answers {
		if errs[i] != nil {
			t.Error(errs[i])
		} else if a.status != http.StatusOK {
			t.Errorf("a refresh got %d %s", a.status, a.body.Code)
		}
		if a.cookie != "" {
			successors[a.cookie] = true
		}
	}
	if len(successors) != 1 || successors[token] {
		t.Fatalf("the token has %d successors, or is its own", len(successors))
	}
	for successor := range successors {
		token = successor
	}
	return token
}
