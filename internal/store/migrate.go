package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
	"gorm.io/gorm"

	"latchkey/migrations"
)

// ErrSchemaBehind says that migrations of this program have not been applied to the database.
var ErrSchemaBehind = errors.New("the database schema is behind this program")

// Migration is one step of the schema's history.
type Migration struct {
	Version int64
	Name    string
	// AppliedAt is zero for one that is pending.
	AppliedAt time.Time
}

// useMigrations takes over a pool, of connections without the time limits of the others, to apply the embedded migrations
// of a folder by. It asks the database nothing.
func (s *Store) useMigrations(folder string, dialect database.Dialect, db *gorm.DB, options ...goose.ProviderOption) error {
	connections, err := db.DB()
	if err != nil {
		return wrap(err)
	}
	files, err := fs.Sub(migrations.FS, folder)
	if err != nil {
		return fmt.Errorf("read the migrations: %w", err)
	}
	options = append(options, goose.WithDisableGlobalRegistry(true))
	s.newMigrator = func() (*goose.Provider, error) {
		migrator, err := goose.NewProvider(dialect, connections, files, options...)
		if err != nil {
			return nil, fmt.Errorf("read the migrations: %w", err)
		}
		return migrator, nil
	}
	migrator, err := s.newMigrator()
	if err != nil {
		return err
	}
	sources := migrator.ListSources()
	s.newestVersion = sources[len(sources)-1].Version
	return nil
}

// Migrate applies what is pending, each file in a transaction of its own, and returns what it applied. Several
// processes may do so at once: on SQL Server a lock lets one in, on SQLite the loser of a race looks again. A database
// that does not answer is ErrUnavailable, soon; one that answers and does not take a migration is ErrUnusable.
func (s *Store) Migrate(ctx context.Context) ([]Migration, error) {
	var applied []Migration
	for {
		before, err := s.SchemaVersion(ctx)
		if err == nil && s.isFile {
			err = s.useWAL(ctx)
		}
		if err != nil {
			return applied, err
		}
		migrator, err := s.newMigrator()
		if err != nil {
			return applied, err
		}
		results, err := migrator.Up(ctx)
		var partial *goose.PartialError
		if errors.As(err, &partial) {
			results = partial.Applied
		}
		for _, r := range results {
			applied = append(applied, Migration{Version: r.Source.Version, Name: r.Source.Path, AppliedAt: time.Now().UTC()})
		}
		if err == nil {
			return applied, nil
		}
		switch after, gone := s.SchemaVersion(ctx); {
		// SQLite has no lock that outlives a statement outside a transaction. If the schema has moved on since,
		// another process was faster; each round of this loop is a step forward of somebody's.
		case after > before:
		case gone != nil || cutShort(err):
			return applied, wrap(fmt.Errorf("migrate: %w", err))
		default:
			return applied, fmt.Errorf("%w: migrate: %w", ErrUnusable, err)
		}
	}
}

// cutShort says that the schema has nothing to do with it that a migration was not applied, which may be next time.
func cutShort(err error) bool {
	broken := brokenOff(err) || errors.Is(err, sql.ErrConnDone) // goose meets a connection that broke once more
	return broken || isPassing(err) || takenBack(err) || errors.Is(err, errLocked)
}

// MigrateDown takes back the newest migration, with whatever data it holds, and returns it; ErrNotFound where there is
// none left.
func (s *Store) MigrateDown(ctx context.Context) (Migration, error) {
	if _, err := s.SchemaVersion(ctx); err != nil {
		return Migration{}, err
	}
	migrator, err := s.newMigrator()
	if err != nil {
		return Migration{}, err
	}
	result, err := migrator.Down(ctx)
	if errors.Is(err, goose.ErrNoNextVersion) {
		return Migration{}, ErrNotFound
	}
	if err != nil {
		return Migration{}, wrap(fmt.Errorf("migrate down: %w", err))
	}
	return Migration{Version: result.Source.Version, Name: result.Source.Path}, nil
}

// Migrations lists all migrations of this program, oldest first, applied or pending.
func (s *Store) Migrations(ctx context.Context) ([]Migration, error) {
	if _, err := s.SchemaVersion(ctx); err != nil {
		return nil, err
	}
	migrator, err := s.newMigrator()
	if err != nil {
		return nil, err
	}
	statuses, err := migrator.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: read the schema's version: %w", ErrUnavailable, err)
	}
	list := make([]Migration, len(statuses))
	for i, status := range statuses {
		list[i] = Migration{Version: status.Source.Version, Name: status.Source.Path, AppliedAt: status.AppliedAt}
	}
	return list, nil
}

// SchemaVersion returns the number of the newest applied migration, 0 for an empty database. ErrUnavailable: the
// database did not say within some seconds. Whatever the migrator does begins with this question, for a silent server
// would keep its connections, which have no time limits, waiting for ever.
func (s *Store) SchemaVersion(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTime)
	defer cancel()
	var version int64
	db := s.prober.WithContext(ctx)
	newest := func() error {
		return db.Raw("SELECT MAX(version_id) FROM " + goose.DefaultTablename).Scan(&version).Error
	}
	err := newest()
	if err == nil || mayNot(err) { // in which case the list below hides the table
		return version, wrap(err)
	}
	// A fresh database has no such table. Only one that says what tables it has is believed to be one.
	known := db.Raw("SELECT COUNT(*) FROM sys.tables WHERE name = ?", goose.DefaultTablename)
	if s.isFile {
		known = db.Raw("SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = ?", goose.DefaultTablename)
	}
	var tables int64
	switch tablesErr := known.Scan(&tables).Error; {
	case tablesErr != nil:
		return 0, wrap(err)
	case tables == 0:
		return 0, nil
	}
	err = newest() // another process has made it in between
	return version, wrap(err)
}

// CheckRights looks into each table and reads nothing: ErrDenied where SQL Server does not let this login, since nobody has
// granted it a table that a migration has added.
func (s *Store) CheckRights(ctx context.Context) error {
	for table, row := range map[string]any{
		"users": &User{}, "sessions": &Session{}, "login_throttles": &LoginThrottle{}, "audit_events": &auditRow{}, "leases": &lease{},
	} {
		_, err := read(ctx, s, func(db *gorm.DB, count *int64) *gorm.DB { return db.Model(row).Where("1 = 0").Count(count) })
		if err != nil {
			return fmt.Errorf("read %s: %w", table, err)
		}
	}
	return nil
}

const (
	// probeTime is how long somebody waits who asks whether the database is there.
	probeTime = time.Second
	// probeLife is how long the question lives, for all who ask at once: where it takes longer than probeTime to make a
	// connection, it is there for those who ask next.
	probeLife = 2 * time.Second
)

// Ready returns nil if the database answers within a second and its schema is one that this program can use,
// ErrSchemaBehind where a migration is pending. A schema that is ahead of this program is in order: migrations expand
// before they contract, so that the release before keeps working. It is one short read on a connection of its own, and
// calls at the same time share it. Where the disk of a SQLite file has refused a write it is a write besides, for a server
// that can refresh no session is not ready.
func (s *Store) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return wrap(err)
	}
	answer := s.probe.DoChan("", func() (any, error) {
		shared, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeLife)
		defer cancel()
		if err := s.CheckSchema(shared); err != nil {
			return nil, err
		}
		return nil, s.writable(shared)
	})
	select {
	case result := <-answer:
		return result.Err
	case <-ctx.Done(): // a driver may take longer to give up
		return fmt.Errorf("%w: ask whether it is there: %w", ErrUnavailable, ctx.Err())
	}
}

// CheckSchema is Ready for somebody who waits: it has the time that a first connection may take, some seconds.
func (s *Store) CheckSchema(ctx context.Context) error {
	version, err := s.SchemaVersion(ctx)
	if err != nil {
		return err
	}
	if version < s.newestVersion {
		return ErrSchemaBehind
	}
	return nil
}
