package session_test

import (
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"latchkey/internal/audit"
	"latchkey/internal/session"
	"latchkey/internal/store"
	"latchkey/internal/store/storetest"
	"latchkey/internal/token"
)

// bearer signs an access token for a session as the service would, of any generation.
func (w *world) bearer(t tester, s store.Session, generation int) string {
	t.Helper()
	raw, err := w.access.Sign(token.Access{
		UserID: s.UserID, SessionID: s.ID, Generation: generation, ExpiresAt: w.clock.Now().Add(accessTTL).Truncate(time.Second),
	})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestAuthenticateRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		arrange func(*testing.T, *world, store.Session)
		cause   string
	}{
		"a session that is revoked": {func(t *testing.T, w *world, s store.Session) {
			if _, err := w.store.RevokeSession(t.Context(), s.ID, session.ReasonAdmin, w.clock.Now()); err != nil {
				t.Fatal(err)
			}
		}, "revoked"},
		"a session at its idle limit":     {func(_ *testing.T, w *world, _ store.Session) { w.clock.advance(idle) }, "idle_limit"},
		"a session at its absolute limit": {func(_ *testing.T, w *world, _ store.Session) { w.clock.advance(absolute) }, "absolute_limit"},
		"a session whose user is disabled": {func(t *testing.T, w *world, s store.Session) {
			if err := w.store.SetDisabled(t.Context(), s.UserID, sql.NullTime{Time: w.clock.Now(), Valid: true}); err != nil {
				t.Fatal(err)
			}
		}, "user_disabled"},
		"a session whose user is deleted": {func(t *testing.T, w *world, s store.Session) {
			if err := w.store.DeleteUser(t.Context(), s.UserID); err != nil {
				t.Fatal(err)
			}
		}, "unknown_session"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1, nil)
			s := w.row(t, w.login(t).RefreshToken).Session
			tc.arrange(t, w, s)
			before := w.dump(t)
			if _, err := w.replicas[0].Authenticate(t.Context(), w.bearer(t, s, 1)); !errors.Is(err, session.ErrInvalidAccess) {
				t.Errorf("%v, want ErrInvalidAccess", err)
			}
			if n := w.counted(t, audit.Verify, tc.cause); n != 1 {
				t.Errorf("counted %d times as %s, want once", n, tc.cause)
			}
			wantUnchanged(t, w, before)
		})
	}
	t.Run("a session that is gone", func(t *testing.T) {
		w := newWorld(t, 1, nil)
		raw := w.bearer(t, store.Session{ID: uuid.New(), UserID: uuid.New()}, 1)
		if _, err := w.replicas[0].Authenticate(t.Context(), raw); !errors.Is(err, session.ErrInvalidAccess) {
			t.Errorf("%v, want ErrInvalidAccess", err)
		}
	})
	t.Run("a token that names another user", func(t *testing.T) {
		w := newWorld(t, 1, nil)
		s := w.row(t, w.login(t).RefreshToken).Session
		s.UserID = uuid.New()
		if _, err := w.replicas[0].Authenticate(t.Context(), w.bearer(t, s, 1)); !errors.Is(err, session.ErrInvalidAccess) {
			t.Errorf("%v, want ErrInvalidAccess", err)
		}
	})
	t.Run("junk, without a query", func(t *testing.T) {
		w := newCountedWorld(t, nil)
		w.counts.Take()
		if _, err := w.replicas[0].Authenticate(t.Context(), "junk"); !errors.Is(err, session.ErrInvalidAccess) {
			t.Errorf("%v, want ErrInvalidAccess", err)
		}
		if got := w.counts.Take(); got != (storetest.Count{}) {
			t.Errorf("it cost %+v", got)
		}
	})
}

func TestAuthenticateByGeneration(t *testing.T) {
	for name, tc := range map[string]struct {
		generation                   int
		acknowledged                 bool
		accepted, wantAcknowledgedAt bool
	}{
		"one below the oldest that is honoured is refused":      {generation: 2},
		"the oldest that is honoured goes on":                   {generation: 3, accepted: true},
		"the one before the current goes on":                    {generation: 4, accepted: true},
		"the current one acknowledges":                          {generation: 5, accepted: true, wantAcknowledgedAt: true},
		"the current one, acknowledged, goes on":                {generation: 5, acknowledged: true, accepted: true},
		"one below the oldest is refused although acknowledged": {generation: 2, acknowledged: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1, nil)
			from := w.row(t, w.login(t).RefreshToken).Session
			s := from
			s.Generation, s.OldestGeneration = 5, 3
			s.AcknowledgedAt = sql.NullTime{Time: s.IssuedAt, Valid: tc.acknowledged}
			if moved, err := w.store.AdvanceSession(t.Context(), from, s); err != nil || !moved {
				t.Fatal(moved, err)
			}
			w.clock.advance(time.Minute)
			if _, err := w.replicas[0].Authenticate(t.Context(), w.bearer(t, s, tc.generation)); (err == nil) != tc.accepted {
				t.Fatalf("%v, want accepted: %v", err, tc.accepted)
			}
			row, err := w.store.SessionByID(t.Context(), s.ID)
			if err != nil {
				t.Fatal(err)
			}
			want := s.AcknowledgedAt
			if tc.wantAcknowledgedAt {
				want = sql.NullTime{Time: w.clock.Now(), Valid: true}
			}
			if row.AcknowledgedAt.Valid != want.Valid || want.Valid && !row.AcknowledgedAt.Time.Equal(want.Time) {
				t.Errorf("acknowledged at %v, want %v", row.AcknowledgedAt, want)
			}
			row.AcknowledgedAt, s.AcknowledgedAt = sql.NullTime{}, sql.NullTime{}
			if row.Generation != s.Generation || row.OldestGeneration != s.OldestGeneration || !row.IssuedAt.Equal(s.IssuedAt) ||
				row.RevokedAt.Valid || string(row.CurrentHash) != string(s.CurrentHash) {
				t.Errorf("the use changed the row to %+v", row.Session)
			}
		})
	}
}

func TestAuthenticateAcknowledgesOnceAndThenAsksOncePerDelay(t *testing.T) {
	w := newCountedWorld(t, nil)
	grant := w.login(t)
	w.counts.Take()
	for i, step := range []struct {
		pause time.Duration
		want  storetest.Count
	}{
		{0, storetest.Count{Reads: 1, Writes: 1}},
		{0, storetest.Count{}},
		{delay - time.Millisecond, storetest.Count{}},
		{time.Millisecond, storetest.Count{Reads: 1}},
		{0, storetest.Count{}},
	} {
		w.clock.advance(step.pause)
		w.mustUse(t, grant.AccessToken)
		if got := w.counts.Take(); got != step.want {
			t.Errorf("use %d cost %+v, want %+v", i, got, step.want)
		}
	}
}

func TestAuthenticateWithoutDelayAsksEachTime(t *testing.T) {
	w := newCountedWorld(t, func(o *session.Options) { o.RevocationDelay = 0 })
	grant := w.login(t)
	w.mustUse(t, grant.AccessToken)
	w.counts.Take()
	for range 3 {
		w.mustUse(t, grant.AccessToken)
		if got, want := w.counts.Take(), (storetest.Count{Reads: 1}); got != want {
			t.Errorf("a use cost %+v, want %+v", got, want)
		}
	}
}

func TestAHotTokenOutlivesTheDatabaseByNoMoreThanTheDelay(t *testing.T) {
	w := newWorld(t, 1, nil)
	grant := w.login(t)
	w.mustUse(t, grant.AccessToken)
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	w.clock.advance(delay - time.Millisecond)
	w.mustUse(t, grant.AccessToken)
	w.clock.advance(time.Millisecond)
	if _, err := w.replicas[0].Authenticate(t.Context(), grant.AccessToken); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("%v, want ErrUnavailable", err)
	}
}

func TestARevocationCountsAtOnceHereAndWithinTheDelayElsewhere(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *world, session.Grant, session.Principal) error{
		"logout with the cookie": func(t *testing.T, w *world, g session.Grant, _ session.Principal) error {
			return w.replicas[0].Logout(t.Context(), g.RefreshToken, "")
		},
		"logout with the bearer": func(t *testing.T, w *world, g session.Grant, _ session.Principal) error {
			return w.replicas[0].Logout(t.Context(), "", g.AccessToken)
		},
		"end": func(t *testing.T, w *world, _ session.Grant, p session.Principal) error {
			return w.replicas[0].End(t.Context(), p, p.SessionID)
		},
		"end of all others, by another session": func(t *testing.T, w *world, _ session.Grant, p session.Principal) error {
			p.SessionID = uuid.New()
			return w.replicas[0].EndOthers(t.Context(), p)
		},
		"reuse": func(t *testing.T, w *world, g session.Grant, _ session.Principal) error {
			second := w.mustRefresh(t, g.RefreshToken)
			w.mustUse(t, second.AccessToken)
			w.clock.advance(grace + time.Millisecond)
			for _, replica := range w.replicas {
				if _, err := replica.Authenticate(t.Context(), g.AccessToken); err != nil {
					return err
				}
			}
			if _, err := w.replicas[0].Refresh(t.Context(), g.RefreshToken); !errors.Is(err, session.ErrInvalidRefresh) {
				return errors.New("reuse was answered")
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 2, nil)
			grant := w.login(t)
			for _, replica := range w.replicas {
				if _, err := replica.Authenticate(t.Context(), grant.AccessToken); err != nil {
					t.Fatal(err)
				}
			}
			if err := end(t, w, grant, w.mustUse(t, grant.AccessToken)); err != nil {
				t.Fatal(err)
			}
			if _, err := w.replicas[0].Authenticate(t.Context(), grant.AccessToken); !errors.Is(err, session.ErrInvalidAccess) {
				t.Errorf("at once, where it was done: %v, want a refusal", err)
			}
			w.clock.advance(delay)
			if _, err := w.replicas[1].Authenticate(t.Context(), grant.AccessToken); !errors.Is(err, session.ErrInvalidAccess) {
				t.Errorf("after the delay, elsewhere: %v, want a refusal", err)
			}
		})
	}
}

func TestARoleChangeCountsAtOnceHereAndWithinTheDelayElsewhere(t *testing.T) {
	for name, uses := range map[string]func(*testing.T, *world, session.Grant){
		"after one token": func(*testing.T, *world, session.Grant) {},
		// What was read before the change must not get a second delay from an acknowledgement that comes after it.
		"after an acknowledgement late in the delay": func(t *testing.T, w *world, next session.Grant) {
			w.clock.advance(delay - time.Millisecond)
			if _, err := w.replicas[1].Authenticate(t.Context(), next.AccessToken); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 2, nil)
			first := w.login(t)
			p := w.mustUse(t, first.AccessToken)
			next := w.mustRefresh(t, first.RefreshToken)
			for _, replica := range w.replicas {
				if _, err := replica.Authenticate(t.Context(), first.AccessToken); err != nil {
					t.Fatal(err)
				}
			}
			read := w.clock.Now()
			if err := w.store.SetRoles(t.Context(), p.UserID, []string{"admin"}); err != nil {
				t.Fatal(err)
			}
			w.replicas[0].Changed(t.Context(), p.UserID, 0, "")
			if got := w.mustUse(t, first.AccessToken).Roles; len(got) != 1 || got[0] != "admin" {
				t.Errorf("at once, where it was done: roles %v", got)
			}
			uses(t, w, next)
			w.clock.set(read.Add(delay))
			got, err := w.replicas[1].Authenticate(t.Context(), next.AccessToken)
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Roles) != 1 || got.Roles[0] != "admin" {
				t.Errorf("after the delay, elsewhere: roles %v", got.Roles)
			}
		})
	}
}

func wantUnchanged(t tester, w *world, before []string) {
	t.Helper()
	after := w.dump(t)
	if len(before) != len(after) {
		t.Fatalf("the database had %d rows and has %d", len(before), len(after))
	}
	for i := range before {
		if before[i] != after[i] {
			t.Fatalf("a row changed\nfrom %s\nto   %s", before[i], after[i])
		}
	}
}

// By retrying with the parent, the client says that it never had what was issued with the lost answer.
func TestRecoverCountsAtOnceHere(t *testing.T) {
	w := newWorld(t, 1, nil)
	first := w.login(t)
	w.mustRefresh(t, first.RefreshToken) // the answer is lost
	w.clock.advance(grace + time.Millisecond)
	w.mustUse(t, first.AccessToken) // the session is remembered
	w.mustRefresh(t, first.RefreshToken)
	if _, err := w.replicas[0].Authenticate(t.Context(), first.AccessToken); !errors.Is(err, session.ErrInvalidAccess) {
		t.Errorf("an access token of before the recover: %v, want a refusal", err)
	}
}
