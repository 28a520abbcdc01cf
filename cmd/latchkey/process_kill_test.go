package main

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
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
	c := newCrowd(t, p, sharedJars, tabs)
	for i := range newcomers {
		c.admit(fmt.Sprintf("newcomer-%d", i), func(j *jar) {
			c.use(j)
			c.use(j)
			c.leave(j)
		})
	}
	changer := &jar{name: "changer"}
	c.register(changer)
	password := passwordOf(changer.name)
	access := c.login(changer)
	c.clients.Go(func() {
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
	c.disperse()

	for _, j := range c.residents {
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
