package store_test

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

	"latchkey/internal/store"
	"latchkey/internal/store/storetest"
)

// manySessions is more than fit into two statements.
const manySessions = 2100

// openWithMany makes a database with many sessions of one user, and one of another.
func openWithMany(t *testing.T) *store.Store {
	t.Helper()
	s := storetest.Open(t)
	addMany(t, s)
	return s
}

func addMany(t *testing.T, s *store.Store) {
	t.Helper()
	createUser(t, s, 1)
	createUser(t, s, 2)
	err := s.InTx(t.Context(), func(tx *store.Store) error {
		for n := range manySessions {
			session := newSession(1, 1000+n)
			session.CreatedAt = testTime.Add(time.Duration(n/3) * time.Second) // several at one time
			if n%100 == 99 {
				session.RevokedAt = at(testTime)
			}
			if err := tx.CreateSession(t.Context(), &session); err != nil {
				return err
			}
		}
		other := newSession(2, 5000)
		return tx.CreateSession(t.Context(), &other)
	})
	if err != nil {
		t.Fatal(err)
	}
}

const manyLive = manySessions - manySessions/100

func live(t *testing.T, s *store.Store, user int) int {
	t.Helper()
	list, err := s.LiveSessions(t.Context(), id(user), time.Time{}, time.Time{}) // a thousand at most
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestManySessionsAreEnded(t *testing.T) {
	t.Run("of one user, but one", func(t *testing.T) {
		s := openWithMany(t)
		n, err := s.RevokeUserSessions(t.Context(), id(1), id(1002), "x", testTime)
		if err != nil || n != manyLive-1 || live(t, s, 1) != 1 || live(t, s, 2) != 1 {
			t.Errorf("it says %d and %v, and leaves %d", n, err, live(t, s, 1))
		}
		if row := readSession(t, s, id(1002)); row.RevokedAt.Valid {
			t.Error("the one was ended")
		}
	})
	t.Run("of everybody", func(t *testing.T) {
		s := openWithMany(t)
		n, err := s.RevokeAllSessions(t.Context(), "x", testTime)
		if err != nil || n != manyLive+1 || live(t, s, 1) != 0 || live(t, s, 2) != 0 {
			t.Errorf("it says %d and %v, and leaves %d", n, err, live(t, s, 1))
		}
	})
	t.Run("with their user", func(t *testing.T) {
		s := openWithMany(t)
		err := s.DeleteUser(t.Context(), id(1))
		if err != nil || live(t, s, 1) != 0 || live(t, s, 2) != 1 {
			t.Errorf("it says %v, and leaves %d", err, live(t, s, 1))
		}
		if _, err := s.UserByID(t.Context(), id(1)); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("the user gives %v", err)
		}
		for _, n := range []int{1000, 1099, 1000 + manySessions - 1} { // ended ones too
			if _, err := s.SessionByID(t.Context(), id(n)); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("session %d gives %v", n, err)
			}
		}
	})
}

func TestManySessionsOfATransactionEndAllOrNone(t *testing.T) {
	s := openWithMany(t)
	err := s.InTx(t.Context(), func(tx *store.Store) error {
		if n, err := tx.RevokeUserSessions(t.Context(), id(1), uuid.Nil, "x", testTime); err != nil || n != manyLive {
			t.Errorf("it says %d and %v", n, err)
		}
		return errTest
	})
	if !errors.Is(err, errTest) || live(t, s, 1) != 1000 {
		t.Errorf("with the transaction rolled back (%v) %d live sessions are listed, want 1000", err, live(t, s, 1))
	}
}

// A statement that changes any number of rows would keep every writer waiting for all of them, and end at its deadline.
func TestManySessionsTakeSeveralStatements(t *testing.T) {
	for name, change := range map[string]func(*store.Store) error{
		"RevokeUserSessions": func(s *store.Store) error {
			_, err := s.RevokeUserSessions(t.Context(), id(1), uuid.Nil, "x", testTime)
			return err
		},
		"RevokeAllSessions": func(s *store.Store) error {
			_, err := s.RevokeAllSessions(t.Context(), "x", testTime)
			return err
		},
		"DeleteUser": func(s *store.Store) error { return s.DeleteUser(t.Context(), id(1)) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "latchkey.db")
			counts := storetest.CountStatements(t, path)
			s := storetest.OpenURL(t, "sqlite:"+path)
			addMany(t, s)
			counts.Take()
			if err := change(s); err != nil {
				t.Fatal(err)
			}
			if n := counts.Take().Writes; n != 3 {
				t.Errorf("%d sessions took %d statements, want 3", manySessions, n)
			}
		})
	}
}
