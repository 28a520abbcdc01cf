// Package storetest makes fresh databases for tests: SQLite files, or, where LATCHKEY_TEST_DATABASE_URL names a server,
// databases on SQL Server.
package storetest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/microsoft/go-mssqldb" // the driver

	"latchkey/internal/store"
)

// ServerVariable names the environment variable with the URL of a server to test on, of a login that may make databases.
const ServerVariable = "LATCHKEY_TEST_DATABASE_URL"

// administration is how long making or dropping a database may take.
const administration = time.Minute

// Open makes a database with the whole schema, which is gone when the test ends.
func Open(t testing.TB) *store.Store {
	t.Helper()
	return OpenURL(t, URL(t))
}

// OpenURL opens the database of a URL, brings its schema up to date, and closes it when the test ends: for a second
// server on one database.
func OpenURL(t testing.TB, url string) *store.Store {
	t.Helper()
	s, err := store.Open(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// URL makes an empty database, which is gone when the test ends, and returns its URL: on the server of ServerVariable,
// otherwise a file.
func URL(t testing.TB) string {
	t.Helper()
	server := os.Getenv(ServerVariable)
	if server == "" {
		return "sqlite:" + filepath.Join(t.TempDir(), "latchkey.db")
	}
	parsed, err := url.Parse(server)
	if err != nil || parsed.Scheme != "sqlserver" {
		t.Fatalf("%s is no sqlserver:// URL", ServerVariable) // not with the error, which may quote the password
	}
	name := "latchkey_test_" + strings.ToLower(rand.Text()[:16])
	administer(t, server, "CREATE DATABASE "+name)
	t.Cleanup(func() { administer(t, server, "DROP DATABASE "+name) })
	query := parsed.Query()
	query.Set("database", name)
	parsed.RawQuery = query.Encode()
	return parsed.String()
}

// administer executes a statement on the server, one at a time of all tests that share it: SQL Server makes a database
// as a copy of another one, which it locks, and drops none that still has a connection.
func administer(t testing.TB, server, statement string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), administration)
	defer cancel()
	db, err := sql.Open("sqlserver", server)
	if err != nil {
		t.Fatalf("%s is not understood", ServerVariable)
	}
	defer func() { _ = db.Close() }()
	conn, err := db.Conn(ctx) // the lock is the connection's
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, err = conn.ExecContext(ctx, `EXEC sp_getapplock @Resource = N'latchkey tests', @LockMode = N'Exclusive', @LockOwner = N'Session',
		@LockTimeout = @p1`, administration.Milliseconds())
	for err == nil {
		if _, err = conn.ExecContext(ctx, statement); err == nil {
			_, err = conn.ExecContext(ctx, `EXEC sp_releaseapplock @Resource = N'latchkey tests', @LockOwner = N'Session'`)
			break
		}
		if !strings.Contains(err.Error(), "in use") {
			break
		}
		// The server has not noticed yet that the last connection has been closed.
		select {
		case <-time.After(50 * time.Millisecond):
			err = nil
		case <-ctx.Done():
		}
	}
	if err != nil {
		t.Error(fmt.Errorf("%s: %w", statement, err))
	}
}
