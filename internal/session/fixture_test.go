package session_test

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"latchkey/internal/audit"
	"latchkey/internal/session"
	"latchkey/internal/store"
	"latchkey/internal/store/storetest"
	"latchkey/internal/token"
)

const (
	grace     = 30 * time.Second
	idle      = 7 * 24 * time.Hour
	absolute  = 30 * 24 * time.Hour
	accessTTL = 10 * time.Minute
	delay     = 2 * time.Second
)

// world is one database and the replicas of the service on it, each with its own connections and memory, under one
// clock that stands still until it is moved, or stepped without time passing.
type world struct {
	clock    *clock
	url      string
	store    *store.Store // the first replica's
	stores   []*store.Store
	replicas []*session.Service
	access   *token.Issuer
	refresh  *token.RefreshKeys
	secret   []byte
	registry *prometheus.Registry
	audit    *audit.Log
	sql      *sql.DB               // for looking at rows without the code under test
	counts   *storetest.Statements // nil on SQL Server, which does not count them
}

// newWorld makes a world with the given number of replicas. change, where there is one, changes the defaults.
func newWorld(t testing.TB, replicas int, change func(*session.Options)) *world {
	t.Helper()
	return newWorldOn(t, storetest.URL(t), replicas, change)
}

// newCountedWorld makes a world with one replica for a test that counts statements, which only SQLite lets it do.
func newCountedWorld(t testing.TB, change func(*session.Options)) *world {
	t.Helper()
	return newWorldOn(t, storetest.SQLite(t), 1, change)
}

func newWorldOn(t testing.TB, url string, replicas int, change func(*session.Options)) *world {
	t.Helper()
	w := &world{
		clock:    &clock{now: time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC)},
		url:      url,
		secret:   token.NewSecret(),
		registry: prometheus.NewRegistry(),
	}
	if path, isFile := strings.CutPrefix(url, "sqlite:"); isFile {
		w.counts = storetest.CountStatements(t, path)
	}
	key, err := token.NewKey(w.clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	if w.access, err = token.NewIssuer(token.Keys{key}, "http://localhost", "http://localhost", w.clock.Now); err != nil {
		t.Fatal(err)
	}
	if w.refresh, err = token.NewRefreshKeys([]token.RefreshSecret{{Value: w.secret}}, w.clock.Now); err != nil {
		t.Fatal(err)
	}
	w.audit = audit.New(slog.New(slog.DiscardHandler), w.registry)
	options := session.Options{
		Policy:    session.Policy{Grace: grace, Idle: idle, Absolute: absolute},
		AccessTTL: accessTTL, RevocationDelay: delay, MaxPerUser: 20, Now: w.clock.Now, Elapsed: w.clock.Elapsed,
	}
	if change != nil {
		change(&options)
	}
	for range replicas {
		st := storetest.OpenURL(t, w.url)
		w.stores = append(w.stores, st)
		// The first statement after the migrations finds their changes, and would be counted twice.
		if _, err := st.SessionByID(t.Context(), uuid.Nil); !errors.Is(err, store.ErrNotFound) {
			t.Fatal(err)
		}
		w.replicas = append(w.replicas, session.NewService(options, st, w.access, w.refresh, w.audit))
	}
	w.store, w.sql = w.stores[0], storetest.SQL(t, w.url)
	return w
}

// tester is what *testing.T and *rapid.T have in common.
type tester interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// user adds an account.
func (w *world) user(t tester) store.User {
	t.Helper()
	id := uuid.New()
	u := store.User{
		ID: id, Username: "u" + id.String(), CanonicalName: "u" + id.String(), PasswordHash: "$verified$" + id.String(),
		Roles: []string{"user"}, CreatedAt: w.clock.Now().Truncate(time.Millisecond),
	}
	if err := w.store.CreateUser(context.Background(), &u); err != nil {
		t.Fatal(err)
	}
	return u
}

// login adds an account and signs it in.
func (w *world) login(t tester) session.Grant {
	t.Helper()
	return w.start(t, w.user(t))
}

func (w *world) start(t tester, u store.User) session.Grant {
	t.Helper()
	grant, err := w.replicas[0].Start(context.Background(), u, session.Client{UserAgent: "test", IP: "192.0.2.1"}, "")
	if err != nil {
		t.Fatal(err)
	}
	return grant
}

// mustRefresh refreshes on the first replica and wants an answer.
func (w *world) mustRefresh(t tester, presented string) session.Grant {
	t.Helper()
	grant, err := w.replicas[0].Refresh(context.Background(), presented)
	if err != nil {
		t.Fatalf("refresh: %v", err)
	}
	return grant
}

// mustUse presents an access token to the first replica and wants it accepted.
func (w *world) mustUse(t tester, bearer string) session.Principal {
	t.Helper()
	p, err := w.replicas[0].Authenticate(context.Background(), bearer)
	if err != nil {
		t.Fatalf("use an access token: %v", err)
	}
	return p
}

// row reads the session that a refresh token names.
func (w *world) row(t tester, refreshToken string) store.OwnedSession {
	t.Helper()
	row, err := w.store.SessionByID(context.Background(), w.sessionID(t, refreshToken))
	if err != nil {
		t.Fatal(err)
	}
	return row
}

func (w *world) sessionID(t tester, refreshToken string) uuid.UUID {
	t.Helper()
	held, err := w.refresh.Parse(refreshToken)
	if err != nil {
		t.Fatal(err)
	}
	return held.SessionID
}

// dump returns every column of every row of both tables, as text.
func (w *world) dump(t tester) []string {
	t.Helper()
	return append(storetest.Rows(t, w.sql, "SELECT * FROM users ORDER BY id"), storetest.Rows(t, w.sql, "SELECT * FROM sessions ORDER BY id")...)
}

// counted returns latchkey_events_total of an action and a result.
func (w *world) counted(t tester, action audit.Action, result string) int {
	t.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			labels := map[string]string{}
			for _, label := range metric.GetLabel() {
				labels[label.GetName()] = label.GetValue()
			}
			if labels["action"] == string(action) && labels["result"] == result {
				return int(metric.GetCounter().GetValue())
			}
		}
	}
	return 0
}

type clock struct {
	mu      sync.Mutex
	now     time.Time
	elapsed time.Duration
	// interrupt, where it is set, runs once, when the time is next asked for. A refresh asks between its read and its
	// write, so what another request does there can be played without luck.
	interrupt func()
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	f := c.interrupt
	c.interrupt = nil
	c.mu.Unlock()
	if f != nil {
		f()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Elapsed() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.elapsed
}

// advance lets time pass.
func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now, c.elapsed = c.now.Add(d), c.elapsed+d
}

// set lets time pass until then.
func (c *clock) set(t time.Time) { c.advance(t.Sub(c.Now())) }

// step sets the wall clock, as an administrator or NTP does, while no time passes.
func (c *clock) step(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(by)
}
