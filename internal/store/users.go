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
	_, err := s.write(ctx, func(db *gorm.DB) *gorm.DB { return db.Create(u) })
	return err
}

// UserBatch is how many accounts CreateUsers and TakenNames take at most: SQL Server allows a statement 2,100 parameters,
// and an account has eight.
const UserBatch = 200

// CreateUsers adds up to UserBatch accounts, all or none. ErrDuplicate: one of their names is taken.
func (s *Store) CreateUsers(ctx context.Context, users []User) error {
	_, err := s.write(ctx, func(db *gorm.DB) *gorm.DB { return db.Create(users) })
	return err
}

// TakenNames returns those of up to UserBatch canonical names that accounts have.
func (s *Store) TakenNames(ctx context.Context, canonicalNames []string) ([]string, error) {
	return read(ctx, s, func(db *gorm.DB, taken *[]string) *gorm.DB {
		return db.Model(&User{}).Where("canonical_name IN ?", canonicalNames).Pluck("canonical_name", taken)
	})
}

// UserByName finds an account by its canonical name, or returns ErrNotFound.
func (s *Store) UserByName(ctx context.Context, canonicalName string) (User, error) {
	u, err := read(ctx, s, func(db *gorm.DB, u *User) *gorm.DB { return db.Where("canonical_name = ?", canonicalName).Take(u) })
	if err == nil && u.CanonicalName != canonicalName { // SQL Server compares text without the spaces at its end
		return User{}, ErrNotFound
	}
	return u, err
}

// UserByID finds an account, or returns ErrNotFound.
func (s *Store) UserByID(ctx context.Context, id uuid.UUID) (User, error) {
	return read(ctx, s, func(db *gorm.DB, u *User) *gorm.DB { return db.Where("id = ?", id[:]).Take(u) })
}

// ListUsers returns up to limit accounts in order of their canonical names, from the one after the given name on.
func (s *Store) ListUsers(ctx context.Context, after string, limit int) ([]User, error) {
	return read(ctx, s, func(db *gorm.DB, list *[]User) *gorm.DB {
		return db.Where("canonical_name > ?", after).Order("canonical_name").Limit(limit).Find(list)
	})
}

// BeginLogin records a sign-in of the account if its password hash is still the one that was verified and it is not
// disabled; false says that it is no longer so. Called first in a transaction that then inserts the session, it makes
// that transaction and a change of the password wait for each other, so that no session begins with a password that
// has just been replaced.
func (s *Store) BeginLogin(ctx context.Context, id uuid.UUID, verifiedHash string, now time.Time) (bool, error) {
	n, err := s.write(ctx, func(db *gorm.DB) *gorm.DB {
		return db.Model(&User{}).Where("id = ? AND password_hash = ? AND disabled_at IS NULL", id[:], verifiedHash).Update("last_login_at", now)
	})
	return n == 1, err
}

// SetPasswordHash replaces the hash if it is still the one given; false says that it is not, and nothing changed.
func (s *Store) SetPasswordHash(ctx context.Context, id uuid.UUID, from, to string) (bool, error) {
	n, err := s.write(ctx, func(db *gorm.DB) *gorm.DB {
		return db.Model(&User{}).Where("id = ? AND password_hash = ?", id[:], from).Update("password_hash", to)
	})
	return n == 1, err
}

// SetRoles replaces an account's roles, or returns ErrNotFound.
func (s *Store) SetRoles(ctx context.Context, id uuid.UUID, roles []string) error {
	return s.changeUser(ctx, id, func(user *gorm.DB) *gorm.DB { return user.UpdateColumn("roles", strings.Join(roles, " ")) })
}

// SetDisabled disables an account from now on, or enables it (null), or returns ErrNotFound.
func (s *Store) SetDisabled(ctx context.Context, id uuid.UUID, at sql.NullTime) error {
	return s.changeUser(ctx, id, func(user *gorm.DB) *gorm.DB { return user.UpdateColumn("disabled_at", at) })
}

// DeleteUser removes an account and its sessions, or returns ErrNotFound. Of many sessions most go first, in batches, so
// that outside a transaction an error may leave the account with fewer of them.
func (s *Store) DeleteUser(ctx context.Context, id uuid.UUID) error {
	theirs := func(db *gorm.DB) *gorm.DB { return db.Where("user_id = ?", id[:]) }
	_, err := s.inBatches(ctx, func() (int64, bool, error) {
		until, all, err := s.firstSessions(ctx, theirs)
		if err != nil || all {
			return 0, true, err
		}
		n, err := s.write(ctx, func(db *gorm.DB) *gorm.DB { return theirs(db).Where("created_at <= ?", until).Delete(&Session{}) })
		return n, false, err
	})
	if err != nil {
		return err
	}
	return s.changeUser(ctx, id, func(user *gorm.DB) *gorm.DB { return user.Delete(&User{}) })
}

func (s *Store) changeUser(ctx context.Context, id uuid.UUID, change func(user *gorm.DB) *gorm.DB) error {
	n, err := s.write(ctx, func(db *gorm.DB) *gorm.DB { return change(db.Model(&User{}).Where("id = ?", id[:])) })
	if err == nil && n == 0 {
		return ErrNotFound
	}
	return err
}
