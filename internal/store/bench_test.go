package store_test

import (
	"fmt"
	"testing"

	"github.com/google/uuid"

	"latchkey/internal/store"
	"latchkey/internal/store/storetest"
)

// BenchmarkRefresh is what a refresh asks of the database: one read and one conditional write. Its cost must not grow
// with the table.
func BenchmarkRefresh(b *testing.B) {
	for _, size := range []int{1_000, 100_000} {
		b.Run(fmt.Sprintf("%d sessions", size), func(b *testing.B) {
			s := storetest.Open(b)
			ids := fill(b, s, size)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				row, err := s.SessionByID(b.Context(), ids[i*7919%size])
				if err != nil {
					b.Fatal(err)
				}
				next := row.Session
				next.Generation++
				next.ParentHash = row.CurrentHash
				if ok, err := s.AdvanceSession(b.Context(), row.Session, next); !ok || err != nil {
					b.Fatal(ok, err)
				}
				i++
			}
		})
	}
}

func BenchmarkSessionByID(b *testing.B) {
	for _, size := range []int{1_000, 100_000} {
		b.Run(fmt.Sprintf("%d sessions", size), func(b *testing.B) {
			s := storetest.Open(b)
			ids := fill(b, s, size)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if _, err := s.SessionByID(b.Context(), ids[i*7919%size]); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
	}
}

// fill makes sessions, twenty for each user.
func fill(b *testing.B, s *store.Store, size int) []uuid.UUID {
	b.Helper()
	ids := make([]uuid.UUID, size)
	err := s.InTx(b.Context(), func(tx *store.Store) error {
		var user store.User
		for i := range ids {
			if i%20 == 0 {
				user = newUser(i)
				if err := tx.CreateUser(b.Context(), &user); err != nil {
					return err
				}
			}
			session := newSession(0, i)
			session.UserID = user.ID
			if err := tx.CreateSession(b.Context(), &session); err != nil {
				return err
			}
			ids[i] = session.ID
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return ids
}
