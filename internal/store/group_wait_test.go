package store

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"
)

// The clock of these tests is synctest's, which goes on when everybody waits: a wait takes its time and nothing else does.

// refusedAfter has a user added, which must be refused for this reason after this time, but for what queued waits.
func refusedAfter(t *testing.T, s *Store, n byte, after time.Duration, reason error) {
	t.Helper()
	began := time.Now()
	err := add(t, s, n)()
	if waited := time.Since(began).Round(100 * time.Millisecond); !errors.Is(err, ErrUnavailable) || !errors.Is(err, reason) || waited != after {
		t.Errorf("user %d: after %s %v, want %v after %s", n, waited, err, reason, after)
	}
}

// Those who came before and have gone take nothing of the time, and give nothing to it.
func TestEachWriteWaitsForItsOwnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openTest(t)
		release := hold(t, s.writers)
		var wait sync.WaitGroup
		for n := range byte(10) {
			wait.Go(func() { refusedAfter(t, s, 10+n, connectionWait, errNoConnection) })
			time.Sleep(connectionWait / 3)
		}
		wait.Wait()
		release()
		for n := range byte(10) {
			wantUser(t, s, 10+n, ErrNotFound)
		}
		addUser(t, s, 2)
	})
}

// What has the connection waits for another process as long as a statement may take; the others no longer than for any
// connection, and those that come when the lock is gone not at all.
func TestWritesThatMeetALockOfAnotherProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "latchkey.db")
		s, other := openMigrated(t, path), openFile(t, path)
		var wait sync.WaitGroup
		err := other.InTx(t.Context(), func(*Store) error {
			release := hold(t, s.writers)
			for n := range byte(10) {
				after, reason := connectionWait, errNoConnection
				if n == 0 {
					after, reason = statementTime, context.DeadlineExceeded
				}
				wait.Go(func() { refusedAfter(t, s, 10+n, after, reason) })
				queued(t, s, int(n)+1)
			}
			release()
			wait.Wait()
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for n := range byte(10) {
			wantUser(t, s, 10+n, ErrNotFound)
		}
		for i, err := range atOnce(t, s, add(t, s, 2), add(t, s, 3)) {
			if err != nil {
				t.Errorf("afterwards, write %d: %v", i, err)
			}
		}
	})
}

// Slow statements do not take the time of a whole transaction from those behind them: each is done, if not at once.
func TestSlowWritesShareNoMoreThanTheyHaveTimeFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openTest(t)
		slow := func() error {
			_, err := s.write(t.Context(), func(db *gorm.DB) *gorm.DB {
				time.Sleep(statementTime / 5)
				return db.Exec("UPDATE users SET roles = roles || 'x'")
			})
			return err
		}
		commits := 0
		hooked(t, s, func() int32 { commits++; return 0 })
		for i, err := range atOnce(t, s, slow, slow, slow, slow) {
			if err != nil {
				t.Errorf("write %d: %v", i, err)
			}
		}
		user, err := s.UserByID(t.Context(), uuid.UUID{1})
		if err != nil || len(user.Roles) != 1 || user.Roles[0] != "xxxx" || commits != 2 {
			t.Errorf("in %d commits, want 2, the roles became %q (%v)", commits, user.Roles, err)
		}
	})
}

// One that comes to its end too late takes the whole transaction with it: then that is what all are told.
func TestTransactionThatLastsTooLongIsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openTest(t)
		late := func() error {
			_, err := s.write(t.Context(), func(db *gorm.DB) *gorm.DB {
				defer time.Sleep(statementTime + time.Second)
				return db.Exec("UPDATE users SET roles = 'x'")
			})
			return err
		}
		for i, err := range atOnce(t, s, add(t, s, 2), late) {
			if !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("write %d: %v", i, err)
			}
		}
		wantUser(t, s, 2, ErrNotFound)
		if user, err := s.UserByID(t.Context(), uuid.UUID{1}); err != nil || len(user.Roles) != 0 {
			t.Errorf("afterwards the roles are %q (%v)", user.Roles, err)
		}
		addUser(t, s, 3)
	})
}

// An answer that is there does not wait for the connection, which others have by then.
func TestAnswerWaitsForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openTest(t)
		var wait sync.WaitGroup
		release := hold(t, s.writers)
		began := time.Now()
		for n := range byte(3) {
			wait.Go(func() {
				if err := add(t, s, 10+n)(); err != nil || time.Since(began) > connectionWait/2 {
					t.Errorf("user %d: after %s %v", n, time.Since(began), err)
				}
			})
			queued(t, s, int(n)+1)
			if n == 0 {
				wait.Go(func() {
					if err := s.InTx(t.Context(), func(*Store) error { time.Sleep(connectionWait); return nil }); err != nil {
						t.Error(err)
					}
				})
				synctest.Wait()
			}
		}
		release()
		wait.Wait()
	})
}

// A transaction that waits among single writes gets its turn among them, however many there are.
func TestTransactionIsNotOvertakenForEver(t *testing.T) {
	s := openTest(t)
	stop := make(chan struct{})
	var crowd sync.WaitGroup
	for range 2 * groupSize {
		crowd.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := s.SetRoles(t.Context(), uuid.UUID{1}, nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for n := range byte(10) {
		if err := s.InTx(t.Context(), func(tx *Store) error { return add(t, tx, 2+n)() }); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	crowd.Wait()
}
