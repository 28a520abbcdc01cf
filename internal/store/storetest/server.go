package storetest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	mssql "github.com/microsoft/go-mssqldb"

	"latchkey/internal/store"
)

const (
	// namePrefix begins the names of all databases that tests make.
	namePrefix = "latchkey_test_"
	// administration is how long making or dropping a database may take, with the wait for others that do so.
	administration = time.Minute
)

// Server returns the URL of the server to test on, and fails the test where there is none: for tests that are about
// SQL Server, so that a run which promised one cannot pass without.
func Server(t testing.TB) string {
	t.Helper()
	parsed, err := serverURL()
	if err != nil {
		t.Fatal(err)
	}
	return parsed.String()
}

// Crowd returns how many may ask a store at the same moment: n, but on a server only as many as it soon answers, for the
// others would be told to come again. Their connections are opened beforehand, one after another: signing in takes a server
// longer than anything else that tests do.
func Crowd(t testing.TB, n int, stores ...*store.Store) int {
	t.Helper()
	if !OnSQLServer() {
		return n
	}
	n = min(n, 12)
	for _, s := range stores {
		open(t, s, n)
	}
	return n
}

// open opens n connections of a store, however long a busy server takes for them.
func open(t testing.TB, s *store.Store, n int) {
	t.Helper()
	if n == 0 {
		return
	}
	var err error
	for range 20 {
		err = s.InTx(t.Context(), func(tx *store.Store) error { // which holds its connection while the next one is opened
			// The first statement that needs the tables takes longer than the others.
			if _, err := tx.LiveSessions(t.Context(), uuid.Nil, time.Now(), time.Now()); err != nil {
				return err
			}
			open(t, s, n-1)
			return nil
		})
		if err == nil {
			return
		}
	}
	t.Fatal(err)
}

// Main runs the tests of a package. On a server it lets URL use databases again, for making one anew takes longer than
// most tests, and drops them in the end.
func Main(m *testing.M) int {
	pool.enabled = true
	code := m.Run()
	for _, d := range pool.all {
		if err := errors.Join(d.sql.Close(), drop(d.name)); err != nil {
			fmt.Println(err)
			code = 1
		}
	}
	return code
}

// pool has the databases of this process that are used again.
var pool struct {
	enabled bool
	mu      sync.Mutex
	all     []*database
	idle    []*database
}

// database is one on the server with the whole schema.
type database struct {
	name   string
	sql    *sql.DB
	schema schema
}

// schema is the version of a database's schema, and the tables that rows are in, the newest first: what refers to another
// one came after it.
type schema struct {
	version int64
	tables  []string
}

func isPooled(url string) bool {
	pool.mu.Lock()
	defer pool.mu.Unlock()
	return slices.ContainsFunc(pool.all, func(d *database) bool { return urlOf(d.name) == url })
}

// take returns a database without rows, which nobody else has until it is given back.
func take(ctx context.Context) (*database, error) {
	pool.mu.Lock()
	defer pool.mu.Unlock()
	for len(pool.idle) > 0 {
		d := pool.idle[0]
		pool.idle = pool.idle[1:]
		if now, err := d.readSchema(ctx); err != nil || !reflect.DeepEqual(now, d.schema) {
			continue // a test changed it; it is dropped with the others
		}
		for _, table := range d.schema.tables {
			if _, err := d.sql.ExecContext(ctx, "DELETE FROM "+table); err != nil { //nolint:gosec // the name is the catalogue's
				return nil, fmt.Errorf("empty %s: %w", table, err)
			}
		}
		return d, nil
	}
	name, err := create(ctx)
	if err != nil {
		return nil, err
	}
	d := &database{name: name}
	if d.sql, err = openSQL(urlOf(name)); err != nil {
		return nil, errors.Join(err, drop(name))
	}
	pool.all = append(pool.all, d)
	s, err := store.Open(urlOf(name))
	if err != nil {
		return nil, err
	}
	_, err = s.Migrate(ctx)
	if err := errors.Join(err, s.Close()); err != nil {
		return nil, err
	}
	d.schema, err = d.readSchema(ctx)
	return d, err
}

func (d *database) giveBack() {
	pool.mu.Lock()
	defer pool.mu.Unlock()
	pool.idle = append(pool.idle, d)
}

func (d *database) readSchema(ctx context.Context) (now schema, err error) {
	if err := d.sql.QueryRowContext(ctx, "SELECT MAX(version_id) FROM goose_db_version").Scan(&now.version); err != nil {
		return now, fmt.Errorf("read the schema's version: %w", err)
	}
	now.tables, err = names(ctx, d.sql, "SELECT name FROM sys.tables WHERE name <> 'goose_db_version' ORDER BY create_date DESC, name")
	return now, err
}

// names returns the one column of what a statement finds.
func names(ctx context.Context, db interface {
	QueryContext(ctx context.Context, statement string, parameters ...any) (*sql.Rows, error)
}, statement string, parameters ...any) (list []string, err error) {
	rows, err := db.QueryContext(ctx, statement, parameters...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", statement, err)
	}
	defer func() { _ = rows.Close() }() // what fails in between, rows.Err has
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		list = append(list, name)
	}
	return list, rows.Err()
}

var sweep sync.Once

// create makes an empty database with a name of its own, set up as docs/sqlserver.md advises.
func create(ctx context.Context) (name string, err error) {
	name = namePrefix + strings.ToLower(rand.Text()[:16])
	err = administer(ctx, func(ctx context.Context, conn *sql.Conn) error {
		var err error
		sweep.Do(func() { err = dropLeftOver(ctx, conn) })
		if err != nil {
			return err
		}
		// SQL Server makes a database as a copy of another one, model, which nobody else may use meanwhile.
		err = again(ctx, 1807, func() error { return exec(ctx, conn, "CREATE DATABASE "+name) })
		if err != nil {
			return err
		}
		var readsSnapshots bool
		err = conn.QueryRowContext(ctx, "SELECT is_read_committed_snapshot_on FROM sys.databases WHERE name = @p1", name).Scan(&readsSnapshots)
		if err != nil || readsSnapshots {
			return err
		}
		return exec(ctx, conn, "ALTER DATABASE "+name+" SET READ_COMMITTED_SNAPSHOT ON WITH ROLLBACK IMMEDIATE")
	})
	return name, err
}

// dropLeftOver removes what runs have left that were killed: no run takes that long.
func dropLeftOver(ctx context.Context, conn *sql.Conn) error {
	list, err := names(ctx, conn,
		"SELECT name FROM sys.databases WHERE LEFT(name, LEN(@p1)) = @p1 AND create_date < DATEADD(hour, -6, GETDATE())", namePrefix)
	for _, name := range list {
		if err := dropOn(ctx, conn, name); err != nil {
			return err
		}
	}
	return err
}

// drop removes a database of this package's, whether or not the test's time is up.
func drop(name string) error {
	return administer(context.Background(), func(ctx context.Context, conn *sql.Conn) error { return dropOn(ctx, conn, name) })
}

func dropOn(ctx context.Context, conn *sql.Conn, name string) error {
	return again(ctx, 3702, func() error { // which says that somebody is connected to it
		err := exec(ctx, conn, "DROP DATABASE "+name)
		if isError(err, 3702) {
			err = errors.Join(err, exec(ctx, conn, "ALTER DATABASE "+name+" SET SINGLE_USER WITH ROLLBACK IMMEDIATE"))
		}
		return err
	})
}

// administer calls f with a connection to the server, one at a time of all tests that share it.
func administer(ctx context.Context, f func(ctx context.Context, conn *sql.Conn) error) error {
	parsed, err := serverURL()
	if err != nil {
		return err
	}
	db, err := openSQL(parsed.String())
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }() // and with it the lock, which is the connection's
	ctx, cancel := context.WithTimeout(ctx, administration)
	defer cancel()
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	var result int
	err = conn.QueryRowContext(ctx, `
		DECLARE @result INT;
		EXEC @result = sp_getapplock @Resource = N'latchkey tests', @LockMode = N'Exclusive', @LockOwner = N'Session', @LockTimeout = @p1;
		SELECT @result;`, administration.Milliseconds()).Scan(&result)
	if err == nil && result < 0 {
		err = fmt.Errorf("wait for the other tests of this server: sp_getapplock returned %d", result)
	}
	if err != nil {
		return err
	}
	return f(ctx, conn)
}

func exec(ctx context.Context, conn *sql.Conn, statement string) error {
	if _, err := conn.ExecContext(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}

// again calls f until it fails no more with an error of SQL Server's that passes.
func again(ctx context.Context, passing int32, f func() error) error {
	for {
		err := f()
		if !isError(err, passing) {
			return err
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

func isError(err error, number int32) bool {
	var e mssql.Error
	return errors.As(err, &e) && e.Number == number
}
