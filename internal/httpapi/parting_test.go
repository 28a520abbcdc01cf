package httpapi

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/go-chi/chi/v5"
)

// A load balancer keeps connections, and must not find one closed that it has just sent a request on.
func TestAnswersOfAPartingServerCloseTheirConnections(t *testing.T) {
	f := newFixture(t)
	f.withRoutes(t, func(r chi.Router) {
		r.Get("/panic", func(http.ResponseWriter, *http.Request) { panic("canary") })
	})
	f.signUp(t, "alice")
	h := f.signIn(t, "alice")
	calls := func() map[string]answer {
		return map[string]answer{
			"a body":             f.get(t, "/api/user/me", h.access),
			"no body":            f.do(t, "DELETE", "/api/user/sessions", "", bearerOf(h.access)...),
			"HEAD":               f.do(t, "HEAD", "/livez", ""),
			"the key set":        f.do(t, "GET", "/.well-known/jwks.json", ""),
			"a page":             f.do(t, "GET", "/swagger/", ""),
			"a redirect":         f.do(t, "GET", "/swagger", ""),
			"a refusal":          f.do(t, "GET", "/nothing", ""),
			"a refused origin":   f.do(t, "POST", "/api/user/logout", "", "Sec-Fetch-Site", "cross-site"),
			"a refused token":    f.get(t, "/api/user/me", "junk"),
			"a panic":            f.do(t, "GET", "/panic", ""),
			"an unready server":  f.do(t, "GET", "/readyz", ""),
			"a sign-in":          f.do(t, "POST", "/api/user/login", credentialsOf("alice", goodPassword)),
			"a refresh":          f.refresh(t, h.refresh),
			"a refresh, refused": f.refresh(t, "junk"),
		}
	}
	close(f.draining) // which does not make it part yet
	for name, a := range calls() {
		if a.Close {
			t.Errorf("%s closes the connection before", name)
		}
	}
	close(f.parting)
	for name, a := range calls() {
		if !a.Close {
			t.Errorf("%s leaves the connection open", name)
		}
	}
}

// The request may be a slow one: what counts is when it is answered.
func TestRequestUnderWayWhenTheServerPartsClosesItsConnection(t *testing.T) {
	f := newFixture(t)
	f.signUp(t, "alice")
	body := credentialsOf("alice", goodPassword)
	r := f.request(t, http.MethodPost, "/api/user/login", body)
	c := dial(t, f.Listener.Addr())
	answers := bufio.NewReader(c)
	_, err := fmt.Fprintf(c, "POST /api/user/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"+
		"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n", len(body))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // 100 Continue and an empty line: the handler waits for the body
		if _, err := answers.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	close(f.parting)
	if _, err := io.WriteString(c, body); err != nil {
		t.Fatal(err)
	}
	a := readAnswer(t, answers, r)
	wantStatus(t, a, http.StatusOK)
	if !a.Close {
		t.Error("it leaves the connection open")
	}
	f.seen.note(a)
}
