package store

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"
)

// explain gives a Store on a new file, and a function that explains, by SQLite's own words, the last statement that
// changed or read something.
func explain(t *testing.T) (s *Store, last func(how string) [][]any) {
	t.Helper()
	s = openMigrated(t, filepath.Join(t.TempDir(), "latchkey.db"))
	var executed statement
	record := func(db *gorm.DB) {
		if !db.DryRun {
			executed = statement{db.Statement.SQL.String(), db.Statement.Vars}
		}
	}
	for _, db := range []*gorm.DB{s.readers.db, s.writers.db} {
		callbacks := db.Callback()
		for _, err := range []error{
			callbacks.Update().After("*").Register("record", record), callbacks.Raw().After("*").Register("record", record),
			callbacks.Query().After("*").Register("record", record), callbacks.Delete().After("*").Register("record", record),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return s, func(how string) (rows [][]any) {
		t.Helper()
		found, err := s.writers.db.Raw(how+" "+executed.sql, executed.vars...).Rows()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = found.Close() }()
		columns, err := found.Columns()
		if err != nil {
			t.Fatal(err)
		}
		for found.Next() {
			row, targets := make([]any, len(columns)), make([]any, len(columns))
			for i := range row {
				targets[i] = &row[i]
			}
			if err := found.Scan(targets...); err != nil {
				t.Fatal(err)
			}
			rows = append(rows, row)
		}
		if err := found.Err(); err != nil {
			t.Fatal(err)
		}
		return rows
	}
}

// An account has few live sessions, and may have any number of ended ones.
func TestLiveSessionsAreFoundByTheirIndex(t *testing.T) {
	s, last := explain(t)
	now := time.Now()
	session := Session{ID: uuid.UUID{1}, UserID: uuid.UUID{2}}
	for name, call := range map[string]func() error{
		"LiveSessions": func() error { _, err := s.LiveSessions(t.Context(), session.UserID, now, now); return err },
		"RevokeUserSessions": func() error {
			_, err := s.RevokeUserSessions(t.Context(), session.UserID, uuid.Nil, "x", now)
			return err
		},
		"RevokeOldestSessions": func() error {
			_, err := s.RevokeOldestSessions(t.Context(), session, 1, now, now, "x", now)
			return err
		},
		"what RevokeUserSessions begins with": func() error {
			_, _, err := s.firstSessions(t.Context(), func(db *gorm.DB) *gorm.DB {
				return db.Where("user_id = ? AND revoked_at IS NULL", session.UserID[:])
			})
			return err
		},
	} {
		if err := call(); err != nil {
			t.Fatal(err)
		}
		if plan := fmt.Sprint(last("EXPLAIN QUERY PLAN")); !strings.Contains(plan, "ix_sessions_live (user_id=?") || strings.Contains(plan, "SCAN sessions") {
			t.Errorf("%s: %s", name, plan)
		}
	}
}

// A refresh, which is most of what is written, must not have to move the session in an index.
func TestOnlyTheEndOfASessionTouchesTheIndexOfLiveOnes(t *testing.T) {
	s, last := explain(t)
	var index int64
	if err := s.readers.db.Raw("SELECT rootpage FROM sqlite_master WHERE name = 'ix_sessions_live'").Scan(&index).Error; err != nil || index == 0 {
		t.Fatal(index, err)
	}
	from := Session{ID: uuid.UUID{1}, CurrentHash: make([]byte, 32)}
	ended := from
	ended.RevokedAt.Valid = true
	for _, test := range []struct {
		what string
		to   Session
		want bool
	}{{"a refresh", from, false}, {"an end", ended, true}} {
		if _, err := s.AdvanceSession(t.Context(), from, test.to); err != nil {
			t.Fatal(err)
		}
		got := false
		for _, operation := range last("EXPLAIN") { // address, opcode, p1, p2 …: OpenWrite has the root page as p2
			got = got || operation[1] == "OpenWrite" && operation[3] == index
		}
		if got != test.want {
			t.Errorf("%s writes to the index: %t, want %t", test.what, got, test.want)
		}
	}
}
