//go:build unix

package store_test

import (
	"errors"
	"testing"

	"latchkey/internal/store"
)

// pings counts the questions whether a connection is there, since the last call.
func (w *wire) pings() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.statements {
		if s.text == ping {
			n++
		}
	}
	w.statements = nil
	return n
}

// cut ends all connections.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, conn := range w.conns {
		_ = conn.Close()
	}
	w.conns = nil
}

func TestConnectionIsAskedAfterATransactionAndWhenItLayIdle(t *testing.T) {
	s, w := openWire(t)
	read := func() {
		t.Helper()
		if _, err := s.UserByID(t.Context(), id(1)); !errors.Is(err, store.ErrNotFound) {
			t.Fatal(err)
		}
	}
	read()
	w.pings()
	const reads = 100
	for range reads {
		read()
	}
	if n := w.pings(); n > reads/2 { // none, but where this machine stands still for a second
		t.Errorf("%d questions for %d statements in a row", n, reads)
	}
	_ = s.InTx(t.Context(), func(*store.Store) error { return errTest }) // a wire knows no transactions
	w.pings()
	read()
	if n := w.pings(); n != 1 {
		t.Errorf("%d questions after a transaction, want 1", n)
	}
	store.Age(t, s)
	read()
	if n := w.pings(); n != 1 {
		t.Errorf("%d questions after a time, want 1", n)
	}
}

func TestConnectionThatTheServerEndedIsReplaced(t *testing.T) {
	s, w := openWire(t)
	for name, use := range map[string]func() error{
		"a read":  func() error { _, err := s.UserByID(t.Context(), id(1)); return err },
		"a write": func() error { return s.SetRoles(t.Context(), id(1), nil) },
	} {
		for range 5 {
			if err := use(); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%s gives %v", name, err)
			}
			w.cut()
		}
	}
	if n := store.RetriesOf(t, s); n != 0 {
		t.Errorf("%v units of work were tried again", n)
	}
}
