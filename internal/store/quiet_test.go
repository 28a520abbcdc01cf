//go:build unix

package store

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

func TestIdleConnectionTellsWhatHasCome(t *testing.T) {
	for name, test := range map[string]struct {
		act   func(server *net.TCPConn) error
		quiet bool
	}{
		"nothing": {func(*net.TCPConn) error { return nil }, true},
		"an end":  {(*net.TCPConn).Close, false},
		"a reset": {func(server *net.TCPConn) error { return errors.Join(server.SetLinger(0), server.Close()) }, false},
		"a byte":  {func(server *net.TCPConn) error { _, err := server.Write([]byte{1}); return err }, false},
	} {
		t.Run(name, func(t *testing.T) {
			client, server := connected(t)
			if err := test.act(server); err != nil {
				t.Fatal(err)
			}
			if !test.quiet { // until it has come
				if err := client.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
					t.Fatal(err)
				}
				raw, err := client.SyscallConn()
				if err != nil {
					t.Fatal(err)
				}
				if err := raw.Read(func(uintptr) bool { return quiet(client) != nil }); err != nil {
					t.Fatal(err)
				}
			}
			// A deadline that has passed is one of the last statement's.
			if err := client.SetReadDeadline(time.Now().Add(-time.Second)); err != nil {
				t.Fatal(err)
			}
			for range 2 { // it leaves what has come
				if err := quiet(client); (err == nil) != test.quiet || errors.Is(err, errors.ErrUnsupported) {
					t.Errorf("quiet gives %v", err)
				}
			}
		})
	}
	pipe, _ := net.Pipe()
	if err := quiet(pipe); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("of what is no socket quiet gives %v", err)
	}
}

// connected returns both ends of a connection.
func connected(t *testing.T) (client, server *net.TCPConn) {
	t.Helper()
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	if client, err = net.DialTCP("tcp", nil, listener.Addr().(*net.TCPAddr)); err != nil {
		t.Fatal(err)
	}
	if server, err = listener.AcceptTCP(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []io.Closer{client, server} {
		t.Cleanup(func() { _ = c.Close() })
	}
	return client, server
}

// The driver dials all addresses of a name at once, and speaks on the first line that is there.
func TestDialerKnowsTheLineThatIsUsed(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it lasts until the test ends
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	d := &dialer{silence: time.Second}
	var lines []net.Conn
	for range 3 {
		line, err := d.DialContext(t.Context(), "tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = line.Close() }()
		lines = append(lines, line)
	}
	if _, err := lines[1].Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	if net.Conn(d.used.Load()) != lines[1] {
		t.Error("it is another one")
	}
}

// Age has the connection that is used next of a store's pool have lain idle for long.
func Age(t *testing.T, s *Store) {
	t.Helper()
	connections, err := s.writers.db.DB()
	if err != nil {
		t.Fatal(err)
	}
	c, err := connections.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var aged *connection
	if err := errors.Join(c.Raw(func(c any) error { aged, _ = c.(*connection); return nil }), c.Close()); err != nil {
		t.Fatal(err)
	}
	aged.since = time.Time{}
}
