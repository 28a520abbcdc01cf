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
			ExpiresAt: nextHour(began.Add(time.Hour + time.Minute + idle)), Client: client, Current: true},
		{ID: w.sessionID(t, old.RefreshToken), CreatedAt: began, LastUsedAt: began, ExpiresAt: nextHour(began.Add(idle)), Client: client},
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

func nextHour(t time.Time) time.Time { return t.Truncate(time.Hour).Add(time.Hour) }

// A thief with a stolen refresh token is taken for a retry if it comes within the grace of the owner's refresh. The list
// must not tell it when that is.
func TestListDoesNotTellWhenTheOwnerRefreshes(t *testing.T) {
	w := newWorld(t, 1, nil)
	u := w.user(t)
	other := w.start(t, u)
	stolen := w.mustRefresh(t, w.start(t, u).RefreshToken)
	for _, p := range []session.Principal{w.mustUse(t, stolen.AccessToken), w.mustUse(t, other.AccessToken)} {
		w.clock.advance(grace + time.Millisecond)
		seen := func() session.Session {
			list, err := w.replicas[0].List(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range list {
				if s.ID == w.sessionID(t, stolen.RefreshToken) {
					if s.Current {
						s.LastUsedAt = time.Time{} // the time of this very request
					}
					return s
				}
			}
			t.Fatal("the session is not listed")
			return session.Session{}
		}
		before := seen()
		owners := w.mustRefresh(t, stolen.RefreshToken)
		w.mustUse(t, owners.AccessToken)
		if after := seen(); after != before {
			t.Errorf("before the refresh\n%+v, after it\n%+v", before, after)
		}
		stolen = owners
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
