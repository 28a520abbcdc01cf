// Package storetest opens a fresh database for a test.
package storetest

import (
	"path/filepath"
	"testing"

	"latchkey/internal/store"
)

// Open makes a database with the whole schema, which is gone when the test ends.
func Open(t testing.TB) *store.Store {
	t.Helper()
	return OpenURL(t, "sqlite:"+filepath.Join(t.TempDir(), "latchkey.db"))
}

// OpenURL opens the database of a URL, brings its schema up to date, and closes it when the test ends: for a second
// server on one database.
func OpenURL(t testing.TB, url string) *store.Store {
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
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}
