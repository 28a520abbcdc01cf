package session

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"latchkey/internal/audit"
	"latchkey/internal/store"
)

// Logout ends the sessions of a refresh token and of an access token, either of which may be "", expired or junk: what
// names no session ends none. An expired access token still ends its session: whoever logs out must not stay signed in.
func (s *Service) Logout(ctx context.Context, refreshToken, accessToken string) error {
	if held, err := s.refresh.Parse(refreshToken); err == nil {
		if _, err := s.end(ctx, held.SessionID, ReasonLogout); err != nil {
			return err
		}
	}
	if held, err := s.access.VerifyIgnoringTime(accessToken); err == nil {
		if _, err := s.end(ctx, held.SessionID, ReasonLogout); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) end(ctx context.Context, id uuid.UUID, reason string) (bool, error) {
	ended, err := s.store.RevokeSession(ctx, id, reason, s.now())
	s.memory.forget(id)
	if ended {
		s.recordEnd(ctx, id, reason)
	}
	return ended, err
}

// recordEnd records the end of a session under its user, whom a refresh token does not name. If the database does not
// tell, the session has ended all the same.
func (s *Service) recordEnd(ctx context.Context, id uuid.UUID, reason string) {
	event := audit.Event{Action: audit.End, Result: reason, SessionID: id}
	if row, err := s.store.SessionByID(ctx, id); err == nil {
		event.UserID = row.UserID
	}
	s.audit.Record(ctx, event)
}

// End ends a live session of the principal's, or returns ErrNotFound, also for one of another user's.
func (s *Service) End(ctx context.Context, p Principal, id uuid.UUID) error {
	row, err := s.store.SessionByID(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return ErrNotFound
	}
	if err != nil {
		return err
	}
	if _, dead := s.options.dead(row, s.now()); dead || row.UserID != p.UserID {
		return ErrNotFound
	}
	ended, err := s.end(ctx, id, ReasonEnded)
	if err == nil && !ended {
		return ErrNotFound
	}
	return err
}

// EndOthers ends every session of the principal but the one that asks.
func (s *Service) EndOthers(ctx context.Context, p Principal) error {
	n, err := s.store.RevokeUserSessions(ctx, p.UserID, p.SessionID, ReasonEnded, s.now())
	s.Changed(ctx, p.UserID, n, ReasonEnded) // an error may hide that they ended, and another server may have ended them before
	return err
}

// Changed makes a change of a user's roles, account or sessions, which this process has committed, take effect here at
// once. n is how many sessions ended with it, for the audit log; userID is the nil UUID if they were everybody's.
func (s *Service) Changed(ctx context.Context, userID uuid.UUID, n int64, reason string) {
	s.memory.forgetUser(userID)
	if n > 0 {
		s.audit.Record(ctx, audit.Event{Action: audit.End, Result: reason, UserID: userID})
	}
}
