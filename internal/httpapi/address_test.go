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

// An address by which a client asks to be counted counts only if a trusted proxy says it.
func TestClientAddress(t *testing.T) {
	const limit = "LATCHKEY_LIMIT_REFRESH=1/1h"
	refresh := func(t *testing.T, f *fixture, forwarded ...string) int {
		t.Helper()
		var headers []string
		for _, value := range forwarded {
			headers = append(headers, "X-Forwarded-For", value)
		}
		return f.do(t, http.MethodPost, "/api/user/refresh", "", headers...).StatusCode
	}
	const passed, limited = http.StatusBadRequest, http.StatusTooManyRequests
	type step struct {
		forwarded []string
		want      int
	}
	one := func(value string, want int) step { return step{[]string{value}, want} }
	for name, c := range map[string]struct {
		settings []string
		steps    []step
	}{
		"without a proxy the header is ignored": {nil, []step{
			{nil, passed}, one("203.0.113.1", limited), one("127.0.0.2", limited), one("2001:db8::1", limited),
		}},
		"so it is from a peer that is no trusted proxy": {[]string{"LATCHKEY_TRUSTED_PROXIES=10.0.0.0/8"}, []step{
			one("203.0.113.1", passed), one("203.0.113.2", limited), one("10.0.0.1", limited),
		}},
		"a trusted proxy's clients are counted apart": {[]string{"LATCHKEY_TRUSTED_PROXIES=127.0.0.1/32"}, []step{
			one("203.0.113.1", passed), one("203.0.113.1", limited), one("203.0.113.2", passed), one("203.0.113.2", limited),
		}},
		"what stands before the last untrusted hop is made up": {[]string{"LATCHKEY_TRUSTED_PROXIES=127.0.0.1/32,10.0.0.0/8"}, []step{
			one("203.0.113.1", passed), one("198.51.100.7, 203.0.113.1", limited), one("junk, 203.0.113.1, 10.1.2.3", limited),
			{[]string{"198.51.100.8", "203.0.113.1"}, limited}, one("203.0.113.1,203.0.113.9", passed),
		}},
		"an IPv6 client counts by its /64": {[]string{"LATCHKEY_TRUSTED_PROXIES=127.0.0.1/32"}, []step{
			one("2001:db8:0:1::1", passed), one("2001:db8:0:1::2", limited), one("2001:db8:0:1:ffff:ffff:ffff:ffff", limited),
			one("2001:db8:0:2::1", passed),
		}},
		"an IPv4 address has one spelling": {[]string{"LATCHKEY_TRUSTED_PROXIES=127.0.0.1/32"}, []step{
			one("203.0.113.1", passed), one("::ffff:203.0.113.1", limited), one("::ffff:cb00:7101", limited), one(" 203.0.113.1 ", limited),
			one("::ffff:203.0.113.2", passed),
		}},
		"a zone does not make another client": {[]string{"LATCHKEY_TRUSTED_PROXIES=127.0.0.1/32"}, []step{
			one("fe80::1%eth0", passed), one("fe80::1%eth1", limited), one("fe80::1", limited),
		}},
		"a port does not make another client": {[]string{"LATCHKEY_TRUSTED_PROXIES=127.0.0.1/32,2001:db8:ff::/48"}, []step{
			one("203.0.113.7:51234", passed), one("203.0.113.7:51235", limited), one("203.0.113.7", limited), one("203.0.113.8:1", passed),
			one("[2001:db8::1]:443", passed), one("[2001:db8::1]:444", limited), one("[2001:db8::1]", limited), one("2001:db8::1", limited),
			one("[::ffff:203.0.113.7]:80", limited), one("203.0.113.9:1, [2001:db8:ff::1]:443, 127.0.0.1:80", passed),
			one("203.0.113.9", limited), {[]string{"198.51.100.1:1", "203.0.113.9:2"}, limited},
		}},
		"what is almost an address with a port is none": {[]string{"LATCHKEY_TRUSTED_PROXIES=127.0.0.1/32"}, []step{
			one("203.0.113.7:", passed), one("203.0.113.7:x", limited), one("203.0.113.7:99999", limited), one(":80", limited),
			one("[203.0.113.7]:80", limited), one("[]", limited), one("[", limited), one("203.0.113.7, junk:80", limited), one(",", limited),
		}},
		"clients without an address share one count": {[]string{"LATCHKEY_TRUSTED_PROXIES=127.0.0.1/32"}, []step{
			one("junk", passed), one("unknown", limited), {nil, limited}, one("203.0.113.1", passed),
		}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, append(c.settings, limit)...)
			for _, s := range c.steps {
				if got := refresh(t, f, s.forwarded...); got != s.want {
					t.Errorf("X-Forwarded-For %q: %d, want %d", s.forwarded, got, s.want)
				}
			}
		})
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
