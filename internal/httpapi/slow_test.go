package httpapi

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// impatient serves the fixture's API also where a body has a moment to arrive, and returns that server. It is for
// requests that are too slow whatever the moment is.
func impatient(t *testing.T, f *fixture) *slowServer {
	t.Helper()
	server := httptest.NewUnstartedServer(New(f.dependencies))
	server.Config.ReadHeaderTimeout = 20 * time.Second
	server.Config.ReadTimeout = 100 * time.Millisecond
	server.Start()
	t.Cleanup(server.Close)
	return &slowServer{f, server}
}

type slowServer struct {
	*fixture
	server *httptest.Server
}

// stall sends a request with a part of the body that it promises, and no more, and returns the answer.
func (s *slowServer) stall(t *testing.T, path, part string, promised int, headers ...string) answer {
	t.Helper()
	r := s.request(t, http.MethodPost, path, "", headers...)
	c := dial(t, s.server.Listener.Addr())
	_, err := fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n", path, promised)
	if err == nil {
		err = r.Header.Write(c)
	}
	if err == nil {
		_, err = io.WriteString(c, "\r\n"+part)
	}
	if err != nil {
		t.Fatal(err)
	}
	a := readAnswer(t, bufio.NewReader(c), r)
	if err := s.check(a); err != nil {
		t.Error(err)
	}
	s.seen.note(a)
	return a
}

func dial(t *testing.T, to net.Addr) *net.TCPConn {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

func readAnswer(t *testing.T, from *bufio.Reader, to *http.Request) answer {
	t.Helper()
	response, err := http.ReadResponse(from, to)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	all, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response, string(all)}
}

func TestBodiesThatDoNotComeTimeOut(t *testing.T) {
	f := newFixture(t)
	f.signUp(t, "alice")
	alice := f.signIn(t, "alice")
	s := impatient(t, f)
	for _, call := range bodyCalls {
		whole := membersOf(call.first, call.second, `{"FIRST":"alice","SECOND":"canary-2"}`)
		for name, part := range map[string]string{
			"nothing":                     "",
			"half of it":                  whole[:len(whole)/2],
			"all of it, but a byte short": whole,
		} {
			t.Run(call.path+" with "+name, func(t *testing.T) {
				a := s.stall(t, call.path, part, len(whole)+1, bearerOf(alice.access)...)
				wantProblem(t, a, http.StatusRequestTimeout, "request_timeout")
			})
		}
	}
	t.Run("calls that read none are answered", func(t *testing.T) {
		wantProblem(t, s.stall(t, "/nothing", "", 10), http.StatusNotFound, "not_found")
		wantProblem(t, s.stall(t, "/api/user/refresh", "", 10), http.StatusBadRequest, "invalid_refresh_token")
	})
	s.wantNoErrorLogged(t)
}

// A client that leaves is no fault of the server's, and not worth an operator's sleep.
func TestClientsThatLeave(t *testing.T) {
	f := newFixture(t)
	f.signUp(t, "alice")
	body := credentialsOf("alice", goodPassword)
	head := func(length int) string {
		return fmt.Sprintf("POST /api/user/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", length)
	}
	for name, c := range map[string]struct {
		request string
		leave   func(*net.TCPConn) error
	}{
		"in the headers":                   {"POST /api/user/login HTTP/1.1\r\nHost: loc", (*net.TCPConn).Close},
		"before the body":                  {head(len(body)), (*net.TCPConn).Close},
		"in the body":                      {head(len(body)) + body[:10], (*net.TCPConn).Close},
		"in the body, by a reset":          {head(len(body)) + body[:10], reset},
		"before the answer":                {head(len(body)) + body, (*net.TCPConn).Close},
		"before the answer, by a reset":    {head(len(body)) + body, reset},
		"in a chunk":                       {strings.Replace(head(0), "Content-Length: 0", "Transfer-Encoding: chunked", 1) + "ff\r\n{", reset},
		"after a body that it called more": {head(len(body)+1) + body, (*net.TCPConn).Close},
	} {
		t.Run(name, func(t *testing.T) {
			conn := dial(t, f.Listener.Addr())
			if _, err := io.WriteString(conn, c.request); err != nil {
				t.Fatal(err)
			}
			if err := c.leave(conn); err != nil {
				t.Fatal(err)
			}
		})
	}
	t.Run("having closed its half in the body, it is told", func(t *testing.T) {
		conn := dial(t, f.Listener.Addr())
		if _, err := io.WriteString(conn, head(len(body)+1)+body); err != nil {
			t.Fatal(err)
		}
		if err := conn.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		a := readAnswer(t, bufio.NewReader(conn), f.request(t, http.MethodPost, "/api/user/login", ""))
		wantProblem(t, a, http.StatusBadRequest, "malformed_request")
	})
	f.signIn(t, "alice")
	f.Close() // every request has ended
	f.wantNoErrorLogged(t)
}

// What is logged for a client that has left looks like an outage, and a balancer's retries like many.
func TestLogTellsThatTheClientLeft(t *testing.T) {
	f := newFixture(t)
	f.signUp(t, "alice")
	f.signIn(t, "alice")
	if strings.Contains(f.logs.String(), `"client_left"`) {
		t.Error("a client that waits is said to have left")
	}
	late, done := context.WithDeadline(t.Context(), time.Now())
	defer done()
	f.Config.Handler.ServeHTTP(httptest.NewRecorder(), f.request(t, http.MethodGet, "/livez", "").WithContext(late))
	if strings.Contains(f.logs.String(), `"client_left"`) {
		t.Error("a client is said to have left when the server is too slow")
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	r := f.request(t, http.MethodPost, "/api/user/login", credentialsOf("alice", goodPassword)).WithContext(gone)
	w := httptest.NewRecorder()
	f.Config.Handler.ServeHTTP(w, r)
	if w.Code != http.StatusServiceUnavailable || !strings.Contains(f.logs.String(), `"client_left":true`) {
		t.Errorf("a login of a client that left gets %d and is logged as\n%s", w.Code, f.logs)
	}
}

// Whoever does not wait for the answer has had the work all the same: it counts for the address.
func TestClientsThatLeaveCountForTheirAddress(t *testing.T) {
	f := newFixture(t, "LATCHKEY_LIMIT_LOGIN=2/1m", "LATCHKEY_LIMIT_REGISTER=2/1m")
	gone, leave := context.WithCancel(t.Context())
	leave()
	for _, path := range []string{"/api/user/login", "/api/user/register"} {
		for _, want := range []int{http.StatusServiceUnavailable, http.StatusServiceUnavailable, http.StatusTooManyRequests} {
			w := httptest.NewRecorder()
			f.Config.Handler.ServeHTTP(w, f.request(t, http.MethodPost, path, credentialsOf("alice", goodPassword)).WithContext(gone))
			if w.Code != want {
				t.Errorf("%s: a client that left gets %d, want %d", path, w.Code, want)
			}
		}
	}
}

func reset(c *net.TCPConn) error {
	if err := c.SetLinger(0); err != nil {
		return err
	}
	return c.Close()
}

func (f *fixture) wantNoErrorLogged(t *testing.T) {
	t.Helper()
	for line := range strings.Lines(f.logs.String()) {
		if strings.Contains(line, `"level":"ERROR"`) || strings.Contains(line, `"level":"WARN"`) {
			t.Error("logged: " + line)
		}
	}
}

// Of a body that is refused nothing is asked for; net/http stops reading one that is sent all the same.
func TestRefusedBodiesAreNotRead(t *testing.T) {
	f := newFixture(t)
	f.signUp(t, "alice")
	body := credentialsOf("alice", goodPassword)
	expecting := func(path, mediaType string, length int, more string) string {
		return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\n"+
			"Expect: 100-continue\r\n%s\r\n", path, mediaType, length, more)
	}
	for name, c := range map[string]struct {
		request string
		status  int
	}{
		"of a good request is":    {expecting("/api/user/login", "application/json", len(body), ""), http.StatusContinue},
		"that is too large":       {expecting("/api/user/login", "application/json", maxBody+1, ""), 413},
		"of another type":         {expecting("/api/user/login", "text/plain", len(body), ""), 415},
		"that is compressed":      {expecting("/api/user/login", "application/json", len(body), "Content-Encoding: gzip\r\n"), 415},
		"without an access token": {expecting("/api/user/password", "application/json", len(body), ""), 401},
		"from another origin":     {expecting("/api/user/login", "application/json", len(body), "Origin: "+otherOrigin+"\r\n"), 403},
		"under headers too large": {expecting("/api/user/login", "application/json", len(body), "X-A: "+strings.Repeat("a", maxHeaders)+"\r\n"), 431},
		"for an unknown path":     {expecting("/nothing", "application/json", len(body), ""), 404},
	} {
		t.Run("a body "+name+" asked for or not", func(t *testing.T) {
			conn := dial(t, f.Listener.Addr())
			if _, err := io.WriteString(conn, c.request); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(conn).ReadString('\n')
			if want := fmt.Sprintf("HTTP/1.1 %d ", c.status); err != nil || !strings.HasPrefix(line, want) {
				t.Errorf("the first line is %q, %v; want %q", line, err, want)
			}
		})
	}
	// A gibibyte in chunks: whoever counts what the server lets in finds the sockets' buffers and little more.
	for _, path := range []string{"/api/user/login", "/api/user/refresh", "/livez", "/nothing"} {
		t.Run("an endless body for "+path+" is cut off", func(t *testing.T) {
			conn := dial(t, f.Listener.Addr())
			_, err := io.WriteString(conn, "POST "+path+" HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
			if err != nil {
				t.Fatal(err)
			}
			const chunk, gibibyte = 1 << 16, 1 << 30
			sent, spaces := 0, "10000\r\n"+strings.Repeat(" ", chunk)+"\r\n"
			for err == nil && sent < gibibyte {
				_, err = io.WriteString(conn, spaces)
				sent += chunk
			}
			if sent > gibibyte/8 {
				t.Errorf("the server has taken %d bytes", sent)
			}
		})
	}
	f.signIn(t, "alice")
}
