package main

import (
	"bytes"
	"database/sql"
	"errors"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// mustNotHold checks that a log has none of the secrets.
func mustNotHold(t *testing.T, log string, secrets ...string) {
	t.Helper()
	if !strings.Contains(log, "request") {
		t.Error("the log has no requests, so it proves nothing")
	}
	for _, secret := range secrets {
		if strings.Contains(log, secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
}

// databaseFiles is all that stands in the database of a folder, with what is in its log still.
func databaseFiles(t *testing.T, dir string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "data", "latchkey.db*"))
	if err != nil || len(names) == 0 {
		t.Fatalf("the database is in %v, %v", names, err)
	}
	var all strings.Builder
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}

// Nor does any command print a password, or leave one in the database.
func TestNoCommandPrintsAPassword(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, args := range [][]string{
		{"user", "create", "alice", "--password-stdin", "--json"},
		{"user", "create", "alice", "--password-stdin"}, // the name is taken
		{"user", "create", "al", "--password-stdin", "--role", "NO"},
		{"user", "set-password", "alice", "--password-stdin"},
		{"user", "set-password", "nobody", "--password-stdin"},
		{"user", "create", "bob", "--password-stdin", "--nonsense"},
		{"user", "show", "alice", "--json"}, {"user", "list", "--json"}, {"audit"}, {"audit", "--json"}, {"check"},
	} {
		c := command(t, dir, []string{"LATCHKEY_LOG_LEVEL=debug"}, args...)
		c.Stdin = strings.NewReader("canary horse battery\n")
		out, err := c.CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		if len(out) == 0 || strings.Contains(string(out), "canary") || strings.Contains(string(out), "argon2") {
			t.Errorf("%q prints %q", args, out)
		}
	}
	if strings.Contains(databaseFiles(t, dir), "canary") {
		t.Error("the database holds the password")
	}
}

// What a command has done is done, and it says that the database has no record of it.
func TestCommandWhoseEventsTheDatabaseRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	operate(t, dir, nil, "correct horse", "user", "create", "alice", "--password-stdin")
	database, err := sql.Open("sqlite", filepath.Join(dir, "data", "latchkey.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = database.Close() }()
	_, err = database.ExecContext(t.Context(),
		"CREATE TRIGGER refuse BEFORE INSERT ON audit_events BEGIN SELECT RAISE(ABORT, 'not now'); END")
	if err != nil {
		t.Fatal(err)
	}
	c := command(t, dir, nil, "user", "disable", "alice")
	var stderr bytes.Buffer
	c.Stderr = &stderr
	if out, err := c.Output(); err != nil || !strings.HasPrefix(string(out), "disabled ") {
		t.Errorf("it prints %s and ends with %v", out, err)
	}
	for _, want := range []string{"action=user.administer result=disable", "not now", "latchkey: audit events are not in the database: 1"} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, &stderr)
		}
	}
	if n := strings.Count(operate(t, dir, nil, "", "audit"), "\n"); n != 1 {
		t.Errorf("the table has %d events, want the first one", n)
	}
}

func TestNoSecretGetsIntoTheLog(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			const secret = "q5cJ0mPz8Xb1y3nW7uVtR6sKdA2eLhGfZxQoYiNp4Tk="
			p := start(t, t.TempDir(), append(unlimited, "LATCHKEY_LOG_LEVEL=debug", "LATCHKEY_LOG_FORMAT="+format,
				"LATCHKEY_REFRESH_SECRET="+secret, "LATCHKEY_REFRESH_GRACE=0")...)
			user := p.url + "/api/user"
			post := func(status int, path, body, refreshToken, accessToken string) answer {
				t.Helper()
				return mustCall(t, status, http.MethodPost, user+path, body, refreshToken, accessToken)
			}

			post(http.StatusCreated, "/register", credentials("alice", "canary-right"), "", "")
			post(http.StatusConflict, "/register", credentials("alice", "canary-again"), "", "")
			post(http.StatusUnprocessableEntity, "/register", credentials("al", "canary-short-name"), "", "")
			post(http.StatusBadRequest, "/register", `{"username": "bob", "password": "canary-cut`, "", "")
			post(http.StatusBadRequest, "/register", `{"username": "bob", "canary-member": 1}`, "", "")
			post(http.StatusUnauthorized, "/login", credentials("alice", "canary-wrong"), "", "")
			post(http.StatusUnauthorized, "/login", credentials("canary-as-name", "canary-wrong"), "", "")
			one := post(http.StatusOK, "/login", credentials("alice", "canary-right"), "", "")
			two := post(http.StatusOK, "/refresh", "", one.cookie, "")
			mustCall(t, http.StatusOK, http.MethodGet, user+"/me", "", "", two.body.AccessToken)
			post(http.StatusBadRequest, "/refresh", "", one.cookie, "") // reuse: the alarm
			post(http.StatusBadRequest, "/refresh", "", two.cookie, "")
			post(http.StatusBadRequest, "/refresh", "", "canary-cookie", "")
			mustCall(t, http.StatusUnauthorized, http.MethodGet, user+"/me", "", "", two.body.AccessToken)
			mustCall(t, http.StatusUnauthorized, http.MethodGet, user+"/me", "", "", "canary-bearer")
			mustCall(t, http.StatusNotFound, http.MethodGet, p.url+"/canary-path", "", "", "")
			mustCall(t, http.StatusOK, http.MethodGet, p.url+"/livez?token="+url.QueryEscape("canary-query"), "", "", "")
			three := post(http.StatusOK, "/login", credentials("alice", "canary-right"), "", "")
			post(http.StatusNoContent, "/password", `{"current_password": "canary-right", "new_password": "canary-new"}`,
				three.cookie, three.body.AccessToken)
			post(http.StatusNoContent, "/logout", "", three.cookie, three.body.AccessToken)

			p.signal(t, syscall.SIGTERM)
			p.ended(t)
			log, _ := p.stderr.read()
			tokens := []string{one.cookie, one.body.AccessToken, two.cookie, two.body.AccessToken, three.cookie, three.body.AccessToken}
			mustNotHold(t, log, append(tokens, "canary", secret, "argon2id")...)
			events := operate(t, p.Dir, nil, "", "audit", "--json", "--limit", "1000")
			if !strings.Contains(events, "session.reuse") {
				t.Error("the table has no alarm, so it proves nothing")
			}
			if files := databaseFiles(t, p.Dir); !strings.Contains(files, "session.reuse") || strings.Contains(files, "canary") {
				t.Error("the database holds a password, or not the events")
			} else {
				for _, token := range append(tokens, secret) {
					if strings.Contains(files+events, token) {
						t.Errorf("the database holds %q", token)
					}
				}
			}
		})
	}
}
