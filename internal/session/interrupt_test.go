package session_test

import (
	"errors"
	"testing"
	"time"

	"latchkey/internal/session"
)

// Another replica moves the session between a refresh's read and its write: the refresh must decide again, on what is
// there now, and not write what it decided on what it had read.
func TestRefreshDecidesAgainWhenAnotherRequestCameBetween(t *testing.T) {
	// The session is in its second generation, not acknowledged and past the grace: the parent would recover.
	type state struct {
		w               *world
		parent, current session.Grant
	}
	use := func(s state) error {
		_, err := s.w.replicas[1].Authenticate(t.Context(), s.current.AccessToken)
		return err
	}
	refresh := func(token func(state) string) func(state) error {
		return func(s state) error {
			_, err := s.w.replicas[1].Refresh(t.Context(), token(s))
			return err
		}
	}
	parent := func(s state) string { return s.parent.RefreshToken }
	current := func(s state) string { return s.current.RefreshToken }
	for name, tc := range map[string]struct {
		presented      func(state) string
		between        func(state) error
		late           time.Duration // beyond the grace
		answered       bool
		generation     int
		revokedBecause string
	}{
		"a recover turns into a replay, if the current generation is used":  {parent, use, 0, true, 2, ""},
		"a recover turns into a replay, if another one recovers":            {parent, refresh(parent), 0, true, 3, ""},
		"a recover turns into a replay, if the current token is repeated":   {parent, refresh(current), 0, true, 2, ""},
		"a recover turns into reuse, if the current token is rotated":       {parent, refresh(current), time.Hour, false, 3, "reuse"},
		"a rotation turns into a replay, if another one rotates":            {current, refresh(current), time.Hour, true, 3, ""},
		"a rotation turns into a repeat, if the current generation is used": {current, use, 9 * time.Minute, true, 2, ""},
		"a rotation turns into a repeat, if the parent recovers":            {current, refresh(parent), time.Hour, true, 3, ""},
		"a recover turns into a refusal, if the session ends": {parent, func(s state) error {
			return s.w.replicas[1].Logout(t.Context(), s.parent.RefreshToken, "")
		}, 0, false, 2, session.ReasonLogout},
		"a rotation turns into a refusal, if reuse ends the session": {current, func(s state) error {
			if err := use(s); err != nil {
				return err
			}
			s.w.clock.advance(grace + time.Millisecond)
			if _, err := s.w.replicas[1].Refresh(t.Context(), s.parent.RefreshToken); !errors.Is(err, session.ErrInvalidRefresh) {
				return errors.New("reuse was answered")
			}
			return nil
		}, 0, false, 2, "reuse"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 2, nil)
			s := state{w: w, parent: w.login(t)}
			s.current = w.mustRefresh(t, s.parent.RefreshToken)
			w.clock.advance(grace + time.Millisecond + tc.late)
			w.clock.interrupt = func() {
				if err := tc.between(s); err != nil {
					t.Errorf("the other request: %v", err)
				}
			}
			_, err := w.replicas[0].Refresh(t.Context(), tc.presented(s))
			if !tc.answered && !errors.Is(err, session.ErrInvalidRefresh) || tc.answered && err != nil {
				t.Errorf("refresh: %v, want answered: %v", err, tc.answered)
			}
			if row := w.row(t, s.parent.RefreshToken); row.Generation != tc.generation || row.RevokedReason != tc.revokedBecause {
				t.Errorf("generation %d, revoked %q; want generation %d, revoked %q",
					row.Generation, row.RevokedReason, tc.generation, tc.revokedBecause)
			}
		})
	}
	t.Run("an unknown session, if its user is deleted", func(t *testing.T) {
		w := newWorld(t, 2, nil)
		first := w.login(t).RefreshToken
		id := w.row(t, first).UserID
		w.clock.interrupt = func() {
			if err := w.store.DeleteUser(t.Context(), id); err != nil {
				t.Error(err)
			}
		}
		if _, err := w.replicas[0].Refresh(t.Context(), first); !errors.Is(err, session.ErrInvalidRefresh) {
			t.Errorf("%v, want ErrInvalidRefresh", err)
		}
	})
}
