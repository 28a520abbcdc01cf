package retention

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	_ "modernc.org/sqlite" // puts a fault into the file without our own code

	"latchkey/internal/account"
	"latchkey/internal/audit"
	"latchkey/internal/session"
	"latchkey/internal/store"
	"latchkey/internal/store/storetest"
	"latchkey/internal/token"
)

func TestSessionsGoAfterTheirLimitAndNotBefore(t *testing.T) {
	revoked := func(s *store.Session) { s.RevokedAt, s.RevokedReason = at(s.CreatedAt.Add(time.Hour)), "logout" }
	refreshed := func(s *store.Session) { s.IssuedAt, s.Generation = testTime, 9 }
	type row struct {
		age    time.Duration
		change func(*store.Session)
		goes   bool
	}
	const later = time.Millisecond
	for ttl, rows := range map[time.Duration]map[string]row{
		sessionTTL: {
			"a new one":                             {0, nil, false},
			"one at its limit":                      {sessionTTL, nil, false},
			"one beyond it":                         {sessionTTL + later, nil, true},
			"one beyond it, refreshed all the time": {sessionTTL + later, refreshed, true},
			"one that has ended, at the limit":      {sessionTTL, revoked, false},
			"one that has ended, beyond it":         {sessionTTL + later, revoked, true},
		},
		time.Hour: { // a network is familiar for longer than such a session lives
			"a new one":                       {0, nil, false},
			"one of a familiar network":       {account.FamiliarTime, nil, false},
			"one that has ended, of such":     {account.FamiliarTime, revoked, false},
			"one whose network is forgotten":  {account.FamiliarTime + later, nil, true},
			"one that has ended, of such one": {account.FamiliarTime + later, revoked, true},
		},
	} {
		st := storetest.Open(t)
		user := createUser(t, st)
		ids, want := map[string]uuid.UUID{}, int64(0)
		for name, row := range rows {
			ids[name] = addSession(t, st, user.ID, testTime.Add(-row.age), row.change)
			if row.goes {
				want++
			}
		}
		now := func() time.Time { return testTime }
		if d := mustPurge(t, New(Options{SessionTTL: ttl, Now: now}, st, prometheus.NewRegistry())); d.Sessions != want {
			t.Errorf("with a limit of %s it deleted %d, want %d", ttl, d.Sessions, want)
		}
		for name, row := range rows {
			_, err := st.SessionByID(t.Context(), ids[name])
			if gone := errors.Is(err, store.ErrNotFound); gone != row.goes {
				t.Errorf("with a limit of %s %s is gone: %t, want %t", ttl, name, gone, row.goes)
			}
		}
	}
}

// Until the absolute limit a token that was used up raises the alarm, however often rows were deleted meanwhile.
func TestStolenTokenRaisesTheAlarmUntilTheLimit(t *testing.T) {
	c := &clock{now: testTime}
	st := storetest.Open(t)
	user := createUser(t, st)
	key, err := token.NewKey(testTime)
	if err != nil {
		t.Fatal(err)
	}
	access, err := token.NewIssuer(token.Keys{key}, "issuer", "audience", c.Now)
	if err != nil {
		t.Fatal(err)
	}
	refresh, err := token.NewRefreshKeys([]token.RefreshSecret{{Value: token.NewSecret()}}, c.Now)
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	sessions := session.NewService(session.Options{
		Policy: session.Policy{Idle: sessionTTL, Absolute: sessionTTL}, AccessTTL: time.Minute, MaxPerUser: 20, Now: c.Now,
	}, st, access, refresh, audit.New(slog.New(slog.DiscardHandler), registry))
	purger := newPurger(st, c.Now)
	start := func() string {
		t.Helper()
		grant, err := sessions.Start(t.Context(), user, session.Client{}, "")
		if err != nil {
			t.Fatal(err)
		}
		for held, n := grant.RefreshToken, 0; n < 2; n++ {
			next, err := sessions.Refresh(t.Context(), held)
			if err != nil {
				t.Fatal(err)
			}
			held = next.RefreshToken
		}
		return grant.RefreshToken // used up long ago
	}
	alarms := func(stolen string) int {
		t.Helper()
		if _, err := sessions.Refresh(t.Context(), stolen); !errors.Is(err, session.ErrInvalidRefresh) {
			t.Errorf("a token that was used up gives %v", err)
		}
		return counted(t, registry, string(audit.Reuse))
	}
	one, other := start(), start()
	c.set(testTime.Add(sessionTTL - time.Millisecond))
	if d := mustPurge(t, purger); d.Sessions != 0 {
		t.Errorf("just before the limit %d were deleted", d.Sessions)
	}
	if n := alarms(one); n != 1 {
		t.Errorf("just before the limit there were %d alarms, want 1", n)
	}
	c.set(testTime.Add(sessionTTL + time.Millisecond))
	if d := mustPurge(t, purger); d.Sessions != 2 {
		t.Errorf("after the limit %d were deleted, want 2", d.Sessions)
	}
	if n := alarms(other); n != 1 {
		t.Errorf("after the limit there was another alarm")
	}
}

func TestThrottlesGoWhenTheyNoLongerCount(t *testing.T) {
	st := storetest.Open(t)
	keys := map[string][]byte{
		"forgotten":          addThrottle(t, st, 1, 9, testTime.Add(-account.ForgetAfter-time.Millisecond)),
		"without failures":   addThrottle(t, st, 2, 0, testTime),
		"still counting":     addThrottle(t, st, 3, 1, testTime.Add(-account.ForgetAfter)),
		"blocked":            addThrottle(t, st, 4, 9, testTime),
		"of a clock that is": addThrottle(t, st, 5, 9, testTime.Add(time.Hour)), // ahead of this one
	}
	if d := mustPurge(t, newPurger(st, func() time.Time { return testTime })); d.LoginThrottles != 2 {
		t.Errorf("%d were deleted, want 2", d.LoginThrottles)
	}
	for name, key := range keys {
		throttle, err := st.LoginThrottle(t.Context(), key)
		if gone := throttle.ChargedAt.IsZero(); err != nil || gone != (name == "forgotten" || name == "without failures") {
			t.Errorf("the one %s is gone: %t (%v)", name, gone, err)
		}
	}
}

func TestAuditEventsGoAfterTheirTime(t *testing.T) {
	for name, test := range map[string]struct {
		kept time.Duration
		left int
	}{"90 days": {auditKept, 4}, "for ever": {0, 6}} {
		t.Run(name, func(t *testing.T) {
			st := storetest.Open(t)
			addEvents(t, st, 2, testTime.Add(-auditKept-time.Millisecond))
			addEvents(t, st, 2, testTime.Add(-auditKept))
			addEvents(t, st, 2, testTime)
			now := func() time.Time { return testTime }
			d := mustPurge(t, New(Options{SessionTTL: sessionTTL, AuditEvents: test.kept, Now: now}, st, prometheus.NewRegistry()))
			left, err := st.AuditEvents(t.Context(), store.AuditFilter{}, 100)
			if err != nil || len(left) != test.left || d.AuditEvents != int64(6-test.left) {
				t.Errorf("%d are left and %d deleted (%v), want %d left", len(left), d.AuditEvents, err, test.left)
			}
		})
	}
}

func TestManyRowsAreDeletedInBatchesAndCounted(t *testing.T) {
	st := storetest.Open(t)
	addExpired(t, st, several)
	registry := prometheus.NewRegistry()
	p := New(Options{SessionTTL: sessionTTL, AuditEvents: auditKept, Now: func() time.Time { return testTime }}, st, registry)
	if d, want := mustPurge(t, p), (Deleted{several, several, several}); d != want {
		t.Errorf("it deleted %+v, want %+v", d, want)
	}
	if d := mustPurge(t, p); d != (Deleted{}) {
		t.Errorf("and then %+v", d)
	}
	for _, table := range []string{"sessions", "login_throttles", "audit_events"} {
		if got := counted(t, registry, table); got != several {
			t.Errorf("latchkey_purged_rows_total of %s is %d, want %d", table, got, several)
		}
	}
}

func TestBatchesAreAsLargeAsTheirTimeAllows(t *testing.T) {
	for _, test := range []struct {
		size int
		took time.Duration
		want int
	}{
		{minBatch, time.Millisecond, 2 * minBatch},
		{minBatch, batchTime, minBatch},
		{2 * minBatch, time.Second, minBatch},
		{store.MaxPurge, time.Millisecond, store.MaxPurge},
		{store.MaxPurge - 1, time.Millisecond, store.MaxPurge},
		{minBatch, time.Second, minBatch},
	} {
		if got := nextSize(test.size, test.took); got != test.want {
			t.Errorf("after %d in %s the next is of %d, want %d", test.size, test.took, got, test.want)
		}
	}
}

func TestFaultInOneTableKeepsNoOtherFromBeingPurged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "latchkey.db")
	st := storetest.OpenURL(t, "sqlite:"+path)
	addExpired(t, st, 3)
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	const fault = "CREATE TRIGGER fault BEFORE DELETE ON sessions BEGIN SELECT RAISE(ABORT, 'must not be'); END"
	if _, err := db.ExecContext(t.Context(), fault); err != nil {
		t.Fatal(err)
	}
	p := newPurger(st, func() time.Time { return testTime })
	d, err := p.Purge(t.Context())
	if !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "sessions") || d != (Deleted{0, 3, 3}) {
		t.Errorf("it deleted %+v and says %v", d, err)
	}
	if _, err := db.ExecContext(t.Context(), "DROP TRIGGER fault"); err != nil {
		t.Fatal(err)
	}
	if d := mustPurge(t, p); d != (Deleted{3, 0, 0}) {
		t.Errorf("without the fault it deleted %+v", d)
	}
}

func TestPurgeStopsWithItsContext(t *testing.T) {
	st := storetest.Open(t)
	addExpired(t, st, several)
	c := &clock{now: testTime}
	ctx, cancel := context.WithCancel(t.Context())
	c.after(4, cancel)
	d, err := newPurger(st, c.Now).Purge(ctx)
	if !errors.Is(err, context.Canceled) || d.Sessions == 0 || d.Sessions == several {
		t.Errorf("it deleted %+v and says %v", d, err)
	}
	rest := mustPurge(t, newPurger(st, c.Now)) // at once: the lease was given back
	if rest.Sessions+d.Sessions != several || rest.LoginThrottles != several || rest.AuditEvents != several {
		t.Errorf("then it deleted %+v", rest)
	}
}
