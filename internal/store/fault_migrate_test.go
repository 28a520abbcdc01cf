//go:build sqlserver

package store_test

import (
	"errors"
	"testing"

	"latchkey/internal/store"
	"latchkey/internal/store/storetest"
)

// A connection that breaks says nothing about the migration: whoever waits for the database tries again.
func TestMigrationsWhoseConnectionBreaksCanBeTriedAgain(t *testing.T) {
	for name, matches := range map[string]func(storetest.Request) bool{
		"at the lock":      holds("sp_getapplock"),
		"in BEGIN":         asks(storetest.Begin),
		"in the statement": holds("CREATE TABLE sessions"),
		"in COMMIT":        asks(storetest.Commit),
	} {
		for fateName, fate := range map[string]storetest.Fate{"request lost": storetest.Swallow, "answer lost": storetest.LoseAnswer} {
			t.Run(name+", "+fateName, func(t *testing.T) {
				relay := storetest.NewRelay(t, storetest.Empty(t))
				s, err := store.Open(relay.URL())
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = s.Close() })
				struck := make(chan struct{}, 1)
				relay.Decide(once(fate, func(r storetest.Request) bool {
					hit := matches(r)
					if hit {
						select {
						case struck <- struct{}{}:
						default:
						}
					}
					return hit
				}))
				// The driver may have tried again by itself, or the migration may have come through.
				if _, err := s.Migrate(t.Context()); err != nil && (!errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrUnusable)) {
					t.Fatalf("it gives %v, want ErrUnavailable, and not for good", err)
				}
				if _, err := s.Migrate(t.Context()); err != nil {
					t.Fatalf("then it gives %v", err)
				}
				if err := s.CheckSchema(t.Context()); err != nil {
					t.Error(err)
				}
				if len(struck) == 0 {
					t.Error("there was no fault")
				}
			})
		}
	}
}
