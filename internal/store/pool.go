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
	"time"

	mssql "github.com/microsoft/go-mssqldb"
	"gorm.io/gorm"
)

const (
	// connectionWait is how long a statement or a transaction waits for a free connection.
	connectionWait = 2 * time.Second
	// statementTime bounds one statement, also in a transaction: then the database is told to stop it. What may touch any
	// number of rows is made of several statements.
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
}

func newPool(dialect func(gorm.ConnPool) gorm.Dialector, connections *sql.DB, size int) (pool, error) {
	connections.SetMaxOpenConns(size)
	connections.SetMaxIdleConns(size) // a new connection is dear
	db, err := openGORM(dialect(connections))
	return pool{db: db, places: make(chan struct{}, size)}, err
}

// enter takes a place, or fails: ErrUnavailable.
func (p pool) enter(ctx context.Context) (leave func(), err error) {
	if p.places == nil {
		return func() {}, nil
	}
	patience := time.NewTimer(connectionWait)
	defer patience.Stop()
	select {
	case p.places <- struct{}{}:
		return func() { <-p.places }, nil
	case <-patience.C:
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, errNoConnection)
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: wait for a database connection: %w", ErrUnavailable, ctx.Err())
	}
}

// run executes one statement, again where that is safe, and returns how many rows it touched. Within a transaction it
// leaves the second try to the whole.
func (p pool) run(ctx context.Context, safe func(error) bool, statement func(db *gorm.DB) *gorm.DB) (rows int64, err error) {
	leave, err := p.enter(ctx)
	if err != nil {
		return 0, err
	}
	defer leave()
	if p.places == nil {
		safe = func(error) bool { return false }
	}
	err = retry(ctx, safe, func() error {
		limited, cancel := context.WithTimeout(ctx, statementTime)
		defer cancel()
		done := statement(p.db.WithContext(limited))
		rows = done.RowsAffected
		return wrap(done.Error)
	})
	return rows, err
}

// transaction is InTx in this pool.
func (p pool) transaction(ctx context.Context, f func(tx *Store) error) error {
	leave, err := p.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	var begun bool
	var inner error
	// A connection that broke before the commit has taken the transaction with it. If it broke in the commit, nobody
	// knows what became of that: then the caller is told, and does not get it twice.
	safe := func(err error) bool { return takenBack(err) || brokenOff(err) && (inner != nil || !begun) }
	return retry(ctx, safe, func() error {
		begun, inner = false, nil
		// A client that leaves stops the statements, and so the transaction, but not a commit that is under way.
		err := p.db.WithContext(context.WithoutCancel(ctx)).Transaction(func(db *gorm.DB) error {
			begun = true
			if inner = f(&Store{readers: pool{db: db}, writers: pool{db: db}}); inner == nil {
				inner = wrap(ctx.Err())
			}
			return inner
		}, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
		if inner != nil {
			return inner
		}
		return wrap(err)
	})
}

// retry calls f, and again while it fails and that is safe, at most maxRetries times.
func retry(ctx context.Context, safe func(error) bool, f func() error) error {
	for n, pause := 0, firstPause; ; n, pause = n+1, 4*pause {
		err := f()
		if err == nil || n == maxRetries || !safe(err) {
			return err
		}
		select {
		case <-time.After(rand.N(pause)):
		case <-ctx.Done():
			return err
		}
	}
}

// takenBack says that SQL Server itself has taken back everything that was asked: the victim of a deadlock, or of
// a conflict under snapshot isolation.
func takenBack(err error) bool {
	var e mssql.Error
	return errors.As(err, &e) && (e.Number == 1205 || e.Number == 3960)
}

// brokenOff says that the connection broke, which by itself does not tell whether a statement was executed: reading can be
// tried again. One that fell silent is not broken off: the next would be, too, and a client does not wait so long.
func brokenOff(err error) bool {
	var network net.Error
	if errors.As(err, &network) { // which a deadline of a context is, too
		return !network.Timeout()
	}
	var stream mssql.StreamError
	var server mssql.ServerError
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.As(err, &stream) || errors.As(err, &server)
}

// read executes a statement that changes nothing and fills a T. Each try gets a new one: GORM takes what it finds in it
// for conditions.
func read[T any](ctx context.Context, s *Store, statement func(db *gorm.DB, into *T) *gorm.DB) (T, error) {
	var got T
	safe := func(err error) bool { return takenBack(err) || brokenOff(err) }
	_, err := s.readers.run(ctx, safe, func(db *gorm.DB) *gorm.DB {
		got = *new(T)
		return statement(db, &got)
	})
	return got, err
}

// write executes a statement that is a transaction of its own, or part of one, and returns how many rows it touched.
func (s *Store) write(ctx context.Context, statement func(db *gorm.DB) *gorm.DB) (int64, error) {
	return s.writers.run(ctx, takenBack, statement)
}
