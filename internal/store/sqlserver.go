package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/golang-sql/civil"
	mssql "github.com/microsoft/go-mssqldb"
	"github.com/microsoft/go-mssqldb/msdsn"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
	"gorm.io/driver/sqlserver"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

const (
	sqlServerConnections = 20
	// sqlServerLifetime lets a server be left in time that another one has taken over from.
	sqlServerLifetime = 5 * time.Minute
	// sqlServerSilence is how long the server may say nothing to a request before the connection is given up. It is longer
	// than a statement may take, so only a server that is gone, or a network that swallows everything, reaches it:
	// the driver would otherwise wait for ever while it signs in, and for 5 s more when it stops a statement.
	sqlServerSilence = statementTime + time.Second
	// sqlServerLockTimeout bounds the wait for another replica's migration.
	sqlServerLockTimeout = time.Minute
)

func openSQLServer(url string) (*Store, error) {
	parsed, err := msdsn.Parse(url)
	if err != nil {
		// The driver's message may quote the URL, and with it the password.
		return nil, errors.New("store: LATCHKEY_DATABASE_URL is not a sqlserver:// URL that the driver understands")
	}
	s := &Store{description: fmt.Sprintf("SQL Server %s:%d, database %s", parsed.Host, parsed.Port, parsed.Database)}
	var prober, migrations pool
	for _, p := range []struct {
		pool    *pool
		size    int
		silence time.Duration
	}{{&s.writers, sqlServerConnections, sqlServerSilence}, {&prober, 1, probeTime}, {&migrations, 2, 0}} {
		if *p.pool, err = s.openSQLServerPool(parsed, p.size, p.silence); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	s.readers, s.prober = s.writers, prober.db
	s.migrator, err = newMigrator("sqlserver", database.DialectMSSQL, migrations.db, goose.WithSessionLocker(applicationLock{}))
	return s, err
}

func (s *Store) openSQLServerPool(parsed msdsn.Config, size int, silence time.Duration) (pool, error) {
	parsed.ConnTimeout = silence
	connector := mssql.NewConnectorConfig(parsed)
	// A pooled connection keeps the level that its last transaction asked for: begin each use with the same one.
	connector.SessionInitSQL = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED"
	connections := sql.OpenDB(connector)
	connections.SetConnMaxLifetime(sqlServerLifetime)
	s.close = append(s.close, connections)
	return newPool(func(c gorm.ConnPool) gorm.Dialector {
		return sqlServerDialector{sqlserver.Dialector{Config: &sqlserver.Config{Conn: c}}}
	}, connections, size)
}

// sqlServerDialector is GORM's dialect, with times as DATETIME2 in UTC, as the columns have them. The driver would send a
// DATETIMEOFFSET, to which every row's column would have to be converted before it could be compared.
type sqlServerDialector struct{ sqlserver.Dialector }

// BindVarTo is called for each parameter of a statement, when it is the last of stmt.Vars.
func (d sqlServerDialector) BindVarTo(w clause.Writer, stmt *gorm.Statement, v any) {
	last := &stmt.Vars[len(stmt.Vars)-1]
	switch t := v.(type) {
	case time.Time:
		*last = civil.DateTimeOf(t.UTC())
	case sql.NullTime:
		*last = mssql.NullDateTime{DateTime: civil.DateTimeOf(t.Time.UTC()), Valid: t.Valid}
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
