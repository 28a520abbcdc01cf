package main

import (
	"net/http"
	"net/url"
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
			mustNotHold(t, log, "canary", secret, "argon2id",
				one.cookie, one.body.AccessToken, two.cookie, two.body.AccessToken, three.cookie, three.body.AccessToken)
		})
	}
}
