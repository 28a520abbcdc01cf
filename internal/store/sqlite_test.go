package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"
)

func openFile(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open("sqlite:" + path)
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

func openMigrated(t testing.TB, path string) *Store {
	t.Helper()
	s := openFile(t, path)
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPragmasAreInForceOnEveryConnection(t *testing.T) {
	s := openMigrated(t, filepath.Join(t.TempDir(), "latchkey.db"))
	for name, pool := range map[string]struct {
		db        *gorm.DB
		size      int
		queryOnly string
	}{"write": {s.writers.db, 1, "0"}, "read": {s.readers.db, 4, "1"}} {
		t.Run(name, func(t *testing.T) {
			db, err := pool.db.DB()
			if err != nil {
				t.Fatal(err)
			}
			if n := db.Stats().MaxOpenConnections; n != pool.size {
				t.Errorf("the pool has up to %d connections, want %d", n, pool.size)
			}
			for range pool.size { // held until the end, so that each is another connection
				conn, err := db.Conn(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = conn.Close() }()
				// A connection that has read nothing yet does not know the file's mode.
				if _, err := conn.ExecContext(t.Context(), "SELECT 1 FROM users"); err != nil {
					t.Fatal(err)
				}
				for pragma, want := range map[string]string{
					"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "5000", "query_only": pool.queryOnly,
				} {
					var got string
					if err := conn.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
						t.Errorf("%s is %q (%v), want %q", pragma, got, err, want)
					}
				}
			}
		})
	}
}

func TestReadPoolCannotWrite(t *testing.T) {
	s := openMigrated(t, filepath.Join(t.TempDir(), "latchkey.db"))
	for _, statement := range []string{"DELETE FROM users", "INSERT INTO users (id) VALUES (x'00')", "DROP TABLE sessions", "CREATE TABLE t (a)"} {
		if err := s.readers.db.Exec(statement).Error; err == nil || !strings.Contains(err.Error(), "readonly") {
			t.Errorf("%s gives %v, want a refusal", statement, err)
		}
	}
}

func TestReadersDoNotWaitForAWriter(t *testing.T) {
	s := openMigrated(t, filepath.Join(t.TempDir(), "latchkey.db"))
	err := s.InTx(t.Context(), func(tx *Store) error {
		if err := tx.writers.db.Exec("DELETE FROM users").Error; err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		_, err := s.ListUsers(ctx, "", 1)
		return err
	})
	if err != nil {
		t.Errorf("a read beside an open write: %v", err)
	}
}

func TestTimesAreMillisecondsInTheFile(t *testing.T) {
	s := openMigrated(t, filepath.Join(t.TempDir(), "latchkey.db"))
	now := time.Date(2026, 1, 2, 5, 4, 5, 678_999_999, time.FixedZone("", 7200))
	user := User{ID: uuid.UUID{1}, Username: "a", CanonicalName: "a", PasswordHash: "h", Roles: []string{"x", "y"}, CreatedAt: now}
	if err := s.CreateUser(t.Context(), &user); err != nil {
		t.Fatal(err)
	}
	var shown string
	err := s.readers.db.Raw(`SELECT typeof(created_at) || ' ' || datetime(created_at / 1000, 'unixepoch') || ' ' || (created_at % 1000) ||
		' ' || typeof(id) || ' ' || length(id) || ' ' || roles || ' ' || typeof(last_login_at) FROM users`).Scan(&shown).Error
	if want := "integer 2026-01-02 03:04:05 678 blob 16 x y null"; err != nil || shown != want {
		t.Errorf("the row holds %q (%v), want %q", shown, err, want)
	}
}

// SQL Server's columns have a length of their own: it refuses what is longer, and fills up what is shorter, which then is
// nobody's hash.
func TestBytesOfAnotherLengthAreRefused(t *testing.T) {
	s := openMigrated(t, filepath.Join(t.TempDir(), "latchkey.db"))
	now := time.Now()
	user := User{ID: uuid.UUID{1}, Username: "a", CanonicalName: "a", PasswordHash: "h", CreatedAt: now}
	if err := s.CreateUser(t.Context(), &user); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 31, 33} {
		session := Session{ID: uuid.New(), UserID: user.ID, CurrentHash: make([]byte, n), IssuedAt: now, CreatedAt: now}
		if err := s.CreateSession(t.Context(), &session); !errors.Is(err, ErrUnavailable) {
			t.Errorf("a hash of %d bytes: %v, want ErrUnavailable", n, err)
		}
	}
}

func TestDatabaseFilesArePrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "data")
	path := filepath.Join(dir, "latchkey.db")
	s := openMigrated(t, path)
	if err := s.writers.db.Exec("DELETE FROM users").Error; err != nil { // so that the companions are there
		t.Fatal(err)
	}
	for path, want := range map[string]fs.FileMode{path: 0o600, path + "-wal": 0o600, path + "-shm": 0o600, dir: 0o700, filepath.Dir(dir): 0o700} {
		info, err := os.Stat(path)
		if err != nil {
			t.Error(err)
		} else if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %04o, want %04o", path, got, want)
		}
	}
}

func TestFileThatOthersMayReadIsClosedToThem(t *testing.T) {
	path := filepath.Join(t.TempDir(), "latchkey.db")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	openMigrated(t, path)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %v (%v), want 0600", info.Mode(), err)
	}
}

func TestFileThatIsNoDatabaseIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "README.md")
	if err := os.WriteFile(path, []byte("not a database"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open("sqlite:" + path); err == nil || !strings.Contains(err.Error(), "not a database") {
		t.Errorf("Open gives %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("the file has mode %v (%v), want 0644", info.Mode(), err)
	}
}

// Each changes the new file to WAL, at the same moment as the others.
func TestNewFileMayBeOpenedByManyAtOnce(t *testing.T) {
	for range 200 { // a round shows the collision only now and then
		path := filepath.Join(t.TempDir(), "latchkey.db")
		var all sync.WaitGroup
		for range 24 {
			all.Go(func() {
				s, err := Open("sqlite:" + path)
				if err != nil {
					t.Error(err)
					return
				}
				if err := errors.Join(s.useWAL(t.Context()), s.Close()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
}

func TestFolderIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Open("sqlite:" + path); err == nil || !strings.Contains(err.Error(), "not a database") {
		t.Errorf("Open gives %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("the folder has mode %v (%v), want 0755", info.Mode(), err)
	}
}

func TestFileMayHaveAnyName(t *testing.T) {
	for _, name := range []string{"with space.db", "a?b.db", "a#b.db", "a%20b.db", "a%b.db", "a&_pragma=foreign_keys(0).db", "имя.db", "a+b.db", "file:a.db"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := openMigrated(t, filepath.Join(dir, name))
			if version, err := s.SchemaVersion(t.Context()); err != nil || version == 0 {
				t.Errorf("the schema has version %d (%v)", version, err)
			}
			info, err := os.Stat(filepath.Join(dir, name))
			if err != nil || info.Size() == 0 {
				t.Errorf("the database is not in the file that was named: %v", err)
			}
		})
	}
}

func TestRelativePathIsOfTheWorkingDirectory(t *testing.T) {
	t.Chdir(t.TempDir())
	s := openMigrated(t, "data/latchkey.db")
	t.Chdir(t.TempDir()) // a connection that is opened later must not find another file
	if err := s.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	if !strings.HasPrefix(s.Description(), "SQLite file /") {
		t.Errorf("the description is %q", s.Description())
	}
}

func TestOpenRefusesURLs(t *testing.T) {
	dir := t.TempDir()
	for _, url := range []string{
		"", "latchkey.db", "postgres://localhost/db", "sqlite:", "sqlite::memory:", "sqlite:file::memory:?cache=shared",
		"SQLITE:" + dir + "/a.db", "sqlserver:", "sqlserver:localhost", "sqlite:" + dir,
	} {
		s, err := Open(url)
		if err == nil {
			_ = s.Close()
			t.Errorf("%q is accepted", url)
		}
	}
}

func TestOpenExistingMakesNoFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "not", "there.db")
	if _, err := OpenExisting("sqlite:" + path); !errors.Is(err, ErrUnavailable) || !errors.Is(err, fs.ErrNotExist) ||
		!strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "`latchkey migrate up` makes it") {
		t.Errorf("OpenExisting gives %v, want ErrUnavailable that names the file and says what makes it", err)
	}
	if _, err := os.Stat(filepath.Dir(path)); !errors.Is(err, fs.ErrNotExist) {
		t.Error("OpenExisting made the folder")
	}
	openMigrated(t, path)
	s, err := OpenExisting("sqlite:" + path)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestFileThatIsNoDatabaseIsUnavailable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "latchkey.db")
	if err := os.WriteFile(path, []byte(strings.Repeat("not a database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open("sqlite:" + path)
	if err == nil {
		_, err = s.Migrate(t.Context())
		_ = s.Close()
	}
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "not a database") {
		t.Errorf("the error is %v, want ErrUnavailable that says why", err)
	}
	if text, err := os.ReadFile(path); err != nil || !strings.HasPrefix(string(text), "not a database ") {
		t.Errorf("the file was changed (%v)", err)
	}
}

// Requests that come together with the first ones open connections while others write: none may find the file locked.
func TestFirstRequestsMayComeTogether(t *testing.T) {
	path := filepath.Join(t.TempDir(), "latchkey.db")
	openMigrated(t, path)
	var wg sync.WaitGroup
	for range 4 {
		s := openFile(t, path)
		for i := range 8 {
			wg.Go(func() {
				var err error
				if i%2 == 0 {
					err = s.Ready(t.Context())
				} else {
					user := User{ID: uuid.New(), Username: "a", CanonicalName: fmt.Sprint(uuid.New()), PasswordHash: "h", CreatedAt: time.Now()}
					err = s.CreateUser(t.Context(), &user)
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
}
