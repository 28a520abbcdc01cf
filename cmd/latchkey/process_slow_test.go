package main

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// dribble sends a text byte by byte until the server has had enough, and returns what the server said before it closed
// the connection. It fails the test if the server never does.
func dribble(t *testing.T, conn net.Conn, start, rest string) string {
	t.Helper()
	said := make(chan string, 1)
	go func() {
		all, err := io.ReadAll(conn)
		if e, ok := err.(net.Error); ok && e.Timeout() { //nolint:errorlint // as the connection returns it
			t.Error("the connection is still open")
		}
		said <- string(all) // a reset ends it like an end does
	}()
	if _, err := io.WriteString(conn, start); err != nil {
		t.Error(err)
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case text := <-said:
			return text
		case <-tick.C:
			if i < len(rest) {
				_, _ = conn.Write([]byte{rest[i]}) // a closed connection shows in what is read
			}
		}
	}
}

// Clients that are slow, by a bad network or by intent, are cut off, and others do not notice that they are there.
func TestSlowClientsAreCutOff(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir(), unlimited...)
	mustCall(t, http.StatusCreated, http.MethodPost, p.url+"/api/user/register", credentials("alice", "correct horse"), "", "")

	const post = "POST /api/user/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
	endless := strings.Repeat("a", 10_000)
	slow := []struct{ name, start, rest, answer string }{ // before the headers' end net/http may answer or not
		{"nothing", "", "", ""},
		{"half a request line", "POST /api", "", ""},
		{"headers, byte by byte", post + "X-A: ", endless, ""},
		{"headers without an end", post, strings.Repeat("X-A: b\r\n", 1000), ""},
		{"no body", post + "Content-Length: 1000\r\n\r\n", "", "HTTP/1.1 408 "},
		{"a body, byte by byte", post + "Content-Length: 10000\r\n\r\n{\"username\": \"", endless, "HTTP/1.1 408 "},
		{"a chunk, byte by byte", post + "Transfer-Encoding: chunked\r\n\r\n1000\r\n{\"username\": \"", endless, "HTTP/1.1 408 "},
		{"a body that nobody reads", "POST /api/user/refresh HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n", endless, "HTTP/1.1 400 "},
	}
	const each = 5
	done := make(chan struct{}, each*len(slow))
	for range each {
		for _, c := range slow {
			conn := dial(t, p)
			go func() {
				defer func() { done <- struct{}{} }()
				if got := dribble(t, conn, c.start, c.rest); !strings.HasPrefix(got, c.answer) {
					t.Errorf("%s: the answer is %.100q, want %q", c.name, got, c.answer)
				}
			}()
		}
	}
	for len(done) < cap(done) {
		mustCall(t, http.StatusOK, http.MethodPost, p.url+"/api/user/login", credentials("alice", "correct horse"), "", "")
		time.Sleep(100 * time.Millisecond) // the clients' pace: there is no clock to set in another process
	}
	if text, _ := p.stderr.read(); strings.Contains(text, "level=ERROR") || strings.Contains(text, "level=WARN") {
		t.Errorf("the log takes slow clients for faults:\n%s", text)
	}
}

// serveWith runs a server as serve makes it, with a hundredth of its patience and room for so many connections.
func serveWith(t *testing.T, connections int, h http.HandlerFunc) (address string) {
	t.Helper()
	listener, err := listen(t.Context(), "127.0.0.1:0", connections)
	if err != nil {
		t.Fatal(err)
	}
	server := newServer(h, slog.New(slog.DiscardHandler))
	server.WriteTimeout /= 100
	server.IdleTimeout /= 100
	go func() { _ = server.Serve(listener) }() // it ends with the test
	t.Cleanup(func() { _ = server.Close() })
	return listener.Addr().String()
}

func TestAnswersThatAreNotReadAreCutOff(t *testing.T) {
	t.Parallel()
	stuck := make(chan struct{})
	address := serveWith(t, 10, func(w http.ResponseWriter, _ *http.Request) {
		var err error
		for much := make([]byte, 1<<20); err == nil; { // until no buffer takes more
			_, err = w.Write(much)
		}
		close(stuck)
	})
	conn := dial(t, &process{url: address})
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-stuck:
	case <-time.After(patience):
		t.Error("the handler still writes")
	}
}

func TestIdleConnectionsAreCutOff(t *testing.T) {
	t.Parallel()
	address := serveWith(t, 10, func(http.ResponseWriter, *http.Request) {})
	conn := dial(t, &process{url: address})
	if text := dribble(t, conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", ""); !strings.HasPrefix(text, "HTTP/1.1 200") {
		t.Errorf("the answer is %q", text)
	}
}

// What comes when all places are taken waits for one, and is then served.
func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	address := serveWith(t, 2, func(http.ResponseWriter, *http.Request) {})
	holders := []net.Conn{dial(t, &process{url: address}), dial(t, &process{url: address})}
	for _, conn := range holders { // they are accepted, and stay
		if _, err := fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\nGET "); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	waiting := dial(t, &process{url: address})
	if _, err := io.WriteString(waiting, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := waiting.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := waiting.Read(make([]byte, 1)); !os.IsTimeout(err) {
		t.Errorf("a third connection is served: %v", err)
	}
	if err := holders[0].Close(); err != nil {
		t.Fatal(err)
	}
	if err := waiting.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := waiting.Read(make([]byte, 1)); err != nil {
		t.Errorf("a place is free, and it is not served: %v", err)
	}
}
