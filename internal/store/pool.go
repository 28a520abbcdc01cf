package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"

	mssql "github.com/microsoft/go-mssqldb"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"gorm.io/gorm"
)

const (
	// connectionWait is how long a statement or a transaction waits for a free connection.
	connectionWait = 2 * time.Second
	// statementTime bounds one statement, with the connection that it may need: then the database is told to stop it. What
	// may touch any number of rows is made of several statements.
	statementTime = 3 * time.Second
	// maxRetries and firstPause: a unit of work that the database took back is tried again up to three times, after at
	// most 20, 80 and 320 ms. The pauses are random, so that those who collided do not meet again.
	maxRetries = 3
	firstPause = 20 * time.Millisecond
)

var errNoConnection = fmt.Errorf("no database connection became free within %s", connectionWait)

// pool is a bounded number of connections, or, where places is nil, the one connection of a transaction.
type pool struct {
	db *gorm.DB
	// places has room for as many units of work as there are connections. database/sql would let any number of requests
	// queue for them as long as they live.
	places chan struct{}
	// retries counts second tries.
	retries prometheus.Counter
	// refused says that the disk did not take a write: see Store.writable.
	refused *atomic.Bool
	// group has single writes share transactions; nil where a commit is not what they wait for.
	group *group
}

// newPool takes over connections, and makes a pool of so many of them.
func (s *Store) newPool(name string, dialect func(gorm.ConnPool) gorm.Dialector, connections *sql.DB, size int) (pool, error) {
	connections.SetMaxOpenConns(size)
	connections.SetMaxIdleConns(size) // a new connection is dear
	s.close = append(s.close, connections)
	s.metrics = append(s.metrics, collectors.NewDBStatsCollector(connections, name))
	db, err := openGORM(dialect(connections))
	return pool{db: db, places: make(chan struct{}, size), retries: s.retries, refused: new(atomic.Bool)}, err
}

// enter takes a place, or none when it is no longer needed, or fails: ErrUnavailable.
func (p pool) enter(ctx context.Context, needless <-chan struct{}) (leave func(), err error) {
	if p.places == nil {
		return func() {}, nil
	}
	leave = func() { <-p.places }
	select {
	case p.places <- struct{}{}:
		return leave, nil
	default:
	}
	patience := time.NewTimer(connectionWait)
	defer patience.Stop()
	select {
	case p.places <- struct{}{}:
		return leave, nil
	case <-needless:
		return func() {}, nil
	case <-patience.C:
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, errNoConnection)
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: wait for a database connection: %w", ErrUnavailable, ctx.Err())
	}
}

// run executes one statement, and returns how many rows it touched. reading says that it changes nothing.
func (p pool) run(ctx context.Context, reading bool, statement func(db *gorm.DB) *gorm.DB) (rows int64, err error) {
	if p.group != nil && !reading {
		if rows, err = p.group.run(ctx, p, statement); !errors.Is(err, errAlone) {
			return rows, err
		}
	}
	leave, err := p.enter(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer leave()
	return p.execute(ctx, reading, statement)
}

// execute is run for one who has a place.
func (p pool) execute(ctx context.Context, reading bool, statement func(db *gorm.DB) *gorm.DB) (rows int64, err error) {
	err = p.retry(ctx, func() (undone bool, err error) {
		limited, cancel := context.WithTimeout(ctx, statementTime)
		defer cancel()
		done := statement(p.db.WithContext(limited))
		rows = done.RowsAffected
		return reading, wrap(stopped(limited, done.Error))
	})
	return rows, err
}

// stopped marks the error of a statement that was told to stop. The driver does not always say that it was: where the
// server has not confirmed it, it speaks of an invalid stream.
func stopped(ctx context.Context, err error) error {
	if cause := ctx.Err(); err != nil && cause != nil && !errors.Is(err, cause) {
		return fmt.Errorf("%w: %w", cause, err)
	}
	return err
}

// transaction is InTx in this pool.
func (p pool) transaction(ctx context.Context, f func(tx *Store) error) error {
	leave, err := p.enter(ctx, nil)
	if err != nil {
		return err
	}
	defer leave()
	return p.retry(ctx, func() (undone bool, err error) {
		// A connection that broke before the commit has taken the transaction with it. If it broke in the commit, nobody
		// knows what became of that: then the caller is told, and does not get it twice.
		undone = true
		var inner error
		err = p.connection(ctx, func(db *gorm.DB) error {
			// A client that leaves stops the statements, and so the transaction, but not a commit that is under way.
			return db.WithContext(context.WithoutCancel(ctx)).Transaction(func(db *gorm.DB) error {
				if inner = f(&Store{readers: pool{db: db}, writers: pool{db: db}}); inner == nil {
					inner = wrap(ctx.Err())
				}
				undone = inner != nil
				return inner
			}, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
		})
		if inner != nil {
			return undone, inner
		}
		return undone, wrap(err)
	})
}

// connection calls f with one connection, which is there within statementTime or not at all.
func (p pool) connection(ctx context.Context, f func(db *gorm.DB) error) error {
	if p.places == nil {
		return f(p.db)
	}
	limited, cancel := context.WithTimeout(ctx, statementTime)
	defer cancel()
	return p.db.WithContext(limited).Connection(f)
}

// retry calls f, and again while it fails and that is safe, at most maxRetries times. Within a transaction it leaves that
// to the whole. undone says that nothing is left of what f did, if the connection broke.
func (p pool) retry(ctx context.Context, f func() (undone bool, err error)) error {
	for n, pause := 0, firstPause; ; n, pause = n+1, 4*pause {
		undone, err := f()
		if p.places != nil && isRefused(err) {
			p.refused.Store(true)
		}
		if err == nil || n == maxRetries || p.places == nil || !safeAgain(err, undone) {
			return err
		}
		select {
		case <-time.After(rand.N(pause)): //nolint:gosec // nothing depends on its being hard to guess
		case <-ctx.Done():
			return err
		}
		p.retries.Inc()
	}
}

// safeAgain says whether a unit of work that failed can be tried again.
func safeAgain(err error, undone bool) bool { return takenBack(err) || undone && brokenOff(err) }

// takenBack says that SQL Server itself has taken back everything that was asked: the victim of a deadlock, or of
// a conflict under snapshot isolation.
func takenBack(err error) bool {
	var e mssql.Error
	return errors.As(err, &e) && (e.Number == 1205 || e.Number == 3960)
}

// mayNot says that SQL Server does not let this login do that.
func mayNot(err error) bool {
	var e mssql.Error
	return errors.As(err, &e) && e.Number == 229
}

// brokenOff says that the connection broke, or was never made, which by itself does not tell whether a statement was
// executed. One that fell silent is not broken off: the next would be, too, and a client does not wait so long.
func brokenOff(err error) bool {
	var network net.Error
	if errors.As(err, &network) { // which a deadline of a context is, too
		return !network.Timeout()
	}
	var stream mssql.StreamError
	if errors.As(err, &stream) { // it does not unwrap by itself
		return brokenOff(stream.InnerError)
	}
	var server mssql.ServerError
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &server)
}

// read executes a statement that changes nothing and fills a T. Each try gets a new one: GORM takes what it finds in it
// for conditions.
func read[T any](ctx context.Context, s *Store, statement func(db *gorm.DB, into *T) *gorm.DB) (T, error) {
	var got T
	_, err := s.readers.run(ctx, true, func(db *gorm.DB) *gorm.DB {
		got = *new(T)
		return statement(db, &got)
	})
	return got, err
}

// write executes a statement that is a transaction of its own, or part of one, and returns how many rows it touched.
func (s *Store) write(ctx context.Context, statement func(db *gorm.DB) *gorm.DB) (int64, error) {
	return s.writers.run(ctx, false, statement)
}
