package session_test

import (
	"crypto/sha256"
	"testing"
	"time"

	"latchkey/internal/session"
	"latchkey/internal/store"
)

// BenchmarkDecide is the decision of a refresh: what the protocol itself costs.
func BenchmarkDecide(b *testing.B) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	policy := session.Policy{Grace: 30 * time.Second, Idle: time.Hour, Absolute: 24 * time.Hour}
	presented, successor := sha256.Sum256([]byte("presented")), sha256.Sum256([]byte("successor"))
	row := store.OwnedSession{Session: store.Session{
		Generation: 7, OldestGeneration: 6, CurrentHash: presented[:], ParentHash: successor[:], IssuedAt: now, CreatedAt: now,
	}}
	later := now.Add(10 * time.Minute)
	b.ReportAllocs()
	for b.Loop() {
		outcome, _ := policy.Decide(row, presented, successor, later, session.Ages{SinceIssue: 10 * time.Minute})
		if outcome != session.Rotate {
			b.Fatal(outcome)
		}
	}
}
