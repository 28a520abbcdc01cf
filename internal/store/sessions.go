package store

import (
	"context"
	"database/sql"
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
	err := s.write.WithContext(ctx).Create(session).Error
	return wrap(err)
}

// SessionByID finds a session, ended or not, with its owner, or returns ErrNotFound. It is one read.
func (s *Store) SessionByID(ctx context.Context, id uuid.UUID) (OwnedSession, error) {
	var row OwnedSession
	err := s.read.WithContext(ctx).Table("sessions").
		Select("sessions.*, users.username, users.roles, users.disabled_at, users.created_at AS user_created_at").
		Joins("JOIN users ON users.id = sessions.user_id").
		Where("sessions.id = ?", id[:]).Take(&row).Error
	return row, wrap(err)
}

// AdvanceSession writes the protocol's columns of the session, as they are in to, if the row is still as it was in
// from: not revoked, the same generation, the same acknowledgement. False says that somebody else moved first, and
// nothing changed. It is one conditional statement, exact under every isolation level.
func (s *Store) AdvanceSession(ctx context.Context, from, to Session) (bool, error) {
	q := s.sessions(ctx).
		Where("id = ? AND generation = ? AND revoked_at IS NULL", from.ID[:], from.Generation)
	if from.AcknowledgedAt.Valid {
		q = q.Where("acknowledged_at = ?", from.AcknowledgedAt)
	} else {
		q = q.Where("acknowledged_at IS NULL")
	}
	r := q.Updates(map[string]any{
		"generation": to.Generation, "oldest_generation": to.OldestGeneration,
		"current_hash": to.CurrentHash, "parent_hash": to.ParentHash,
		"issued_at": to.IssuedAt, "acknowledged_at": to.AcknowledgedAt,
		"revoked_at": to.RevokedAt, "revoked_reason": to.RevokedReason,
	})
	return r.RowsAffected == 1, wrap(r.Error)
}

// RevokeSession ends a session for good; false says that there is none, or that it had ended before.
func (s *Store) RevokeSession(ctx context.Context, id uuid.UUID, reason string, now time.Time) (bool, error) {
	n, err := revoke(s.sessions(ctx).Where("id = ?", id[:]), reason, now)
	return n == 1, err
}

// RevokeUserSessions ends all sessions of a user but one (uuid.Nil: all), and returns how many.
func (s *Store) RevokeUserSessions(ctx context.Context, userID, except uuid.UUID, reason string, now time.Time) (int64, error) {
	return revoke(s.sessions(ctx).Where("user_id = ? AND id <> ?", userID[:], except[:]), reason, now)
}

// RevokeAllSessions ends everybody's sessions, and returns how many.
func (s *Store) RevokeAllSessions(ctx context.Context, reason string, now time.Time) (int64, error) {
	return revoke(s.sessions(ctx), reason, now)
}

// RevokeOldestSessions ends the oldest sessions of newest's user, so that beside newest at most keep remain of those
// that were issued after one time and began after another; it returns how many it ended. Within a transaction that
// BeginLogin opened it is exact.
func (s *Store) RevokeOldestSessions(ctx context.Context, newest Session, keep int, issuedAfter, createdAfter time.Time,
	reason string, now time.Time) (int64, error) {
	surplus := s.sessions(ctx).Select("id").
		Where("user_id = ? AND id <> ? AND created_at > ? AND issued_at > ? AND revoked_at IS NULL",
			newest.UserID[:], newest.ID[:], createdAfter, issuedAfter).
		Order("created_at DESC, id DESC").Limit(1000).Offset(keep)
	return revoke(s.sessions(ctx).Where("id IN (?)", surplus), reason, now)
}

func (s *Store) sessions(ctx context.Context) *gorm.DB {
	return s.write.WithContext(ctx).Model(&Session{})
}

// revoke ends those of the sessions that have not ended yet.
func revoke(sessions *gorm.DB, reason string, now time.Time) (int64, error) {
	r := sessions.Where("revoked_at IS NULL").Updates(map[string]any{"revoked_at": now, "revoked_reason": reason})
	return r.RowsAffected, wrap(r.Error)
}

// LiveSessions lists the sessions of a user that are not revoked, were issued after one time and began after another;
// newest first, at most 1000.
func (s *Store) LiveSessions(ctx context.Context, userID uuid.UUID, issuedAfter, createdAfter time.Time) ([]Session, error) {
	var list []Session
	err := s.read.WithContext(ctx).
		Where("user_id = ? AND created_at > ? AND issued_at > ? AND revoked_at IS NULL", userID[:], createdAfter, issuedAfter).
		Order("created_at DESC, id DESC").Limit(1000).Find(&list).Error
	return list, wrap(err)
}
