package session

import (
	"context"
	"errors"
	"fmt"

	"latchkey/internal/audit"
	"latchkey/internal/store"
)

// Refresh answers a presented refresh token by the protocol: at most one read and one conditional write, unless others
// move the session at the same moment. ErrInvalidRefresh: it was refused.
func (s *Service) Refresh(ctx context.Context, presented string) (Grant, error) {
	held, err := s.refresh.Parse(presented)
	if err != nil {
		return Grant{}, s.refuseRefresh(ctx, "malformed", audit.Event{})
	}
	successor := s.refresh.Successor(held)
	for range maxAttempts {
		row, err := s.store.SessionByID(ctx, held.SessionID)
		if errors.Is(err, store.ErrNotFound) {
			return Grant{}, s.refuseRefresh(ctx, "unknown", audit.Event{SessionID: held.SessionID})
		}
		if err != nil {
			return Grant{}, err
		}
		at := s.clock.read()
		now := at.wall
		outcome, next := s.options.Decide(row, held.Hash(), successor.Hash(), now, at.agesOf(row.Session))
		moved, err := s.advance(ctx, outcome, row.Session, next)
		if err != nil {
			return Grant{}, err
		}
		if !moved {
			continue
		}
		event := audit.Event{Action: audit.Refresh, Result: string(outcome), UserID: row.UserID, SessionID: row.ID}
		switch outcome {
		case Rotate, Replay, Recover: // in each of them what follows the presented token is the current one
			if outcome == Recover {
				s.memory.forget(row.ID) // the access tokens of the lost answer are not to be honoured any more
			}
			s.audit.Record(ctx, event)
			return s.grant(next, row.Roles, s.refresh.Encode(successor), now)
		case Repeat:
			s.audit.Record(ctx, event)
			return s.grant(next, row.Roles, "", now)
		case Reuse:
			s.memory.forget(row.ID)
			s.audit.Record(ctx, audit.Event{Action: audit.Reuse, Result: "revoked", UserID: row.UserID, SessionID: row.ID})
		}
		return Grant{}, s.refuseRefresh(ctx, string(outcome), event)
	}
	return Grant{}, fmt.Errorf("%w: session %s kept moving", store.ErrUnavailable, held.SessionID)
}

// advance makes the write that an outcome asks for, if it asks for one; false says that another request came first.
func (s *Service) advance(ctx context.Context, outcome Outcome, from, to store.Session) (bool, error) {
	switch outcome {
	case Rotate, Recover, Reuse:
	case Repeat:
		if from.AcknowledgedAt == to.AcknowledgedAt {
			return true, nil
		}
	default:
		return true, nil
	}
	return s.store.AdvanceSession(ctx, from, to)
}

func (s *Service) refuseRefresh(ctx context.Context, cause string, e audit.Event) error {
	e.Action, e.Result = audit.Refresh, cause
	s.audit.Record(ctx, e)
	return ErrInvalidRefresh
}
