package store_test

import (
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"latchkey/internal/store"
)

var testTime = time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC)

// id makes ids that sort by number.
func id(n int) uuid.UUID {
	return uuid.MustParse(fmt.Sprintf("019b7d5e-0000-7000-8000-%012d", n))
}

func newUser(n int) store.User {
	name := fmt.Sprintf("user%03d", n)
	return store.User{
		ID: id(n), Username: "U" + name[1:], CanonicalName: name, PasswordHash: "hash of " + name, Roles: []string{"admin", "auditor"},
		CreatedAt: testTime,
	}
}

func newSession(user, n int) store.Session {
	hash := sha256.Sum256([]byte(fmt.Sprint(n)))
	return store.Session{
		ID: id(n), UserID: id(user), Generation: 1, OldestGeneration: 1, CurrentHash: hash[:],
		IssuedAt: testTime, CreatedAt: testTime, UserAgent: "curl/8", IP: "192.0.2.1",
	}
}

func createUser(t testing.TB, s *store.Store, n int) store.User {
	t.Helper()
	user := newUser(n)
	if err := s.CreateUser(t.Context(), &user); err != nil {
		t.Fatal(err)
	}
	return user
}

func createSession(t testing.TB, s *store.Store, session store.Session) store.Session {
	t.Helper()
	if err := s.CreateSession(t.Context(), &session); err != nil {
		t.Fatal(err)
	}
	return session
}

func readSession(t testing.TB, s *store.Store, id uuid.UUID) store.OwnedSession {
	t.Helper()
	row, err := s.SessionByID(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return row
}
