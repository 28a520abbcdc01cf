package session_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"latchkey/internal/session"
)

func TestListShowsTheLiveSessionsNewestFirst(t *testing.T) {
	w := newWorld(t, 1, nil)
	u := w.user(t)
	began := w.clock.Now()
	old := w.start(t, u)
	w.login(t) // somebody else's
	w.clock.advance(time.Hour)
	ended := w.start(t, u)
	if err := w.replicas[0].Logout(t.Context(), ended.RefreshToken, ""); err != nil {
		t.Fatal(err)
	}
	newest := w.start(t, u)
	w.clock.advance(time.Minute)
	p := w.mustUse(t, newest.AccessToken)
	list, err := w.replicas[0].List(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	want := []session.Session{
		{ID: p.SessionID, CreatedAt: began.Add(time.Hour), LastUsedAt: began.Add(time.Hour + time.Minute),
			ExpiresAt: began.Add(time.Hour + idle), Client: client, Current: true},
		{ID: w.sessionID(t, old.RefreshToken), CreatedAt: began, LastUsedAt: began, ExpiresAt: began.Add(idle), Client: client},
	}
	if len(list) != 2 || list[0] != want[0] || list[1] != want[1] {
		t.Errorf("list\n%+v, want\n%+v", list, want)
	}
	for _, limit := range []time.Duration{idle - time.Hour - time.Minute, time.Hour} { // then the older one, then both are past it
		w.clock.advance(limit)
		want = want[:len(want)-1]
		if list, err = w.replicas[0].List(t.Context(), p); err != nil || len(list) != len(want) {
			t.Errorf("%d sessions are listed, want %d (%v)", len(list), len(want), err)
		}
	}
}

func TestEndEndsOnlyOnesOwnLiveSession(t *testing.T) {
	w := newWorld(t, 1, nil)
	u := w.user(t)
	mine, other, strangers := w.start(t, u), w.start(t, u), w.login(t)
	p := w.mustUse(t, mine.AccessToken)
	end := func(id uuid.UUID, want error) {
		t.Helper()
		if err := w.replicas[0].End(t.Context(), p, id); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
	end(uuid.New(), session.ErrNotFound)
	end(w.sessionID(t, strangers.RefreshToken), session.ErrNotFound)
	w.mustUse(t, strangers.AccessToken)
	end(w.sessionID(t, other.RefreshToken), nil)
	end(w.sessionID(t, other.RefreshToken), session.ErrNotFound)
	if reason := w.row(t, other.RefreshToken).RevokedReason; reason != session.ReasonEnded {
		t.Errorf("it ended for %q", reason)
	}
	idled := w.start(t, u)
	w.clock.advance(idle)
	end(w.sessionID(t, idled.RefreshToken), session.ErrNotFound)
}

func TestEndOthersKeepsTheOneThatAsks(t *testing.T) {
	w := newWorld(t, 1, nil)
	u := w.user(t)
	mine, one, two, strangers := w.start(t, u), w.start(t, u), w.start(t, u), w.login(t)
	for _, g := range []session.Grant{one, two} {
		w.mustUse(t, g.AccessToken)
	}
	if err := w.replicas[0].EndOthers(t.Context(), w.mustUse(t, mine.AccessToken)); err != nil {
		t.Fatal(err)
	}
	for _, g := range []session.Grant{one, two} {
		if _, err := w.replicas[0].Authenticate(t.Context(), g.AccessToken); !errors.Is(err, session.ErrInvalidAccess) {
			t.Errorf("another session: %v, want a refusal", err)
		}
	}
	w.mustUse(t, mine.AccessToken)
	w.mustUse(t, strangers.AccessToken)
}
