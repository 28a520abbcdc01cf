//go:build sqlserver

package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/internal/store"
	"latchkey/internal/store/storetest"
)

// The network swallows everything from some moment on, and no connection ends: as where a cable is cut. Silence is not
// tried again, for the next try would be as silent.
func TestSilentNetwork(t *testing.T) {
	for name, test := range map[string]struct {
		connections int // that are there
		call        func(s *store.Store, hush func()) error
	}{
		"a read": {20, func(s *store.Store, hush func()) error { hush(); _, err := s.UserByID(t.Context(), id(1)); return err }},
		"a write": {20, func(s *store.Store, hush func()) error {
			hush()
			return s.SetRoles(t.Context(), id(1), []string{"new"})
		}},
		"a transaction": {20, func(s *store.Store, hush func()) error {
			hush()
			return s.InTx(t.Context(), func(*store.Store) error { return nil })
		}},
		"a new connection": {0, func(s *store.Store, hush func()) error {
			hush()
			return s.InTx(t.Context(), func(*store.Store) error { return nil })
		}},
		"in a transaction":  {20, inTx(t, func(tx *store.Store, hush func()) error { hush(); return tx.SetRoles(t.Context(), id(1), nil) })},
		"before the commit": {20, inTx(t, func(tx *store.Store, hush func()) error { hush(); return nil })},
		"before a rollback": {20, inTx(t, func(tx *store.Store, hush func()) error { hush(); return fmt.Errorf("%w: test", store.ErrUnavailable) })},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, direct, relay := behindRelay(t)
			occupy(t, s, test.connections)
			within(t, longest, func() {
				if err := test.call(s, relay.Hush); !errors.Is(err, store.ErrUnavailable) {
					t.Errorf("the caller is told %v, want ErrUnavailable", err)
				}
				if err := s.Ready(t.Context()); !errors.Is(err, store.ErrUnavailable) {
					t.Errorf("Ready gives %v, want ErrUnavailable", err)
				}
			})
			if n := store.RetriesOf(t, s); n != 0 {
				t.Errorf("%v units of work were tried again", n)
			}
			relay.Talk()
			becomeReady(t, s)
			if err := s.SetRoles(t.Context(), id(1), []string{"later"}); err != nil {
				t.Errorf("the network is back, and a write gives %v", err)
			}
			if user, err := direct.UserByID(t.Context(), id(1)); err != nil || fmt.Sprint(user.Roles) != "[later]" {
				t.Errorf("the roles are %v (%v), want those that were written last", user.Roles, err)
			}
		})
	}
}

// becomeReady waits until the database is taken for being back: the last question may still be on its way into the void.
func becomeReady(t *testing.T, s *store.Store) {
	t.Helper()
	within(t, longest, func() {
		for s.Ready(t.Context()) != nil {
			time.Sleep(20 * time.Millisecond)
		}
	})
}

func inTx(t *testing.T, f func(tx *store.Store, hush func()) error) func(*store.Store, func()) error {
	return func(s *store.Store, hush func()) error {
		return s.InTx(t.Context(), func(tx *store.Store) error {
			if err := tx.SetRoles(t.Context(), id(1), []string{"inside"}); err != nil {
				return err
			}
			return f(tx, hush)
		})
	}
}

// Every request takes 5 s, and there are more of them than connections.
func TestSlowServerKeepsNobodyLong(t *testing.T) {
	s, _, relay := behindRelay(t)
	occupy(t, s, 20)
	before := runtime.NumGoroutine()
	relay.Delay(5 * time.Second)
	within(t, longest, func() {
		var calls sync.WaitGroup
		for range 100 {
			calls.Go(func() {
				if _, err := s.UserByID(t.Context(), id(1)); !errors.Is(err, store.ErrUnavailable) {
					t.Errorf("a read gives %v", err)
				}
			})
			calls.Go(func() {
				if err := s.InTx(t.Context(), func(*store.Store) error { return nil }); !errors.Is(err, store.ErrUnavailable) {
					t.Errorf("a transaction gives %v", err)
				}
			})
		}
		if err := s.Ready(t.Context()); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("Ready gives %v", err)
		}
		calls.Wait()
	})
	relay.Delay(0)
	calm(t, before)
	becomeReady(t, s)
	occupy(t, s, 20) // all places are free
}

// A connection takes longer to make than anybody waits: it is there for those who come next.
func TestConnectionThatCameTooLateIsForTheNext(t *testing.T) {
	s, _, relay := behindRelay(t)
	relay.Delay(300 * time.Millisecond) // the beginning of a connection, each step of it, and then each statement
	for range 20 {
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err := s.UserByID(impatient, id(1))
		cancel()
		if err == nil {
			return
		}
		if !errors.Is(err, store.ErrUnavailable) {
			t.Fatal(err)
		}
	}
	t.Error("nobody got in")
}

// locked locks a user's row by a transaction of somebody else's, until release is called.
func locked(t *testing.T, url string, n int) (release func()) {
	t.Helper()
	db, err := sql.Open("sqlserver", url)
	if err != nil {
		t.Fatal(err)
	}
	tx, err := db.BeginTx(context.WithoutCancel(t.Context()), nil)
	if err != nil {
		t.Fatal(err)
	}
	key := id(n)
	if _, err := tx.ExecContext(t.Context(), "UPDATE users SET roles = roles WHERE id = @p1", key[:]); err != nil {
		t.Fatal(err)
	}
	release = sync.OnceFunc(func() {
		_ = tx.Rollback()
		_ = db.Close()
	})
	t.Cleanup(release)
	return release
}

// A statement that waits for a lock is stopped, at the end of its time or when the client leaves.
func TestStatementsThatWaitForALockAreStopped(t *testing.T) {
	s, _, relay := behindRelay(t)
	waiting := make(chan struct{}, 100)
	relay.Decide(func(r storetest.Request) storetest.Fate {
		if r.Holds(`UPDATE "users"`) {
			waiting <- struct{}{}
		}
		return storetest.Pass
	})
	release := locked(t, relay.URL(), 1)
	for name, write := range map[string]func(context.Context) error{
		"a single statement": func(ctx context.Context) error { return s.SetRoles(ctx, id(1), nil) },
		"in a transaction": func(ctx context.Context) error {
			return s.InTx(ctx, func(tx *store.Store) error { return tx.SetRoles(ctx, id(1), nil) })
		},
	} {
		within(t, longest, func() {
			if err := write(t.Context()); !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s that waits too long gives %v", name, err)
			}
		})
		<-waiting
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-waiting
			cancel()
		}()
		within(t, longest, func() {
			if err := write(ctx); !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, context.Canceled) {
				t.Errorf("%s whose client leaves gives %v", name, err)
			}
		})
	}
	if n := store.RetriesOf(t, s); n != 0 {
		t.Errorf("%v units of work were tried again", n)
	}
	release()
	occupy(t, s, 20) // all places are free
}

// Clients that leave in the middle cost no connections.
func TestStoppedStatementsLeaveTheirConnection(t *testing.T) {
	s, _, relay := behindRelay(t)
	if err := s.SetRoles(t.Context(), id(1), nil); err != nil {
		t.Fatal(err)
	}
	var logins atomic.Int32
	var leave atomic.Pointer[context.CancelFunc]
	relay.Decide(func(r storetest.Request) storetest.Fate {
		if r.IsLogin() {
			logins.Add(1)
		}
		if r.Holds(`"users"`) {
			(*leave.Load())()
		}
		return storetest.Pass
	})
	left := 0
	for range 30 {
		for _, call := range []func(context.Context) error{
			func(ctx context.Context) error { _, err := s.UserByID(ctx, id(1)); return err },
			func(ctx context.Context) error { return s.SetRoles(ctx, id(1), nil) },
			func(ctx context.Context) error {
				return s.InTx(ctx, func(tx *store.Store) error { return tx.SetRoles(ctx, id(1), nil) })
			},
		} {
			ctx, cancel := context.WithCancel(t.Context())
			leave.Store(&cancel)
			if err := call(ctx); errors.Is(err, context.Canceled) {
				left++
			} else if err != nil {
				t.Error(err)
			}
		}
	}
	if n := logins.Load(); n != 0 {
		t.Errorf("%d connections were made anew", n)
	}
	if left == 0 {
		t.Error("nobody left in time")
	}
}

// However many ask whether the database is there, it is asked one question at a time.
func TestProbeAsksOnceForAllWhoAskAtOnce(t *testing.T) {
	s, _, relay := behindRelay(t)
	becomeReady(t, s)
	var questions atomic.Int32
	relay.Decide(func(r storetest.Request) storetest.Fate {
		if r.Holds("goose_db_version") {
			questions.Add(1)
		}
		return storetest.Pass
	})
	relay.Delay(100 * time.Millisecond)
	var calls sync.WaitGroup
	for range 100 {
		calls.Go(func() {
			if err := s.Ready(t.Context()); err != nil {
				t.Errorf("Ready gives %v", err)
			}
		})
	}
	calls.Wait()
	if n := questions.Load(); n == 0 || n > 10 {
		t.Errorf("100 who asked at once made %d questions", n)
	}
}

func TestExhaustedConnectionsSayNothingAboutTheDatabase(t *testing.T) {
	s, _, relay := behindRelay(t)
	occupy(t, s, 20)
	release := make(chan struct{})
	inside := make(chan struct{})
	var holders sync.WaitGroup
	for range 20 {
		holders.Go(func() {
			err := s.InTx(t.Context(), func(*store.Store) error {
				inside <- struct{}{}
				<-release
				return nil
			})
			if !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("a transaction whose connection broke gives %v", err)
			}
		})
		<-inside
	}
	if _, err := s.UserByID(t.Context(), id(1)); !errors.Is(err, store.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("one more gives %v, want that no connection became free", err)
	}
	if err := s.Ready(t.Context()); err != nil {
		t.Errorf("Ready gives %v", err)
	}
	relay.Refuse()
	if err := s.Ready(t.Context()); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("without the database Ready gives %v", err)
	}
	relay.Accept()
	close(release)
	holders.Wait()
	if _, err := s.UserByID(t.Context(), id(1)); err != nil {
		t.Error(err)
	}
}
