package store_test

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/internal/store"
	"latchkey/internal/store/storetest"
	"latchkey/migrations"
)

// open opens a database as it is until the test ends.
func open(t *testing.T, url string) *store.Store {
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
	return s
}

// patiently asks again while the database does not answer in time: signing in may take a server longer than a probe waits.
func patiently(ask func() error) error {
	for n := 0; ; n++ {
		if err := ask(); !errors.Is(err, store.ErrUnavailable) || n == 10 {
			return err
		}
	}
}

func schemaVersion(t *testing.T, s *store.Store) (version int64, err error) {
	t.Helper()
	err = patiently(func() error { version, err = s.SchemaVersion(t.Context()); return err })
	return version, err
}

func ready(t *testing.T, s *store.Store) error {
	t.Helper()
	return patiently(func() error { return s.Ready(t.Context()) })
}

// execute changes a database without the code under test.
func execute(t *testing.T, url, statement string) {
	t.Helper()
	if _, err := storetest.SQL(t, url).ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

func TestMigrationsGoUpAndDownAndUp(t *testing.T) {
	s := open(t, storetest.Empty(t))
	ctx := t.Context()
	names := migrationFiles(t)
	newest := int64(len(names))
	wantVersion := func(want int64) {
		t.Helper()
		if got, err := schemaVersion(t, s); err != nil || got != want {
			t.Errorf("the schema has version %d (%v), want %d", got, err, want)
		}
	}
	wantVersion(0)
	if err := ready(t, s); !errors.Is(err, store.ErrSchemaBehind) {
		t.Errorf("with an empty database Ready gives %v, want ErrSchemaBehind", err)
	}
	list, err := s.Migrations(ctx)
	if err != nil || len(list) != len(names) || !list[0].AppliedAt.IsZero() {
		t.Errorf("Migrations gives %v (%v), want all of them, pending", list, err)
	}
	for range 2 {
		applied, err := s.Migrate(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for i, m := range applied {
			got = append(got, m.Name)
			if m.Version != int64(i+1) || m.AppliedAt.IsZero() {
				t.Errorf("an applied migration is %+v", m)
			}
		}
		if !slices.Equal(got, names) {
			t.Errorf("Migrate applies %v, want %v", got, names)
		}
		wantVersion(newest)
		if err := ready(t, s); err != nil {
			t.Errorf("Ready gives %v", err)
		}
		if applied, err := s.Migrate(ctx); err != nil || len(applied) != 0 {
			t.Errorf("a second Migrate applies %v (%v), want nothing", applied, err)
		}
		list, err := s.Migrations(ctx)
		if err != nil || len(list) != len(names) || list[newest-1].Name != names[newest-1] {
			t.Errorf("Migrations gives %v (%v), want all of them, applied", list, err)
		}
		for _, m := range list { // the database's clock may be another one, but not in another zone
			if ago := time.Since(m.AppliedAt); ago.Abs() > 10*time.Minute || m.AppliedAt.Location() != time.UTC {
				t.Errorf("%s was applied at %v, which is %v ago", m.Name, m.AppliedAt, ago)
			}
		}
		for version := newest; version > 0; version-- {
			down, err := s.MigrateDown(ctx)
			if err != nil || down.Version != version || down.Name != names[version-1] {
				t.Fatalf("MigrateDown gives %+v and %v, want version %d", down, err, version)
			}
			wantVersion(version - 1)
			if err := ready(t, s); !errors.Is(err, store.ErrSchemaBehind) {
				t.Errorf("at version %d Ready gives %v, want ErrSchemaBehind", version-1, err)
			}
		}
		if _, err := s.MigrateDown(ctx); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("with nothing left MigrateDown gives %v, want ErrNotFound", err)
		}
	}
}

func TestSchemaThatIsAheadIsReady(t *testing.T) {
	url := storetest.Empty(t)
	s := storetest.OpenURL(t, url)
	execute(t, url, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, 1)")
	if err := ready(t, s); err != nil {
		t.Errorf("Ready gives %v: the release before must keep working during a roll-out", err)
	}
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Errorf("Migrate gives %v: a replica of the release before must be able to start", err)
	}
}

func TestFailedMigrationIsAnError(t *testing.T) {
	url := storetest.Empty(t)
	s := open(t, url)
	execute(t, url, "CREATE TABLE sessions (a INT)") // in the way of the second migration
	applied, err := s.Migrate(t.Context())
	if !errors.Is(err, store.ErrUnavailable) || len(applied) != 1 || applied[0].Version != 1 {
		t.Errorf("Migrate gives %v and %v, want the first one applied and ErrUnavailable", applied, err)
	}
	if version, err := schemaVersion(t, s); err != nil || version != 1 {
		t.Errorf("the schema has version %d (%v), want 1", version, err)
	}
	execute(t, url, "DROP TABLE sessions")
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Errorf("with the cause gone Migrate gives %v", err)
	}
}

// What fails here is the last statement of a migration, the one that counts it.
func TestFailedMigrationLeavesTheSchemaAsItWas(t *testing.T) {
	url := storetest.Empty(t)
	s := storetest.OpenURL(t, url)
	for version := len(migrationFiles(t)); version > 0; version-- {
		if _, err := s.MigrateDown(t.Context()); err != nil {
			t.Fatal(err)
		}
		obstacle, removal := "ALTER TABLE goose_db_version ADD CONSTRAINT broken CHECK (version_id <> %d)", "ALTER TABLE goose_db_version DROP CONSTRAINT broken"
		if !storetest.OnSQLServer() {
			obstacle = `CREATE TRIGGER broken BEFORE INSERT ON goose_db_version WHEN NEW.version_id = %d BEGIN SELECT RAISE(ABORT, 'broken'); END`
			removal = "DROP TRIGGER broken"
		}
		execute(t, url, fmt.Sprintf(obstacle, version))
		before := catalog(t, url)
		if applied, err := s.Migrate(t.Context()); !errors.Is(err, store.ErrUnavailable) || len(applied) != 0 {
			t.Errorf("version %d: Migrate gives %v and %v, want ErrUnavailable", version, applied, err)
		}
		if after := catalog(t, url); !slices.Equal(after, before) {
			t.Errorf("version %d: the schema was\n%s\nand is\n%s", version, before, after)
		}
		execute(t, url, removal)
	}
	if applied, err := s.Migrate(t.Context()); err != nil || len(applied) != len(migrationFiles(t)) {
		t.Errorf("with the cause gone Migrate applies %v (%v), want all of them", applied, err)
	}
}

// catalog lists the tables, columns and indexes of a database, and which migrations it has.
func catalog(t *testing.T, url string) []string {
	t.Helper()
	statements := []string{"SELECT version_id FROM goose_db_version ORDER BY version_id", "SELECT name, sql FROM sqlite_master ORDER BY name"}
	if storetest.OnSQLServer() {
		statements = append(statements[:1],
			"SELECT table_name, column_name, data_type FROM INFORMATION_SCHEMA.COLUMNS ORDER BY table_name, column_name",
			"SELECT OBJECT_NAME(object_id), name FROM sys.indexes WHERE object_id IN (SELECT object_id FROM sys.tables) ORDER BY 1, 2")
	}
	var all []string
	for _, statement := range statements {
		lines := storetest.Rows(t, storetest.SQL(t, url), statement)
		if len(lines) == 0 {
			t.Fatalf("nothing is found by %s", statement)
		}
		all = append(all, lines...)
	}
	return all
}

func TestServersThatStartTogetherAllFindTheSchema(t *testing.T) {
	t.Run("on a new database", func(t *testing.T) {
		migrateTogether(t, storetest.Empty(t))
	})
	// Where goose's table is there already, nothing holds servers on SQLite apart: they apply the same migration at once.
	t.Run("on a database whose migrations were taken back", func(t *testing.T) {
		for range 5 {
			url := storetest.Empty(t)
			s := storetest.OpenURL(t, url)
			for range migrationFiles(t) {
				if _, err := s.MigrateDown(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			migrateTogether(t, url)
		}
	})
}

func migrateTogether(t *testing.T, url string) {
	t.Helper()
	servers := 16
	if storetest.OnSQLServer() { // where each takes three connections
		servers = 8
	}
	var applied atomic.Int64
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for range servers {
		s := open(t, url)
		wg.Go(func() {
			<-begin
			list, err := s.Migrate(t.Context())
			if err != nil {
				t.Errorf("Migrate gives %v", err)
			}
			applied.Add(int64(len(list)))
			if version, err := schemaVersion(t, s); err != nil || version != int64(len(migrationFiles(t))) {
				t.Errorf("after Migrate the schema has version %d (%v)", version, err)
			}
		})
	}
	close(begin)
	wg.Wait()
	if n, want := applied.Load(), int64(len(migrationFiles(t))); n != want {
		t.Errorf("%d migrations were applied by all together, want %d", n, want)
	}
}

// migrationFiles lists the names of SQLite's migrations in order; their versions are 1, 2, 3 and so on.
func migrationFiles(t *testing.T) []string {
	t.Helper()
	files, err := fs.Glob(migrations.FS, "sqlite/*.sql")
	if err != nil || len(files) < 2 {
		t.Fatalf("the migrations are %v (%v)", files, err)
	}
	for i := range files {
		files[i] = filepath.Base(files[i])
	}
	return files
}

// CheckRights has to know each table that the migrations make.
func TestCheckRightsLooksIntoEachTable(t *testing.T) {
	url := storetest.SQLite(t)
	if _, err := open(t, url).Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	db := storetest.SQL(t, url)
	var list string
	err := db.QueryRowContext(t.Context(), "SELECT group_concat(name) FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name <> 'goose_db_version'").Scan(&list)
	tables := strings.Split(list, ",")
	if err != nil || len(tables) < 5 {
		t.Fatalf("the tables are %v (%v)", tables, err)
	}
	for _, table := range tables {
		s := open(t, url)
		if err := s.CheckRights(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := db.ExecContext(t.Context(), "ALTER TABLE "+table+" RENAME TO away"); err != nil {
			t.Fatal(err)
		}
		if err := s.CheckRights(t.Context()); !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "read "+table) {
			t.Errorf("without %s it gives %v", table, err)
		}
		if _, err := db.ExecContext(t.Context(), "ALTER TABLE away RENAME TO "+table); err != nil {
			t.Fatal(err)
		}
	}
}
