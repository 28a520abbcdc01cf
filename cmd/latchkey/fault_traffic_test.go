//go:build sqlserver

package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"latchkey/internal/store/storetest"
)

// Clients work all the time, with what their cookie jars hold, while the database is cut off, refuses, falls silent, and
// every few requests to it, or the answers, are lost. Nobody is logged out, and what was confirmed is there.
func TestTrafficOutlivesTheDatabasesFaults(t *testing.T) {
	// With a short grace there are more rotations, but no request may take longer: a tab whose refresh was under way while
	// another one's was answered and used would be taken for a thief.
	r := startRemote(t, "LATCHKEY_REFRESH_GRACE=12s")
	c := newCrowd(t, r.process, 2, 2)
	c.admit("newcomer", c.use)
	const pause = 500 * time.Millisecond // in which the traffic goes on
	requests := 0
	for range 3 {
		for _, fault := range []struct{ away, back func() }{
			{r.relay.Cut, func() {}},
			{r.relay.Refuse, r.relay.Accept},
			{r.relay.Hush, r.relay.Talk},
			{func() {
				r.relay.Decide(func(storetest.Request) storetest.Fate {
					if requests++; requests%11 == 0 {
						return []storetest.Fate{storetest.Swallow, storetest.LoseAnswer}[requests/11%2]
					}
					return storetest.Pass
				})
			}, func() { r.relay.Decide(nil) }},
		} {
			time.Sleep(pause)
			fault.away()
			time.Sleep(pause)
			fault.back()
		}
	}
	r.eventually(t, "it is ready, with traffic and all", func() bool {
		a, err := r.send(t, longest, request{method: "GET", path: "/readyz"})
		return err == nil && a.StatusCode == http.StatusOK
	})
	c.disperse()
	for _, j := range c.residents {
		c.use(j) // nobody was logged out by the last fault either
	}
	for _, name := range c.confirmed {
		if a, ok := c.until("/api/user/login", credentials(name, passwordOf(name)), none, ""); ok && a.status != http.StatusOK {
			t.Errorf("%s, whose registration was confirmed, cannot log in: %d %s", name, a.status, a.body.Code)
		}
	}
	if n := r.count(t, "SELECT COUNT(*) FROM users"); n != len(c.confirmed) {
		t.Errorf("there are %d users, and %d registrations were confirmed", n, len(c.confirmed))
	}
	if n := r.metric(t, `latchkey_events_total{action="session.reuse"`); n != 0 {
		t.Errorf("%v alarms for nothing", n)
	}
	retried := r.metric(t, "latchkey_database_retries_total")
	t.Logf("%d registrations, %d refreshes, %d rotations, %d requests that were told to come again, %v units of work tried again",
		len(c.confirmed), c.refreshes.Load(), c.rotations.Load(), c.failures.Load(), retried)
	if c.refreshes.Load() == 0 || c.failures.Load() == 0 || retried == 0 {
		t.Error("that was no traffic, or the faults did not hit it")
	}
}

// All connections wait for a lock that somebody else holds. Further requests are turned away instead of queueing, and the
// database is not taken for away.
func TestConnectionsThatWaitForALock(t *testing.T) {
	r := startRemote(t)
	alice := r.signUp(t, "alice")
	r.signIn(t, "alice")
	mustCall(t, http.StatusOK, http.MethodGet, r.url+"/api/user/me", "", "", alice.access)
	tx, err := r.db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(t.Context(), "UPDATE sessions SET ip = ip"); err != nil {
		t.Fatal(err)
	}
	endOthers := map[string]request{}
	for i := range 60 {
		endOthers[fmt.Sprint("client ", i)] = request{method: "DELETE", path: "/api/user/sessions", access: alice.access}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.unavailable(t, longest, endOthers)
	}()
	probes := 0
	for waiting := true; waiting; probes++ {
		select {
		case <-done:
			waiting = false
		case <-time.After(50 * time.Millisecond): // the probe's pace
		}
		mustCall(t, http.StatusOK, http.MethodGet, r.url+"/readyz", "", "", "")
	}
	if text, _ := r.stderr.read(); probes < 5 || !strings.Contains(text, "no database connection became free") {
		t.Errorf("the connections were not exhausted in %d probes", probes)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	r.eventually(t, "the others can be ended", func() bool {
		a, err := r.send(t, longest, endOthers["client 0"])
		return err == nil && a.StatusCode == http.StatusNoContent
	})
}

// What is counted against a name and what is recorded outlives an outage: no more and no less than was done.
func TestChargesAndAuditEventsOutliveAnOutage(t *testing.T) {
	r := startRemote(t)
	r.signUp(t, "alice")
	const failures = "SELECT COALESCE(SUM(failures), 0) FROM login_throttles"
	wrong := request{method: "POST", path: "/api/user/login", body: credentials("alice", "wrong")}
	guess := func(t *testing.T) { r.post(t, http.StatusUnauthorized, "/login", wrong.body, "", "") }
	charge := func(q storetest.Request) bool {
		return q.Holds(`INSERT INTO "login_throttles"`) || q.Holds(`UPDATE "login_throttles"`)
	}
	guess(t)
	guess(t)
	for _, test := range []struct {
		name string
		fate storetest.Fate
		want int
	}{
		{"a charge that was not made lets nobody guess, nor counts", storetest.Swallow, 2},
		{"a charge whose answer was lost lets nobody guess, but counts", storetest.LoseAnswer, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			r.next(test.fate, charge)
			r.unavailable(t, longest, map[string]request{"a guess": wrong})
			r.relay.Decide(nil)
			if n := r.count(t, failures); n != test.want {
				t.Errorf("%d failures are counted, want %d", n, test.want)
			}
		})
	}
	t.Run("no guess is made or counted while the database is away", func(t *testing.T) {
		r.relay.Refuse()
		guesses := map[string]request{}
		for i := range 30 {
			guesses[fmt.Sprint("guess ", i)] = wrong
		}
		r.unavailable(t, longest, guesses)
		r.relay.Accept()
		r.becomes(t, http.StatusOK)
		if n := r.count(t, failures); n != 3 {
			t.Errorf("%d failures are counted, want 3", n)
		}
	})
	t.Run("events wait for the database, and are written once", func(t *testing.T) {
		const refused = "SELECT COUNT(*) FROM audit_events WHERE action = 'session.refresh' AND result = 'malformed'"
		lost := r.next(storetest.LoseAnswer, holding(`INSERT INTO "audit_events"`)) // the first batch comes twice
		junk := func() {
			for range 30 {
				r.post(t, http.StatusBadRequest, "/refresh", "", "junk", "")
			}
		}
		junk()
		r.eventually(t, "the batch whose answer was lost comes again", func() bool { return lost() > 1 })
		r.relay.Refuse()
		junk()
		r.relay.Accept()
		r.eventually(t, "all events are in the table", func() bool { return r.count(t, refused) >= 60 })
		if n := r.count(t, refused); n != 60 {
			t.Errorf("there are %d events, want 60", n)
		}
		if n := r.metric(t, "latchkey_audit_dropped_total"); n != 0 {
			t.Errorf("%v events were dropped", n)
		}
	})
}
