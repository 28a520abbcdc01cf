package account

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"latchkey/internal/audit"
	"latchkey/internal/password"
	"latchkey/internal/session"
	"latchkey/internal/store"
	"latchkey/internal/store/storetest"
	"latchkey/internal/token"
)

const goodPassword = "correct horse battery"

// fixture is a Service on a fresh database, with what it needs around it. The clock stands still until it is moved.
type fixture struct {
	*Service
	sessions *session.Service
	store    *store.Store
	url      string
	now      time.Time
	logs     *logs
	secret   []byte // behind the hashes of names
	// interrupt, where it is set, runs once, when a session next asks for the time. Its start asks before it writes, so
	// what another request does between the check of a password and that can be played without luck.
	interrupt func()
}

func TestMain(m *testing.M) { os.Exit(storetest.Main(m)) }

func newFixture(t testing.TB) *fixture {
	t.Helper()
	return newFixtureOn(t, storetest.URL(t))
}

func newFixtureOn(t testing.TB, url string) *fixture {
	t.Helper()
	f := &fixture{store: storetest.OpenURL(t, url), url: url, now: time.Date(2026, 1, 2, 3, 4, 5, 678_901_234, time.UTC), logs: &logs{}}
	now := func() time.Time {
		if interrupt := f.interrupt; interrupt != nil {
			f.interrupt = nil
			interrupt()
		}
		return f.now
	}
	key, err := token.NewKey(f.now)
	if err != nil {
		t.Fatal(err)
	}
	access, err := token.NewIssuer(token.Keys{key}, "issuer", "audience", now)
	if err != nil {
		t.Fatal(err)
	}
	secret := bytes.Repeat([]byte{7}, token.SecretSize)
	refresh, err := token.NewRefreshKeys([]token.RefreshSecret{{Value: secret}}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	log := audit.New(slog.New(slog.NewJSONHandler(f.logs, nil)), prometheus.NewRegistry())
	f.sessions = session.NewService(session.Options{
		Policy:    session.Policy{Grace: 30 * time.Second, Idle: 7 * 24 * time.Hour, Absolute: 30 * 24 * time.Hour},
		AccessTTL: 10 * time.Minute, RevocationDelay: time.Minute, MaxPerUser: 20, Now: now,
	}, f.store, access, refresh, log)
	f.secret = secret
	f.Service = NewService(Dependencies{
		Store: f.store, Hasher: password.NewHasher(8), Policy: password.NewPolicy(8, "latchkey", "auth.example.com"),
		Sessions: f.sessions, Names: refresh, Audit: log, Now: func() time.Time { return f.now },
	})
	return f
}

func (f *fixture) create(t testing.TB, name string, roles ...string) store.User {
	t.Helper()
	user, err := f.Create(t.Context(), name, goodPassword, roles)
	if err != nil {
		t.Fatal(err)
	}
	return user
}

// setHash gives a user a hash, as an import does.
func (f *fixture) setHash(t testing.TB, user store.User, hash string) store.User {
	t.Helper()
	if replaced, err := f.store.SetPasswordHash(t.Context(), user.ID, user.PasswordHash, hash); err != nil || !replaced {
		t.Fatalf("the hash was not replaced: %v", err)
	}
	user.PasswordHash = hash
	return user
}

func (f *fixture) login(t testing.TB, name, pass string) session.Grant {
	t.Helper()
	grant, err := f.Login(t.Context(), name, pass, session.Client{UserAgent: "test", IP: "192.0.2.1"}, "")
	if err != nil {
		t.Fatal(err)
	}
	return grant
}

func (f *fixture) principal(t testing.TB, grant session.Grant) session.Principal {
	t.Helper()
	p, err := f.sessions.Authenticate(t.Context(), grant.AccessToken)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// alive tells whether both tokens of a sign-in are still good.
func (f *fixture) alive(ctx context.Context, grant session.Grant) bool {
	_, accessErr := f.sessions.Authenticate(ctx, grant.AccessToken)
	_, refreshErr := f.sessions.Refresh(ctx, grant.RefreshToken)
	return accessErr == nil && refreshErr == nil
}

// dead tells whether neither is.
func (f *fixture) dead(ctx context.Context, grant session.Grant) bool {
	_, accessErr := f.sessions.Authenticate(ctx, grant.AccessToken)
	_, refreshErr := f.sessions.Refresh(ctx, grant.RefreshToken)
	return accessErr != nil && refreshErr != nil
}

// hashes counts the password hashes that f costs: each takes 19 MiB.
func hashes(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return (after.TotalAlloc - before.TotalAlloc) / (19 << 20)
}

// logs holds the audit log.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// events lists action and result of each event since the last call.
func (l *logs) events(t testing.TB) []string {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []string
	for decoder := json.NewDecoder(&l.b); decoder.More(); {
		var line struct{ Action, Result string }
		if err := decoder.Decode(&line); err != nil {
			t.Fatal(err)
		}
		list = append(list, line.Action+" "+line.Result)
	}
	l.b.Reset()
	return list
}
