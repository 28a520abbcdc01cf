//go:build sqlserver

package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"latchkey/internal/store"
	"latchkey/internal/store/storetest"
)

// While another process migrates nothing is applied, also not if that one died a moment ago and its connection is not
// known to be dead yet.
func TestOneProcessMigratesAtATime(t *testing.T) {
	url := storetest.Empty(t)
	other, err := storetest.SQL(t, url).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	// A lock that shares keeps out those alone who want one for themselves.
	_, err = other.ExecContext(t.Context(),
		"EXEC sp_getapplock @Resource = N'latchkey migrations', @LockMode = N'Shared', @LockOwner = N'Session'")
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, url)
	impatient, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	applied, first := s.Migrate(impatient)
	err = first
	if !errors.Is(err, store.ErrUnavailable) || len(applied) > 0 {
		t.Fatalf("beside another one Migrate gives %v, %v", applied, err)
	}
	if version, err := schemaVersion(t, s); version != 0 {
		t.Fatalf("beside another one the schema has come to version %d (%v)", version, err)
	}
	if _, err := other.ExecContext(t.Context(),
		"EXEC sp_releaseapplock @Resource = N'latchkey migrations', @LockOwner = N'Session'"); err != nil {
		t.Fatal(err)
	}
	if applied, err := s.Migrate(t.Context()); err != nil || len(applied) != len(migrationFiles(t)) {
		t.Fatalf("after it Migrate gives %v, %v; before %v", applied, err, first)
	}
}
