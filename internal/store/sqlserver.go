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
	// the driver would otherwise wait for ever for a transaction to begin or to be committed, and for 5 s more where it
	// stops a statement.
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
	s := newStore(fmt.Sprintf("SQL Server %s:%d, database %s", parsed.Host, parsed.Port, parsed.Database))
	var prober, migrations pool
	for _, p := range []struct {
		pool    *pool
		name    string
		size    int
		silence time.Duration
	}{{&s.writers, "main", sqlServerConnections, sqlServerSilence}, {&prober, "prober", 1, probeLife}, {&migrations, "migrator", 2, 0}} {
		if *p.pool, err = s.openSQLServerPool(p.name, parsed, p.size, p.silence); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	s.readers, s.prober = s.writers, prober.db
	versions, err := database.NewStore(database.DialectMSSQL, goose.DefaultTablename)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, s.useMigrations("sqlserver", database.DialectCustom, migrations.db,
		goose.WithStore(utcVersions{versions}), goose.WithSessionLocker(applicationLock{}))
}

func (s *Store) openSQLServerPool(name string, parsed msdsn.Config, size int, silence time.Duration) (pool, error) {
	parsed.ConnTimeout = 0              // see line
	parsed.Encoding.Timezone = time.UTC // a DATETIME2 has no zone, and the URL's parameter must not give it one
	connections := sql.OpenDB(newConnector(parsed, silence))
	connections.SetConnMaxLifetime(sqlServerLifetime)
	return s.newPool(name, func(c gorm.ConnPool) gorm.Dialector {
		return sqlServerDialector{sqlserver.Dialector{Config: &sqlserver.Config{Conn: c}}}
	}, connections, size)
}

// sqlServerDialector is GORM's dialect, with times as DATETIME2 in UTC, as the columns have them. The driver would send a
// DATETIMEOFFSET, to which every row's column would have to be converted before it could be compared. What is finer than
// the column's milliseconds is cut off, as on SQLite: SQL Server would round it, perhaps into the future. Ids and hashes
// are BINARY of their column's length: where the driver's VARBINARY bounds a range, a server may convert every row's.
type sqlServerDialector struct{ sqlserver.Dialector }

// castEnd is the end of the cast of an id or a hash, by its length.
var castEnd = map[int]string{16: " AS BINARY(16))", 32: " AS BINARY(32))"}

// BindVarTo is called for each parameter of a statement, when it is the last of stmt.Vars.
func (d sqlServerDialector) BindVarTo(w clause.Writer, stmt *gorm.Statement, v any) {
	last := &stmt.Vars[len(stmt.Vars)-1]
	switch t := v.(type) {
	case time.Time:
		*last = dateTimeOf(t)
	case sql.NullTime:
		*last = mssql.NullDateTime{DateTime: dateTimeOf(t.Time), Valid: t.Valid}
	case []byte:
		if end, isKey := castEnd[len(t)]; isKey {
			_, _ = w.WriteString("CAST(")
			d.Dialector.BindVarTo(w, stmt, v)
			_, _ = w.WriteString(end)
			return
		}
	}
	d.Dialector.BindVarTo(w, stmt, v)
}

func dateTimeOf(t time.Time) civil.DateTime {
	return civil.DateTimeOf(t.UTC().Truncate(time.Millisecond))
}

// utcVersions has the times in goose's table in UTC: its own default is SQL Server's local time, without saying so.
type utcVersions struct{ database.Store }

// Insert records that a migration was applied.
func (v utcVersions) Insert(ctx context.Context, db database.DBTxConn, r database.InsertRequest) error {
	_, err := db.ExecContext(ctx,
		"INSERT INTO "+goose.DefaultTablename+" (version_id, is_applied, tstamp) VALUES (@p1, 1, SYSUTCDATETIME())", r.Version)
	if err != nil {
		return fmt.Errorf("record migration %d: %w", r.Version, err)
	}
	return nil
}

// errLocked says that another process has been migrating for sqlServerLockTimeout.
var errLocked = errors.New("is another replica migrating?")

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
		return fmt.Errorf("take the migration lock: sp_getapplock returned %d: %w", result, errLocked)
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
