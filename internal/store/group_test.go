package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"
	modernc "modernc.org/sqlite"
)

// queued waits until so many writes wait in the group.
func queued(t *testing.T, s *Store, n int) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		s.writers.group.mu.Lock()
		waiting := len(s.writers.group.waiting)
		s.writers.group.mu.Unlock()
		if waiting == n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d writes wait, want %d", waiting, n)
		}
	}
}

// atOnce makes writes wait for the connection in this order, lets them go together, and returns what each came to.
func atOnce(t *testing.T, s *Store, writes ...func() error) []error {
	t.Helper()
	release := hold(t, s.writers)
	defer release()
	errs := make([]error, len(writes))
	var wait sync.WaitGroup
	for i, write := range writes {
		wait.Go(func() { errs[i] = write() })
		queued(t, s, i+1)
	}
	release()
	wait.Wait()
	return errs
}

func add(t *testing.T, s *Store, n byte) func() error {
	name := fmt.Sprint("user", n)
	return func() error {
		return s.CreateUser(t.Context(), &User{ID: uuid.UUID{n}, Username: name, CanonicalName: name, PasswordHash: "h"})
	}
}

func wantUser(t *testing.T, s *Store, n byte, want error) {
	t.Helper()
	if _, err := s.UserByID(t.Context(), uuid.UUID{n}); !errors.Is(err, want) {
		t.Errorf("user %d: %v, want %v", n, err, want)
	}
}

// What waits together is committed together: the disk is waited for once in a hundred writes.
func TestWritesThatWaitShareACommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openTest(t)
		commits := 0
		hooked(t, s, func() int32 { commits++; return 0 })
		var writes []func() error
		for n := range byte(groupSize + 10) {
			writes = append(writes, add(t, s, 10+n))
		}
		for i, err := range atOnce(t, s, writes...) {
			if err != nil {
				t.Errorf("write %d: %v", i, err)
			}
			wantUser(t, s, 10+byte(i), nil)
		}
		if commits != 2 {
			t.Errorf("%d commits, want 2", commits)
		}
	})
}

// hooked has f called at each commit of the connection that writes, which fails unless f returns 0.
func hooked(t *testing.T, s *Store, f func() int32) {
	t.Helper()
	connections, err := s.writers.db.DB()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := connections.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	err = conn.Raw(func(driver any) error {
		driver.(modernc.HookRegisterer).RegisterCommitHook(f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// One that fails, for whatever reason, fails alone: be it the one that has the connection, another one or the last.
func TestErrorOfOneWriteTouchesNoOther(t *testing.T) {
	for name, test := range map[string]struct {
		write func(t *testing.T, s *Store) error
		want  func(err error) bool
	}{
		"a duplicate": {
			func(t *testing.T, s *Store) error { return add(t, s, 1)() },
			func(err error) bool { return errors.Is(err, ErrDuplicate) },
		},
		"a row that a constraint refuses": {
			func(t *testing.T, s *Store) error {
				return s.CreateSession(t.Context(), &Session{ID: uuid.UUID{1}, UserID: uuid.UUID{99}})
			},
			func(err error) bool { return errors.Is(err, ErrUnavailable) },
		},
		"a statement that SQLite does not know": {
			func(t *testing.T, s *Store) error {
				_, err := s.write(t.Context(), func(db *gorm.DB) *gorm.DB { return db.Exec("FROBNICATE") })
				return err
			},
			func(err error) bool { return errors.Is(err, ErrUnavailable) },
		},
		"a row for which there is no room": { // then SQLite takes the whole transaction back by itself
			func(t *testing.T, s *Store) error {
				_, err := s.write(t.Context(), func(db *gorm.DB) *gorm.DB {
					return db.Exec("INSERT INTO room VALUES (zeroblob(1000000))")
				})
				return err
			},
			func(err error) bool { return errors.Is(err, ErrUnavailable) && errors.Is(err, errFull) },
		},
		"a panic": {
			func(t *testing.T, s *Store) (err error) {
				defer func() { err = fmt.Errorf("panic: %v", recover()) }()
				_, _ = s.write(t.Context(), func(*gorm.DB) *gorm.DB { panic("test") })
				return nil
			},
			func(err error) bool { return err != nil && err.Error() == "panic: test" },
		},
		"one whose client leaves when it is being executed": {
			func(t *testing.T, s *Store) error {
				ctx, leave := context.WithCancel(t.Context())
				defer leave()
				n, err := s.write(ctx, func(db *gorm.DB) *gorm.DB {
					leave()
					time.Sleep(time.Nanosecond) // until whoever waits for it has heard of that
					return db.Exec("UPDATE users SET roles = 'x' WHERE username = 'user1'")
				})
				if n != 1 {
					return fmt.Errorf("%d rows, %w", n, err)
				}
				return err
			},
			func(err error) bool { return err == nil },
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, failing := range []int{0, 2, 4} {
				synctest.Test(t, func(t *testing.T) {
					s := openTest(t)
					for _, statement := range []string{"CREATE TABLE room (b BLOB)", "PRAGMA max_page_count = 100"} {
						if err := s.writers.db.Exec(statement).Error; err != nil {
							t.Fatal(err)
						}
					}
					writes := []func() error{add(t, s, 2), add(t, s, 3), add(t, s, 4), add(t, s, 5)}
					writes = slices.Insert(writes, failing, func() error { return test.write(t, s) })
					for i, err := range atOnce(t, s, writes...) {
						if i == failing && !test.want(err) || i != failing && err != nil {
							t.Errorf("with a failing write %d, write %d: %v", failing, i, err)
						}
					}
					for n := byte(1); n <= 5; n++ {
						wantUser(t, s, n, nil)
					}
				})
			}
		})
	}
}

// Nobody is told that something is written before it is: a commit that fails is everybody's failure.
func TestCommitThatFailsIsToldToAll(t *testing.T) {
	s := openTest(t)
	refuse := int32(1)
	hooked(t, s, func() int32 { return refuse })
	for i, err := range atOnce(t, s, add(t, s, 2), add(t, s, 3), add(t, s, 4)) {
		if !errors.Is(err, ErrUnavailable) {
			t.Errorf("write %d: %v", i, err)
		}
		wantUser(t, s, byte(2+i), ErrNotFound)
	}
	refuse = 0
	for i, err := range atOnce(t, s, add(t, s, 2), add(t, s, 3)) {
		if err != nil {
			t.Errorf("afterwards, write %d: %v", i, err)
		}
	}
}

// Clients that leave before their turn, the first of them among those, have nothing written and keep nobody waiting.
func TestClientsThatLeaveWhileTheyWait(t *testing.T) {
	for name, free := range map[string]bool{"while the connection is taken": false, "when it becomes free": true} {
		t.Run(name, func(t *testing.T) {
			s := openTest(t)
			release := hold(t, s.writers)
			defer release()
			ctx, leave := context.WithCancel(t.Context())
			gone, stays := make(chan error, 10), make(chan error, 10)
			for n := range byte(10) {
				if n%3 == 0 {
					go func() {
						gone <- s.CreateUser(ctx, &User{ID: uuid.UUID{10 + n}, Username: "u", CanonicalName: fmt.Sprint(n), PasswordHash: "h"})
					}()
				} else {
					go func() { stays <- add(t, s, 10+n)() }()
				}
				queued(t, s, int(n)+1)
			}
			leave()
			if free {
				release()
			} else {
				queued(t, s, 6)
			}
			for range 4 {
				if err := <-gone; !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.Canceled) {
					t.Errorf("one that left gets %v", err)
				}
			}
			release()
			for range 6 {
				if err := <-stays; err != nil {
					t.Error(err)
				}
			}
			for n := range byte(10) {
				want := error(nil)
				if n%3 == 0 {
					want = ErrNotFound
				}
				wantUser(t, s, 10+n, want)
			}
		})
	}
}

// A client that leaves while those before it are being executed has nothing written either.
func TestClientThatLeavesBeforeItsTurn(t *testing.T) {
	s := openTest(t)
	ctx, leave := context.WithCancel(t.Context())
	errs := atOnce(t, s, func() error {
		_, err := s.write(t.Context(), func(db *gorm.DB) *gorm.DB {
			defer leave()
			return db.Exec("UPDATE users SET roles = 'x'")
		})
		return err
	}, func() error { return s.SetRoles(ctx, uuid.UUID{1}, nil) }, add(t, s, 2))
	if errs[0] != nil || !errors.Is(errs[1], ErrUnavailable) || !errors.Is(errs[1], context.Canceled) || errs[2] != nil {
		t.Error(errs)
	}
	if user, err := s.UserByID(t.Context(), uuid.UUID{1}); err != nil || len(user.Roles) != 1 {
		t.Errorf("the roles are %q (%v)", user.Roles, err)
	}
}
