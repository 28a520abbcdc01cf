package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pressly/goose/v3/database"
	"gorm.io/driver/sqlite"
	"gorm.io/gorm"
	"gorm.io/gorm/callbacks"
	modernc "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

const sqliteScheme = "sqlite:"

// How long a new file's change to WAL is tried, and how often: it takes a few milliseconds.
const (
	walPatience = 5 * time.Second
	walPause    = 5 * time.Millisecond
)

// sqliteMagic begins every SQLite file that is not empty.
const sqliteMagic = "SQLite format 3\x00"

var errNoDatabase = fmt.Errorf("%w: the file that LATCHKEY_DATABASE_URL names is not a database of SQLite: name another one", ErrUnusable)

// errFull tells the operator what to do about what SQLite calls an I/O error, too.
var errFull = errors.New("no room is left on the disk of its file: make some there")

// sqliteReaders is the size of the read pool. Reads take microseconds, so a few connections serve many cores.
const sqliteReaders = 4

func openSQLite(path string) (*Store, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("find the database file: %w", err)
	}
	s := newStore("SQLite file " + path)
	s.isFile = true
	var prober pool
	for _, p := range []struct {
		pool    *pool
		name    string
		size    int
		pragmas []string
	}{
		{&s.writers, "writers", 1, []string{"journal_mode(WAL)"}},
		{&s.readers, "readers", sqliteReaders, []string{"query_only(1)"}},
		{&prober, "prober", 1, []string{"query_only(1)"}},
	} {
		if *p.pool, err = s.openSQLitePool(p.name, path, p.size, p.pragmas...); err != nil {
			return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), s.Close())
		}
	}
	s.writers.group = new(group)
	s.prober = prober.db
	return s, s.useMigrations("sqlite", database.DialectSQLite3, s.writers.db)
}

func (s *Store) openSQLitePool(name, path string, size int, pragmas ...string) (pool, error) {
	parameters := url.Values{
		"_pragma": append([]string{
			"busy_timeout(5000)", // another process may write: wait for it
			"synchronous(FULL)",  // what was answered survives a power cut
			"foreign_keys(1)",
		}, pragmas...),
		// A transaction takes the write lock when it begins: one that has read before it writes would fail at once,
		// without waiting, if another writer came between.
		"_txlock":              {"immediate"},
		"_time_integer_format": {"unix_milli"},
		"_inttotime":           {"1"},
		"_timezone":            {"UTC"},
	}
	connections, err := sql.Open("sqlite", (&url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: parameters.Encode()}).String())
	if err != nil {
		return pool{}, wrap(err)
	}
	return s.newPool(name, func(c gorm.ConnPool) gorm.Dialector { return sqliteDialector{sqlite.Dialector{Conn: c}} }, connections, size)
}

// useWAL opens the connection that writes, which has the file written by way of a log. Two processes that change a new
// file to that at once lock each other out, which SQLite reports at once, whatever the busy timeout: then the one looks
// again until the other is done.
func (s *Store) useWAL(ctx context.Context) error {
	connections, err := s.writers.db.DB()
	if err != nil {
		return wrap(err)
	}
	for deadline := time.Now().Add(walPatience); ; time.Sleep(walPause) {
		err := connections.PingContext(ctx)
		if sqliteCode(err) != sqlite3.SQLITE_BUSY || time.Now().After(deadline) {
			return wrap(err)
		}
	}
}

// sqliteCode returns the primary result code of an error of SQLite's, or 0.
func sqliteCode(err error) int {
	var e *modernc.Error
	if !errors.As(err, &e) {
		return sqlite3.SQLITE_OK
	}
	return e.Code() & 0xff
}

// isLasting says that the file or its folder is at fault, and not a lock or the room on its disk, so that time will not
// mend it.
func isLasting(err error) bool {
	switch sqliteCode(err) {
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN:
		return true
	}
	return false
}

// isPassing says that SQLite could not do now what it may do later.
func isPassing(err error) bool {
	switch sqliteCode(err) {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR:
		return true
	}
	return false
}

// isFull says that the disk has no room, be it for the file, its log, or the log's index, which every first reader makes.
func isFull(err error) bool {
	var e *modernc.Error
	return errors.As(err, &e) && (e.Code() == sqlite3.SQLITE_FULL || e.Code() == sqlite3.SQLITE_IOERR_SHMSIZE)
}

// isRefused says that the disk did not take what was written: it is full, has failed or has become read-only.
func isRefused(err error) bool {
	code := sqliteCode(err)
	return code == sqlite3.SQLITE_FULL || code == sqlite3.SQLITE_IOERR
}

// writable returns nil unless the disk has refused a write. Then it tries one, which changes nothing: whoever is told that
// the server is not ready sends it no other by which that could be found out. Calls must not overlap.
func (s *Store) writable(ctx context.Context) error {
	if !s.writers.refused.Swap(false) {
		return nil
	}
	_, err := s.write(ctx, func(db *gorm.DB) *gorm.DB { return db.Exec("PRAGMA user_version = 0") }) // as it is anyway: nothing uses it
	if err != nil {
		s.writers.refused.Store(true)
	}
	return err
}

// createPrivate makes the database file 0600 and its folder, where there is none, 0700; a database that others may read
// it closes to them. SQLite gives its companions, -wal and -shm, the mode of the file.
func createPrivate(path string) error {
	if path == "" || strings.Contains(path, ":memory:") {
		return errors.New("store: the database URL needs a file, like sqlite:data/latchkey.db")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("make the database's folder: %w", err)
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the operator's own path
	if err == nil {
		return file.Close()
	}
	if !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make the database file: %w", err)
	}
	// What is there may be something else, by a slip of the pen: then it is not ours to change, nor to wait for.
	if info, err := os.Stat(path); err != nil {
		return fmt.Errorf("open the database file: %w", err)
	} else if !info.Mode().IsRegular() {
		return errNoDatabase
	}
	if file, err = os.OpenFile(path, os.O_RDWR, 0); err != nil { //nolint:gosec // the operator's own path
		return fmt.Errorf("open the database file: %w", err)
	}
	magic := make([]byte, len(sqliteMagic))
	n, err := io.ReadFull(file, magic)
	switch {
	case err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		return errors.Join(fmt.Errorf("read the database file: %w", err), file.Close())
	case n > 0 && string(magic[:n]) != sqliteMagic:
		return errors.Join(errNoDatabase, file.Close())
	}
	return errors.Join(file.Chmod(0o600), file.Close())
}

// sqliteDialector is GORM's dialect over the pure-Go driver, whose errors GORM's own translation does not know.
type sqliteDialector struct{ sqlite.Dialector }

// Initialize does what the driver's own does for the SQLite that is linked in, without asking the database for its
// version: a file that is locked, or has no room, is no reason not to open it.
func (d sqliteDialector) Initialize(db *gorm.DB) error {
	db.ConnPool = d.Conn
	callbacks.RegisterDefaultCallbacks(db, &callbacks.Config{
		CreateClauses: []string{"INSERT", "VALUES", "ON CONFLICT", "RETURNING"},
		UpdateClauses: []string{"UPDATE", "SET", "FROM", "WHERE", "RETURNING"},
		DeleteClauses: []string{"DELETE", "FROM", "WHERE", "RETURNING"},

		LastInsertIDReversed: true,
	})
	maps.Copy(db.ClauseBuilders, d.ClauseBuilders())
	return nil
}

// Translate maps a duplicate key to gorm.ErrDuplicatedKey.
func (sqliteDialector) Translate(err error) error {
	var e *modernc.Error
	if errors.As(err, &e) && (e.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY || e.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE) {
		return gorm.ErrDuplicatedKey
	}
	return err
}
