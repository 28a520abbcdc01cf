package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// jar is a user's browser: one cookie jar for all its tabs.
type jar struct {
	name string

	mu    sync.Mutex
	token string
}

func (j *jar) get() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.token
}

func (j *jar) set(token string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if token != "" {
		j.token = token
	}
}

func passwordOf(name string) string { return "the secret of " + name }

// crowd is the clients of a server that is killed and started again elsewhere.
type crowd struct {
	t   *testing.T
	url atomic.Pointer[string]
	// residents have one session each.
	residents []*jar
	clients   sync.WaitGroup
	stop      chan struct{}
	disperse  func() // ends the traffic

	refreshes, rotations, changes, failures atomic.Int64

	mu        sync.Mutex
	confirmed []string // names
	ended     []answer // the last tokens of sessions that were logged out
	seen      []string // passwords and tokens
}

// newCrowd begins the traffic of residents, each with some tabs, which ends with the test at the latest.
func newCrowd(t *testing.T, p *process, residents, tabs int) *crowd {
	t.Helper()
	c := &crowd{t: t, stop: make(chan struct{})}
	c.url.Store(&p.url)
	c.disperse = sync.OnceFunc(func() {
		close(c.stop)
		c.clients.Wait()
	})
	t.Cleanup(c.disperse)
	for i := range residents {
		j := &jar{name: fmt.Sprintf("resident-%d", i)}
		c.register(j)
		c.login(j)
		c.residents = append(c.residents, j)
		for range tabs {
			c.clients.Go(func() { c.live(j) })
		}
	}
	return c
}

// admit has users come one after the other, register, sign in and do something.
func (c *crowd) admit(name string, visit func(j *jar)) {
	c.clients.Go(func() {
		for n := 0; !c.stopped(); n++ {
			j := &jar{name: fmt.Sprintf("%s-%d", name, n)}
			c.register(j)
			c.login(j)
			visit(j)
		}
	})
}

func (c *crowd) stopped() bool {
	select {
	case <-c.stop:
		return true
	default:
		return false
	}
}

// until asks until there is an answer that is not about the server's own trouble. request returns what to ask, each
// time anew.
func (c *crowd) until(path, body string, refreshToken func() string, accessToken string) (answer, bool) {
	for deadline := time.Now().Add(patience); ; {
		method := http.MethodPost
		if accessToken != "" && body == "" {
			method = http.MethodGet
		}
		a, err := call(c.t.Context(), method, *c.url.Load()+path, body, refreshToken(), accessToken)
		// Attempts that a kill has cut off stay charged to the name: after five of them it is closed for a second.
		if err == nil && a.status < http.StatusInternalServerError && a.status != http.StatusTooManyRequests {
			return a, true
		}
		c.failures.Add(1)
		if time.Now().After(deadline) || errors.Is(err, context.Canceled) {
			c.t.Errorf("%s: no answer in %v: %d, %v", path, patience, a.status, err)
			return answer{}, false
		}
		time.Sleep(5 * time.Millisecond) // as a client does, instead of hammering at a closed door
	}
}

func none() string { return "" }

func (c *crowd) register(j *jar) {
	a, ok := c.until("/api/user/register", credentials(j.name, passwordOf(j.name)), none, "")
	if !ok {
		return
	}
	// Nobody else has this name: one that is taken was made by a request whose answer was lost.
	if a.status != http.StatusCreated && a.body.Code != "username_taken" {
		c.t.Errorf("%s registers: %d %s", j.name, a.status, a.body.Code)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.confirmed = append(c.confirmed, j.name)
	c.seen = append(c.seen, passwordOf(j.name))
}

func (c *crowd) login(j *jar) (accessToken string) {
	a, ok := c.until("/api/user/login", credentials(j.name, passwordOf(j.name)), none, "")
	if ok && a.status != http.StatusOK {
		c.t.Errorf("%s logs in: %d %s", j.name, a.status, a.body.Code)
	}
	c.adopt(j, a)
	return a.body.AccessToken
}

// leave logs out, after which the session must not come back.
func (c *crowd) leave(j *jar) {
	last, ok := c.until("/api/user/refresh", "", j.get, "")
	if !ok {
		return
	}
	c.adopt(j, last)
	last.cookie = j.get()
	a, ok := c.until("/api/user/logout", "", j.get, "")
	if !ok {
		return
	}
	if a.status != http.StatusNoContent {
		c.t.Errorf("%s logs out: %d %s", j.name, a.status, a.body.Code)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = append(c.ended, last)
}

// changePassword replaces a password by another one.
func (c *crowd) changePassword(accessToken, current, next string) {
	body := fmt.Sprintf(`{"current_password": %q, "new_password": %q}`, current, next)
	a, ok := c.until("/api/user/password", body, none, accessToken)
	if !ok {
		return
	}
	if a.status == http.StatusNoContent {
		c.changes.Add(1)
	}
	// A current password that is wrong was replaced by a request whose answer was lost.
	if a.status != http.StatusNoContent && a.body.Code != "invalid_credentials" {
		c.t.Errorf("a new password: %d %s", a.status, a.body.Code)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = append(c.seen, next)
}

// wantEnded wants a session that was ended to stay so.
func wantEnded(t *testing.T, url string, a answer) {
	t.Helper()
	mustCall(t, http.StatusBadRequest, http.MethodPost, url+"/api/user/refresh", "", a.cookie, "")
	mustCall(t, http.StatusUnauthorized, http.MethodGet, url+"/api/user/me", "", "", a.body.AccessToken)
}

// live uses a session until the end, with pauses, or the hashes of the others would get no processor.
func (c *crowd) live(j *jar) {
	for !c.stopped() {
		c.use(j)
		time.Sleep(20 * time.Millisecond)
	}
}

// use refreshes and asks with the access token of the answer.
func (c *crowd) use(j *jar) {
	a, ok := c.until("/api/user/refresh", "", j.get, "")
	if !ok {
		return
	}
	if a.status != http.StatusOK {
		c.t.Errorf("%s was logged out: %d %s", j.name, a.status, a.body.Code)
		return
	}
	c.refreshes.Add(1)
	c.adopt(j, a)
	me, ok := c.until("/api/user/me", "", none, a.body.AccessToken)
	if ok && me.status != http.StatusOK {
		c.t.Errorf("%s has a fresh access token that is refused: %d %s", j.name, me.status, me.body.Code)
	}
}

func (c *crowd) adopt(j *jar, a answer) {
	if a.cookie != "" {
		c.rotations.Add(1)
	}
	j.set(a.cookie)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, token := range []string{a.cookie, a.body.AccessToken} {
		if token != "" {
			c.seen = append(c.seen, token)
		}
	}
}
