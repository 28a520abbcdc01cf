// Package storetest makes fresh databases for tests: SQLite files, or, where LATCHKEY_TEST_DATABASE_URL names a server,
// databases on SQL Server.
package storetest

import (
	"database/sql"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"latchkey/internal/store"
)

// ServerVariable names the environment variable with the URL of a server to test on, of a login that may make databases.
const ServerVariable = "LATCHKEY_TEST_DATABASE_URL"

// OnSQLServer tells whether databases are made on a server, not in files.
func OnSQLServer() bool { return os.Getenv(ServerVariable) != "" }

// Open makes a database with the whole schema and opens it until the test ends.
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
	if !isPooled(url) { // which has it, and to ask again takes two connections
		if _, err := s.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if strings.HasPrefix(url, "sqlserver:") {
		open(t, s, 1) // so that no statement of the test has to wait for the server to sign it in
	}
	return s
}

// URL makes a database without rows, for OpenURL, and returns its URL: on the server of ServerVariable, otherwise a file.
// On a server it may have been another test's of this package before, and have its schema: a test that changes more of
// the schema than its version needs one of Empty.
func URL(t testing.TB) string {
	t.Helper()
	if !OnSQLServer() || !pool.enabled {
		return Empty(t)
	}
	d, err := take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.giveBack)
	return urlOf(d.name)
}

// Empty makes a database with nothing in it, which is gone when the test ends, and returns its URL.
func Empty(t testing.TB) string {
	t.Helper()
	if !OnSQLServer() {
		return SQLite(t)
	}
	name, err := create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := drop(name); err != nil {
			t.Error(err)
		}
	})
	return urlOf(name)
}

// SQLite is Empty for a test that is about SQLite, whatever the others run on.
func SQLite(t testing.TB) string {
	t.Helper()
	return "sqlite:" + filepath.Join(t.TempDir(), "latchkey.db")
}

// SQL opens the database of a URL until the test ends, for looking at what is there without the code under test.
func SQL(t testing.TB, url string) *sql.DB {
	t.Helper()
	db, err := openSQL(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func openSQL(url string) (*sql.DB, error) {
	if path, isFile := strings.CutPrefix(url, "sqlite:"); isFile {
		return sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(5000)")
	}
	db, err := sql.Open("sqlserver", url)
	if err != nil {
		return nil, errors.New("the server's URL is not understood") // the driver's error may quote the password
	}
	return db, nil
}

// serverURL is the URL that ServerVariable has.
func serverURL() (*url.URL, error) {
	parsed, err := url.Parse(os.Getenv(ServerVariable))
	if err != nil || parsed.Scheme != "sqlserver" {
		return nil, errors.New(ServerVariable + " is not set to a sqlserver:// URL") // not with the error, which may quote the password
	}
	return parsed, nil
}

// urlOf is the URL of a database on the server.
func urlOf(name string) string {
	parsed, err := serverURL()
	if err != nil {
		return ""
	}
	query := parsed.Query()
	query.Set("database", name)
	parsed.RawQuery = query.Encode()
	return parsed.String()
}
