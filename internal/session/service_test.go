package session_test

import (
	"database/sql"
	"errors"
	"testing"
	"time"

	"latchkey/internal/audit"
	"latchkey/internal/session"
	"latchkey/internal/store"
)

var client = session.Client{UserAgent: "test", IP: "192.0.2.1"}

func TestStartGrantsByThePolicy(t *testing.T) {
	w := newWorld(t, 1, nil)
	u := w.user(t)
	grant := w.start(t, u)
	if grant.ExpiresIn != accessTTL || grant.RefreshExpiresIn != idle {
		t.Errorf("expires in %s and %s, want %s and %s", grant.ExpiresIn, grant.RefreshExpiresIn, accessTTL, idle)
	}
	held, err := w.access.Verify(grant.AccessToken)
	if err != nil {
		t.Fatal(err)
	}
	if held.UserID != u.ID || held.Generation != 1 || held.SessionID != w.sessionID(t, grant.RefreshToken) ||
		len(held.Roles) != 1 || held.Roles[0] != "user" {
		t.Errorf("the access token says %+v", held)
	}
	p := w.mustUse(t, grant.AccessToken)
	if p.UserID != u.ID || p.SessionID != held.SessionID || p.Username != u.Username || !p.CreatedAt.Equal(u.CreatedAt) {
		t.Errorf("the principal is %+v", p)
	}
	if w.counted(t, audit.Login, "ok") != 1 {
		t.Error("the sign-in was not counted")
	}
}

func TestGrantsEndWithTheAbsoluteLimit(t *testing.T) {
	for _, left := range []time.Duration{idle + time.Hour, idle - time.Hour, accessTTL + time.Second, accessTTL - time.Second, 2 * time.Second} {
		t.Run(left.String()+" before it", func(t *testing.T) {
			w := newWorld(t, 1, nil)
			grant := w.login(t)
			end := w.clock.Now().Add(absolute)
			for w.clock.Now().Add(idle - time.Hour).Before(end.Add(-left)) {
				w.clock.advance(idle - time.Hour)
				grant = w.mustRefresh(t, grant.RefreshToken)
			}
			w.clock.set(end.Add(-left))
			grant = w.mustRefresh(t, grant.RefreshToken)
			held, err := w.access.Verify(grant.AccessToken)
			if err != nil {
				t.Fatal(err)
			}
			if held.ExpiresAt.After(end) {
				t.Errorf("the access token outlives the session by %s", held.ExpiresAt.Sub(end))
			}
			if want := min(accessTTL, left); grant.ExpiresIn != want {
				t.Errorf("the access token expires in %s, want %s", grant.ExpiresIn, want)
			}
			if want := min(idle, left); grant.RefreshExpiresIn != want {
				t.Errorf("the session expires in %s, want %s", grant.RefreshExpiresIn, want)
			}
		})
	}
}

func TestStartRefusesCredentialsThatChangedMeanwhile(t *testing.T) {
	for name, change := range map[string]func(*world, store.User) error{
		"the password": func(w *world, u store.User) error {
			_, err := w.store.SetPasswordHash(t.Context(), u.ID, u.PasswordHash, "$other")
			return err
		},
		"the account, disabled": func(w *world, u store.User) error {
			return w.store.SetDisabled(t.Context(), u.ID, sql.NullTime{Time: w.clock.Now(), Valid: true})
		},
		"the account, deleted": func(w *world, u store.User) error { return w.store.DeleteUser(t.Context(), u.ID) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1, nil)
			u := w.user(t)
			held := w.login(t)
			if err := change(w, u); err != nil {
				t.Fatal(err)
			}
			before := w.dump(t)
			_, err := w.replicas[0].Start(t.Context(), u, client, held.RefreshToken)
			if !errors.Is(err, session.ErrCredentialsChanged) {
				t.Errorf("%v, want ErrCredentialsChanged", err)
			}
			wantUnchanged(t, w, before) // nor was the session replaced that the browser held
		})
	}
}

func TestStartReplacesTheSessionThatTheBrowserHeld(t *testing.T) {
	w := newWorld(t, 1, nil)
	u := w.user(t)
	held, other := w.start(t, u), w.start(t, u)
	w.mustUse(t, held.AccessToken)
	if _, err := w.replicas[0].Start(t.Context(), u, client, held.RefreshToken); err != nil {
		t.Fatal(err)
	}
	if _, err := w.replicas[0].Authenticate(t.Context(), held.AccessToken); !errors.Is(err, session.ErrInvalidAccess) {
		t.Errorf("the replaced session: %v, want a refusal at once", err)
	}
	if reason := w.row(t, held.RefreshToken).RevokedReason; reason != session.ReasonReplaced {
		t.Errorf("it ended for %q", reason)
	}
	w.mustUse(t, other.AccessToken)
	if n := w.counted(t, audit.End, session.ReasonReplaced); n != 1 {
		t.Errorf("counted %d times, want once", n)
	}
}

func TestStartEndsTheOldestSessionBeyondTheLimit(t *testing.T) {
	const most = 3
	limited := func(o *session.Options) { o.MaxPerUser = most }
	t.Run("in the order of the sign-ins", func(t *testing.T) {
		w := newWorld(t, 1, limited)
		u, stranger := w.user(t), w.login(t)
		var grants []session.Grant
		for i := range 2 * most {
			w.clock.advance(time.Second)
			grants = append(grants, w.start(t, u))
			for j, g := range grants {
				_, err := w.replicas[0].Authenticate(t.Context(), g.AccessToken)
				if lives := j > i-most; lives != (err == nil) {
					t.Errorf("after sign-in %d, session %d: %v", i, j, err)
				}
			}
		}
		w.mustUse(t, stranger.AccessToken)
		if n := w.counted(t, audit.End, session.ReasonLimit); n != most {
			t.Errorf("counted %d times, want %d", n, most)
		}
	})
	t.Run("counting only those that live", func(t *testing.T) {
		w := newWorld(t, 1, limited)
		u := w.user(t)
		kept := w.start(t, u)
		for range most - 1 { // two that nobody comes back to
			w.start(t, u)
		}
		w.clock.advance(idle - time.Hour)
		kept = w.mustRefresh(t, kept.RefreshToken)
		w.clock.advance(2 * time.Hour)
		w.start(t, u)
		if row := w.row(t, kept.RefreshToken); row.RevokedAt.Valid {
			t.Errorf("the second live session ended the first for %q: those past the idle limit counted", row.RevokedReason)
		}
	})
	t.Run("but never the one that begins, on a clock set back", func(t *testing.T) {
		w := newWorld(t, 1, limited)
		u := w.user(t)
		for range most {
			w.start(t, u)
		}
		w.clock.advance(-time.Second)
		if row := w.row(t, w.start(t, u).RefreshToken); row.RevokedAt.Valid {
			t.Errorf("the new session ended as it began, for %q", row.RevokedReason)
		}
	})
}

func TestRefreshCountsEachOutcome(t *testing.T) {
	w := newWorld(t, 1, nil)
	s := w.replicas[0]
	refused := func(token string) {
		t.Helper()
		if _, err := s.Refresh(t.Context(), token); !errors.Is(err, session.ErrInvalidRefresh) {
			t.Errorf("%v, want ErrInvalidRefresh", err)
		}
	}
	first := w.login(t).RefreshToken
	second := w.mustRefresh(t, first)              // rotate
	replay := w.mustRefresh(t, first)              // replay
	w.mustRefresh(t, second.RefreshToken)          // repeat, which acknowledges
	w.clock.advance(grace + time.Millisecond)      //
	third := w.mustRefresh(t, replay.RefreshToken) // rotate
	w.clock.advance(grace + time.Millisecond)
	recovered := w.mustRefresh(t, second.RefreshToken) // recover
	if recovered.RefreshToken != third.RefreshToken || replay.RefreshToken != second.RefreshToken {
		t.Error("a retry was answered with another successor")
	}
	refused("")
	refused("junk")
	refused(first) // reuse
	refused(first) // revoked

	if err := w.store.DeleteUser(t.Context(), w.row(t, first).UserID); err != nil {
		t.Fatal(err)
	}
	refused(first) // unknown

	disabled := w.login(t).RefreshToken
	now := sql.NullTime{Time: w.clock.Now(), Valid: true}
	if err := w.store.SetDisabled(t.Context(), w.row(t, disabled).UserID, now); err != nil {
		t.Fatal(err)
	}
	refused(disabled)
	idled := w.login(t).RefreshToken
	w.clock.advance(idle)
	refused(idled)
	w.clock.advance(absolute - idle)
	refused(idled)

	for result, want := range map[string]int{
		"rotate": 2, "replay": 1, "repeat": 1, "recover": 1, "malformed": 2, "reuse": 1, "revoked": 1, "unknown": 1,
		"user_disabled": 1, "idle_limit": 1, "absolute_limit": 1,
	} {
		if n := w.counted(t, audit.Refresh, result); n != want {
			t.Errorf("%s was counted %d times, want %d", result, n, want)
		}
	}
	if n := w.counted(t, audit.Reuse, "revoked"); n != 1 {
		t.Errorf("the alarm was counted %d times, want once", n)
	}
}

func TestLogoutEndsWhatIsNamed(t *testing.T) {
	for name, tc := range map[string]struct {
		refresh, access bool // whether each is presented
		pause           time.Duration
		ends            bool
	}{
		"by the cookie":                      {refresh: true, ends: true},
		"by the bearer":                      {access: true, ends: true},
		"by both":                            {refresh: true, access: true, ends: true},
		"by a bearer that expired yesterday": {access: true, pause: 24 * time.Hour, ends: true},
		"nothing, by junk":                   {},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1, nil)
			grant, bystander := w.login(t), w.login(t)
			w.clock.advance(tc.pause)
			refresh, access := "junk", "junk"
			if tc.refresh {
				refresh = grant.RefreshToken
			}
			if tc.access {
				access = grant.AccessToken
			}
			for range 2 { // the second time there is nothing left to end, which is no error
				if err := w.replicas[0].Logout(t.Context(), refresh, access); err != nil {
					t.Fatal(err)
				}
			}
			row := w.row(t, grant.RefreshToken)
			if row.RevokedAt.Valid != tc.ends || tc.ends && row.RevokedReason != session.ReasonLogout {
				t.Errorf("revoked: %v for %q, want %v", row.RevokedAt.Valid, row.RevokedReason, tc.ends)
			}
			if w.row(t, bystander.RefreshToken).RevokedAt.Valid {
				t.Error("another session ended")
			}
			want := 0
			if tc.ends {
				want = 1
			}
			if n := w.counted(t, audit.End, session.ReasonLogout); n != want {
				t.Errorf("counted %d times, want %d", n, want)
			}
		})
	}
	t.Run("both sessions, where cookie and bearer name two", func(t *testing.T) {
		w := newWorld(t, 1, nil)
		one, two := w.login(t), w.login(t)
		if err := w.replicas[0].Logout(t.Context(), one.RefreshToken, two.AccessToken); err != nil {
			t.Fatal(err)
		}
		if !w.row(t, one.RefreshToken).RevokedAt.Valid || !w.row(t, two.RefreshToken).RevokedAt.Valid {
			t.Error("one of them lives")
		}
	})
}

func TestADatabaseThatIsAwayRefusesNobody(t *testing.T) {
	w := newWorld(t, 1, nil)
	u := w.user(t)
	grant := w.start(t, u)
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	_, startErr := w.replicas[0].Start(t.Context(), u, client, "")
	_, refreshErr := w.replicas[0].Refresh(t.Context(), grant.RefreshToken)
	_, useErr := w.replicas[0].Authenticate(t.Context(), grant.AccessToken)
	for name, err := range map[string]error{
		"start": startErr, "refresh": refreshErr, "authenticate": useErr,
		"logout": w.replicas[0].Logout(t.Context(), grant.RefreshToken, ""),
	} {
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s: %v, want ErrUnavailable", name, err)
		}
	}
}
