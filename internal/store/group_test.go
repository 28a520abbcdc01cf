package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
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
	s := openTest(t)
	commits := 0
	hooked(t, s, func() { commits++ })
	var writes []func() error
	for n := range byte(100) {
		writes = append(writes, add(t, s, 10+n))
	}
	for i, err := range atOnce(t, s, writes...) {
		if err != nil {
			t.Errorf("write %d: %v", i, err)
		}
		wantUser(t, s, 10+byte(i), nil)
	}
	if commits != 1 {
		t.Errorf("%d commits, want 1", commits)
	}
}

// hooked has f called at each commit of the connection that writes.
func hooked(t *testing.T, s *Store, f func()) {
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
		driver.(modernc.HookRegisterer).RegisterCommitHook(func() int32 { f(); return 0 })
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// One that fails, for whatever reason, fails alone.
func TestErrorOfOneWriteTouchesNoOther(t *testing.T) {
	left, leave := context.WithCancel(t.Context())
	for name, test := range map[string]struct {
		write func(s *Store) error
		want  func(err error) bool
	}{
		"a duplicate": {
			func(s *Store) error { return add(t, s, 1)() },
			func(err error) bool { return errors.Is(err, ErrDuplicate) },
		},
		"a row that a constraint refuses": {
			func(s *Store) error {
				return s.CreateSession(t.Context(), &Session{ID: uuid.UUID{1}, UserID: uuid.UUID{99}})
			},
			func(err error) bool { return errors.Is(err, ErrUnavailable) },
		},
		"a statement that SQLite does not know": {
			func(s *Store) error {
				_, err := s.write(t.Context(), func(db *gorm.DB) *gorm.DB { return db.Exec("FROBNICATE") })
				return err
			},
			func(err error) bool { return errors.Is(err, ErrUnavailable) },
		},
		"one whose client has left": {
			func(s *Store) error {
				defer leave()
				return s.SetRoles(left, uuid.UUID{1}, []string{"admin"})
			},
			func(err error) bool { return err == nil || errors.Is(err, ErrUnavailable) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := openTest(t)
			errs := atOnce(t, s, add(t, s, 2), add(t, s, 3), func() error { return test.write(s) }, add(t, s, 4), add(t, s, 5))
			for i, err := range errs {
				if i == 2 && !test.want(err) || i != 2 && err != nil {
					t.Errorf("write %d: %v", i, err)
				}
			}
			for n := byte(1); n <= 5; n++ {
				wantUser(t, s, n, nil)
			}
		})
	}
}

// Nobody is told that something is written before it is: a commit that fails is everybody's failure.
func TestCommitThatFailsIsToldToAll(t *testing.T) {
	s := openTest(t)
	connections, err := s.writers.db.DB()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := connections.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	refuse := int32(1)
	err = conn.Raw(func(driver any) error {
		driver.(modernc.HookRegisterer).RegisterCommitHook(func() int32 { return refuse })
		return nil
	})
	_ = conn.Close()
	if err != nil {
		t.Fatal(err)
	}
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

// Clients that leave while they wait, the one that leads among them, have nothing written and keep nobody waiting.
func TestClientsThatLeaveWhileTheyWait(t *testing.T) {
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
	for range 4 {
		if err := <-gone; !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.Canceled) {
			t.Errorf("one that left gets %v", err)
		}
	}
	queued(t, s, 6)
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
}
