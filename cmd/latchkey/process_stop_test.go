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
	response, err := http.ReadResponse(u.answers, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if _, err := io.ReadAll(response.Body); err != nil {
		t.Fatal(err)
	}
	return response.StatusCode
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

// In production there is a load balancer, which must see that the server is unready before it is refused.
func TestStopInProductionIsUnreadyFirst(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	settings := []string{"LATCHKEY_ENV=production", "LATCHKEY_PUBLIC_URL=http://localhost:8080", "LATCHKEY_LOG_FORMAT=text",
		"LATCHKEY_REFRESH_SECRET=q5cJ0mPz8Xb1y3nW7uVtR6sKdA2eLhGfZxQoYiNp4Tk="}
	operate(t, dir, settings, "", "keys", "rotate")
	operate(t, dir, settings, "", "migrate", "up")
	p := start(t, dir, settings...)
	mustCall(t, http.StatusOK, http.MethodGet, p.url+"/readyz", "", "", "")
	p.signal(t, syscall.SIGTERM)
	p.await(t, stopping)
	mustCall(t, http.StatusServiceUnavailable, http.MethodGet, p.url+"/readyz", "", "", "")
	mustCall(t, http.StatusOK, http.MethodGet, p.url+"/livez", "", "", "")
	if state := p.ended(t); state.ExitCode() != 0 {
		t.Errorf("the process ended with %v", state)
	}
}

func TestStopTakesNoNewConnections(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir(), unlimited...)
	held := begin(t, p, "/api/user/login", credentials("alice", "correct horse"))
	p.signal(t, syscall.SIGTERM)
	p.await(t, stopping)
	// The log line comes just before the listener is closed.
	for deadline := time.Now().Add(patience); ; {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(p.url, "http://"))
		if errors.Is(err, syscall.ECONNREFUSED) {
			break
		}
		if err == nil {
			_ = conn.Close()
		}
		if time.Now().After(deadline) {
			t.Fatal("the server still takes connections")
		}
	}
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
