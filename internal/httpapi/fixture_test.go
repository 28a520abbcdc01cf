package httpapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
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

// fixture is a whole server behind real HTTP on a fresh database, with a clock that the test sets. Every answer that
// passes through it is held against the API document, and its log against the secrets that it has seen.
type fixture struct {
	*httptest.Server
	config       *config.Config
	store        *store.Store
	accounts     *account.Service
	sessions     *session.Service
	keys         token.Keys
	refreshKeys  *token.RefreshKeys
	registry     *prometheus.Registry
	audit        *audit.Log
	dependencies Dependencies
	clock        *clock
	logs         *lockedBuffer
	draining     chan struct{}
	parting      chan struct{}
	seen         *seen
}

func TestMain(m *testing.M) { os.Exit(storetest.Main(m)) }

// newFixture makes a server with the given settings, NAME=value, over the defaults without limits.
func newFixture(t testing.TB, settings ...string) *fixture {
	t.Helper()
	limits := []string{"LATCHKEY_LIMIT_LOGIN=off", "LATCHKEY_LIMIT_REGISTER=off", "LATCHKEY_LIMIT_REFRESH=off"}
	if !strings.Contains(strings.Join(settings, "\n"), "LATCHKEY_DATABASE_URL=") {
		settings = append(settings, "LATCHKEY_DATABASE_URL="+storetest.URL(t))
	}
	c, err := config.Load(append(limits, settings...), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{
		config: c, clock: &clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)},
		logs: &lockedBuffer{}, seen: newSeen(),
	}
	key, err := token.NewKey(f.clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	f.keys = token.Keys{key}
	if f.refreshKeys, err = token.NewRefreshKeys([]token.RefreshSecret{{Value: token.NewSecret()}}, f.clock.Now); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // after the server was closed, for it waits for the last line
		for _, fault := range f.seen.faults(f.logs.String()) {
			t.Error(fault)
		}
	})
	f.start(t)
	return f
}

// start starts a server process, as it were: over the fixture's database, keys and clock. A second call stands for
// a restart, in which everything in memory is lost.
func (f *fixture) start(t testing.TB) {
	t.Helper()
	f.registry, f.draining, f.parting = prometheus.NewRegistry(), make(chan struct{}), make(chan struct{})
	f.store = storetest.OpenURL(t, string(f.config.DatabaseURL))
	access, err := token.NewIssuer(f.keys, f.config.Issuer, f.config.Audience, f.clock.Now)
	if err != nil {
		t.Fatal(err)
	}
	c, logger := f.config, slog.New(slog.NewJSONHandler(f.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	log := audit.New(logger, f.registry)
	f.audit = log
	log.Keep(f.clock.Now, f.store.AppendAuditEvents)
	opened := f.store
	t.Cleanup(func() { // when the server has been closed, and its store has not
		f.closeAudit(t, log)
		for _, fault := range f.seen.faultsInTable(opened) {
			t.Error(fault)
		}
	})
	f.sessions = session.NewService(session.Options{
		Policy:    session.Policy{Grace: c.RefreshGrace, Idle: c.RefreshTokenTTL, Absolute: c.SessionTTL},
		AccessTTL: c.AccessTokenTTL, RevocationDelay: c.RevocationDelay, MaxPerUser: c.MaxSessions,
		Now: f.clock.Now, Elapsed: f.clock.Elapsed,
	}, f.store, access, f.refreshKeys, log)
	f.accounts = account.NewService(account.Dependencies{
		Store: f.store, Hasher: password.NewHasher(c.HashConcurrency),
		Policy:   password.NewPolicy(c.PasswordMinLength, "latchkey", c.PublicURL.Hostname()),
		Sessions: f.sessions, Names: f.refreshKeys, Audit: log, Now: f.clock.Now,
	})
	f.dependencies = Dependencies{
		Config: c, Store: f.store, Accounts: f.accounts, Sessions: f.sessions, Audit: log, Logger: logger,
		JWKS: access.JWKS, Draining: f.draining, Parting: f.parting, Now: f.clock.Now,
	}
	f.serve(t, New(f.dependencies))
}

// closeAudit has the events written that still wait. A test may have taken the database away.
func (f *fixture) closeAudit(t testing.TB, log *audit.Log) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
	defer cancel()
	if err := log.Close(ctx); err != nil && !errors.Is(err, audit.ErrNotKept) {
		t.Error(err)
	}
}

// serve puts a handler behind real HTTP, in the place of what was there before.
func (f *fixture) serve(t testing.TB, h http.Handler) {
	f.Server = httptest.NewServer(h)
	t.Cleanup(f.Close)
}

// answer is a whole response.
type answer struct {
	*http.Response
	body string
}

// do sends a request without following redirects. Headers are pairs of name and value.
func (f *fixture) do(t testing.TB, method, path, body string, headers ...string) answer {
	t.Helper()
	return f.send(t, f.request(t, method, path, body, headers...))
}

func (f *fixture) request(t testing.TB, method, path, body string, headers ...string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, f.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Content-Type" {
			r.Header.Del("Content-Type")
		}
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

func (f *fixture) send(t testing.TB, r *http.Request) answer {
	t.Helper()
	a, err := f.exchange(r)
	if a.Response == nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Errorf("%s %s: %d\n%s\n%v", r.Method, r.URL.Path, a.StatusCode, a.body, err)
	}
	return a
}

// exchange is send for goroutines other than the test's own. The error says how the answer differs from the document;
// without an answer, why there is none.
func (f *fixture) exchange(r *http.Request) (answer, error) {
	client := *f.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	response, err := client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	all, err := io.ReadAll(response.Body)
	if err != nil {
		return answer{}, err
	}
	a := answer{response, string(all)}
	f.seen.note(a)
	return a, f.check(a)
}

// check holds an answer against the document, and against what the document cannot say.
func (f *fixture) check(a answer) error {
	d, err := document()
	if err != nil {
		return err
	}
	return errors.Join(d.check(a), checkHeaders(a, f.config.SecureCookies()))
}

// parallel sends the requests all at once and returns the answers in the same order.
func (f *fixture) parallel(t testing.TB, requests []*http.Request) []answer {
	t.Helper()
	answers, faults := make([]answer, len(requests)), make([]error, len(requests))
	start := make(chan struct{})
	var group sync.WaitGroup
	for i, r := range requests {
		group.Go(func() {
			<-start
			answers[i], faults[i] = f.exchange(r)
		})
	}
	close(start)
	group.Wait()
	if err := errors.Join(faults...); err != nil {
		t.Fatal(err)
	}
	return answers
}

// clock is a clock that stands still until it is moved.
type clock struct {
	mu      sync.Mutex
	now     time.Time
	elapsed time.Duration
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Elapsed is the time that has passed, however the clock was set.
func (c *clock) Elapsed() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.elapsed
}

// advance lets time pass.
func (c *clock) advance(d time.Duration) {
	c.step(d)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.elapsed += max(0, d)
}

// step sets the clock while no time passes.
func (c *clock) step(d time.Duration) {
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
