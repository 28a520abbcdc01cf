package main

import (
	"database/sql"
	"encoding/json"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// fullDisk is what the log and the commands say about it.
var fullDisk = regexp.MustCompile("no room is left on the disk of its file: make some there")

// unremembered lets no session be answered for from memory, so that each request asks the database.
const unremembered = "LATCHKEY_REVOCATION_DELAY=0s"

// awaitReadyz waits for /readyz to notice, which may take 5 s.
func awaitReadyz(t *testing.T, url string, status int) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		a, err := call(t.Context(), http.MethodGet, url+"/readyz", "", "", "")
		if err != nil {
			t.Fatal(err)
		}
		if a.status == status {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("readyz is %d for 5 s, want %d", a.status, status)
		}
	}
}

// signUp registers somebody, signs them in and uses the access token, so that it is acknowledged.
func signUp(t *testing.T, url, name string) answer {
	t.Helper()
	mustCall(t, http.StatusCreated, http.MethodPost, url+"/api/user/register", credentials(name, passwordOf(name)), "", "")
	a := mustCall(t, http.StatusOK, http.MethodPost, url+"/api/user/login", credentials(name, passwordOf(name)), "", "")
	mustCall(t, http.StatusOK, http.MethodGet, url+"/api/user/me", "", "", a.body.AccessToken)
	return a
}

// emptyLog has the database write what is in its log to the file, and leaves the log no room of its own: what is written
// next takes room on the disk.
func emptyLog(t *testing.T, file string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(30000)")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) { // SQLite does not wait for another one who does it
		var busy, frames, moved int
		err := db.QueryRowContext(t.Context(), "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &frames, &moved)
		if err == nil && busy == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the log of the database is not emptied: %d, %v", busy, err)
		}
	}
}

// fails runs a command that must exit with status 1 and say why.
func fails(t *testing.T, dir string, why *regexp.Regexp, args ...string) {
	t.Helper()
	c := command(t, dir, []string{"LATCHKEY_ADDR=127.0.0.1:0"}, args...)
	c.Stdin = strings.NewReader("correct horse battery\n")
	out, _ := c.CombinedOutput() // the state says more
	if c.ProcessState.ExitCode() != exitFailure || !why.Match(out) {
		t.Errorf("latchkey %q: %v, and says, instead of %q:\n%s", args, c.ProcessState, why, out)
	}
}

// A disk without room refuses what has to be kept, and takes nothing away: neither a session nor what can be answered by
// reading. When it has room again, the server uses it.
func TestFullDiskRefusesWritesAndNothingElse(t *testing.T) {
	t.Parallel()
	if !hasOwnMounts(t) {
		return
	}
	disk := newSmallDisk(t, "2m")
	p := start(t, disk.dir, append(unlimited, unremembered)...)
	user := p.url + "/api/user"
	alice, bob := signUp(t, p.url, "alice"), signUp(t, p.url, "bob")
	mustCall(t, http.StatusNoContent, http.MethodPost, user+"/logout", "", bob.cookie, "")
	change, err := json.Marshal(map[string]string{"current_password": passwordOf("alice"), "new_password": "another secret"})
	if err != nil {
		t.Fatal(err)
	}
	disk.fill(t)

	for range 3 {
		wantUnavailable(t, http.MethodPost, user+"/register", credentials("carol", passwordOf("carol")), "", "")
		wantUnavailable(t, http.MethodPost, user+"/login", credentials("alice", passwordOf("alice")), "", "")
		wantUnavailable(t, http.MethodPost, user+"/refresh", "", alice.cookie, "")
		wantUnavailable(t, http.MethodPost, user+"/logout", "", alice.cookie, "")
		wantUnavailable(t, http.MethodPost, user+"/password", string(change), "", alice.body.AccessToken)
		wantUnavailable(t, http.MethodGet, p.url+"/readyz", "", "", "") // whoever asks first, and again
		for path, token := range map[string]string{
			"/api/user/me": alice.body.AccessToken, "/api/user/sessions": alice.body.AccessToken,
			"/livez": "", "/.well-known/jwks.json": "",
		} {
			mustCall(t, http.StatusOK, http.MethodGet, p.url+path, "", "", token)
		}
		mustCall(t, http.StatusBadRequest, http.MethodPost, user+"/refresh", "", "junk", "")
		wantEnded(t, p.url, bob)
	}
	fails(t, disk.dir, fullDisk, "user", "create", "carol", "--password-stdin")
	fails(t, disk.dir, regexp.MustCompile("no space left on device"), "keys", "rotate")
	p.await(t, regexp.MustCompile(`level=ERROR msg="request failed" error="[^"]*`+fullDisk.String()))

	disk.clear(t)
	awaitReadyz(t, p.url, http.StatusOK) // before anybody else has written
	next := mustCall(t, http.StatusOK, http.MethodPost, user+"/refresh", "", alice.cookie, "")
	if !next.setsCookie || next.cookie == alice.cookie {
		t.Error("the refresh does not rotate")
	}
	mustCall(t, http.StatusOK, http.MethodGet, user+"/me", "", "", next.body.AccessToken)
	signUp(t, p.url, "carol")
	mustCall(t, http.StatusOK, http.MethodPost, user+"/login", credentials("alice", passwordOf("alice")), "", "")
	wantEnded(t, p.url, bob)
	p.signal(t, syscall.SIGTERM)
	if state := p.ended(t); state.ExitCode() != 0 {
		t.Errorf("the server ended with %v", state)
	}
	checkIntegrity(t, filepath.Join(disk.dir, "data/latchkey.db"))
	text, _ := p.stderr.read()
	mustNotHold(t, text, passwordOf("alice"), passwordOf("carol"), "another secret", "correct horse battery",
		alice.cookie, alice.body.AccessToken, next.cookie, next.body.AccessToken)
}

// The disk runs full under traffic, again and again, and once the server is killed meanwhile.
func TestTrafficOutlivesAFullDisk(t *testing.T) {
	t.Parallel()
	if !hasOwnMounts(t) {
		return
	}
	disk := newSmallDisk(t, "8m")
	settings := append(unlimited, unremembered, "LATCHKEY_REFRESH_GRACE=2s") // so that there are rotations all the time
	p := start(t, disk.dir, settings...)
	c := newCrowd(t, p, sharedJars, tabs)
	c.admit("newcomer", c.leave)
	file, logs := filepath.Join(disk.dir, "data/latchkey.db"), ""
	const pause = 500 * time.Millisecond // in which the traffic goes on
	for round := range 4 {
		time.Sleep(pause)
		emptyLog(t, file)
		disk.fill(t)
		for refused, deadline := c.failures.Load(), time.Now().Add(patience); c.failures.Load() == refused; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("a full disk refuses nothing")
			}
		}
		awaitReadyz(t, p.url, http.StatusServiceUnavailable)
		time.Sleep(pause)
		kill := round%2 == 1
		if kill {
			p.signal(t, syscall.SIGKILL)
			p.ended(t)
			text, _ := p.stderr.read()
			logs += text
		}
		if round == 1 {
			disk.clear(t)
		}
		if kill {
			p = start(t, disk.dir, settings...) // in the last round it is still full
			c.url.Store(&p.url)
		}
		if round != 1 {
			disk.clear(t)
		}
		awaitReadyz(t, p.url, http.StatusOK)
	}
	c.disperse()

	for _, j := range c.residents {
		c.use(j)
	}
	for _, name := range c.confirmed {
		mustCall(t, http.StatusOK, http.MethodPost, p.url+"/api/user/login", credentials(name, passwordOf(name)), "", "")
	}
	for _, one := range c.ended {
		wantEnded(t, p.url, one)
	}
	p.signal(t, syscall.SIGTERM)
	if state := p.ended(t); state.ExitCode() != 0 {
		t.Errorf("the server ended with %v", state)
	}
	checkIntegrity(t, file)
	text, _ := p.stderr.read()
	mustNotHold(t, logs+text, c.seen...)
	t.Logf("%d registrations, %d refreshes, %d rotations, %d logouts, %d requests that were told to come again",
		len(c.confirmed), c.refreshes.Load(), c.rotations.Load(), len(c.ended), c.failures.Load())
	if c.rotations.Load() == 0 || len(c.ended) == 0 {
		t.Error("that was no traffic")
	}
}

func TestStartOnAFullDisk(t *testing.T) {
	t.Parallel()
	if !hasOwnMounts(t) {
		return
	}
	noSpace := regexp.MustCompile("(?m)^latchkey: .*no space left on device$")
	create := []string{"user", "create", "carol", "--password-stdin"}

	t.Run("where there is nothing yet, what cannot be made is named, and made later", func(t *testing.T) {
		disk := newSmallDisk(t, "2m")
		disk.fill(t)
		fails(t, disk.dir, fullDisk, "migrate", "up")
		fails(t, disk.dir, noSpace, "serve")
		fails(t, disk.dir, noSpace, create...)
		disk.clear(t)
		p := start(t, disk.dir, unlimited...)
		signUp(t, p.url, "alice")
	})
	t.Run("where there is a database, commands fail and a server waits", func(t *testing.T) {
		disk := newSmallDisk(t, "2m")
		p := start(t, disk.dir, unlimited...)
		alice := signUp(t, p.url, "alice")
		p.signal(t, syscall.SIGTERM)
		p.ended(t)
		disk.fill(t)
		for _, args := range [][]string{{"migrate", "up"}, {"user", "list"}, create, {"check"}} {
			fails(t, disk.dir, fullDisk, args...)
		}
		p = start(t, disk.dir, unlimited...)
		p.await(t, regexp.MustCompile(`level=ERROR msg="the database does not answer: [^"]*".*`+fullDisk.String()))
		wantUnready(t, p.url)
		disk.clear(t)
		awaitReadyz(t, p.url, http.StatusOK)
		mustCall(t, http.StatusOK, http.MethodPost, p.url+"/api/user/refresh", "", alice.cookie, "")
		signUp(t, p.url, "carol")
		p.signal(t, syscall.SIGTERM)
		p.ended(t)
		checkIntegrity(t, filepath.Join(disk.dir, "data/latchkey.db"))
	})
}
