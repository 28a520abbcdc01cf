package main

import (
	"context"
	"database/sql"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

var (
	unanswered = regexp.MustCompile(`level=ERROR msg="the database does not answer: .* LATCHKEY_DATABASE_URL"`)
	answers    = regexp.MustCompile(`level=INFO msg="the database answers: the server is ready"`)
)

// blackHole is a server that takes connections and says nothing, as one behind a firewall that swallows everything.
func blackHole(t *testing.T) (address string) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(io.Discard, conn) }()
		}
	}()
	return listener.Addr().String()
}

// sqlServerAt is a URL of SQL Server at an address, with a password that must not be seen.
func sqlServerAt(address string) string {
	return "LATCHKEY_DATABASE_URL=sqlserver://latchkey:canary-password@" + address + "?database=latchkey&encrypt=disable"
}

// wantUnready wants a server without its database to say so, to grant nothing and to take nothing away.
func wantUnready(t *testing.T, url string) {
	t.Helper()
	mustCall(t, http.StatusOK, http.MethodGet, url+"/livez", "", "", "")
	mustCall(t, http.StatusOK, http.MethodGet, url+"/.well-known/jwks.json", "", "", "")
	wantUnavailable(t, http.MethodGet, url+"/readyz", "", "", "")
	wantUnavailable(t, http.MethodPost, url+"/api/user/login", credentials("alice", "correct horse"), "", "")
}

// wantUnavailable wants 503 with a time to come again, and a cookie jar that stays as it is.
func wantUnavailable(t *testing.T, method, url, body, refreshToken, accessToken string) {
	t.Helper()
	a := mustCall(t, http.StatusServiceUnavailable, method, url, body, refreshToken, accessToken)
	if a.body.Code != "unavailable" || a.retryAfter != "2" || a.setsCookie {
		t.Errorf("%s %s: code %q, Retry-After %q, sets a cookie: %v", method, url, a.body.Code, a.retryAfter, a.setsCookie)
	}
}

// stopsWaiting wants SIGTERM to end a server in good order, and its log to have no password.
func (p *process) stopsWaiting(t *testing.T) {
	t.Helper()
	p.signal(t, syscall.SIGTERM)
	if state := p.ended(t); state.ExitCode() != 0 {
		t.Errorf("the process ended with %v", state)
	}
	text, _ := p.stderr.read()
	if strings.Contains(text, "canary") {
		t.Errorf("the log holds the password:\n%s", text)
	}
	if n := len(unanswered.FindAllString(text, -1)); n != 1 {
		t.Errorf("the log says %d times that the database does not answer, want once in a minute:\n%s", n, text)
	}
}

func TestServerWhoseDatabaseIsAwayAtTheStartListensAndWaits(t *testing.T) {
	t.Parallel()
	for name, address := range map[string]func(*testing.T) string{
		"behind a closed port":               freeAddress,
		"that takes connections and is mute": blackHole,
	} {
		t.Run("a database "+name, func(t *testing.T) {
			t.Parallel()
			p := start(t, t.TempDir(), append(unlimited, sqlServerAt(address(t)))...)
			text, _ := p.stderr.read()
			if told, listens := unanswered.FindStringIndex(text), listening.FindStringIndex(text); told == nil || told[0] > listens[0] {
				t.Errorf("it does not say first that the database does not answer:\n%s", text)
			}
			p.await(t, regexp.MustCompile(`(?m)^  The database does not answer yet.*\n\n`))
			wantUnready(t, p.url)
			p.stopsWaiting(t)
			if text, _ := p.stderr.read(); strings.Contains(text, "no users yet") || answers.MatchString(text) {
				t.Errorf("it says more than it can know:\n%s", text)
			}
		})
	}
}

// A stop must not wait for a database that does not answer, nor for a load balancer that was never told of this server.
func TestServerStopsInItsFirstTryToReachTheDatabase(t *testing.T) {
	t.Parallel()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	p := launch(t, t.TempDir(), append(unlimited, sqlServerAt(listener.Addr().String()))...)
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	p.signal(t, syscall.SIGTERM)
	if state := p.ended(t); state.ExitCode() != 0 {
		t.Errorf("the process ended with %v", state)
	}
	p.await(t, regexp.MustCompile(`msg=stopped`))
	if text, _ := p.stderr.read(); listening.MatchString(text) {
		t.Errorf("it began to listen:\n%s", text)
	}
}

// Commands answer to somebody who waits for them.
func TestCommandsDoNotWaitForTheDatabase(t *testing.T) {
	t.Parallel()
	for name, address := range map[string]string{"closed": freeAddress(t), "mute": blackHole(t)} {
		for _, args := range []string{"check", "migrate up", "migrate down", "migrate status", "user list", "audit"} {
			t.Run(args+", "+name, func(t *testing.T) {
				t.Parallel()
				c := command(t, t.TempDir(), []string{sqlServerAt(address)}, strings.Fields(args)...)
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				defer context.AfterFunc(ctx, func() { _ = c.Process.Kill() })()
				out, err := c.CombinedOutput()
				if c.ProcessState.ExitCode() != exitFailure || !strings.Contains(string(out), "database unavailable") {
					t.Errorf("it ends with %v:\n%s", err, out)
				}
				if strings.Contains(string(out), "canary") {
					t.Errorf("it shows the password:\n%s", out)
				}
			})
		}
	}
}

// hold locks a SQLite file against every other process, until the function that it returns is called.
func hold(t *testing.T, file string) (release func()) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=locking_mode(EXCLUSIVE)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(t.Context(), "BEGIN EXCLUSIVE"); err != nil {
		t.Fatal(err)
	}
	return func() {
		if _, err := conn.ExecContext(t.Context(), "ROLLBACK"); err != nil {
			t.Error(err)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestServerWhoseFileIsLockedAtTheStartListensAndWaits(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]func(*testing.T, string){
		"a file that is empty":          func(*testing.T, string) {},
		"a file that was migrated":      func(t *testing.T, dir string) { operate(t, dir, nil, "", "migrate", "up") },
		"a file, without auto-migrate,": func(t *testing.T, dir string) { operate(t, dir, nil, "", "migrate", "up") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.Mkdir(filepath.Join(dir, "data"), 0o700); err != nil {
				t.Fatal(err)
			}
			first(t, dir)
			release := hold(t, filepath.Join(dir, "data/latchkey.db"))
			settings := unlimited
			if strings.Contains(name, "without") {
				settings = append(settings, "LATCHKEY_AUTO_MIGRATE=false")
			}
			p := start(t, dir, settings...)
			wantUnready(t, p.url)
			p.await(t, unanswered)
			release()
			p.await(t, answers)
			p.await(t, regexp.MustCompile("There are no users yet"))
			mustCall(t, http.StatusOK, http.MethodGet, p.url+"/readyz", "", "", "")
			mustCall(t, http.StatusCreated, http.MethodPost, p.url+"/api/user/register", credentials("alice", "correct horse"), "", "")
			p.stopsWaiting(t)
		})
	}
}

// What no waiting mends ends the start at once, as a wrong setting does.
func TestServerWhoseFileIsOfNoUseDoesNotStart(t *testing.T) {
	t.Parallel()
	damaged := append([]byte("SQLite format 3\x00"), make([]byte, 4096)...)
	for name, tc := range map[string]struct {
		prepare func(*testing.T, string)
		says    string
	}{
		"a damaged file": {func(t *testing.T, file string) {
			if err := os.WriteFile(file, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "file is not a database"},
		"a table of somebody else's in the way": {func(t *testing.T, file string) {
			db, err := sql.Open("sqlite", file)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := db.ExecContext(t.Context(), "CREATE TABLE sessions (a)"); err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		}, "table sessions already exists"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.Mkdir(filepath.Join(dir, "data"), 0o700); err != nil {
				t.Fatal(err)
			}
			tc.prepare(t, filepath.Join(dir, "data/latchkey.db"))
			p := launch(t, dir, unlimited...)
			if state := p.ended(t); state.ExitCode() != exitFailure {
				t.Errorf("the process ended with %v", state)
			}
			text, _ := p.stderr.read()
			lines := strings.Split(strings.TrimSpace(text), "\n")
			if last := lines[len(lines)-1]; !strings.HasPrefix(last, "latchkey: ") || !strings.Contains(last, tc.says) || listening.MatchString(text) {
				t.Errorf("it does not say %q at last:\n%s", tc.says, text)
			}
		})
	}
}

// A schema that is behind stops the start also where the database answered late.
func TestSchemaThatIsBehindStopsAServerThatHasWaited(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	release := hold(t, filepath.Join(dir, "data/latchkey.db"))
	p := start(t, dir, append(unlimited, "LATCHKEY_AUTO_MIGRATE=false")...)
	wantUnready(t, p.url)
	release()
	if state := p.ended(t); state.ExitCode() != exitFailure {
		t.Errorf("the process ended with %v", state)
	}
	if text, _ := p.stderr.read(); !strings.HasSuffix(text, "latchkey: the database schema is behind this program: run `latchkey migrate up`\n") {
		t.Errorf("it does not say why at last:\n%s", text)
	}
}
