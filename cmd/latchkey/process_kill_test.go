package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "modernc.org/sqlite" // looks at the file without our own code
)

// The bounds of the test below.
const (
	kills        = 8
	sharedJars   = 3 // users, each with one session
	tabs         = 3 // of each of them, which share its cookie jar
	newcomers    = 2 // register again and again
	minimalPause = 100 * time.Millisecond
	maximalPause = 400 * time.Millisecond
)

// TestKilledServerLosesNothing kills the server in the middle of its work, again and again, and starts it on the same
// data. Clients retry with what their cookie jar holds.
func TestKilledServerLosesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	// With a short grace there are rotations all the time, and not just one per session.
	settings := append(unlimited, "LATCHKEY_REFRESH_GRACE=2s")
	p := start(t, dir, settings...)
	c := &crowd{t: t, stop: make(chan struct{})}
	c.url.Store(&p.url)
	jars := make([]*jar, sharedJars)
	for i := range jars {
		jars[i] = &jar{name: fmt.Sprintf("resident-%d", i)}
		c.register(jars[i])
		c.login(jars[i])
	}

	var clients sync.WaitGroup
	stop := sync.OnceFunc(func() {
		close(c.stop)
		clients.Wait()
	})
	t.Cleanup(stop) // also where the test fails half-way
	for _, j := range jars {
		for range tabs {
			clients.Go(func() { c.live(j) })
		}
	}
	for i := range newcomers {
		clients.Go(func() {
			for n := 0; !c.stopped(); n++ {
				j := &jar{name: fmt.Sprintf("newcomer-%d-%d", i, n)}
				c.register(j)
				c.login(j)
				c.use(j)
				c.use(j)
				c.leave(j)
			}
		})
	}
	changer := &jar{name: "changer"}
	c.register(changer)
	password := passwordOf(changer.name)
	access := c.login(changer)
	clients.Go(func() {
		for n := 0; !c.stopped(); n++ {
			next := fmt.Sprintf("the secret %d of them", n)
			c.changePassword(access, password, next)
			password = next
		}
	})
	logs := make([]string, 0, kills+1)
	random := rand.New(rand.NewPCG(1, 2)) // the moments differ by themselves
	for range kills {
		time.Sleep(minimalPause + time.Duration(random.Int64N(int64(maximalPause-minimalPause)))) // the traffic goes on
		p.signal(t, syscall.SIGKILL)
		p.ended(t)
		text, _ := p.stderr.read()
		logs = append(logs, text)
		p = start(t, dir, settings...)
		c.url.Store(&p.url)
	}
	stop()

	for _, j := range jars {
		c.use(j) // nobody was logged out by the last kill either
	}
	for _, name := range c.confirmed {
		current := passwordOf(name)
		if name == changer.name {
			current = password
		}
		a, err := call(t.Context(), http.MethodPost, p.url+"/api/user/login", credentials(name, current), "", "")
		if err != nil || a.status != http.StatusOK {
			t.Errorf("%s, whose registration was confirmed, cannot log in: %d %s, %v", name, a.status, a.body.Code, err)
		}
	}
	for _, ended := range c.ended {
		wantEnded(t, p.url, ended)
	}
	mustCall(t, http.StatusUnauthorized, http.MethodPost, p.url+"/api/user/login", credentials(changer.name, passwordOf(changer.name)), "", "")
	p.signal(t, syscall.SIGTERM)
	if state := p.ended(t); state.ExitCode() != 0 {
		t.Errorf("the last server ended with %v", state)
	}
	text, _ := p.stderr.read()
	logs = append(logs, text)
	checkIntegrity(t, filepath.Join(dir, "data/latchkey.db"))
	if got := slices.Sorted(slices.Values(c.seen)); len(got) > 0 {
		mustNotHold(t, strings.Join(logs, ""), slices.Compact(got)...)
	}
	t.Logf("%d registrations, %d refreshes, %d rotations, %d logouts, %d new passwords and %d failed requests over %d kills",
		len(c.confirmed), c.refreshes.Load(), c.rotations.Load(), len(c.ended), c.changes.Load(), c.failures.Load(), kills)
	if len(c.confirmed) < sharedJars+newcomers || len(c.ended) == 0 || c.changes.Load() == 0 || c.rotations.Load() == 0 || c.failures.Load() == 0 {
		t.Error("that was no traffic, or the kills did not hit it")
	}
}

func checkIntegrity(t *testing.T, file string) {
	t.Helper()
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for query, want := range map[string]string{
		"PRAGMA integrity_check":                        "ok",
		"SELECT COUNT(*) FROM pragma_foreign_key_check": "0",
	} {
		var got string
		if err := db.QueryRowContext(t.Context(), query).Scan(&got); err != nil || got != want {
			t.Errorf("%s: %q, %v", query, got, err)
		}
	}
}

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
	t    *testing.T
	url  atomic.Pointer[string]
	stop chan struct{}

	refreshes, rotations, changes, failures atomic.Int64

	mu        sync.Mutex
	confirmed []string // names
	ended     []answer // the last tokens of sessions that were logged out
	seen      []string // passwords and tokens
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
	c.changes.Add(1)
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
