package retention

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"latchkey/internal/audit"
	"latchkey/internal/store"
)

const (
	day        = 24 * time.Hour
	sessionTTL = 40 * day // beyond account.FamiliarTime
	auditKept  = 90 * day
	several    = 4 * minBatch // rows that take more than two batches
)

var testTime = time.Date(2026, 11, 2, 3, 4, 5, 678_000_000, time.UTC)

// clock stands still until it is moved. interrupt, where it is set, runs once, when the time is asked for the nth time
// from then on: a Purger asks before each batch, so what another one does there can be played without luck.
type clock struct {
	mu        sync.Mutex
	now       time.Time
	n         int
	interrupt func()
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	var interrupt func()
	if c.n--; c.n == 0 {
		interrupt = c.interrupt
	}
	c.mu.Unlock()
	if interrupt != nil {
		interrupt()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) after(n int, interrupt func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n, c.interrupt = n, interrupt
}

func (c *clock) set(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = now
}

func newPurger(st *store.Store, now func() time.Time) *Purger {
	return New(Options{SessionTTL: sessionTTL, AuditEvents: auditKept, Now: now}, st, prometheus.NewRegistry())
}

func createUser(t testing.TB, st *store.Store) store.User {
	t.Helper()
	user := store.User{ID: uuid.Must(uuid.NewV7()), Username: "alice", CanonicalName: "alice", PasswordHash: "x", CreatedAt: testTime}
	if err := st.CreateUser(t.Context(), &user); err != nil {
		t.Fatal(err)
	}
	return user
}

// addSession adds a session that began at a time.
func addSession(t testing.TB, st *store.Store, userID uuid.UUID, began time.Time, change func(*store.Session)) uuid.UUID {
	t.Helper()
	id := audit.FirstID(began)
	random := uuid.New()
	copy(id[9:], random[9:])
	session := store.Session{
		ID: id, UserID: userID, Generation: 1, OldestGeneration: 1, CurrentHash: make([]byte, 32), IssuedAt: began, CreatedAt: began,
	}
	if change != nil {
		change(&session)
	}
	if err := st.CreateSession(t.Context(), &session); err != nil {
		t.Fatal(err)
	}
	return id
}

// addThrottle adds a throttle, the nth.
func addThrottle(t testing.TB, st *store.Store, n int, failures int, charged time.Time) []byte {
	t.Helper()
	key := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(n)))
	throttle := store.LoginThrottle{KeyHash: key[:], Failures: failures, ChargedAt: charged, BlockedUntil: charged.Add(15 * time.Minute)}
	if made, err := st.AdvanceLoginThrottle(t.Context(), store.LoginThrottle{}, throttle); err != nil || !made {
		t.Fatal(made, err)
	}
	return key[:]
}

func addEvents(t testing.TB, st *store.Store, n int, at time.Time) []audit.Event {
	t.Helper()
	events := make([]audit.Event, n)
	for i := range events {
		id := audit.FirstID(at)
		binary.BigEndian.PutUint32(id[12:], uint32(i))
		events[i] = audit.Event{ID: id, At: at, Action: audit.Login, Result: "ok"}
	}
	if err := st.AppendAuditEvents(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	return events
}

// addExpired adds n rows to each table that have expired by testTime.
func addExpired(t testing.TB, st *store.Store, n int) {
	t.Helper()
	user := createUser(t, st)
	err := st.InTx(t.Context(), func(tx *store.Store) error {
		for i := range n {
			addSession(t, tx, user.ID, testTime.Add(-100*day+time.Duration(i)*time.Second), nil)
			addThrottle(t, tx, i, 3, testTime.Add(-2*day))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	addEvents(t, st, n, testTime.Add(-100*day))
}

func mustPurge(t *testing.T, p *Purger) Deleted {
	t.Helper()
	d, err := p.Purge(context.WithoutCancel(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func at(t time.Time) sql.NullTime { return sql.NullTime{Time: t, Valid: true} }

// counted returns the sum of the counters that have a label of this value.
func counted(t *testing.T, registry *prometheus.Registry, label string) (sum int) {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			for _, pair := range metric.GetLabel() {
				if pair.GetValue() == label {
					sum += int(metric.GetCounter().GetValue())
				}
			}
		}
	}
	return sum
}
