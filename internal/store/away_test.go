package store

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A file that another process has locked is opened all the same, and found away for as long as that lasts.
func TestLockedFileIsAwayUntilItIsReleased(t *testing.T) {
	path := filepath.Join(t.TempDir(), "latchkey.db")
	if err := openMigrated(t, path).Close(); err != nil { // or it could not be locked
		t.Fatal(err)
	}
	other, err := sql.Open("sqlite", "file:"+path+"?_pragma=locking_mode(EXCLUSIVE)")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	other.SetMaxOpenConns(1)
	if _, err := other.ExecContext(t.Context(), "BEGIN EXCLUSIVE"); err != nil {
		t.Fatal(err)
	}
	s := openFile(t, path)
	_, migrateErr := s.Migrate(t.Context())
	for name, err := range map[string]error{"Ready": s.Ready(t.Context()), "CheckSchema": s.CheckSchema(t.Context()), "Migrate": migrateErr} {
		if !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrUnusable) {
			t.Errorf("of a locked file %s says %v, want ErrUnavailable", name, err)
		}
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Errorf("when it is released, Migrate gives %v", err)
	}
	if err := s.CheckSchema(t.Context()); err != nil {
		t.Errorf("when it is released, CheckSchema gives %v", err)
	}
}

// The same of a file that is new, whose first migration so begins twice.
func TestNewFileThatIsLockedIsMigratedWhenItIsReleased(t *testing.T) {
	s := openFile(t, filepath.Join(t.TempDir(), "latchkey.db"))
	if err := s.useWAL(t.Context()); err != nil {
		t.Fatal(err)
	}
	other, err := sql.Open("sqlite", "file:"+strings.TrimPrefix(s.Description(), "SQLite file "))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	other.SetMaxOpenConns(1)
	if _, err := other.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := s.Migrate(ctx); !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrUnusable) {
		t.Errorf("of a locked file Migrate says %v, want ErrUnavailable", err)
	}
	if _, err := other.ExecContext(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Errorf("when it is released, Migrate gives %v", err)
	}
}

// Waiting mends none of these, so whoever starts on them has to be told.
func TestFileThatNoTimeMendsIsUnusable(t *testing.T) {
	header := []byte("SQLite format 3\x00")
	for name, content := range map[string][]byte{
		"a header and nothing behind": append(header, make([]byte, 4096)...),
		"another file":                []byte("not a database"),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "latchkey.db")
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := Open("sqlite:" + path)
			if err == nil {
				_, err = s.Migrate(t.Context())
				_ = s.Close()
			}
			if !errors.Is(err, ErrUnusable) || !errors.Is(err, ErrUnavailable) {
				t.Errorf("the error is %v, want ErrUnusable, which is an ErrUnavailable", err)
			}
		})
	}
	t.Run("a file to which a migration does not apply", func(t *testing.T) {
		s := openFile(t, filepath.Join(t.TempDir(), "latchkey.db"))
		if err := s.writers.db.Exec("CREATE TABLE users (a)").Error; err != nil {
			t.Fatal(err)
		}
		if _, err := s.Migrate(t.Context()); !errors.Is(err, ErrUnusable) {
			t.Errorf("the error is %v, want ErrUnusable", err)
		}
	})
}
