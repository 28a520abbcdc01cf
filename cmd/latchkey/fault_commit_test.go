//go:build sqlserver

package main

import (
	"encoding/json"
	"net/http"
	"testing"

	"latchkey/internal/store/storetest"
)

// next gives the next request that matches a fate, and returns how many requests have matched since.
func (r *remote) next(fate storetest.Fate, matches func(storetest.Request) bool) (sent func() int) {
	counted := make(chan int, 1)
	counted <- 0
	r.relay.Decide(func(q storetest.Request) storetest.Fate {
		if !matches(q) {
			return storetest.Pass
		}
		n := <-counted
		counted <- n + 1
		if n > 0 {
			return storetest.Pass
		}
		return fate
	})
	return func() int {
		n := <-counted
		counted <- n
		return n
	}
}

func isCommit(q storetest.Request) bool { return q.Transaction() == storetest.Commit }

func holding(text string) func(storetest.Request) bool {
	return func(q storetest.Request) bool { return q.Holds(text) }
}

// The connection to the database breaks in the middle of a commit. The client is told that nobody knows, comes again, and
// all is as it should be, whether it was the request that was lost or the answer.
func TestLostCommits(t *testing.T) {
	r := startRemote(t)
	lose := func(t *testing.T, fate storetest.Fate, matches func(storetest.Request) bool, q request) {
		t.Helper()
		sent := r.next(fate, matches)
		before := r.metric(t, "latchkey_database_retries_total")
		r.unavailable(t, longest, map[string]request{"the call whose commit is lost": q})
		if n := sent(); n != 1 || r.metric(t, "latchkey_database_retries_total") != before {
			t.Errorf("it was sent %d times, want once", n)
		}
		r.relay.Decide(nil)
	}
	const sessions = "SELECT COUNT(*) FROM sessions JOIN users ON users.id = sessions.user_id WHERE username = @p1 AND revoked_at IS NULL"
	for name, test := range map[string]struct {
		fate storetest.Fate
		done bool // although the client was told that nobody knows
	}{"request lost": {storetest.Swallow, false}, "answer lost": {storetest.LoseAnswer, true}} {
		suffix := name[:1]
		extra := map[bool]int{true: 1}[test.done]
		t.Run("login, "+name, func(t *testing.T) {
			carol := r.signUp(t, "carol-"+suffix)
			lose(t, test.fate, isCommit, request{method: "POST", path: "/api/user/login", body: credentials(carol.name, passwordOf(carol.name))})
			if n := r.count(t, sessions, carol.name); n != 1+extra {
				t.Errorf("%d sessions live, want %d", n, 1+extra)
			}
			r.signIn(t, carol.name)
			if n := r.count(t, sessions, carol.name); n != 2+extra {
				t.Errorf("%d sessions live, want %d", n, 2+extra)
			}
			if n := r.count(t, "SELECT COUNT(*) FROM login_throttles WHERE failures > 0"); n != 0 {
				t.Errorf("%d names are charged with what was no failure", n)
			}
		})
		t.Run("refresh, "+name, func(t *testing.T) {
			dave := r.signUp(t, "dave-"+suffix)
			lose(t, test.fate, holding(`UPDATE sessions`), request{method: "POST", path: "/api/user/refresh", cookie: dave.cookie})
			once := r.post(t, http.StatusOK, "/refresh", "", dave.cookie, "")
			again := r.post(t, http.StatusOK, "/refresh", "", dave.cookie, "")
			if once.cookie == "" || once.cookie == dave.cookie || again.cookie != once.cookie {
				t.Error("the token has no successor, or more than one")
			}
			if n := r.count(t, "SELECT generation FROM sessions JOIN users ON users.id = sessions.user_id WHERE username = @p1", dave.name); n != 2 {
				t.Errorf("the session is of generation %d, want 2", n)
			}
			mustCall(t, http.StatusOK, http.MethodGet, r.url+"/api/user/me", "", "", once.body.AccessToken)
			r.post(t, http.StatusOK, "/refresh", "", once.cookie, "")
		})
		t.Run("register, "+name, func(t *testing.T) {
			body := credentials("erin-"+suffix, passwordOf("erin-"+suffix))
			lose(t, test.fate, holding(`INSERT INTO "users"`), request{method: "POST", path: "/api/user/register", body: body})
			status := map[bool]int{true: http.StatusConflict, false: http.StatusCreated}[test.done]
			r.post(t, status, "/register", body, "", "")
			r.signIn(t, "erin-"+suffix)
			if n := r.count(t, "SELECT COUNT(*) FROM users WHERE username = @p1", "erin-"+suffix); n != 1 {
				t.Errorf("there are %d users of this name", n)
			}
		})
		t.Run("change of a password, "+name, func(t *testing.T) {
			frank := r.signUp(t, "frank-"+suffix)
			other := r.signIn(t, frank.name)
			body, _ := json.Marshal(map[string]string{"current_password": passwordOf(frank.name), "new_password": "another secret"})
			lose(t, test.fate, isCommit, request{method: "POST", path: "/api/user/password", body: string(body), access: frank.access})
			old, replaced, others := http.StatusOK, http.StatusUnauthorized, http.StatusOK
			if test.done { // all of it
				old, replaced, others = http.StatusUnauthorized, http.StatusOK, http.StatusBadRequest
			}
			r.post(t, old, "/login", credentials(frank.name, passwordOf(frank.name)), "", "")
			r.post(t, replaced, "/login", credentials(frank.name, "another secret"), "", "")
			r.post(t, others, "/refresh", "", other.cookie, "")
			again := map[bool]int{true: http.StatusUnauthorized, false: http.StatusNoContent}[test.done]
			r.post(t, again, "/password", string(body), "", frank.access)
			r.post(t, http.StatusOK, "/login", credentials(frank.name, "another secret"), "", "")
		})
	}
}

// The connection breaks before the commit: the work is done again from its beginning, and the client sees nothing of it.
func TestTransactionsLostBeforeTheirCommit(t *testing.T) {
	r := startRemote(t)
	const sessions = "SELECT COUNT(*) FROM sessions WHERE revoked_at IS NULL"
	change, _ := json.Marshal(map[string]string{"current_password": passwordOf("alice"), "new_password": "another secret"})
	alice := r.signUp(t, "alice")
	mustCall(t, http.StatusOK, http.MethodGet, r.url+"/api/user/me", "", "", alice.access) // acknowledged: that is not what gets lost
	for i, test := range []struct {
		name, at string
		fate     storetest.Fate
		call     func(t *testing.T)
		sessions int // that live afterwards
	}{
		{"login, marking it", `UPDATE "users"`, storetest.Swallow, func(t *testing.T) { r.signIn(t, "alice") }, 2},
		{"login, marking it, answer", `UPDATE "users"`, storetest.LoseAnswer, func(t *testing.T) { r.signIn(t, "alice") }, 3},
		{"login, inserting the session", `INSERT INTO "sessions"`, storetest.Swallow, func(t *testing.T) { r.signIn(t, "alice") }, 4},
		{"login, inserting the session, answer", `INSERT INTO "sessions"`, storetest.LoseAnswer, func(t *testing.T) { r.signIn(t, "alice") }, 5},
		{"login, looking for surplus sessions", `SELECT "id" FROM "sessions"`, storetest.Swallow, func(t *testing.T) { r.signIn(t, "alice") }, 6},
		{"change of a password", `UPDATE "sessions"`, storetest.LoseAnswer, func(t *testing.T) {
			r.post(t, http.StatusNoContent, "/password", string(change), "", alice.access)
		}, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			r.next(test.fate, holding(test.at))
			test.call(t)
			r.relay.Decide(nil)
			if n := r.metric(t, "latchkey_database_retries_total"); n != float64(i+1) {
				t.Errorf("%v units of work were tried again, want %d", n, i+1)
			}
			if n := r.count(t, sessions); n != test.sessions {
				t.Errorf("%d sessions live, want %d", n, test.sessions)
			}
		})
	}
}
