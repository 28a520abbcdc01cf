//go:build sqlserver

package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/internal/store"
	"latchkey/internal/store/storetest"
)

// behindRelay opens a new database with user 1 by way of a relay, and directly.
func behindRelay(t *testing.T) (s, direct *store.Store, relay *storetest.Relay) {
	t.Helper()
	url := storetest.URL(t)
	direct = storetest.OpenURL(t, url)
	createUser(t, direct, 1)
	relay = storetest.NewRelay(t, url)
	s, err := store.Open(relay.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, direct, relay
}

// once gives the first request that matches a fate.
func once(fate storetest.Fate, matches func(storetest.Request) bool) func(storetest.Request) storetest.Fate {
	done := false
	return func(r storetest.Request) storetest.Fate {
		if done || !matches(r) {
			return storetest.Pass
		}
		done = true
		return fate
	}
}

func holds(text string) func(storetest.Request) bool {
	return func(r storetest.Request) bool { return r.Holds(text) }
}

func asks(what storetest.TransactionRequest) func(storetest.Request) bool {
	return func(r storetest.Request) bool { return r.Transaction() == what }
}

// occupy opens all of a store's connections.
func occupy(t *testing.T, s *store.Store, connections int) {
	t.Helper()
	if connections == 0 {
		return
	}
	if err := s.InTx(t.Context(), func(*store.Store) error { occupy(t, s, connections-1); return nil }); err != nil {
		t.Fatal(err)
	}
}

// A server that was restarted has closed every connection. Nobody gets to see that, and nothing is tried twice for it.
func TestConnectionsThatTheServerHasClosedAreReplaced(t *testing.T) {
	s, _, relay := behindRelay(t)
	for name, use := range map[string]func() error{
		"a read":        func() error { _, err := s.UserByID(t.Context(), id(1)); return err },
		"a write":       func() error { return s.SetRoles(t.Context(), id(1), nil) },
		"a transaction": func() error { return s.InTx(t.Context(), func(*store.Store) error { return nil }) },
	} {
		occupy(t, s, 20)
		relay.Cut()
		for range 20 {
			if err := use(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if n := store.RetriesOf(t, s); n != 0 {
		t.Errorf("%v units of work were tried again", n)
	}
}

func TestUnitsOfWorkWhoseConnectionBreaksBeforeTheCommit(t *testing.T) {
	unit := func(s *store.Store, tries *int) error {
		return s.InTx(t.Context(), func(tx *store.Store) error {
			*tries++
			if valid, err := tx.BeginLogin(t.Context(), id(1), newUser(1).PasswordHash, testTime); err != nil || !valid {
				return fmt.Errorf("BeginLogin: %v, %w", valid, err)
			}
			session := newSession(1, 2)
			return tx.CreateSession(t.Context(), &session)
		})
	}
	for name, matches := range map[string]func(storetest.Request) bool{
		"in BEGIN":                asks(storetest.Begin),
		"in the first statement":  holds(`UPDATE "users"`),
		"in the second statement": holds(`INSERT INTO "sessions"`),
	} {
		for fateName, fate := range map[string]storetest.Fate{"request lost": storetest.Swallow, "answer lost": storetest.LoseAnswer} {
			t.Run(name+", "+fateName, func(t *testing.T) {
				s, direct, relay := behindRelay(t)
				relay.Decide(once(fate, matches))
				tries, want := 0, 2
				if err := unit(s, &tries); err != nil {
					t.Fatal(err)
				}
				if name == "in BEGIN" {
					want = 1
				}
				if n := store.RetriesOf(t, s); tries != want || n != 1 {
					t.Errorf("%d tries, %v of them counted as retries, want %d and 1", tries, n, want)
				}
				readSession(t, direct, id(2))
			})
		}
	}
}

// Nobody knows whether a commit, or a single statement, whose answer was lost has happened: it is not tried again.
func TestCommitsWhoseConnectionBreaks(t *testing.T) {
	for name, test := range map[string]struct {
		matches func(storetest.Request) bool
		change  func(s *store.Store) error
		changed func(direct *store.Store) bool
	}{
		"of a transaction": {
			asks(storetest.Commit),
			func(s *store.Store) error {
				return s.InTx(t.Context(), func(tx *store.Store) error { return tx.SetRoles(t.Context(), id(1), []string{"new"}) })
			},
			func(direct *store.Store) bool {
				u, err := direct.UserByID(t.Context(), id(1))
				return err == nil && u.Roles[0] == "new"
			},
		},
		"of a single UPDATE": {
			holds(`UPDATE "users"`),
			func(s *store.Store) error { return s.SetRoles(t.Context(), id(1), []string{"new"}) },
			func(direct *store.Store) bool {
				u, err := direct.UserByID(t.Context(), id(1))
				return err == nil && u.Roles[0] == "new"
			},
		},
		"of a single INSERT": {
			holds(`INSERT INTO "users"`),
			func(s *store.Store) error { user := newUser(2); return s.CreateUser(t.Context(), &user) },
			func(direct *store.Store) bool { _, err := direct.UserByID(t.Context(), id(2)); return err == nil },
		},
	} {
		for fate, want := range map[storetest.Fate]bool{storetest.Swallow: false, storetest.LoseAnswer: true} {
			t.Run(fmt.Sprint(name, map[bool]string{false: ", request lost", true: ", answer lost"}[want]), func(t *testing.T) {
				s, direct, relay := behindRelay(t)
				var seen atomic.Int32
				first := once(fate, test.matches)
				relay.Decide(func(r storetest.Request) storetest.Fate {
					if test.matches(r) {
						seen.Add(1)
					}
					return first(r)
				})
				if err := test.change(s); !errors.Is(err, store.ErrUnavailable) {
					t.Errorf("the caller is told %v, want ErrUnavailable", err)
				}
				if n := seen.Load(); n != 1 || store.RetriesOf(t, s) != 0 {
					t.Errorf("it was sent %d times, want once", n)
				}
				if got := test.changed(direct); got != want {
					t.Errorf("changed: %v, want %v", got, want)
				}
			})
		}
	}
}

func TestReadsWhoseConnectionBreaksAreTriedAgain(t *testing.T) {
	s, _, relay := behindRelay(t)
	for _, fate := range []storetest.Fate{storetest.Swallow, storetest.LoseAnswer} {
		relay.Decide(once(fate, holds(`FROM "users"`)))
		if _, err := s.UserByID(t.Context(), id(1)); err != nil {
			t.Error(err)
		}
	}
	if n := store.RetriesOf(t, s); n != 2 {
		t.Errorf("%v retries were counted, want 2", n)
	}
}

// The driver would tell the server to stop: then nobody knew what became of the commit.
func TestClientThatLeavesDuringACommitStopsNothing(t *testing.T) {
	s, direct, relay := behindRelay(t)
	ctx, cancel := context.WithCancel(t.Context())
	relay.Decide(func(r storetest.Request) storetest.Fate {
		if r.Transaction() == storetest.Commit {
			cancel()
			time.Sleep(200 * time.Millisecond) // long enough for a driver that listens
		}
		return storetest.Pass
	})
	if err := s.InTx(ctx, func(tx *store.Store) error { createUser(t, tx, 2); return nil }); err != nil || ctx.Err() == nil {
		t.Errorf("InTx gives %v", err)
	}
	if _, err := direct.UserByID(t.Context(), id(2)); err != nil {
		t.Errorf("what was confirmed is not there: %v", err)
	}
}

// The error of the work is what the caller gets, and not what became of taking it back.
func TestRollbackWhoseConnectionBreaks(t *testing.T) {
	s, direct, relay := behindRelay(t)
	relay.Decide(once(storetest.Swallow, asks(storetest.Rollback)))
	err := s.InTx(t.Context(), func(tx *store.Store) error {
		createUser(t, tx, 2)
		return errTest
	})
	if err != errTest { //nolint:errorlint // the error must come back as it is
		t.Errorf("InTx gives %v, want %v", err, errTest)
	}
	if _, err := direct.UserByID(t.Context(), id(2)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("afterwards the user gives %v, want ErrNotFound", err)
	}
}

func TestServerThatRefusesIsUnavailableUntilItIsBack(t *testing.T) {
	s, direct, relay := behindRelay(t)
	user, session := newUser(1), createSession(t, direct, newSession(1, 2))
	if err := s.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	relay.Refuse()
	for name, err := range everyMethod(t.Context(), s, user, session) {
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s gives %v, want ErrUnavailable", name, err)
		}
	}
	relay.Accept()
	if err := s.Ready(t.Context()); err != nil {
		t.Errorf("the server is back, and Ready gives %v", err)
	}
	if err := s.SetRoles(t.Context(), id(1), nil); err != nil {
		t.Errorf("the server is back, and a write gives %v", err)
	}
}
