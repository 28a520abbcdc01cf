package store

import (
	"context"
	"database/sql"
	"strings"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"
)

// User is an account.
type User struct {
	ID uuid.UUID `gorm:"serializer:uuid"`
	// Username is as the user gave it; CanonicalName is the one form in which names are compared.
	Username, CanonicalName string
	// PasswordHash is of one of the forms that package password knows.
	PasswordHash string
	// Roles are words without spaces, sorted.
	Roles       []string `gorm:"serializer:words"`
	CreatedAt   time.Time
	LastLoginAt sql.NullTime
	// DisabledAt is set while the account must not be used.
	DisabledAt sql.NullTime
}

// CreateUser adds an account. ErrDuplicate: the canonical name is taken; of any number of parallel calls with one name,
// exactly one succeeds.
func (s *Store) CreateUser(ctx context.Context, u *User) error {
	return wrap(s.write.WithContext(ctx).Create(u).Error)
}

// UserBatch is how many accounts CreateUsers and TakenNames take at most: SQL Server allows a statement 2,100 parameters,
// and an account has eight.
const UserBatch = 200

// CreateUsers adds up to UserBatch accounts, all or none. ErrDuplicate: one of their names is taken.
func (s *Store) CreateUsers(ctx context.Context, users []User) error {
	return wrap(s.write.WithContext(ctx).Create(users).Error)
}

// TakenNames returns those of up to UserBatch canonical names that accounts have.
func (s *Store) TakenNames(ctx context.Context, canonicalNames []string) ([]string, error) {
	var taken []string
	err := s.read.WithContext(ctx).Model(&User{}).Where("canonical_name IN ?", canonicalNames).Pluck("canonical_name", &taken).Error
	return taken, wrap(err)
}

// UserByName finds an account by its canonical name, or returns ErrNotFound.
func (s *Store) UserByName(ctx context.Context, canonicalName string) (User, error) {
	var u User
	err := s.read.WithContext(ctx).Where("canonical_name = ?", canonicalName).Take(&u).Error
	return u, wrap(err)
}

// UserByID finds an account, or returns ErrNotFound.
func (s *Store) UserByID(ctx context.Context, id uuid.UUID) (User, error) {
	var u User
	err := s.read.WithContext(ctx).Where("id = ?", id[:]).Take(&u).Error
	return u, wrap(err)
}

// ListUsers returns up to limit accounts in order of their canonical names, from the one after the given name on.
func (s *Store) ListUsers(ctx context.Context, after string, limit int) ([]User, error) {
	var list []User
	err := s.read.WithContext(ctx).Where("canonical_name > ?", after).Order("canonical_name").Limit(limit).Find(&list).Error
	return list, wrap(err)
}

// BeginLogin records a sign-in of the account if its password hash is still the one that was verified and it is not
// disabled; false says that it is no longer so. Called first in a transaction that then inserts the session, it makes
// that transaction and a change of the password wait for each other, so that no session begins with a password that
// has just been replaced.
func (s *Store) BeginLogin(ctx context.Context, id uuid.UUID, verifiedHash string, now time.Time) (bool, error) {
	r := s.write.WithContext(ctx).Model(&User{}).
		Where("id = ? AND password_hash = ? AND disabled_at IS NULL", id[:], verifiedHash).
		Update("last_login_at", now)
	return r.RowsAffected == 1, wrap(r.Error)
}

// SetPasswordHash replaces the hash if it is still the one given; false says that it is not, and nothing changed.
func (s *Store) SetPasswordHash(ctx context.Context, id uuid.UUID, from, to string) (bool, error) {
	r := s.write.WithContext(ctx).Model(&User{}).Where("id = ? AND password_hash = ?", id[:], from).
		Update("password_hash", to)
	return r.RowsAffected == 1, wrap(r.Error)
}

// SetRoles replaces an account's roles, or returns ErrNotFound.
func (s *Store) SetRoles(ctx context.Context, id uuid.UUID, roles []string) error {
	return changed(s.user(ctx, id).UpdateColumn("roles", strings.Join(roles, " ")))
}

// SetDisabled disables an account from now on, or enables it (null), or returns ErrNotFound.
func (s *Store) SetDisabled(ctx context.Context, id uuid.UUID, at sql.NullTime) error {
	return changed(s.user(ctx, id).UpdateColumn("disabled_at", at))
}

// DeleteUser removes an account and its sessions, or returns ErrNotFound.
func (s *Store) DeleteUser(ctx context.Context, id uuid.UUID) error {
	return changed(s.user(ctx, id).Delete(&User{}))
}

func (s *Store) user(ctx context.Context, id uuid.UUID) *gorm.DB {
	return s.write.WithContext(ctx).Model(&User{}).Where("id = ?", id[:])
}

// changed says whether a statement that one row was meant for has found it.
func changed(r *gorm.DB) error {
	if r.Error == nil && r.RowsAffected == 0 {
		return ErrNotFound
	}
	return wrap(r.Error)
}
