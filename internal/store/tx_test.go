package store_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"latchkey/internal/store"
	"latchkey/internal/store/storetest"
)

var errTest = errors.New("test")

func TestInTxIsAllOrNothing(t *testing.T) {
	for name, test := range map[string]struct {
		result error
		want   bool
	}{"committed": {nil, true}, "rolled back": {errTest, false}} {
		t.Run(name, func(t *testing.T) {
			s := storetest.Open(t)
			err := s.InTx(t.Context(), func(tx *store.Store) error {
				createUser(t, tx, 1)
				createSession(t, tx, newSession(1, 2))
				readSession(t, tx, id(2)) // a transaction sees its own writes
				return test.result
			})
			if err != test.result { //nolint:errorlint // the error must come back as it is
				t.Errorf("InTx gives %v, want %v", err, test.result)
			}
			_, userErr := s.UserByID(t.Context(), id(1))
			_, sessionErr := s.SessionByID(t.Context(), id(2))
			if there := userErr == nil && sessionErr == nil; there != test.want {
				t.Errorf("afterwards the user gives %v and the session %v", userErr, sessionErr)
			}
		})
	}
}

func TestInTxWithinInTx(t *testing.T) {
	s := storetest.Open(t)
	err := s.InTx(t.Context(), func(tx *store.Store) error {
		createUser(t, tx, 1)
		if err := tx.InTx(t.Context(), func(inner *store.Store) error { createUser(t, inner, 2); return errTest }); !errors.Is(err, errTest) {
			t.Errorf("the inner one gives %v", err)
		}
		return tx.InTx(t.Context(), func(inner *store.Store) error { createUser(t, inner, 3); return nil })
	})
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range map[int]error{1: nil, 2: store.ErrNotFound, 3: nil} {
		if _, err := s.UserByID(t.Context(), id(n)); !errors.Is(err, want) {
			t.Errorf("user %d: %v, want %v", n, err, want)
		}
	}
}

func TestFailedStatementLeavesTheTransactionUsable(t *testing.T) {
	s := storetest.Open(t)
	createUser(t, s, 1)
	err := s.InTx(t.Context(), func(tx *store.Store) error {
		duplicate := newUser(1)
		if err := tx.CreateUser(t.Context(), &duplicate); !errors.Is(err, store.ErrDuplicate) {
			t.Errorf("a duplicate gives %v", err)
		}
		createUser(t, tx, 2)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.UserByID(t.Context(), id(2)); err != nil {
		t.Error(err)
	}
}

func TestPanicInATransactionRollsItBack(t *testing.T) {
	s := storetest.Open(t)
	func() {
		defer func() { _ = recover() }()
		_ = s.InTx(t.Context(), func(tx *store.Store) error { createUser(t, tx, 1); panic("test") })
	}()
	if _, err := s.UserByID(t.Context(), id(1)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("afterwards the user gives %v, want ErrNotFound", err)
	}
	createUser(t, s, 2) // the one connection that writes is free again
}

func TestCancelledTransactionChangesNothing(t *testing.T) {
	s := storetest.Open(t)
	ctx, cancel := context.WithCancel(t.Context())
	err := s.InTx(ctx, func(tx *store.Store) error {
		createUser(t, tx, 1)
		cancel()
		return nil
	})
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("InTx gives %v, want ErrUnavailable", err)
	}
	if _, err := s.UserByID(t.Context(), id(1)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("afterwards the user gives %v, want ErrNotFound", err)
	}
	createUser(t, s, 2)
}

func TestCommitIsNotCancelled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "latchkey.db")
	statements := storetest.CountStatements(t, path)
	s := storetest.OpenURL(t, "sqlite:"+path)
	ctx, cancel := context.WithCancel(t.Context())
	statements.AtCommit(cancel)
	err := s.InTx(ctx, func(tx *store.Store) error { createUser(t, tx, 1); return nil })
	if err != nil || ctx.Err() == nil {
		t.Errorf("a client that left during the commit is told %v", err)
	}
	if _, err := s.UserByID(t.Context(), id(1)); err != nil {
		t.Errorf("what was confirmed is not there: %v", err)
	}
}

func TestEveryMethodObeysItsContext(t *testing.T) {
	s := storetest.Open(t)
	user := createUser(t, s, 1)
	session := createSession(t, s, newSession(1, 2))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, err := range everyMethod(ctx, s, user, session) {
		if !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, context.Canceled) {
			t.Errorf("%s gives %v, want ErrUnavailable that wraps context.Canceled", name, err)
		}
	}
}

func TestClosedDatabaseIsUnavailable(t *testing.T) {
	s := storetest.Open(t)
	user := createUser(t, s, 1)
	session := createSession(t, s, newSession(1, 2))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for name, err := range everyMethod(t.Context(), s, user, session) {
		if !errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s gives %v, want ErrUnavailable", name, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Errorf("closing it twice: %v", err)
	}
}

// everyMethod calls each method that asks the database.
func everyMethod(ctx context.Context, s *store.Store, user store.User, session store.Session) map[string]error {
	errs := map[string]error{}
	another := newUser(9)
	errs["CreateUser"] = s.CreateUser(ctx, &another)
	_, errs["UserByName"] = s.UserByName(ctx, user.CanonicalName)
	_, errs["UserByID"] = s.UserByID(ctx, user.ID)
	_, errs["ListUsers"] = s.ListUsers(ctx, "", 10)
	_, errs["BeginLogin"] = s.BeginLogin(ctx, user.ID, user.PasswordHash, testTime)
	_, errs["SetPasswordHash"] = s.SetPasswordHash(ctx, user.ID, user.PasswordHash, "x")
	errs["SetRoles"] = s.SetRoles(ctx, user.ID, nil)
	errs["SetDisabled"] = s.SetDisabled(ctx, user.ID, at(testTime))
	errs["DeleteUser"] = s.DeleteUser(ctx, user.ID)
	other := newSession(1, 9)
	errs["CreateSession"] = s.CreateSession(ctx, &other)
	_, errs["SessionByID"] = s.SessionByID(ctx, session.ID)
	_, errs["AdvanceSession"] = s.AdvanceSession(ctx, session, session)
	_, errs["RevokeSession"] = s.RevokeSession(ctx, session.ID, "x", testTime)
	_, errs["RevokeUserSessions"] = s.RevokeUserSessions(ctx, user.ID, uuid.Nil, "x", testTime)
	_, errs["RevokeAllSessions"] = s.RevokeAllSessions(ctx, "x", testTime)
	_, errs["RevokeOldestSessions"] = s.RevokeOldestSessions(ctx, session, 0, time.Time{}, time.Time{}, "x", testTime)
	_, errs["LiveSessions"] = s.LiveSessions(ctx, user.ID, testTime, testTime)
	errs["AppendAuditEvents"] = s.AppendAuditEvents(ctx, newEvents(1, testTime))
	_, errs["AuditEvents"] = s.AuditEvents(ctx, store.AuditFilter{}, 10)
	_, errs["DeleteSessions"] = s.DeleteSessions(ctx, testTime, 1)
	_, errs["DeleteAuditEvents"] = s.DeleteAuditEvents(ctx, testTime, 1)
	_, _, errs["DeleteLoginThrottles"] = s.DeleteLoginThrottles(ctx, nil, testTime, 1)
	_, errs["TakeLease"] = s.TakeLease(ctx, "x", "y", testTime, testTime)
	errs["ReleaseLease"] = s.ReleaseLease(ctx, "x", "y")
	errs["InTx"] = s.InTx(ctx, func(*store.Store) error { return nil })
	_, errs["Migrate"] = s.Migrate(ctx)
	_, errs["MigrateDown"] = s.MigrateDown(ctx)
	_, errs["Migrations"] = s.Migrations(ctx)
	_, errs["SchemaVersion"] = s.SchemaVersion(ctx)
	errs["Ready"] = s.Ready(ctx)
	return errs
}

// Two Stores on one file are two servers: one signs in while the other changes the password. Either the session began
// before the change and was ended by it, or it did not begin.
func TestNoSessionBeginsWithAPasswordThatWasReplaced(t *testing.T) {
	url := storetest.URL(t)
	one, other := storetest.OpenURL(t, url), storetest.OpenURL(t, url)
	createUser(t, one, 1)
	hash := newUser(1).PasswordHash
	var began, refused int
	for round := range 40 {
		next := fmt.Sprint("hash ", round)
		var wg sync.WaitGroup
		var valid atomic.Bool
		wg.Go(func() {
			err := one.InTx(t.Context(), func(tx *store.Store) error {
				ok, err := tx.BeginLogin(t.Context(), id(1), hash, testTime)
				if err != nil || !ok {
					return err
				}
				valid.Store(true)
				session := newSession(1, 100+round)
				return tx.CreateSession(t.Context(), &session)
			})
			if err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			err := other.InTx(t.Context(), func(tx *store.Store) error {
				if ok, err := tx.SetPasswordHash(t.Context(), id(1), hash, next); err != nil || !ok {
					return fmt.Errorf("the password was not changed: %w", err)
				}
				_, err := tx.RevokeUserSessions(t.Context(), id(1), uuid.Nil, "password", testTime)
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		hash = next
		if valid.Load() {
			began++
		} else {
			refused++
		}
		if live, err := one.LiveSessions(t.Context(), id(1), time.Time{}, time.Time{}); err != nil || len(live) != 0 {
			t.Fatalf("round %d: a session lives on a password that was replaced: %v (%v)", round, live, err)
		}
	}
	t.Logf("%d sessions began before the change, %d were refused", began, refused)
}

// Of many servers that read the same row one moves it.
func TestOneOfParallelAdvancesWins(t *testing.T) {
	url := storetest.URL(t)
	servers := []*store.Store{storetest.OpenURL(t, url), storetest.OpenURL(t, url)}
	createUser(t, servers[0], 1)
	session := createSession(t, servers[0], newSession(1, 2))
	callers := storetest.Crowd(t, 16, servers...)
	for round := range 20 {
		to := session
		to.Generation++
		var won atomic.Int32
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				ok, err := servers[i%2].AdvanceSession(t.Context(), session, to)
				if err != nil {
					t.Error(err)
				}
				if ok {
					won.Add(1)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Fatalf("round %d: %d of %d won", round, won.Load(), callers)
		}
		session = to
	}
}

// A write that lost to a revocation must not bring the session back.
func TestRevocationWinsOverLateWrites(t *testing.T) {
	s := storetest.Open(t)
	createUser(t, s, 1)
	for n := range 30 {
		session := createSession(t, s, newSession(1, 100+n))
		to := session
		to.Generation++
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := s.AdvanceSession(t.Context(), session, to); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			if ended, err := s.RevokeSession(t.Context(), session.ID, "logout", testTime); err != nil || !ended {
				t.Errorf("RevokeSession gives %v and %v", ended, err)
			}
		})
		wg.Wait()
		if row := readSession(t, s, session.ID); row.RevokedAt != at(testTime) || row.RevokedReason != "logout" {
			t.Fatalf("the session is revoked at %v for %q", row.RevokedAt, row.RevokedReason)
		}
	}
}

// Twenty writers in two processes' worth of connections, in transactions that read before they write: without BEGIN
// IMMEDIATE and the busy time-out some of them would fail with "database is locked".
func TestManyWritersWaitForEachOther(t *testing.T) {
	url := storetest.URL(t)
	servers := []*store.Store{storetest.OpenURL(t, url), storetest.OpenURL(t, url)}
	createUser(t, servers[0], 1)
	const writes = 6
	writers := storetest.Crowd(t, 20, servers...)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			s := servers[w%2]
			for i := range writes {
				err := s.InTx(t.Context(), func(tx *store.Store) error {
					if _, err := tx.UserByID(t.Context(), id(1)); err != nil {
						return err
					}
					session := newSession(1, 1000+w*writes+i)
					return tx.CreateSession(t.Context(), &session)
				})
				if err != nil {
					t.Errorf("writer %d: %v", w, err)
				}
				if _, err := s.LiveSessions(t.Context(), id(1), time.Time{}, time.Time{}); err != nil {
					t.Errorf("reader %d: %v", w, err)
				}
			}
		})
	}
	wg.Wait()
	if list, err := servers[0].LiveSessions(t.Context(), id(1), time.Time{}, time.Time{}); err != nil || len(list) != writers*writes {
		t.Errorf("%d sessions were written (%v), want %d", len(list), err, writers*writes)
	}
}
