//go:build sqlserver

package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	mssql "github.com/microsoft/go-mssqldb"

	"latchkey/internal/store/storetest"
)

// login makes a login of the server, which is gone when the test ends, and returns its name and password. It is to be
// called before the database is made in which it becomes a user, so that it outlives that.
func login(t *testing.T) (name, password string) {
	t.Helper()
	server := storetest.SQL(t, os.Getenv(storetest.ServerVariable))
	name, password = "latchkey_test_"+strings.ToLower(rand.Text()[:16]), "Lk-"+rand.Text()+"1a"
	execute(t, server, "CREATE LOGIN "+name+" WITH PASSWORD = '"+password+"'")
	t.Cleanup(func() {
		if _, err := server.ExecContext(context.WithoutCancel(t.Context()), "DROP LOGIN "+name); err != nil {
			t.Error(err)
		}
	})
	return name, password
}

func execute(t *testing.T, db *sql.DB, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// as returns the URL of a database for another login.
func as(t *testing.T, database, name, password string) string {
	t.Helper()
	parsed, err := url.Parse(database)
	if err != nil {
		t.Fatal("the database's URL is not understood")
	}
	parsed.User = url.UserPassword(name, password)
	return parsed.String()
}

// mustRefuse runs statements that a user may not.
func mustRefuse(t *testing.T, db *sql.DB, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if _, err := db.ExecContext(t.Context(), statement); err == nil {
			t.Errorf("it may %s", statement)
		}
	}
}

// mustFind runs check, which is to say that a table is closed to the server.
func mustFind(t *testing.T, dir string, settings []string, table string) {
	t.Helper()
	c := command(t, dir, settings, "check")
	var stderr bytes.Buffer
	c.Stderr = &stderr
	err := c.Run()
	if said := stderr.String(); err == nil || !strings.Contains(said, table) || !strings.Contains(said, "denied") {
		t.Errorf("where %s is closed to it, check ends with %v and says\n%s", table, err, said)
	}
}

// The user of docs/deploy/grants.sql can do all that a server and its operator do, and neither change the schema nor the record.
func TestServerNeedsNoMoreThanTheRowsOfItsTables(t *testing.T) {
	t.Parallel()
	name, password := login(t)
	database := storetest.Empty(t)
	dir := t.TempDir()
	operate(t, dir, []string{"LATCHKEY_DATABASE_URL=" + database}, "", "migrate", "up")
	grants, err := os.ReadFile("../../docs/deploy/grants.sql")
	if err != nil {
		t.Fatal(err)
	}
	owner := storetest.SQL(t, database)
	execute(t, owner, "CREATE USER "+name+" FOR LOGIN "+name, "CREATE ROLE latchkey_server", "ALTER ROLE latchkey_server ADD MEMBER "+name)
	settings := append(unlimited, "LATCHKEY_AUTO_MIGRATE=false", "LATCHKEY_REVOCATION_DELAY=0s",
		"LATCHKEY_DATABASE_URL="+as(t, database, name, password))
	_, err = storetest.SQL(t, as(t, database, name, password)).ExecContext(t.Context(), "SELECT COUNT(*) FROM goose_db_version")
	var denied mssql.Error
	if errors.As(err, &denied) && denied.Number == 229 { // other servers that speak its protocol may have another number
		mustFind(t, dir, settings, "goose_db_version")
	} else {
		t.Logf("without any rights it gets %v: what check says of that is not looked at", err)
	}
	execute(t, owner, string(grants), "REVOKE SELECT, INSERT, UPDATE, DELETE ON leases FROM latchkey_server")
	mustFind(t, dir, settings, "leases")
	execute(t, owner, string(grants))
	p := start(t, dir, settings...)
	in := credentials("alice", "correct horse")
	mustCall(t, http.StatusCreated, http.MethodPost, p.url+"/api/user/register", in, "", "")
	mustCall(t, http.StatusUnauthorized, http.MethodPost, p.url+"/api/user/login", credentials("alice", "wrong horse"), "", "")
	session := mustCall(t, http.StatusOK, http.MethodPost, p.url+"/api/user/login", in, "", "")
	session = mustCall(t, http.StatusOK, http.MethodPost, p.url+"/api/user/refresh", "", session.cookie, "")
	mustCall(t, http.StatusOK, http.MethodGet, p.url+"/api/user/sessions", "", "", session.body.AccessToken)
	mustCall(t, http.StatusNoContent, http.MethodPost, p.url+"/api/user/password",
		`{"current_password": "correct horse", "new_password": "another horse"}`, "", session.body.AccessToken)
	operate(t, dir, settings, "", "user", "set-roles", "alice", "admin")
	mustCall(t, http.StatusOK, http.MethodGet, p.url+"/api/user/protected", "", "", session.body.AccessToken)
	mustCall(t, http.StatusNoContent, http.MethodPost, p.url+"/api/user/logout", "", session.cookie, "")
	for _, command := range [][]string{{"check"}, {"migrate", "status"}, {"migrate", "up"}, {"purge"}, {"user", "list"},
		{"sessions", "revoke", "--all"}, {"audit"}, {"user", "delete", "alice"}} {
		operate(t, dir, settings, "", command...)
	}

	c := command(t, dir, settings, "migrate", "down")
	var stderr bytes.Buffer
	c.Stderr = &stderr
	if err := c.Run(); err == nil {
		t.Error("it may take back a migration")
	}
	mustRefuse(t, storetest.SQL(t, as(t, database, name, password)),
		"CREATE TABLE mine (a INT)", "ALTER TABLE users ADD mine INT", "DROP TABLE login_throttles", "TRUNCATE TABLE sessions",
		"CREATE INDEX mine ON users (roles)", "DROP INDEX ix_sessions_user ON sessions",
		"UPDATE audit_events SET result = N'ok'", "UPDATE goose_db_version SET version_id = 0", "DELETE FROM goose_db_version",
		"CREATE USER mine WITHOUT LOGIN", "GRANT CONTROL ON users TO public")
	operate(t, dir, settings, "", "check") // all is where it was
}

// The user that migrates, as docs/deploy/database.sql makes it.
func TestMigrationsNeedNoOwner(t *testing.T) {
	t.Parallel()
	name, password := login(t)
	database := storetest.Empty(t)
	db := storetest.SQL(t, database)
	var roles int
	err := db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM sys.database_principals WHERE name = N'db_ddladmin'`).Scan(&roles)
	if err != nil {
		t.Fatal(err)
	}
	if roles == 0 {
		t.Skip("this server has no db_ddladmin, as every SQL Server has")
	}
	execute(t, db, "CREATE USER "+name+" FOR LOGIN "+name, "ALTER ROLE db_ddladmin ADD MEMBER "+name,
		"ALTER ROLE db_datareader ADD MEMBER "+name, "ALTER ROLE db_datawriter ADD MEMBER "+name)
	dir := t.TempDir()
	settings := []string{"LATCHKEY_DATABASE_URL=" + as(t, database, name, password)}
	operate(t, dir, settings, "", "migrate", "up")
	operate(t, dir, settings, "", "migrate", "down")
	operate(t, dir, settings, "", "migrate", "up")
	mustRefuse(t, storetest.SQL(t, as(t, database, name, password)),
		"CREATE USER mine WITHOUT LOGIN", "ALTER ROLE db_owner ADD MEMBER "+name, "GRANT CONTROL ON users TO public")
}
