//go:build e2e

package replicas

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/internal/store/storetest"
)

// freeGuesses is how many wrong passwords a name has before each further one has to wait.
const freeGuesses = 5

// firstWait is how long a name is closed after these. Then one more guess is looked at, and the wait doubles.
const firstWait = time.Second

// guess tries a wrong password from an address that nobody has had, and returns the status.
func (s *site) guess(t *testing.T, name string) int {
	t.Helper()
	a, err := s.client().call(t.Context(), "POST", "/api/user/login", credentials(name, "wrong horse battery staple"))
	switch {
	case err != nil:
		t.Error(err)
	case !a.is(http.StatusUnauthorized, "invalid_credentials") && !a.is(http.StatusTooManyRequests, "too_many_requests"):
		t.Errorf("a guess gets %v", a)
	}
	return a.status
}

func TestGuessesAtANameShareOneCountOverBothReplicas(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	before := []int{s.replicas[0].calls(t), s.replicas[1].calls(t)}
	many := 4 * freeGuesses
	if storetest.OnSQLServer() { // new connections have all to learn the statements, which may take longer than one has time
		many = 2 * freeGuesses
	}
	for name, guesses := range map[string]func(t *testing.T, name string) []int{
		"one after another": func(t *testing.T, name string) (statuses []int) {
			for range 2 * freeGuesses {
				statuses = append(statuses, s.guess(t, name))
			}
			return statuses
		},
		"all at once": func(t *testing.T, name string) []int {
			var group sync.WaitGroup
			statuses := make([]int, many)
			for i := range statuses {
				group.Go(func() { statuses[i] = s.guess(t, name) })
			}
			group.Wait()
			return statuses
		},
	} {
		t.Run(name, func(t *testing.T) {
			started := time.Now()
			statuses := guesses(t, strings.ReplaceAll(name, " ", "")) // whom nobody knows, and who is treated alike
			allowed := freeGuesses
			for wait := firstWait; time.Since(started) >= wait; wait = 2*wait + firstWait { // on a busy machine
				allowed++
			}
			if looked := countOf(statuses, http.StatusUnauthorized); looked < freeGuesses || looked > allowed {
				t.Errorf("%d of %d guesses were looked at, want %d to %d", looked, len(statuses), freeGuesses, allowed)
			}
		})
	}
	for i, r := range s.replicas {
		if r.calls(t) == before[i] {
			t.Errorf("%s got none of them", r.address)
		}
	}
}

func countOf(statuses []int, status int) (n int) {
	for _, s := range statuses {
		if s == status {
			n++
		}
	}
	return n
}

// Limits per address are each replica's own, and it is the client's address that counts.
func TestLimitsPerAddressCountTheClientAndNotNginx(t *testing.T) {
	t.Parallel()
	const limit = 5
	s := newSite(t, fmt.Sprintf("LATCHKEY_LIMIT_REFRESH=%d/1h", limit))
	exhaust := func(t *testing.T, c *client) {
		t.Helper()
		var statuses []int
		for i := range 4 * limit {
			// No two of these are alike, so that no limit holds if one is believed.
			c.headers.Set("X-Forwarded-For", fmt.Sprintf("203.0.113.%d", i+1))
			c.headers.Set("X-Real-IP", fmt.Sprintf("203.0.113.%d", i+1))
			c.headers.Set("Forwarded", fmt.Sprintf("for=203.0.113.%d", i+1))
			a, err := c.call(t.Context(), "POST", "/api/user/refresh", "")
			if err != nil {
				t.Fatal(err)
			}
			if a.header.Get("Content-Security-Policy") == "" {
				t.Errorf("%v is not Latchkey's own", a)
			}
			statuses = append(statuses, a.status)
		}
		passed := countOf(statuses, http.StatusBadRequest) // there is no cookie
		if passed < limit || passed > 2*limit || passed+countOf(statuses, http.StatusTooManyRequests) != len(statuses) {
			t.Errorf("the answers are %v, want %d to %d that are not 429", statuses, limit, 2*limit)
		}
	}
	t.Run("a client that makes up addresses", func(t *testing.T) { exhaust(t, s.client()) })
	t.Run("one whose own address is nginx's", func(t *testing.T) { exhaust(t, newClient(s.url, "127.0.0.1")) })
	t.Run("another client has its own count", func(t *testing.T) {
		s.client().want(t, http.StatusBadRequest, "POST", "/api/user/refresh", "")
	})
	t.Run("a session shows where its client is", func(t *testing.T) {
		address := nextAddress()
		c := newClient(s.url, address)
		c.headers.Set("X-Forwarded-For", "203.0.113.1")
		c.signUp(t, "alice")
		var list struct {
			Sessions []struct {
				IP string `json:"ip"`
			} `json:"sessions"`
		}
		decode(t, c.want(t, http.StatusOK, "GET", "/api/user/sessions", ""), &list)
		if len(list.Sessions) != 1 || list.Sessions[0].IP != address {
			t.Errorf("the sessions are %+v, want one from %s", list.Sessions, address)
		}
	})
}
