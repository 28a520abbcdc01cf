package store_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/internal/store"
)

// longest is how long a request may take, by its deadline.
const longest = 10 * time.Second

// silentServer accepts connections, says nothing, and counts them. With a pace, it begins an answer, a byte each time,
// and never ends it.
func silentServer(t *testing.T, pace time.Duration) (url string, connections *atomic.Int32) {
	t.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	connections = &atomic.Int32{}
	var held []net.Conn
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			held = append(held, conn)
			if pace > 0 {
				go dribble(conn, pace)
			}
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-done
		for _, conn := range held {
			_ = conn.Close()
		}
	})
	return fmt.Sprintf("sqlserver://user:hunter2-canary@%s?database=latchkey&encrypt=disable", listener.Addr()), connections
}

func dribble(conn net.Conn, pace time.Duration) {
	const packet = "\x04\x01\x0f\xff\x00\x00\x01\x00" // of 4 KiB, says its header
	for i := 0; ; i++ {
		if _, err := conn.Write([]byte{packet[min(i, len(packet)-1)]}); err != nil {
			return
		}
		time.Sleep(pace)
	}
}

// within fails the test if f takes longer than a request may.
func within(t *testing.T, limit time.Duration, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(limit):
		stacks := make([]byte, 64<<10)
		t.Fatalf("after %s it still waits:\n%s", limit, stacks[:runtime.Stack(stacks, true)])
	}
}

// calm waits until no more goroutines run than at first.
func calm(t *testing.T, before int) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for runtime.NumGoroutine() > before {
		if time.Now().After(deadline) {
			stacks := make([]byte, 64<<10)
			t.Fatalf("%d goroutines run, %d at first:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// More requests than there are connections meet a server that is there and says nothing.
func TestSilentServerIsUnavailable(t *testing.T) {
	before := runtime.NumGoroutine()
	url, connections := silentServer(t, 0)
	s, err := store.Open(url)
	if err != nil {
		t.Fatal(err)
	}
	within(t, longest, func() {
		var calls sync.WaitGroup
		for range 30 {
			for name, call := range map[string]func() error{
				"a read":        func() error { _, err := s.UserByID(t.Context(), id(1)); return err },
				"a write":       func() error { return s.SetRoles(t.Context(), id(1), nil) },
				"a transaction": func() error { return s.InTx(t.Context(), func(*store.Store) error { return nil }) },
				"the probe":     func() error { return s.Ready(t.Context()) },
			} {
				calls.Go(func() {
					if err := call(); !errors.Is(err, store.ErrUnavailable) {
						t.Errorf("%s gives %v", name, err)
					}
				})
			}
		}
		calls.Wait()
	})
	// Nobody tries again, and the probe asks for all who ask it at that moment.
	if n := connections.Load(); n > 20+5 {
		t.Errorf("%d connections were tried, want one for each place and few for the probe", n)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	calm(t, before+1) // the server itself
}

// The driver waits for each byte anew.
func TestServerThatNeverFinishesIsUnavailable(t *testing.T) {
	url, _ := silentServer(t, 100*time.Millisecond)
	s, err := store.Open(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	within(t, longest, func() {
		if _, err := s.UserByID(t.Context(), id(1)); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("a read gives %v", err)
		}
		if err := s.InTx(t.Context(), func(*store.Store) error { return nil }); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("a transaction gives %v", err)
		}
	})
}

func TestProbeIsSharedByThoseWhoAsk(t *testing.T) {
	url, connections := silentServer(t, 0)
	s, err := store.Open(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Ready(gone); !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("a client that has left is told %v", err)
	}
	within(t, longest, func() {
		var calls sync.WaitGroup
		for range 100 {
			calls.Go(func() {
				if err := s.Ready(t.Context()); !errors.Is(err, store.ErrUnavailable) {
					t.Errorf("Ready gives %v", err)
				}
			})
		}
		calls.Wait()
	})
	if n := connections.Load(); n > 5 {
		t.Errorf("%d connections were made for 100 who ask at once", n)
	}
}
