package httpapi

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// Each resource has one address, and what is not one is not found, whatever it looks like.
func TestOddPathsAreNotFound(t *testing.T) {
	f := newFixture(t, "LATCHKEY_TRUSTED_PROXIES=127.0.0.1/32", "LATCHKEY_DEMO=false") // which is what "/" leads to
	f.signUp(t, "alice", "admin")
	h := f.signIn(t, "alice")
	for _, path := range []string{
		"/", "/livez/", "//livez", "/livez//", "/LIVEZ", "/livez%20", "/livez%00", "/livez;x=1", "/./livez", "/x/../livez", "/%6civez",
		"/api", "/api/", "/api/user", "/api/user/", "/api/user/me/", "/api//user/me", "//api/user/me", "/api/user//me",
		"/API/user/me", "/api/user/me;x", "/api/user/me.json", "/api%2fuser%2fme", "/api/user%2Fme",
		"/api/user/protected/",
		"/api/user/%6de%2f", "/api/user/..%2fuser/me", "/api/user/login/../me", "/api/user/sessions/", "/api/admin/users", "/api/admin/audit/",
		"/.well-known/jwks.json/", "/.well-known", "/metrics", "/debug/pprof/", "/openapi.yaml/", "/openapi.json",
		"/.env", "/.git/config",
		"/" + strings.Repeat("a", 15_000), "/" + strings.Repeat("%2f", 5_000), "/" + strings.Repeat("/", 10_000),
		"/\u202e", "/%ff", "/%0d%0aSet-Cookie:%20a=b",
	} {
		t.Run(shortened(path), func(t *testing.T) {
			for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"} {
				a := f.do(t, method, path, "", bearerOf(h.access)...)
				if a.StatusCode != http.StatusNotFound || a.Header.Get("Location") != "" {
					t.Errorf("%s: %d to %q", method, a.StatusCode, a.Header.Get("Location"))
				}
			}
		})
	}
}

func shortened(s string) string { return s[:min(len(s), 40)] }

func TestQueriesDoNotMatter(t *testing.T) {
	f := newFixture(t)
	for _, query := range []string{"?", "?x=/nothing", "?%zz", "?a;b", "?" + strings.Repeat("a", 10_000)} {
		wantStatus(t, f.do(t, http.MethodGet, "/livez"+query, ""), http.StatusOK)
	}
}

// The document: an unknown path answers 404 by whatever method, a known one 405 with the methods that it has.
func TestOddMethods(t *testing.T) {
	f := newFixture(t)
	for _, method := range []string{"PUT", "PATCH", "TRACE", "PROPFIND", "get", "FOO", "QUERY"} {
		t.Run(method+" of an unknown path is not found", func(t *testing.T) {
			wantProblem(t, f.do(t, method, "/nothing", ""), http.StatusNotFound, "not_found")
		})
		t.Run(method+" of a known path is not allowed", func(t *testing.T) {
			a := f.do(t, method, "/api/user/sessions", "")
			wantProblem(t, a, http.StatusMethodNotAllowed, "method_not_allowed")
		})
		t.Run(method+" of a path with an encoded slash is not allowed", func(t *testing.T) {
			a := f.do(t, method, "/api/user/sessions/a%2Fb", "")
			wantStatus(t, a, http.StatusMethodNotAllowed)
			if got := a.Header.Get("Allow"); got != "DELETE" {
				t.Errorf("Allow is %q, want DELETE", got)
			}
		})
	}
}

func TestHeadAnswersAsGet(t *testing.T) {
	f := newFixture(t)
	f.signUp(t, "alice", "admin")
	h := f.signIn(t, "alice")
	for _, path := range []string{
		"/livez", "/readyz", "/.well-known/jwks.json", "/openapi.yaml", "/swagger/", "/demo/", "/client.js", "/api/user/me", "/api/user/protected",
		"/api/user/sessions", "/api/admin/audit", "/nothing", "/api/user/login",
	} {
		get, head := f.get(t, path, h.access), f.do(t, http.MethodHead, path, "", bearerOf(h.access)...)
		if head.StatusCode != get.StatusCode || head.body != "" {
			t.Errorf("%s: %d with %d bytes, want %d", path, head.StatusCode, len(head.body), get.StatusCode)
		}
		for name := range get.Header {
			if name == "X-Request-Id" || name == "Date" || name == "Content-Length" {
				continue
			}
			if got, want := head.Header.Get(name), get.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q, with GET %q", path, name, got, want)
			}
		}
	}
	wantStatus(t, f.do(t, http.MethodHead, "/api/user/me", ""), http.StatusUnauthorized)
}

// raw sends bytes as they are and reads one answer; the status is 0 if the connection was closed without one.
func (f *fixture) raw(t *testing.T, request string) (status int, body string, header http.Header) {
	t.Helper()
	connection, err := new(net.Dialer).DialContext(t.Context(), "tcp", f.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = connection.Close() }()
	if err := connection.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.WriteString(connection, request) }() // the server may close before it has all
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		return 0, "", nil
	}
	defer response.Body.Close()
	all, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(all), response.Header
}

// What no well-behaved client sends. The server may refuse it in whatever way, but not serve it as something else.
func TestRawRequests(t *testing.T) {
	f := newFixture(t, "LATCHKEY_DEMO=false")
	f.signUp(t, "alice")
	h := f.signIn(t, "alice")
	body := credentialsOf("alice", goodPassword)
	const host = "Host: localhost\r\n"
	get := func(target, headers string) string { return "GET " + target + " HTTP/1.1\r\n" + headers + "\r\n" }
	post := func(headers, body string) string {
		return "POST /api/user/login HTTP/1.1\r\n" + host + "Content-Type: application/json\r\n" + headers + "\r\n" + body
	}
	const chunked, last = "Transfer-Encoding: chunked\r\n", "Connection: close\r\n"
	header := "X-A: " + strings.Repeat("a", 1000) + "\r\n"
	sixteenK := "4000\r\n" + strings.Repeat(" ", 0x4000) + "\r\n"
	for name, c := range map[string]struct {
		request string
		want    []int
	}{
		"an absolute target":               {get("http://evil.example/livez", host+last), []int{200}},
		"an absolute target of no path":    {get("http://evil.example", host+last), []int{404}},
		"a proxy's CONNECT":                {"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n", []int{404, 405}},
		"a target without a slash":         {get("livez", host), []int{400}},
		"a star that is not for OPTIONS":   {get("*", host+last), []int{400, 404}},
		"a broken escape":                  {get("/livez%zz", host), []int{400}},
		"no host":                          {get("/livez", ""), []int{400}},
		"two hosts":                        {get("/livez", host+host), []int{400}},
		"a space before the colon":         {get("/livez", "Host : localhost\r\n"), []int{400}},
		"a folded header":                  {get("/livez", host+last+"X-A: a\r\n b\r\n"), []int{200, 400}},
		"a NUL in a header":                {get("/livez", host+"X-Request-Id: a\x00b\r\n"), []int{400}},
		"an escape sequence in a header":   {get("/livez", host+"X-Request-Id: \x1b[31m\r\n"), []int{400}},
		"megabytes of headers":             {get("/livez", host+strings.Repeat(header, 3000)), []int{431}},
		"a very long target":               {get("/"+strings.Repeat("a", 3<<20), host), []int{431}},
		"a length below zero":              {post("Content-Length: -1\r\n", body), []int{400}},
		"a length that is none":            {post("Content-Length: 1e3\r\n", body), []int{400}},
		"two lengths":                      {post("Content-Length: 3\r\nContent-Length: 4\r\n", body), []int{400}},
		"a length beyond all numbers":      {post("Content-Length: 99999999999999999999\r\n", body), []int{400}},
		"a length of terabytes":            {post("Content-Length: 9999999999999\r\n", body), []int{413}},
		"a length that is too short":       {post("Content-Length: 10\r\n"+last, body), []int{400}},
		"a length beside chunks":           {post("Content-Length: 4\r\n"+chunked+last, "0\r\n\r\n"), []int{400}},
		"an encoding of unknown kind":      {post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), []int{400, 501}},
		"the identity encoding":            {post("Transfer-Encoding: identity\r\nContent-Length: 2\r\n", "{}"), []int{400, 501}},
		"a chunk of no size":               {post(chunked+last, "zz\r\n"), []int{400}},
		"a chunk of immense size":          {post(chunked+last, "ffffffffffffffffff\r\n"), []int{400}},
		"chunks without an end":            {post(chunked, strings.Repeat(sixteenK, 64)), []int{413}},
		"HTTP/2 without a prior agreement": {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", []int{0, 400, 404, 405, 505}},
		"HTTP of the future":               {"GET /livez HTTP/3.0\r\n" + host + "\r\n", []int{400, 505}},
		"a method with a slash":            {"GE/T /livez HTTP/1.1\r\n" + host + "\r\n", []int{400}},
		"a refresh by HTTP/1.0, no host": {
			"POST /api/user/refresh HTTP/1.0\r\nCookie: refresh_token=" + h.refresh + "\r\n\r\n", []int{200},
		},
	} {
		t.Run(name, func(t *testing.T) {
			status, text, header := f.raw(t, c.request)
			if !slices.Contains(c.want, status) {
				t.Errorf("%d, want one of %v: %s", status, c.want, text)
			}
			// What net/http refuses by itself has none of our headers; what reaches us has all.
			if header.Get("X-Request-Id") != "" && header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("without the security headers: %v", header)
			}
		})
	}
}
