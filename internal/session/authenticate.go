package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"latchkey/internal/audit"
	"latchkey/internal/store"
)

// Principal is who makes a request, as the database says it now, or said it within the revocation delay.
type Principal struct {
	UserID, SessionID uuid.UUID
	Username          string
	Roles             []string
	CreatedAt         time.Time
}

// Authenticate says who presents an access token, and acknowledges the generation that it came with. ErrInvalidAccess:
// it was refused.
func (s *Service) Authenticate(ctx context.Context, bearer string) (Principal, error) {
	held, err := s.access.Verify(bearer)
	if err != nil {
		return Principal{}, s.refuseAccess(ctx, "invalid", audit.Event{})
	}
	event := audit.Event{UserID: held.UserID, SessionID: held.SessionID}
	here := s.clock.read()
	now := here.wall
	seen, recalled, epoch := s.memory.recall(held.SessionID, here)
	for range maxAttempts {
		if !recalled {
			seen.read = here
			seen.row, err = s.store.SessionByID(ctx, held.SessionID)
			if errors.Is(err, store.ErrNotFound) {
				return Principal{}, s.refuseAccess(ctx, "unknown_session", event)
			}
			if err != nil {
				return Principal{}, err
			}
			s.memory.remember(seen, epoch)
		}
		row := seen.row
		cause, dead := s.options.dead(row, now)
		superseded := held.Generation < row.OldestGeneration
		unacknowledged := held.Generation == row.Generation && !row.AcknowledgedAt.Valid
		// Memory never refuses anybody, and a generation that it does not know yet must be read to be acknowledged.
		if recalled && (dead || superseded || held.Generation > row.Generation) {
			recalled = false
			continue
		}
		switch {
		case held.UserID != row.UserID:
			return Principal{}, s.refuseAccess(ctx, "wrong_user", event)
		case dead:
			return Principal{}, s.refuseAccess(ctx, string(cause), event)
		case superseded:
			return Principal{}, s.refuseAccess(ctx, "superseded", event)
		case unacknowledged:
			acknowledged := row
			acknowledged.AcknowledgedAt = at(now)
			moved, err := s.store.AdvanceSession(ctx, row.Session, acknowledged.Session)
			if err != nil {
				return Principal{}, err
			}
			if !moved {
				recalled = false
				continue
			}
			// What the statement said nothing about, the roles for one, is as old as it was.
			s.memory.remember(remembered{row: acknowledged, read: seen.read}, epoch)
		}
		return Principal{
			UserID: row.UserID, SessionID: row.ID, Username: row.Username, Roles: row.Roles, CreatedAt: row.UserCreatedAt,
		}, nil
	}
	return Principal{}, fmt.Errorf("%w: session %s kept moving", store.ErrUnavailable, held.SessionID)
}

func (s *Service) refuseAccess(ctx context.Context, cause string, e audit.Event) error {
	e.Action, e.Result = audit.Verify, cause
	s.audit.Record(ctx, e)
	return ErrInvalidAccess
}
