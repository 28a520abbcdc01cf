package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	mssql "github.com/microsoft/go-mssqldb"
	"github.com/prometheus/client_golang/prometheus"
	"gorm.io/gorm"
)

var (
	errDeadlock = mssql.Error{Number: 1205, Message: "Transaction was deadlocked"}
	errConflict = mssql.Error{Number: 3960, Message: "Snapshot isolation transaction aborted due to update conflict"}
	errBroken   = &net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
	errSilent   = &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}
)

// openTest opens a SQLite file with one user, whose id is 1.
func openTest(t *testing.T) *Store {
	t.Helper()
	s, err := Open("sqlite:" + filepath.Join(t.TempDir(), "latchkey.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	addUser(t, s, 1)
	return s
}

func addUser(t *testing.T, s *Store, n byte) {
	t.Helper()
	name := fmt.Sprint("user", n)
	if err := s.CreateUser(t.Context(), &User{ID: uuid.UUID{n}, Username: name, CanonicalName: name, PasswordHash: "h"}); err != nil {
		t.Fatal(err)
	}
}

// RetriesOf says how often units of work were tried again, as the operator sees it.
func RetriesOf(t *testing.T, s *Store) float64 {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(s.Metrics()...)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == "latchkey_database_retries_total" {
			return family.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatal("there is no such metric")
	return 0
}

// Each failure is made to happen to a read, to a single write, and in a transaction before its commit.
func TestWhichFailuresAreTriedAgain(t *testing.T) {
	stream := func(err error) error { return mssql.StreamError{InnerError: err} }
	always, undone, never := [3]bool{true, true, true}, [3]bool{true, false, true}, [3]bool{}
	for name, test := range map[string]struct {
		err  error
		want [3]bool
	}{
		"the victim of a deadlock":              {errDeadlock, always},
		"a conflict of snapshots":               {errConflict, always},
		"a deadlock in an answer of many":       {fmt.Errorf("select: %w", errDeadlock), always},
		"a connection that was reset":           {errBroken, undone},
		"one that was refused":                  {&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, undone},
		"one that ended":                        {&net.OpError{Op: "Read", Err: io.EOF}, undone},
		"one that ended within an answer":       {stream(io.ErrUnexpectedEOF), undone},
		"one that the driver knew to be broken": {driver.ErrBadConn, undone},
		"a fatal error of the server":           {mssql.ServerError{}, undone},
		"silence":                               {errSilent, never},
		"silence within an answer":              {stream(fmt.Errorf("read: %w", errSilent)), never},
		"a stop that was not confirmed":         {stream(fmt.Errorf("no confirmation: %w", context.DeadlineExceeded)), never},
		"what is no TDS":                        {stream(errors.New("unknown token type")), never},
		"too slow":                              {context.DeadlineExceeded, never},
		"a client that left":                    {context.Canceled, never},
		"a duplicate":                           {gorm.ErrDuplicatedKey, never},
		"nothing found":                         {gorm.ErrRecordNotFound, never},
		"another refusal of the server's":       {mssql.Error{Number: 547}, never},
		"a transaction that the server ended":   {mssql.Error{Number: 0}, never},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openTest(t)
			fail := func(db *gorm.DB) *gorm.DB {
				_ = db.AddError(test.err)
				return db
			}
			_, readErr := read(t.Context(), s, func(db *gorm.DB, _ *User) *gorm.DB { return fail(db) })
			reads := RetriesOf(t, s)
			_, writeErr := s.write(t.Context(), fail)
			writes := RetriesOf(t, s) - reads
			inTxErr := s.InTx(t.Context(), func(tx *Store) error {
				_, err := tx.write(t.Context(), fail)
				return err
			})
			transactions := RetriesOf(t, s) - reads - writes
			for i, got := range []float64{reads, writes, transactions} {
				want := 0.0
				if test.want[i] {
					want = maxRetries
				}
				if got != want {
					t.Errorf("%s: %v retries, want %v", []string{"read", "write", "transaction"}[i], got, want)
				}
			}
			for _, err := range []error{readErr, writeErr, inTxErr} {
				if !errors.Is(err, wrap(test.err)) && !errors.Is(err, ErrUnavailable) {
					t.Errorf("the error became %v", err)
				}
			}
		})
	}
}

// What the failed tries did in the database is gone.
func TestTransactionIsTriedAgainFromScratch(t *testing.T) {
	t.Parallel()
	for name, cause := range map[string]error{"deadlock": errDeadlock, "broken": errBroken} {
		t.Run(name, func(t *testing.T) {
			s := openTest(t)
			var seen []int
			err := s.InTx(t.Context(), func(tx *Store) error {
				if err := tx.SetRoles(t.Context(), uuid.UUID{1}, []string{fmt.Sprint("try", len(seen))}); err != nil {
					return err
				}
				list, err := tx.ListUsers(t.Context(), "", 10)
				if err != nil {
					return err
				}
				seen = append(seen, len(list))
				addUser(t, tx, 2)
				if len(seen) < 3 {
					return fmt.Errorf("%w: %w", ErrUnavailable, cause)
				}
				return nil
			})
			if err != nil || fmt.Sprint(seen) != "[1 1 1]" {
				t.Fatalf("InTx gives %v; the tries saw %v users, want 1 each", err, seen)
			}
			if user, err := s.UserByID(t.Context(), uuid.UUID{1}); err != nil || fmt.Sprint(user.Roles) != "[try2]" {
				t.Errorf("afterwards the roles are %v (%v), want those of the last try", user.Roles, err)
			}
			if n := RetriesOf(t, s); n != 2 {
				t.Errorf("%v retries were counted, want 2", n)
			}
		})
	}
}

// An inner transaction is part of the outer one: what the server took back is taken back as a whole.
func TestOnlyTheOutermostTransactionIsTriedAgain(t *testing.T) {
	t.Parallel()
	s := openTest(t)
	outer, inner := 0, 0
	err := s.InTx(t.Context(), func(tx *Store) error {
		outer++
		return tx.InTx(t.Context(), func(*Store) error {
			inner++
			return errDeadlock
		})
	})
	if !takenBack(err) || outer != 1+maxRetries || inner != outer {
		t.Errorf("InTx gives %v after %d outer and %d inner tries", err, outer, inner)
	}
}

func TestClientThatLeftIsTriedForNoMore(t *testing.T) {
	t.Parallel()
	s := openTest(t)
	ctx, cancel := context.WithCancel(t.Context())
	tries := 0
	err := s.InTx(ctx, func(*Store) error {
		tries++
		cancel()
		return errDeadlock
	})
	if !takenBack(err) || tries != 1 {
		t.Errorf("InTx gives %v after %d tries", err, tries)
	}
}

// hold takes all connections of a pool, until the test gives them back.
func hold(t *testing.T, p pool) (release func()) {
	t.Helper()
	connections, err := p.db.DB()
	if err != nil {
		t.Fatal(err)
	}
	var held []*sql.Conn
	var leave []func()
	for range cap(p.places) {
		l, err := p.enter(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := connections.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		leave, held = append(leave, l), append(held, conn)
	}
	return sync.OnceFunc(func() {
		for i := range held {
			_ = held[i].Close()
			leave[i]()
		}
	})
}

func TestExhaustedPoolTurnsAway(t *testing.T) {
	t.Parallel()
	s := openTest(t)
	release := hold(t, s.writers)
	defer release()
	const waiters = 200
	errs := make(chan error, 2*waiters)
	for range waiters {
		go func() { errs <- s.SetRoles(t.Context(), uuid.UUID{1}, nil) }()
		go func() { errs <- s.InTx(t.Context(), func(*Store) error { return nil }) }()
	}
	for range 2 * waiters {
		select {
		case err := <-errs:
			if !errors.Is(err, ErrUnavailable) || !errors.Is(err, errNoConnection) {
				t.Errorf("want ErrUnavailable for want of a connection, not %v", err)
			}
		case <-time.After(2*connectionWait + 5*time.Second): // they wait side by side
			t.Fatal("they still queue")
		}
	}
	t.Run("a client that leaves waits no longer", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.SetRoles(ctx, uuid.UUID{1}, nil); !errors.Is(err, context.Canceled) || !errors.Is(err, ErrUnavailable) {
			t.Errorf("it gets %v", err)
		}
	})
	t.Run("reads go on", func(t *testing.T) {
		if _, err := s.UserByID(t.Context(), uuid.UUID{1}); err != nil {
			t.Error(err)
		}
	})
	t.Run("the probe tells of the database, not of the load", func(t *testing.T) {
		defer hold(t, s.readers)()
		if err := s.Ready(t.Context()); err != nil {
			t.Error(err)
		}
	})
	t.Run("afterwards all is well", func(t *testing.T) {
		release()
		if err := s.SetRoles(t.Context(), uuid.UUID{1}, nil); err != nil {
			t.Error(err)
		}
		if n := len(s.writers.places) + len(s.readers.places); n != 0 {
			t.Errorf("%d places are still taken", n)
		}
	})
}
