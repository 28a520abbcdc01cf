package httpapi

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"latchkey/internal/account"
	"latchkey/internal/audit"
	"latchkey/internal/config"
	"latchkey/internal/password"
	"latchkey/internal/session"
	"latchkey/internal/store"
	"latchkey/internal/store/storetest"
	"latchkey/internal/token"
)

// fixture is a whole server behind real HTTP on a fresh database, with a clock that the test sets.
type fixture struct {
	*httptest.Server
	config   *config.Config
	store    *store.Store
	accounts *account.Service
	sessions *session.Service
	keys     token.Keys
	registry *prometheus.Registry
	clock    *clock
	logs     *lockedBuffer
	draining chan struct{}
}

// newFixture makes a server with the given settings, NAME=value, over the defaults without limits.
func newFixture(t testing.TB, settings ...string) *fixture {
	t.Helper()
	limits := []string{"LATCHKEY_LIMIT_LOGIN=off", "LATCHKEY_LIMIT_REGISTER=off", "LATCHKEY_LIMIT_REFRESH=off"}
	settings = append(limits, settings...)
	c, err := config.Load(settings, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{
		config: c, clock: &clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)},
		registry: prometheus.NewRegistry(), logs: &lockedBuffer{}, draining: make(chan struct{}),
	}
	f.store = storetest.OpenURL(t, "sqlite:"+filepath.Join(t.TempDir(), "latchkey.db"))
	key, err := token.NewKey(f.clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	f.keys = token.Keys{key}
	access, err := token.NewIssuer(f.keys, c.Issuer, c.Audience, f.clock.Now)
	if err != nil {
		t.Fatal(err)
	}
	refresh, err := token.NewRefreshKeys(token.NewSecret())
	if err != nil {
		t.Fatal(err)
	}
	jwks, err := f.keys.JWKS()
	if err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.NewJSONHandler(f.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	log := audit.New(logger, f.registry)
	f.sessions = session.NewService(session.Options{
		Policy:    session.Policy{Grace: c.RefreshGrace, Idle: c.RefreshTokenTTL, Absolute: c.SessionTTL},
		AccessTTL: c.AccessTokenTTL, RevocationDelay: c.RevocationDelay, MaxPerUser: c.MaxSessions, Now: f.clock.Now,
	}, f.store, access, refresh, log)
	f.accounts = account.NewService(f.store, password.NewHasher(c.HashConcurrency), f.sessions, log, f.clock.Now)
	f.Server = httptest.NewServer(New(Dependencies{
		Config: c, Store: f.store, Accounts: f.accounts, Sessions: f.sessions, Audit: log, Logger: logger,
		JWKS: jwks, Draining: f.draining, Now: f.clock.Now,
	}))
	t.Cleanup(f.Close)
	return f
}

// clock is a clock that stands still until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// answer is a whole response.
type answer struct {
	*http.Response
	body string
}

// do sends a request without following redirects. Headers are pairs of name and value.
func (f *fixture) do(t testing.TB, method, path, body string, headers ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, f.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return f.send(t, r)
}

func (f *fixture) send(t testing.TB, r *http.Request) answer {
	t.Helper()
	client := *f.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	all, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response, string(all)}
}
