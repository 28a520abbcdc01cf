//go:build e2e

package replicas

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// wantOwn checks that an answer that nginx made itself looks like one of Latchkey's.
func wantOwn(t *testing.T, a answer, status int, code, requestID string) {
	t.Helper()
	if !a.is(status, code) || a.body.Status != float64(status) || a.body.Type != "about:blank" || a.body.Title == "" ||
		a.header.Get("Content-Type") != "application/problem+json" || a.header.Get("Cache-Control") != "no-store" ||
		a.header.Get("X-Content-Type-Options") != "nosniff" || len(a.header["Set-Cookie"]) > 0 {
		t.Errorf("%v with %v, want %d %s", a, a.header, status, code)
	}
	if id := a.header.Get("X-Request-Id"); id == "" || id != a.body.RequestID || requestID != "" && id != requestID {
		t.Errorf("the request's id is %q and %q, want %q", id, a.body.RequestID, requestID)
	}
	wait, err := strconv.Atoi(a.header.Get("Retry-After"))
	if again := status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests; again != (err == nil && wait > 0) {
		t.Errorf("a %d has Retry-After %q", status, a.header.Get("Retry-After"))
	}
}

// Whatever a client asks while no server is there, it is told to try again, and never that its session is over.
func TestWithoutServersClientsAreToldToTryAgain(t *testing.T) {
	t.Parallel()
	binary, err := program()
	if err != nil {
		t.Fatal(err)
	}
	s := prepareSite(t, binary)
	for range 3 { // refused at first, and then not even tried
		for _, call := range [][2]string{
			{"POST", "/api/user/login"}, {"POST", "/api/user/refresh"}, {"POST", "/api/user/logout"}, {"GET", "/api/user/me"},
			{"DELETE", "/api/user/sessions"}, {"GET", "/readyz"},
		} {
			c := s.client()
			c.cookie, c.access = "a-cookie", "a-token"
			c.headers.Set("X-Request-Id", "canary-1")
			a, err := c.call(t.Context(), call[0], call[1], "")
			if err != nil {
				t.Fatal(err)
			}
			wantOwn(t, a, http.StatusServiceUnavailable, "unavailable", "canary-1")
		}
	}
	s.operate(t, "migrate", "up")
	s.replicas[1].start(t) // of which nginx has just found that it is away
	for range 3 {
		s.client().want(t, http.StatusOK, "GET", "/livez", "")
	}
}

func TestNginxPassesWhatLatchkeyTakesAndRefusesTheRestAlike(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	padded := func(n int) string { return strings.Repeat(" ", n-len(credentials("nobody"))) + credentials("nobody") }
	const kib = 1 << 10
	long := func(name string, n int) func(*client) {
		return func(c *client) { c.headers.Set(name, strings.Repeat("a", n)) }
	}
	for name, c := range map[string]struct {
		method, path, body string
		with               func(*client)
		status             int
		code               string
		own                bool // nginx's
	}{
		"a body of 16 KiB":            {"POST", "/api/user/login", padded(16 * kib), nil, 401, "invalid_credentials", false},
		"a larger one":                {"POST", "/api/user/login", padded(16*kib + 1), nil, 413, "payload_too_large", true},
		"a header of 15 KiB":          {"GET", "/livez", "", long("X-A", 15*kib), 200, "", false},
		"a larger one than 16 KiB":    {"GET", "/livez", "", long("X-A", 17*kib), 431, "headers_too_large", true},
		"cookies larger than 16 KiB":  {"POST", "/api/user/refresh", "", func(c *client) { c.cookie = strings.Repeat("a", 17*kib) }, 431, "headers_too_large", true},
		"two headers, 20 KiB":         {"GET", "/livez", "", func(c *client) { long("X-A", 10*kib)(c); long("X-B", 10*kib)(c) }, 431, "headers_too_large", false},
		"no such path":                {"GET", "/nothing", "", nil, 404, "not_found", false},
		"no token":                    {"GET", "/api/user/me", "", nil, 401, "invalid_token", false},
		"no cookie":                   {"POST", "/api/user/refresh", "", nil, 400, "invalid_refresh_token", false},
		"a wrong method":              {"PUT", "/api/user/me", "", nil, 405, "method_not_allowed", false},
		"a page of another origin":    {"POST", "/api/user/logout", "", func(c *client) { c.headers.Set("Origin", "https://evil.example") }, 403, "cross_origin", false},
		"a page of this host's own":   {"POST", "/api/user/logout", "", func(c *client) { c.headers.Set("Origin", c.base) }, 204, "", false},
		"a page of the public origin": {"POST", "/api/user/logout", "", func(c *client) { c.headers.Set("Origin", s.url) }, 204, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			client := s.client()
			client.headers.Set("X-Request-Id", "canary-2")
			if c.with != nil {
				c.with(client)
			}
			a := client.want(t, c.status, c.method, c.path, c.body)
			if c.own {
				wantOwn(t, a, c.status, c.code, "")
				return
			}
			if a.body.Code != c.code || a.header.Get("X-Request-Id") != "canary-2" || a.header.Get("Content-Security-Policy") == "" {
				t.Errorf("%v with %v, want Latchkey's own", a, a.header)
			}
			if server := a.header.Get("Server"); server != "nginx" {
				t.Errorf("nginx tells its version: %s", server)
			}
		})
	}
	t.Run("an id that Latchkey would not take", func(t *testing.T) {
		c := s.client()
		c.headers.Set("X-Request-Id", `"forged"`)
		if id := c.want(t, 200, "GET", "/livez", "").header.Get("X-Request-Id"); len(id) != 32 {
			t.Errorf("the request's id is %q, want one that nginx made", id)
		}
	})
	t.Run("more requests than one client may send", func(t *testing.T) {
		c := s.client()
		var group sync.WaitGroup
		statuses := make([]int, 400)
		for from := range 20 {
			group.Go(func() {
				for i := from; i < len(statuses); i += 20 {
					a, err := c.call(t.Context(), "GET", "/livez", "")
					if err != nil {
						t.Error(err)
					} else if a.status != http.StatusOK {
						wantOwn(t, a, http.StatusTooManyRequests, "too_many_requests", "")
					}
					statuses[i] = a.status
				}
			})
		}
		group.Wait()
		if countOf(statuses, http.StatusOK) < 100 || countOf(statuses, http.StatusTooManyRequests) == 0 {
			t.Errorf("%d of %d requests were answered", countOf(statuses, http.StatusOK), len(statuses))
		}
		s.client().want(t, http.StatusOK, "GET", "/livez", "") // for others there is room
	})
}
