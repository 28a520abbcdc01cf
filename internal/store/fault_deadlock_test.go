//go:build sqlserver

package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"latchkey/internal/store"
	"latchkey/internal/store/storetest"
)

// deadlock has f, in a transaction, set user 1's roles and then user 2's while somebody else locks them in the opposite
// order. It does so again until the server has chosen f's transaction as the victim and not the other one, and returns
// what became of it. SQL Server looks for deadlocks every few seconds; a round in which the statement's time is up before
// is none.
func deadlock(t *testing.T, s *store.Store, url string, f func(tx *store.Store, cross func() error) error) (tries int, err error) {
	t.Helper()
	rival, openErr := sql.Open("sqlserver", url)
	if openErr != nil {
		t.Fatal(openErr)
	}
	defer func() { _ = rival.Close() }()
	for range 30 {
		for n := range 2 {
			if err := s.SetRoles(t.Context(), id(n+1), nil); err != nil {
				t.Fatal(err)
			}
		}
		rivalHasLocked, weHaveLocked := make(chan struct{}), make(chan struct{})
		announce := sync.OnceFunc(func() { close(weHaveLocked) })
		done := make(chan error, 1)
		go func() { done <- lockBoth(t.Context(), rival, rivalHasLocked, weHaveLocked) }()
		tries = 0
		err = s.InTx(t.Context(), func(tx *store.Store) error {
			tries++
			if err := tx.SetRoles(t.Context(), id(1), []string{fmt.Sprint("try", tries)}); err != nil {
				return err
			}
			announce()
			<-rivalHasLocked
			return f(tx, func() error { return tx.SetRoles(t.Context(), id(2), []string{fmt.Sprint("try", tries)}) })
		})
		rivalErr := <-done
		if tries > 1 || err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return tries, err
		}
		t.Logf("another round: InTx gave %v and the rival %v", err, rivalErr)
	}
	t.Fatal("the server never chose the store's transaction")
	return 0, nil
}

// lockBoth locks user 2's row and then user 1's.
func lockBoth(ctx context.Context, db *sql.DB, locked chan<- struct{}, proceed <-chan struct{}) error {
	signal := sync.OnceFunc(func() { close(locked) })
	defer signal()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	for _, n := range []int{2, 1} {
		key := id(n)
		if _, err := tx.ExecContext(ctx, "UPDATE users SET password_hash = N'rival' WHERE id = @p1", key[:]); err != nil {
			return err
		}
		signal()
		<-proceed
	}
	return tx.Commit()
}

func TestVictimOfADeadlockIsTriedAgain(t *testing.T) {
	url := storetest.URL(t)
	s := storetest.OpenURL(t, url)
	createUser(t, s, 1)
	createUser(t, s, 2)
	tries, err := deadlock(t, s, url, func(_ *store.Store, cross func() error) error { return cross() })
	if err != nil || tries != 2 {
		t.Errorf("InTx gives %v after %d tries, want success after 2", err, tries)
	}
	for n := range 2 {
		user, err := s.UserByID(t.Context(), id(n+1))
		if err != nil || fmt.Sprint(user.Roles) != "[try2]" || user.PasswordHash != "rival" {
			t.Errorf("user %d has the roles %v and the hash %q (%v), want what both wrote", n+1, user.Roles, user.PasswordHash, err)
		}
	}
	if n := store.RetriesOf(t, s); n != 1 {
		t.Errorf("%v retries were counted, want 1", n)
	}
}

// Work that takes no notice of the error cannot go on outside the transaction that the server has ended, nor be told that
// it was committed.
func TestNothingIsWrittenBehindATransactionThatTheServerEnded(t *testing.T) {
	url := storetest.URL(t)
	s := storetest.OpenURL(t, url)
	createUser(t, s, 1)
	createUser(t, s, 2)
	createUser(t, s, 3)
	_, err := deadlock(t, s, url, func(tx *store.Store, cross func() error) error {
		if err := cross(); err == nil || errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		if err := tx.SetRoles(t.Context(), id(3), []string{"outside"}); err == nil {
			t.Error("a statement after the end succeeds")
		}
		return nil
	})
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("InTx gives %v, want ErrUnavailable", err)
	}
	for n, roles := range map[int][]string{1: {}, 2: {}, 3: newUser(3).Roles} {
		if user, err := s.UserByID(t.Context(), id(n)); err != nil || !slices.Equal(user.Roles, roles) {
			t.Errorf("user %d has the roles %v (%v), want %v", n, user.Roles, err, roles)
		}
	}
}
