package httpapi

import (
	"fmt"
	"net/http"
	"testing"
)

// One password tried on many accounts is stopped like many passwords on one.
func TestSprayedPasswordsAreLimited(t *testing.T) {
	f := newFixture(t, "LATCHKEY_LIMIT_LOGIN=20/10m")
	for i := range 10 {
		f.signUp(t, fmt.Sprintf("user-%d", 10*i))
	}
	guesses := 0
	for i := range 200 { // every tenth is somebody's name
		a := f.do(t, http.MethodPost, "/api/user/login", credentialsOf(fmt.Sprintf("user-%d", i), "Summer 2026"))
		if a.StatusCode == http.StatusUnauthorized {
			guesses++
			continue
		}
		wantLimited(t, a, 30)
	}
	if guesses != 20 {
		t.Errorf("%d guesses pass, want 20", guesses)
	}
}

// Whoever is no trusted proxy cannot be somebody else by saying so; behind one, only X-Forwarded-For counts.
func TestForwardingHeadersResetNoLimit(t *testing.T) {
	claims := func(i int) map[string]string {
		address := fmt.Sprintf("203.0.113.%d", i)
		return map[string]string{
			"X-Forwarded-For": address, "X-Real-Ip": address, "True-Client-Ip": address, "X-Client-Ip": address,
			"Cf-Connecting-Ip": address, "X-Cluster-Client-Ip": address, "Forwarded": "for=" + address, "X-Azure-Clientip": address,
			"X-Original-Forwarded-For": address, "Via": "1.1 " + address, "X-Forwarded-Host": address, "X-Forwarded": "for=" + address,
			"Forwarded-For": address, "Client-Ip": address, "Fastly-Client-Ip": address,
		}
	}
	for _, behindProxy := range []bool{false, true} {
		t.Run(fmt.Sprintf("behind a trusted proxy: %v", behindProxy), func(t *testing.T) {
			settings := []string{"LATCHKEY_LIMIT_LOGIN=2/10m", "LATCHKEY_LIMIT_REGISTER=2/1h", "LATCHKEY_LIMIT_REFRESH=2/1m"}
			if behindProxy {
				settings = append(settings, "LATCHKEY_TRUSTED_PROXIES=127.0.0.1/32")
			}
			f := newFixture(t, settings...)
			f.signUp(t, "alice")
			for name := range claims(0) {
				if behindProxy && name == "X-Forwarded-For" {
					continue
				}
				for i := range 3 {
					header := []string{name, claims(10 * i)[name]}
					for call, passed := range map[string]answer{
						"login":    f.do(t, "POST", "/api/user/login", credentialsOf("alice", "wrong horse battery staple"), header...),
						"register": f.do(t, "POST", "/api/user/register", credentialsOf("alice", goodPassword), header...),
						"refresh":  f.do(t, "POST", "/api/user/refresh", "", header...),
					} {
						if limited := passed.StatusCode == http.StatusTooManyRequests; i == 2 && !limited {
							t.Errorf("%s: %s gets %d at the third time", call, name, passed.StatusCode)
						}
					}
				}
			}
		})
	}
}

// A refusal for the origin and the answer to a preflight come before anything is counted.
func TestOtherOriginsSpendNoLimit(t *testing.T) {
	f := newFixture(t, "LATCHKEY_LIMIT_LOGIN=1/10m", "LATCHKEY_LIMIT_REGISTER=1/1h", "LATCHKEY_LIMIT_REFRESH=1/1m",
		"LATCHKEY_ALLOWED_ORIGINS="+appOrigin)
	f.signUp(t, "alice")
	wrong, spent := credentialsOf("alice", "wrong horse battery staple"), false
	for range 3 {
		for _, call := range []string{"register", "login", "refresh", "logout", "password"} {
			for _, body := range []string{"", "{", wrong} {
				a := f.do(t, http.MethodPost, "/api/user/"+call, body, "Origin", otherOrigin)
				wantProblem(t, a, http.StatusForbidden, "cross_origin")
			}
			preflight := f.do(t, http.MethodOptions, "/api/user/"+call, "", "Origin", appOrigin, "Access-Control-Request-Method", "POST")
			wantStatus(t, preflight, http.StatusNoContent)
		}
	}
	for range 2 { // the limits are as they were, and they are there
		for call, a := range map[string]answer{
			"login": f.do(t, "POST", "/api/user/login", wrong), "refresh": f.do(t, "POST", "/api/user/refresh", ""),
			"register": f.do(t, "POST", "/api/user/register", credentialsOf("alice", goodPassword)),
		} {
			if limited := a.StatusCode == http.StatusTooManyRequests; limited != spent {
				t.Errorf("%s: %d", call, a.StatusCode)
			}
		}
		spent = true
	}
}
