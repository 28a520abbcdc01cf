package store

import (
	"errors"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"latchkey/migrations"
)

func TestMigrationsGoUpAndDownAndUp(t *testing.T) {
	s := openFile(t, filepath.Join(t.TempDir(), "latchkey.db"))
	ctx := t.Context()
	names := migrationFiles(t)
	newest := int64(len(names))
	wantVersion := func(want int64) {
		t.Helper()
		if got, err := s.SchemaVersion(ctx); err != nil || got != want {
			t.Errorf("the schema has version %d (%v), want %d", got, err, want)
		}
	}
	wantVersion(0)
	if err := s.Ready(ctx); !errors.Is(err, ErrSchemaBehind) {
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
		if err := s.Ready(ctx); err != nil {
			t.Errorf("Ready gives %v", err)
		}
		if applied, err := s.Migrate(ctx); err != nil || len(applied) != 0 {
			t.Errorf("a second Migrate applies %v (%v), want nothing", applied, err)
		}
		if list, err := s.Migrations(ctx); err != nil || len(list) != len(names) || list[newest-1].AppliedAt.IsZero() || list[newest-1].Name != names[newest-1] {
			t.Errorf("Migrations gives %v (%v), want all of them, applied", list, err)
		}
		for version := newest; version > 0; version-- {
			down, err := s.MigrateDown(ctx)
			if err != nil || down.Version != version || down.Name != names[version-1] {
				t.Fatalf("MigrateDown gives %+v and %v, want version %d", down, err, version)
			}
			wantVersion(version - 1)
			if err := s.Ready(ctx); !errors.Is(err, ErrSchemaBehind) {
				t.Errorf("at version %d Ready gives %v, want ErrSchemaBehind", version-1, err)
			}
		}
		if _, err := s.MigrateDown(ctx); !errors.Is(err, ErrNotFound) {
			t.Errorf("with nothing left MigrateDown gives %v, want ErrNotFound", err)
		}
	}
}

func TestSchemaThatIsAheadIsReady(t *testing.T) {
	s := openMigrated(t, filepath.Join(t.TempDir(), "latchkey.db"))
	if err := s.writers.db.Exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, 1)").Error; err != nil {
		t.Fatal(err)
	}
	if err := s.Ready(t.Context()); err != nil {
		t.Errorf("Ready gives %v: the release before must keep working during a roll-out", err)
	}
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Errorf("Migrate gives %v: a replica of the release before must be able to start", err)
	}
}

func TestFailedMigrationIsAnError(t *testing.T) {
	s := openFile(t, filepath.Join(t.TempDir(), "latchkey.db"))
	if err := s.writers.db.Exec("CREATE TABLE sessions (a)").Error; err != nil { // in the way of the second migration
		t.Fatal(err)
	}
	applied, err := s.Migrate(t.Context())
	if !errors.Is(err, ErrUnavailable) || len(applied) != 1 || applied[0].Version != 1 {
		t.Errorf("Migrate gives %v and %v, want the first one applied and ErrUnavailable", applied, err)
	}
	if version, err := s.SchemaVersion(t.Context()); err != nil || version != 1 {
		t.Errorf("the schema has version %d (%v), want 1", version, err)
	}
	if err := s.writers.db.Exec("DROP TABLE sessions").Error; err != nil {
		t.Fatal(err)
	}
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Errorf("with the cause gone Migrate gives %v", err)
	}
}

func TestServersThatStartTogetherAllFindTheSchema(t *testing.T) {
	t.Run("on a new file", func(t *testing.T) {
		migrateTogether(t, filepath.Join(t.TempDir(), "latchkey.db"))
	})
	// Where goose's table is there already, nothing holds the servers apart: they apply the same migration at once.
	t.Run("on a file whose migrations were taken back", func(t *testing.T) {
		for range 5 {
			path := filepath.Join(t.TempDir(), "latchkey.db")
			s := openMigrated(t, path)
			for range migrationFiles(t) {
				if _, err := s.MigrateDown(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			migrateTogether(t, path)
		}
	})
}

func migrateTogether(t *testing.T, path string) {
	t.Helper()
	var applied atomic.Int64
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for range 16 {
		s := openFile(t, path)
		wg.Go(func() {
			<-begin
			list, err := s.Migrate(t.Context())
			if err != nil {
				t.Errorf("Migrate gives %v", err)
			}
			applied.Add(int64(len(list)))
			if err := s.Ready(t.Context()); err != nil {
				t.Errorf("after Migrate, Ready gives %v", err)
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

// Both databases must have the same history: what is read of a file is each table with its columns, and what is taken
// back.
func TestBothDatabasesHaveTheSameTables(t *testing.T) {
	one, other := schemas(t, "sqlite"), schemas(t, "sqlserver")
	if len(one) == 0 || len(one) != len(other) {
		t.Fatalf("sqlite has %d migrations and sqlserver %d", len(one), len(other))
	}
	for name, schema := range one {
		if schema == "" || other[name] != schema {
			t.Errorf("%s: sqlite has\n%s\nand sqlserver\n%s", name, schema, other[name])
		}
	}
}

// schemas gives for each file of a folder its tables and columns, one a line, with "null" for those that may be null.
func schemas(t *testing.T, folder string) map[string]string {
	t.Helper()
	files, err := fs.Glob(migrations.FS, folder+"/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	created := regexp.MustCompile(`(?ms)^CREATE TABLE (\w+) \(\n(.*?)^\)`)
	column := regexp.MustCompile(`(?m)^    (\w+) .*(?:\n {8,}.*)*`)
	other := regexp.MustCompile(`(?m)^(?:CREATE (?:UNIQUE )?INDEX|DROP TABLE|ALTER TABLE)[^;(]*(?:\([^)]*\))?`)
	result := map[string]string{}
	for _, file := range files {
		text, err := fs.ReadFile(migrations.FS, file)
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, table := range created.FindAllStringSubmatch(string(text), -1) {
			for _, c := range column.FindAllStringSubmatch(table[2], -1) {
				line := table[1] + "." + c[1]
				if !strings.Contains(c[0], "NOT NULL") {
					line += " null"
				}
				for _, word := range []string{"PRIMARY KEY", "UNIQUE", "REFERENCES users (id) ON DELETE CASCADE", "DEFAULT"} {
					if strings.Contains(c[0], word) {
						line += " " + word
					}
				}
				lines = append(lines, line)
			}
		}
		lines = append(lines, other.FindAllString(string(text), -1)...)
		_, name, _ := strings.Cut(file, "/")
		result[name] = strings.Join(lines, "\n")
	}
	return result
}
