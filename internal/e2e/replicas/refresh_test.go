//go:build e2e

package replicas

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// The tabs of a browser refresh together, at both replicas, and answers are lost on the way. There is one successor, and
// the session lives.
func TestTabsAndLostAnswersKeepTheSessionOverBothReplicas(t *testing.T) {
	t.Parallel()
	const grace, tabs = 4 * time.Second, 8
	s := newSite(t, append(unlimited, "LATCHKEY_REFRESH_GRACE="+grace.String())...)
	jar := s.client()
	jar.signUp(t, "alice")
	for round := range 3 {
		held := *jar
		lost := held.at(s.replicas[round%2]) // it is carried out, and nobody has the answer
		lost.want(t, http.StatusOK, "POST", "/api/user/refresh", "")

		all := make([]*client, tabs)
		var group sync.WaitGroup
		for i := range all {
			all[i] = held.at(s.replicas[i%2])
			group.Go(func() {
				if a, err := all[i].call(t.Context(), "POST", "/api/user/refresh", ""); err != nil || a.status != http.StatusOK {
					t.Errorf("round %d, tab %d: %v, %v", round, i, a, err)
				}
			})
		}
		group.Wait()
		for i, tab := range all {
			if tab.cookie == held.cookie || tab.cookie != all[0].cookie || tab.cookie != lost.cookie {
				t.Fatalf("round %d: tab %d has another successor", round, i)
			}
			tab.at(s.replicas[(i+1)%2]).want(t, http.StatusOK, "GET", "/api/user/me", "")
		}
		jar.cookie, jar.access = all[0].cookie, all[0].access
		time.Sleep(grace + 100*time.Millisecond) // the next round begins a generation
	}
	jar.wantSignedIn(t)
}

// Who comes with a token that its owner has used up ends the session, whichever replica either came to.
func TestStolenTokenIsSeenAtEitherReplica(t *testing.T) {
	t.Parallel()
	s := newSite(t, unlimited...)
	for i, name := range []string{"alice", "bob"} {
		owners, thiefs := s.replicas[i], s.replicas[1-i]
		owner := s.client()
		owner.signUp(t, name)
		thief := owner.at(thiefs) // has a copy of the cookie
		owner.at(owners).want(t, http.StatusOK, "GET", "/api/user/me", "")
		next := owner.at(owners)
		next.want(t, http.StatusOK, "POST", "/api/user/refresh", "")
		next.want(t, http.StatusOK, "GET", "/api/user/me", "") // the successor has been seen in use
		wantRefused(t, thief, "POST", "/api/user/refresh")
		for _, r := range s.replicas {
			wantRefused(t, next.at(r), "POST", "/api/user/refresh")
		}
		time.Sleep(revocationDelay)
		for _, r := range s.replicas {
			wantRefused(t, next.at(r), "GET", "/api/user/me")
		}
	}
	await(t, "both alarms are in the record", func() bool {
		return strings.Count(s.operate(t, "audit", "--action", "session.reuse", "--json"), `"result":`) == 2
	})
}
