//go:build sqlserver

package main

import (
	"database/sql"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"latchkey/internal/store/storetest"
)

// detour is an empty database on the server of LATCHKEY_TEST_DATABASE_URL, as it is reached by way of an address at which
// nobody listens before up is called.
type detour struct {
	url, address string
	direct       *url.URL
}

func newDetour(t *testing.T) *detour {
	t.Helper()
	if os.Getenv(storetest.ServerVariable) == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal(storetest.ServerVariable + " is not set")
		}
		t.Skip(storetest.ServerVariable + " is not set")
	}
	direct, err := url.Parse(storetest.URL(t))
	if err != nil {
		t.Fatal("the URL is not understood")
	}
	through := *direct
	through.Host = freeAddress(t)
	return &detour{url: "LATCHKEY_DATABASE_URL=" + through.String(), address: through.Host, direct: direct}
}

// up brings the server up, as it were.
func (r *detour) up(t *testing.T) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", r.address)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() {
		_ = listener.Close()
		all.Wait() // the database is dropped next, and must not be in use
	})
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() { r.relay(t, conn) })
		}
	}()
}

func (r *detour) relay(t *testing.T, conn net.Conn) {
	defer func() { _ = conn.Close() }()
	server, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", r.direct.Host)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	go func() {
		_, _ = io.Copy(conn, server)
		_ = conn.Close()
	}()
	_, _ = io.Copy(server, conn)
}

func TestServerStartsBeforeSQLServer(t *testing.T) {
	t.Parallel()
	r := newDetour(t)
	p := start(t, t.TempDir(), append(unlimited, r.url)...)
	wantUnready(t, p.url)
	r.up(t)
	p.await(t, answers)
	mustCall(t, http.StatusOK, http.MethodGet, p.url+"/readyz", "", "", "")
	mustCall(t, http.StatusCreated, http.MethodPost, p.url+"/api/user/register", credentials("alice", "correct horse"), "", "")
	mustCall(t, http.StatusOK, http.MethodPost, p.url+"/api/user/login", credentials("alice", "correct horse"), "", "")
	p.stopsWaiting(t)
}

// Errors at the sign-in may be those of a server that is taking over: its log tells which they were.
func TestServerThatSQLServerDoesNotLetInWaits(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*url.URL){
		"a wrong password":               func(u *url.URL) { u.User = url.UserPassword(u.User.Username(), "canary-password") },
		"a database that does not exist": func(u *url.URL) { u.RawQuery = strings.Replace(u.RawQuery, "latchkey_test_", "latchkey_nowhere_", 1) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newDetour(t)
			password, _ := r.direct.User.Password()
			changed := *r.direct
			change(&changed)
			p := start(t, t.TempDir(), append(unlimited, "LATCHKEY_DATABASE_URL="+changed.String())...)
			wantUnready(t, p.url)
			p.stopsWaiting(t)
			text, _ := p.stderr.read()
			if !regexp.MustCompile(unanswered.String() + " .*mssql: ").MatchString(text) {
				t.Errorf("it does not say what the server said:\n%s", text)
			}
			if strings.Contains(text, password) {
				t.Error("the log holds the password")
			}
		})
	}
}

func TestSchemaOnSQLServerThatIsOfNoUseStopsTheServer(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ setting, says string }{
		"that is behind":                {"LATCHKEY_AUTO_MIGRATE=false", "run `latchkey migrate up`"},
		"to which a migration is wrong": {"LATCHKEY_AUTO_MIGRATE=true", "migrate: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newDetour(t)
			db, err := sql.Open("sqlserver", r.direct.String())
			if err != nil {
				t.Fatal("the URL is not understood")
			}
			if _, err := db.ExecContext(t.Context(), "CREATE TABLE sessions (a INT)"); err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			p := start(t, t.TempDir(), append(unlimited, r.url, tc.setting)...)
			r.up(t)
			if state := p.ended(t); state.ExitCode() != exitFailure {
				t.Errorf("the process ended with %v", state)
			}
			if text, _ := p.stderr.read(); !strings.Contains(text[strings.LastIndex(text, "\nlatchkey: ")+1:], tc.says) {
				t.Errorf("it does not say %q at last:\n%s", tc.says, text)
			}
		})
	}
}
