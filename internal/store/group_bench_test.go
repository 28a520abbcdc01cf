package store

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
)

// BenchmarkGroup is what a refresh asks of SQLite, one read and one conditional write, by so many callers at once that have
// a session each: with commits that are shared, and with one for each write.
func BenchmarkGroup(b *testing.B) {
	for _, callers := range []int{1, 4, 16, 64, 256} {
		for _, shared := range []bool{false, true} {
			b.Run(fmt.Sprintf("callers=%d/shared=%t", callers, shared), func(b *testing.B) {
				s := openMigrated(b, filepath.Join(b.TempDir(), "latchkey.db"))
				if !shared {
					s.writers.group = nil
				}
				owner := User{ID: uuid.UUID{1}, Username: "u", CanonicalName: "u", PasswordHash: "h"}
				if err := s.CreateUser(b.Context(), &owner); err != nil {
					b.Fatal(err)
				}
				var wait sync.WaitGroup
				turns := make(chan struct{}, callers)
				for range callers {
					row := Session{ID: uuid.New(), UserID: owner.ID, CurrentHash: make([]byte, 32), IssuedAt: time.UnixMilli(0).UTC()}
					if err := s.CreateSession(b.Context(), &row); err != nil {
						b.Fatal(err)
					}
					wait.Go(func() {
						for range turns {
							if err := step(b, s, row.ID); err != nil {
								b.Error(err)
							}
						}
					})
				}
				b.ResetTimer()
				for range b.N {
					turns <- struct{}{}
				}
				close(turns)
				wait.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "refreshes/s")
			})
		}
	}
}

func step(b *testing.B, s *Store, id uuid.UUID) error {
	b.Helper()
	row, err := s.SessionByID(b.Context(), id)
	if err != nil {
		return err
	}
	next := row.Session
	next.Generation++
	next.IssuedAt = next.IssuedAt.Add(time.Millisecond)
	next.ParentHash = row.CurrentHash
	if moved, err := s.AdvanceSession(b.Context(), row.Session, next); err != nil || !moved {
		return fmt.Errorf("moved: %t, %w", moved, err)
	}
	return nil
}
