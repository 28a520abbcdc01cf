package store

import (
	"context"
	"database/sql"
	"strings"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"
)

// Session is one sign-in on one device. docs/rotation.md says what the fields of the protocol are for.
type Session struct {
	ID     uuid.UUID `gorm:"serializer:uuid"`
	UserID uuid.UUID `gorm:"serializer:uuid"`

	// Generation counts the issues within the session, from 1; OldestGeneration is the lowest that is honoured.
	Generation, OldestGeneration int
	// CurrentHash and ParentHash are SHA-256 of the secret that the client should hold and of the one before it, which
	// is nil in the first generation.
	CurrentHash, ParentHash []byte
	// IssuedAt is when the current generation began; the idle limit counts from it.
	IssuedAt time.Time
	// AcknowledgedAt is when the current generation was first seen in use.
	AcknowledgedAt sql.NullTime

	CreatedAt     time.Time
	RevokedAt     sql.NullTime
	RevokedReason string

	// UserAgent and IP are the client's at sign-in, at most 255 and 45 characters of ASCII.
	UserAgent, IP string
}

// OwnedSession is a session together with what its owner may do now.
type OwnedSession struct {
	Session       `gorm:"embedded"`
	Username      string
	Roles         []string `gorm:"serializer:words"`
	DisabledAt    sql.NullTime
	UserCreatedAt time.Time
}

// CreateSession adds a session of an account that is there.
func (s *Store) CreateSession(ctx context.Context, session *Session) error {
	_, err := s.write(ctx, func(db *gorm.DB) *gorm.DB { return db.Create(session) })
	return err
}

// SessionByID finds a session, ended or not, with its owner, or returns ErrNotFound. It is one read.
func (s *Store) SessionByID(ctx context.Context, id uuid.UUID) (OwnedSession, error) {
	return read(ctx, s, func(db *gorm.DB, row *OwnedSession) *gorm.DB {
		// Every refresh asks this, so GORM does not make it up each time, nor find the fields by reflection.
		db = db.Raw(`SELECT s.id, s.user_id, s.generation, s.oldest_generation, s.current_hash, s.parent_hash, s.issued_at, s.acknowledged_at,
				s.created_at, s.revoked_at, s.revoked_reason, s.user_agent, s.ip, u.username, u.roles, u.disabled_at, u.created_at
			FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.id = ?`, id[:])
		var roles string
		if columns := db.Row(); columns != nil { // else db has an error already
			_ = db.AddError(columns.Scan(&row.ID, &row.UserID, &row.Generation, &row.OldestGeneration, &row.CurrentHash, &row.ParentHash,
				&row.IssuedAt, &row.AcknowledgedAt, &row.CreatedAt, &row.RevokedAt, &row.RevokedReason, &row.UserAgent, &row.IP,
				&row.Username, &roles, &row.DisabledAt, &row.UserCreatedAt))
		}
		row.Roles = strings.Fields(roles)
		return db
	})
}

// What AdvanceSession asks, up to what it says of the acknowledgement. It stands there as it is sent, for every refresh asks it.
const (
	unmoved    = " WHERE id = ? AND generation = ? AND revoked_at IS NULL AND acknowledged_at "
	endUnmoved = "UPDATE sessions SET revoked_at = ?, revoked_reason = ?" + unmoved
	// Without revoked_at: to write it, even as it was, costs an update of the index of live sessions.
	advanceUnmoved = "UPDATE sessions SET generation = ?, oldest_generation = ?, current_hash = ?, parent_hash = ?, issued_at = ?, " +
		"acknowledged_at = ?" + unmoved
)

// AdvanceSession writes the protocol's columns of the session, as they are in to, if the row is still as it was in
// from: not revoked, the same generation, the same acknowledgement. Where to is revoked, the session ends and the rest of
// it stays. False says that somebody else moved first, and nothing changed. It is one conditional statement, exact under
// every isolation level.
func (s *Store) AdvanceSession(ctx context.Context, from, to Session) (bool, error) {
	n, err := s.write(ctx, func(db *gorm.DB) *gorm.DB {
		ends, acknowledged := to.RevokedAt.Valid, from.AcknowledgedAt.Valid
		values := []any{to.Generation, to.OldestGeneration, to.CurrentHash, to.ParentHash, to.IssuedAt, to.AcknowledgedAt}
		if ends {
			values = []any{to.RevokedAt, to.RevokedReason}
		}
		values = append(values, from.ID[:], from.Generation)
		switch {
		case ends && acknowledged:
			return db.Exec(endUnmoved+"= ?", append(values, from.AcknowledgedAt)...)
		case ends:
			return db.Exec(endUnmoved+"IS NULL", values...)
		case acknowledged:
			return db.Exec(advanceUnmoved+"= ?", append(values, from.AcknowledgedAt)...)
		default:
			return db.Exec(advanceUnmoved+"IS NULL", values...)
		}
	})
	return n == 1, err
}

// RevokeSession ends a session for good; false says that there is none, or that it had ended before.
func (s *Store) RevokeSession(ctx context.Context, id uuid.UUID, reason string, now time.Time) (bool, error) {
	n, err := s.revoke(ctx, reason, now, func(db *gorm.DB) *gorm.DB { return db.Where("id = ?", id[:]) })
	return n == 1, err
}

// RevokeUserSessions ends all sessions of a user but one (uuid.Nil: all), and returns how many: in batches, so that
// outside a transaction an error may leave some, which the next call ends.
func (s *Store) RevokeUserSessions(ctx context.Context, userID, except uuid.UUID, reason string, now time.Time) (int64, error) {
	others := func(db *gorm.DB) *gorm.DB { return db.Where("user_id = ? AND id <> ?", userID[:], except[:]) }
	return s.inBatches(ctx, func() (int64, bool, error) {
		until, all, err := s.firstSessions(ctx, func(db *gorm.DB) *gorm.DB { return others(db).Where("revoked_at IS NULL") })
		if err != nil {
			return 0, false, err
		}
		n, err := s.revoke(ctx, reason, now, func(db *gorm.DB) *gorm.DB {
			if all {
				return others(db)
			}
			return others(db).Where("created_at <= ?", until)
		})
		return n, all, err
	})
}

// RevokeAllSessions ends everybody's sessions, and returns how many: in batches, so that an error may leave some, which
// the next call ends. Of those that begin meanwhile it ends some.
func (s *Store) RevokeAllSessions(ctx context.Context, reason string, now time.Time) (int64, error) {
	var last uuid.UUID
	return s.inBatches(ctx, func() (int64, bool, error) {
		after := last
		next, err := read(ctx, s, func(db *gorm.DB, next *[]Session) *gorm.DB {
			return db.Select("id").Where("id > ?", after[:]).Order("id").Limit(batchRows).Find(next)
		})
		if err != nil || len(next) == 0 {
			return 0, true, err
		}
		last = next[len(next)-1].ID
		n, err := s.revoke(ctx, reason, now, func(db *gorm.DB) *gorm.DB {
			return db.Where("id > ? AND id <= ?", after[:], last[:])
		})
		return n, false, err
	})
}

// RevokeOldestSessions ends the oldest sessions of newest's user, so that beside newest at most keep remain of those
// that were issued after one time and began after another; it returns how many it ended, a thousand at most. Within a
// transaction that BeginLogin opened it is exact.
func (s *Store) RevokeOldestSessions(ctx context.Context, newest Session, keep int, issuedAfter, createdAfter time.Time,
	reason string, now time.Time) (ended int64, err error) {
	surplus, err := read(ctx, s, func(db *gorm.DB, surplus *[]Session) *gorm.DB {
		return db.Select("id").Where("user_id = ? AND id <> ? AND created_at > ? AND issued_at > ? AND revoked_at IS NULL",
			newest.UserID[:], newest.ID[:], createdAfter, issuedAfter).
			Order("created_at DESC, id DESC").Limit(batchRows).Offset(keep).Find(surplus)
	})
	if err != nil {
		return 0, err
	}
	if len(surplus) == 0 {
		return 0, nil
	}
	ids := make([][]byte, len(surplus)) // mostly one
	for i, oldest := range surplus {
		ids[i] = oldest.ID[:]
	}
	return s.revoke(ctx, reason, now, func(db *gorm.DB) *gorm.DB { return db.Where("id IN ?", ids) })
}

// revoke ends those of the chosen sessions that have not ended yet.
func (s *Store) revoke(ctx context.Context, reason string, now time.Time, choose func(*gorm.DB) *gorm.DB) (int64, error) {
	return s.write(ctx, func(db *gorm.DB) *gorm.DB {
		return choose(db.Model(&Session{})).Where("revoked_at IS NULL").
			Updates(map[string]any{"revoked_at": now, "revoked_reason": reason})
	})
}

// LiveSessions lists the sessions of a user that are not revoked, were issued after one time and began after another;
// newest first, at most 1000.
func (s *Store) LiveSessions(ctx context.Context, userID uuid.UUID, issuedAfter, createdAfter time.Time) ([]Session, error) {
	return read(ctx, s, func(db *gorm.DB, list *[]Session) *gorm.DB {
		return db.Where("user_id = ? AND created_at > ? AND issued_at > ? AND revoked_at IS NULL", userID[:], createdAfter, issuedAfter).
			Order("created_at DESC, id DESC").Limit(1000).Find(list)
	})
}
