// Package store owns the database: the rows, every statement, the transactions and the schema's version. It is the
// only package that knows GORM or which database is behind it.
//
// Every method takes a context, whose deadline reaches the database, and fails in one of three ways: ErrNotFound,
// ErrDuplicate, or ErrUnavailable for anything that kept the database from answering. Times are UTC with milliseconds.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
)

var (
	// ErrNotFound says that no row has the key that was asked for.
	ErrNotFound = errors.New("store: not found")
	// ErrDuplicate says that a row with this unique key is there already.
	ErrDuplicate = errors.New("store: duplicate key")
	// ErrUnavailable says that the database did not do what it was asked: it is away, too slow, full, or its schema is
	// not the one this program needs. Nothing follows from it about the data; it wraps the cause.
	ErrUnavailable = errors.New("store: database unavailable")
	// ErrUnusable is the ErrUnavailable that does not pass by itself: the database is there, and a migration does not
	// apply to it, or its file is damaged, another program's or not to be written.
	ErrUnusable = fmt.Errorf("%w, and will stay so", ErrUnavailable)
	// ErrDenied is the ErrUnavailable of a login that has not been granted what it needs.
	ErrDenied = fmt.Errorf("%w to this login", ErrUnavailable)
)

// Store is an open database. It is safe for concurrent use.
type Store struct {
	// On SQLite a single connection writes, so that writers of this process queue in Go, fairly, instead of polling
	// the file's lock; readers have a pool of their own and never wait for a writer. On SQL Server the two are one.
	readers, writers pool
	// prober has a connection that nothing else uses, so that Ready tells of the database and not of the load.
	prober *gorm.DB
	// probe lets one question at a time go to the database, whoever else asks for the same.
	probe singleflight.Group
	// newMigrator is called for each use: a migrator that once failed to make goose's table does not try it again.
	newMigrator   func() (*goose.Provider, error)
	newestVersion int64
	close         []io.Closer
	description   string
	// isFile says that the database is SQLite's.
	isFile  bool
	retries prometheus.Counter
	metrics []prometheus.Collector
}

func newStore(description string) *Store {
	s := &Store{description: description, retries: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "latchkey_database_retries_total",
		Help: "Units of work that were tried again, after a deadlock or on another connection.",
	})}
	s.metrics = append(s.metrics, s.retries)
	return s
}

// Open opens the database of a URL as LATCHKEY_DATABASE_URL has it: sqlite:PATH or sqlserver://…. A SQLite file that
// is not there is made, readable by its owner only. The schema is not touched: see Migrate. The database is not asked
// anything yet, so a server that is away, or a file that is locked, is no error here.
func Open(url string) (*Store, error) {
	switch {
	case strings.HasPrefix(url, sqliteScheme):
		path := strings.TrimPrefix(url, sqliteScheme)
		if err := createPrivate(path); err != nil {
			return nil, err
		}
		return openSQLite(path)
	case strings.HasPrefix(url, "sqlserver://"):
		return openSQLServer(url)
	}
	return nil, errors.New("store: the database URL must begin with sqlite: or sqlserver://")
}

// OpenExisting is Open for a database that must be there already: where its file is not, it makes none.
func OpenExisting(url string) (*Store, error) {
	if path, isFile := strings.CutPrefix(url, sqliteScheme); isFile {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w: %w: `latchkey migrate up` makes it", ErrUnavailable, err)
		} else if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		return openSQLite(path)
	}
	return Open(url)
}

// Description names the database for people, without a password.
func (s *Store) Description() string { return s.description }

// Metrics are how many units of work were tried again, and what each pool of connections is doing.
func (s *Store) Metrics() []prometheus.Collector { return s.metrics }

// Close closes all connections.
func (s *Store) Close() error {
	var faults []error
	for _, connections := range s.close {
		faults = append(faults, connections.Close())
	}
	return errors.Join(faults...)
}

// InTx runs f in one transaction, which is committed if f returns nil and rolled back otherwise. f must use the Store
// it is given. Where the database took the transaction back as the victim of a deadlock, or the connection broke before
// the commit, f is called again, up to three times: what it leaves outside the database it must set anew each time.
func (s *Store) InTx(ctx context.Context, f func(tx *Store) error) error {
	return s.writers.transaction(ctx, f)
}

func openGORM(dialector gorm.Dialector) (*gorm.DB, error) {
	db, err := gorm.Open(dialector, &gorm.Config{
		TranslateError:         true,           // duplicate keys become gorm.ErrDuplicatedKey
		SkipDefaultTransaction: true,           // a single statement is atomic by itself: two round trips saved
		DisableAutomaticPing:   true,           // opening asks a server nothing
		Logger:                 logger.Discard, // its lines would carry parameters; errors reach the log by another way
		NowFunc:                func() time.Time { return time.Now().UTC().Truncate(time.Millisecond) },
	})
	return db, wrap(err)
}

// wrap turns GORM's and the drivers' errors into the three of this package.
func wrap(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, gorm.ErrRecordNotFound), errors.Is(err, sql.ErrNoRows):
		return ErrNotFound
	case errors.Is(err, gorm.ErrDuplicatedKey):
		return ErrDuplicate
	case mayNot(err):
		return fmt.Errorf("%w: %w", ErrDenied, err)
	case isLasting(err):
		return fmt.Errorf("%w: %w", ErrUnusable, err)
	case isFull(err):
		return fmt.Errorf("%w: %w: %w", ErrUnavailable, errFull, err)
	default:
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
}
