package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	mssql "github.com/microsoft/go-mssqldb"
	"github.com/microsoft/go-mssqldb/msdsn"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
	"gorm.io/driver/sqlserver"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

const (
	// A new connection is dear, so idle ones are kept; the lifetime lets a failed-over server be left in time.
	sqlServerConnections        = 20
	sqlServerConnectionLifetime = 5 * time.Minute
	// sqlServerLockTimeout bounds the wait for another replica's migration.
	sqlServerLockTimeout = time.Minute
)

func openSQLServer(url string) (*Store, error) {
	parsed, err := msdsn.Parse(url)
	if err != nil {
		// The driver's message may quote the URL, and with it the password.
		return nil, errors.New("store: LATCHKEY_DATABASE_URL is not a sqlserver:// URL that the driver understands")
	}
	connector := mssql.NewConnectorConfig(parsed)
	// A pooled connection keeps the level that its last transaction asked for: begin each use with the same one.
	connector.SessionInitSQL = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED"
	pool := sql.OpenDB(connector)
	pool.SetMaxOpenConns(sqlServerConnections)
	pool.SetMaxIdleConns(sqlServerConnections)
	pool.SetConnMaxLifetime(sqlServerConnectionLifetime)
	db, err := openGORM(sqlServerDialector{sqlserver.Dialector{Config: &sqlserver.Config{Conn: pool}}})
	if err != nil {
		return nil, err
	}
	migrator, err := newMigrator("sqlserver", database.DialectMSSQL, db, goose.WithSessionLocker(applicationLock{}))
	return &Store{read: db, write: db, migrator: migrator,
		description: fmt.Sprintf("SQL Server %s:%d, database %s", parsed.Host, parsed.Port, parsed.Database)}, err
}

// sqlServerDialector is GORM's dialect, with times in UTC whatever their zone: DATETIME2 keeps no offset, so that of
// another zone's time only the clock's face would be stored.
type sqlServerDialector struct{ sqlserver.Dialector }

// BindVarTo is called for each parameter of a statement, when it is the last of stmt.Vars.
func (d sqlServerDialector) BindVarTo(w clause.Writer, stmt *gorm.Statement, v any) {
	last := &stmt.Vars[len(stmt.Vars)-1]
	switch t := v.(type) {
	case time.Time:
		*last = t.UTC()
	case sql.NullTime:
		*last = sql.NullTime{Time: t.Time.UTC(), Valid: t.Valid}
	}
	d.Dialector.BindVarTo(w, stmt, v)
}

// applicationLock lets one replica migrate at a time, by a lock that SQL Server itself drops with the connection.
type applicationLock struct{}

// SessionLock waits for the lock, for a minute at the most.
func (applicationLock) SessionLock(ctx context.Context, conn *sql.Conn) error {
	var result int
	err := conn.QueryRowContext(ctx, `
		DECLARE @result INT;
		EXEC @result = sp_getapplock @Resource = N'latchkey migrations', @LockMode = N'Exclusive',
			@LockOwner = N'Session', @LockTimeout = @p1;
		SELECT @result;`, sqlServerLockTimeout.Milliseconds()).Scan(&result)
	if err != nil {
		return fmt.Errorf("take the migration lock: %w", err)
	}
	if result < 0 { // 0 and 1 are success; -1 is the time-out
		return fmt.Errorf("take the migration lock: sp_getapplock returned %d: is another replica migrating?", result)
	}
	return nil
}

// SessionUnlock gives the lock back.
func (applicationLock) SessionUnlock(ctx context.Context, conn *sql.Conn) error {
	_, err := conn.ExecContext(ctx,
		`EXEC sp_releaseapplock @Resource = N'latchkey migrations', @LockOwner = N'Session'`)
	if err != nil {
		return fmt.Errorf("release the migration lock: %w", err)
	}
	return nil
}
