package store

import (
	"context"
	"errors"
	"time"

	"gorm.io/gorm"
)

// LoginThrottle counts the failures to sign in under one name, since the last success. Other names have other rows, and
// a name that has none has no failures.
type LoginThrottle struct {
	// KeyHash stands for the name, in 32 bytes.
	KeyHash []byte
	// Failures counts attempts, also one that is under way.
	Failures int
	// ChargedAt is when the last one was let through, BlockedUntil when the next one will be.
	ChargedAt, BlockedUntil time.Time
}

// LoginThrottle returns the throttle of a key; where there is none, one without failures whose times are zero.
func (s *Store) LoginThrottle(ctx context.Context, keyHash []byte) (LoginThrottle, error) {
	t, err := read(ctx, s, func(db *gorm.DB, t *LoginThrottle) *gorm.DB { return db.Where("key_hash = ?", keyHash).Take(t) })
	if errors.Is(err, ErrNotFound) {
		return LoginThrottle{KeyHash: keyHash}, nil
	}
	return t, err
}

// AdvanceLoginThrottle replaces a throttle if it is still as it was in from, which LoginThrottle returned; false says
// that it is not, and nothing changed. It is one statement, exact under every isolation level.
func (s *Store) AdvanceLoginThrottle(ctx context.Context, from, to LoginThrottle) (bool, error) {
	if from.ChargedAt.IsZero() { // there was none: of parallel calls the primary key lets one through
		_, err := s.write(ctx, func(db *gorm.DB) *gorm.DB { return db.Create(&to) })
		if errors.Is(err, ErrDuplicate) {
			return false, nil
		}
		return err == nil, err
	}
	n, err := s.write(ctx, func(db *gorm.DB) *gorm.DB {
		return db.Model(&LoginThrottle{}).
			Where("key_hash = ? AND failures = ? AND charged_at = ? AND blocked_until = ?",
				from.KeyHash, from.Failures, from.ChargedAt, from.BlockedUntil).
			Updates(map[string]any{"failures": to.Failures, "charged_at": to.ChargedAt, "blocked_until": to.BlockedUntil})
	})
	return n == 1, err
}

// DeleteLoginThrottle forgets the failures under a key, if there are any.
func (s *Store) DeleteLoginThrottle(ctx context.Context, keyHash []byte) error {
	_, err := s.write(ctx, func(db *gorm.DB) *gorm.DB { return db.Where("key_hash = ?", keyHash).Delete(&LoginThrottle{}) })
	return err
}

// maxSignIns bounds what SignInAddresses reads: whoever is refused may ask for it again and again.
const maxSignIns = 100

// SignInAddresses lists the addresses of the last 100 sign-ins of a canonical name's owner, as far as they were after a
// time, the newest first. A name that nobody has has none, and costs the same statement.
func (s *Store) SignInAddresses(ctx context.Context, canonicalName string, since time.Time) ([]string, error) {
	return read(ctx, s, func(db *gorm.DB, list *[]string) *gorm.DB {
		return db.Table("sessions").Joins("JOIN users ON users.id = sessions.user_id").
			Where("users.canonical_name = ? AND sessions.created_at > ?", canonicalName, since).
			Order("sessions.created_at DESC").Limit(maxSignIns).Pluck("sessions.ip", list)
	})
}
