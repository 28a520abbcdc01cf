package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

var stopping = regexp.MustCompile(`msg=stopping`)

// underWay is a request whose headers the server has read, and whose body it waits for.
type underWay struct {
	net.Conn
	answers *bufio.Reader
	body    string
}

// begin sends a request up to its body. The server has answered 100 Continue, so the handler is at work.
func begin(t *testing.T, p *process, path, body string) *underWay {
	t.Helper()
	conn := dial(t, p)
	_, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"+
		"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n", path, len(body))
	if err != nil {
		t.Fatal(err)
	}
	u := &underWay{Conn: conn, answers: bufio.NewReader(conn), body: body}
	if line, err := u.answers.ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") {
		t.Fatalf("want 100 Continue, got %q, %v", line, err)
	}
	if _, err := u.answers.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	return u
}

func dial(t *testing.T, p *process) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{Timeout: patience}).DialContext(t.Context(), "tcp", strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// send sends the body.
func (u *underWay) send(t *testing.T) {
	t.Helper()
	if _, err := io.WriteString(u, u.body); err != nil {
		t.Fatal(err)
	}
}

// status returns the status of the answer.
func (u *underWay) status(t *testing.T) int {
	t.Helper()
	status, _ := u.answer(t)
	return status
}

// answer returns the status of the next answer, and whether it is the last one of the connection.
func (u *underWay) answer(t *testing.T) (status int, last bool) {
	t.Helper()
	response, err := http.ReadResponse(u.answers, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if _, err := io.ReadAll(response.Body); err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Close
}

func TestStopFinishesRequestsUnderWay(t *testing.T) {
	t.Parallel()
	for name, signal := range map[string]os.Signal{"SIGTERM": syscall.SIGTERM, "SIGINT": syscall.SIGINT} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, t.TempDir(), append(unlimited, "LATCHKEY_HASH_CONCURRENCY=1")...)
			user := p.url + "/api/user"
			mustCall(t, http.StatusCreated, http.MethodPost, user+"/register", credentials("alice", "correct horse"), "", "")
			registration := begin(t, p, "/api/user/register", credentials("bob", "correct horse"))
			logins := make([]*underWay, 5) // one is hashed at a time, so the others wait; of one name no more may be under way
			for i := range logins {
				logins[i] = begin(t, p, "/api/user/login", credentials("alice", "correct horse"))
			}

			p.signal(t, signal)
			p.await(t, stopping)
			for _, l := range logins {
				l.send(t)
			}
			registration.send(t)
			for _, l := range logins {
				if got := l.status(t); got != http.StatusOK {
					t.Errorf("a login that was under way got %d", got)
				}
			}
			if got := registration.status(t); got != http.StatusCreated {
				t.Errorf("a registration that was under way got %d", got)
			}
			if state := p.ended(t); state.ExitCode() != 0 {
				text, _ := p.stderr.read()
				t.Errorf("the process ended with %v:\n%s", state, text)
			}
			p.await(t, regexp.MustCompile(`msg=stopped`))
		})
	}
}

// startProduction starts a server as it stands behind a load balancer.
func startProduction(t *testing.T) *process {
	t.Helper()
	dir := t.TempDir()
	settings := []string{"LATCHKEY_ENV=production", "LATCHKEY_PUBLIC_URL=http://localhost:8080", "LATCHKEY_LOG_FORMAT=text",
		"LATCHKEY_ADDR=127.0.0.1:0", "LATCHKEY_REFRESH_SECRET=q5cJ0mPz8Xb1y3nW7uVtR6sKdA2eLhGfZxQoYiNp4Tk="}
	operate(t, dir, settings, "", "keys", "rotate")
	operate(t, dir, settings, "", "migrate", "up")
	return start(t, dir, settings...)
}

// The load balancer must see that the server is unready before it is refused.
func TestStopInProductionIsUnreadyFirst(t *testing.T) {
	t.Parallel()
	p := startProduction(t)
	mustCall(t, http.StatusOK, http.MethodGet, p.url+"/readyz", "", "", "")
	p.signal(t, syscall.SIGTERM)
	p.await(t, stopping)
	mustCall(t, http.StatusServiceUnavailable, http.MethodGet, p.url+"/readyz", "", "", "")
	mustCall(t, http.StatusOK, http.MethodGet, p.url+"/livez", "", "", "")
	if state := p.ended(t); state.ExitCode() != 0 {
		t.Errorf("the process ended with %v", state)
	}
}

// A load balancer that never asks learns by being refused, and may just then send a request on a connection that it has:
// that one is answered, by an answer after which it sends no more.
func TestStopInProductionRefusesConnectionsAndAnswersOnThoseThereAre(t *testing.T) {
	t.Parallel()
	p := startProduction(t)
	var kept []*underWay
	for range 2 {
		conn := dial(t, p)
		kept = append(kept, &underWay{Conn: conn, answers: bufio.NewReader(conn), body: "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"})
	}
	kept[0].send(t) // the other one is new, and its first request comes late
	if status, last := kept[0].answer(t); status != http.StatusOK || last {
		t.Fatalf("status %d, closes the connection: %t", status, last)
	}
	p.signal(t, syscall.SIGTERM)
	p.awaitRefusal(t)
	for _, k := range kept {
		k.send(t)
		if status, last := k.answer(t); status != http.StatusOK || !last {
			t.Errorf("status %d, closes the connection: %t", status, last)
		}
	}
	if state := p.ended(t); state.ExitCode() != 0 {
		t.Errorf("the process ended with %v", state)
	}
}

// awaitRefusal waits until the server takes no new connections.
func (p *process) awaitRefusal(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(p.url, "http://"))
		if errors.Is(err, syscall.ECONNREFUSED) {
			return
		}
		if err == nil {
			_ = conn.Close()
		}
		if time.Now().After(deadline) {
			t.Fatal("the server still takes connections")
		}
	}
}

// Connections that nobody uses, nginx gives up by the shipped configuration before the server closes them.
func TestShippedNginxIsInTimeForAStop(t *testing.T) {
	text, err := os.ReadFile("../../docs/nginx.conf")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`\n    keepalive 32;\n    keepalive_timeout (\w+);`).FindStringSubmatch(string(text))
	if found == nil {
		t.Fatal("there is no keepalive_timeout")
	}
	if got, err := time.ParseDuration(found[1]); err != nil || got >= partingTime {
		t.Errorf("keepalive_timeout is %s, want less than %s", found[1], partingTime)
	}
}

func TestStopTakesNoNewConnections(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir(), unlimited...)
	held := begin(t, p, "/api/user/login", credentials("alice", "correct horse"))
	p.signal(t, syscall.SIGTERM)
	p.await(t, stopping)
	p.awaitRefusal(t)
	held.send(t)
	if got := held.status(t); got != http.StatusUnauthorized {
		t.Errorf("the request that was under way got %d", got)
	}
	if state := p.ended(t); state.ExitCode() != 0 {
		t.Errorf("the process ended with %v", state)
	}
}

func TestIdleConnectionDoesNotHoldUpTheStop(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir(), unlimited...)
	conn := dial(t, p)
	if _, err := io.WriteString(conn, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	idle := &underWay{Conn: conn, answers: bufio.NewReader(conn)}
	if got := idle.status(t); got != http.StatusOK {
		t.Fatalf("status %d", got)
	}
	p.signal(t, syscall.SIGTERM)
	// One that did would be cut off after the time to drain, and the exit status would say so.
	if state := p.ended(t); state.ExitCode() != 0 {
		t.Errorf("the process ended with %v", state)
	}
	if _, err := idle.answers.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("the idle connection ended with %v, want EOF", err)
	}
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir(), unlimited...)
	begin(t, p, "/api/user/login", credentials("alice", "correct horse"))
	p.signal(t, syscall.SIGTERM)
	p.await(t, stopping)
	p.signal(t, syscall.SIGTERM)
	// Without that, the server would give up on the body after a while and end in good order.
	if state := p.ended(t).Sys().(syscall.WaitStatus); !state.Signaled() || state.Signal() != syscall.SIGTERM {
		t.Errorf("the process ended with %v, not by the signal", p.ProcessState)
	}
}
