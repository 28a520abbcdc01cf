package session

import (
	"context"
	"time"

	"github.com/google/uuid"
)

// Session is one of a user's live sessions, as shown to them.
type Session struct {
	ID        uuid.UUID
	CreatedAt time.Time
	// LastUsedAt is the hour of the last refresh or of the first use of what it issued, or the sign-in. ExpiresAt is when
	// the session ends unless it is refreshed before, rounded up to the hour. Both take the current session for used
	// now. More precisely, they would tell a thief, who has an access token until it expires, when the owner
	// refreshes: the moment at which a stolen token passes for a retry.
	LastUsedAt, ExpiresAt time.Time
	Client                Client
	Current               bool
}

// List returns the live sessions of the principal, newest first.
func (s *Service) List(ctx context.Context, p Principal) ([]Session, error) {
	now := s.now()
	rows, err := s.store.LiveSessions(ctx, p.UserID, now.Add(-s.options.Idle), now.Add(-s.options.Absolute))
	if err != nil {
		return nil, err
	}
	list := make([]Session, len(rows))
	for i, row := range rows {
		used := row.IssuedAt
		if row.AcknowledgedAt.Valid {
			used = later(used, row.AcknowledgedAt.Time)
		}
		used = later(row.CreatedAt, used.Truncate(time.Hour))
		if row.ID == p.SessionID {
			used, row.IssuedAt = now, now
		}
		row.IssuedAt = row.IssuedAt.Truncate(time.Hour).Add(time.Hour)
		list[i] = Session{
			ID: row.ID, CreatedAt: row.CreatedAt, LastUsedAt: used, ExpiresAt: s.options.ExpiresAt(row),
			Client: Client{UserAgent: row.UserAgent, IP: row.IP}, Current: row.ID == p.SessionID,
		}
	}
	return list, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
