package store

import (
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pressly/goose/v3/database"
	"gorm.io/driver/sqlite"
	"gorm.io/gorm"
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

var errNoDatabase = fmt.Errorf("%w: the file that LATCHKEY_DATABASE_URL names is not a database of SQLite: name another one", ErrUnavailable)

// sqliteReaders is the size of the read pool. Reads take microseconds, so a few connections serve many cores.
const sqliteReaders = 4

func openSQLite(path string) (*Store, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("find the database file: %w", err)
	}
	s := newStore("SQLite file " + path)
	var prober pool
	for _, p := range []struct {
		pool    *pool
		name    string
		size    int
		pragmas []string
	}{
		{&s.writers, "writers", 1, nil},
		{&s.readers, "readers", sqliteReaders, []string{"query_only(1)"}},
		{&prober, "prober", 1, []string{"query_only(1)"}},
	} {
		if *p.pool, err = s.openSQLitePool(p.name, path, p.size, p.pragmas...); err != nil {
			return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), s.Close())
		}
	}
	s.prober = prober.db
	s.migrator, err = newMigrator("sqlite", database.DialectSQLite3, s.writers.db)
	return s, err
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

// useWAL has the file written by way of a log, so that readers and the writer do not wait for each other. The mode stays
// with the file, so this is done once, when it is opened. Two processes that do it to a new file at once lock each other
// out, which SQLite reports at once, whatever the busy timeout: then the one looks again until the other is done.
func (s *Store) useWAL() error {
	for deadline := time.Now().Add(walPatience); ; time.Sleep(walPause) {
		err := s.writers.db.Exec("PRAGMA journal_mode = WAL").Error
		var e *modernc.Error
		if !errors.As(err, &e) || e.Code()&0xff != sqlite3.SQLITE_BUSY || time.Now().After(deadline) {
			return wrap(err)
		}
	}
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

// Translate maps a duplicate key to gorm.ErrDuplicatedKey.
func (sqliteDialector) Translate(err error) error {
	var e *modernc.Error
	if errors.As(err, &e) && (e.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY || e.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE) {
		return gorm.ErrDuplicatedKey
	}
	return err
}
