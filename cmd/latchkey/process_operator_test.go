package main

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestCommandsOfTheOperatorReachARunningServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, dir, append(unlimited, "LATCHKEY_REVOCATION_DELAY=0")...)
	user := p.url + "/api/user"
	mustCall(t, http.StatusCreated, http.MethodPost, user+"/register", credentials("alice", "correct horse"), "", "")
	login := func(t *testing.T, password string) answer {
		t.Helper()
		return mustCall(t, http.StatusOK, http.MethodPost, user+"/login", credentials("alice", password), "", "")
	}
	mustBeOut := func(t *testing.T, a answer) {
		t.Helper()
		mustCall(t, http.StatusUnauthorized, http.MethodGet, user+"/me", "", "", a.body.AccessToken)
		mustCall(t, http.StatusBadRequest, http.MethodPost, user+"/refresh", "", a.cookie, "")
	}
	t.Run("sessions revoke --user", func(t *testing.T) {
		one, two := login(t, "correct horse"), login(t, "correct horse")
		if out := operate(t, dir, nil, "", "sessions", "revoke", "--user", "ALICE"); !strings.Contains(out, "ended 2 ") {
			t.Errorf("it says %q", out)
		}
		mustBeOut(t, one)
		mustBeOut(t, two)
	})
	t.Run("sessions revoke --all", func(t *testing.T) {
		one := login(t, "correct horse")
		if out := operate(t, dir, nil, "", "sessions", "revoke", "--all"); !strings.Contains(out, "ended 1 ") {
			t.Errorf("it says %q", out)
		}
		mustBeOut(t, one)
	})
	t.Run("user set-roles", func(t *testing.T) {
		token := login(t, "correct horse").body.AccessToken
		mustCall(t, http.StatusForbidden, http.MethodGet, user+"/protected", "", "", token)
		operate(t, dir, nil, "", "user", "set-roles", "alice", "admin")
		mustCall(t, http.StatusOK, http.MethodGet, user+"/protected", "", "", token)
	})
	t.Run("user disable and enable", func(t *testing.T) {
		one := login(t, "correct horse")
		operate(t, dir, nil, "", "user", "disable", "alice")
		mustBeOut(t, one)
		mustCall(t, http.StatusUnauthorized, http.MethodPost, user+"/login", credentials("alice", "correct horse"), "", "")
		operate(t, dir, nil, "", "user", "enable", "alice")
		mustBeOut(t, one)
		login(t, "correct horse")
	})
	t.Run("user set-password", func(t *testing.T) {
		one := login(t, "correct horse")
		operate(t, dir, nil, "another horse\r\n", "user", "set-password", "alice", "--password-stdin")
		mustBeOut(t, one)
		mustCall(t, http.StatusUnauthorized, http.MethodPost, user+"/login", credentials("alice", "correct horse"), "", "")
		login(t, "another horse")
	})
	t.Run("user delete", func(t *testing.T) {
		one := login(t, "another horse")
		operate(t, dir, nil, "", "user", "delete", "alice")
		mustBeOut(t, one)
		mustCall(t, http.StatusUnauthorized, http.MethodPost, user+"/login", credentials("alice", "another horse"), "", "")
	})
}

// net/http would answer it by itself, without a header of ours.
func TestOptionsOfTheWholeServerIsAnsweredAsEverythingElse(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir(), unlimited...)
	conn := dial(t, p)
	if _, err := io.WriteString(conn, "OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusNotFound || response.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("status %d, headers %v", response.StatusCode, response.Header)
	}
}
