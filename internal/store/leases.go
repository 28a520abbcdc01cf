package store

import (
	"context"
	"errors"
	"time"

	"gorm.io/gorm"
)

// lease is a piece of work that is for one process at a time.
type lease struct {
	Name, Holder string
	ExpiresAt    time.Time
}

// maxLease is how long a lease can be taken for.
const maxLease = 10 * time.Minute

// TakeLease gives the lease of a name to a holder until some time, at most 10 minutes from now, or lengthens the one that
// it has; false says that another one has it. Each statement is exact under every isolation level, so of any number of
// parallel calls one gets a free lease. One that ends later than it could have been taken for is free: its holder's
// clock, or this one before it was set back, ran ahead.
func (s *Store) TakeLease(ctx context.Context, name, holder string, now, until time.Time) (bool, error) {
	n, err := s.write(ctx, func(db *gorm.DB) *gorm.DB {
		return db.Model(&lease{}).Where("name = ?", name).
			Where("holder = ? OR expires_at <= ? OR expires_at > ?", holder, now, now.Add(maxLease)).
			Updates(map[string]any{"holder": holder, "expires_at": until})
	})
	if err != nil || n > 0 {
		return n > 0, err
	}
	_, err = s.write(ctx, func(db *gorm.DB) *gorm.DB { return db.Create(&lease{Name: name, Holder: holder, ExpiresAt: until}) })
	if errors.Is(err, ErrDuplicate) {
		return false, nil
	}
	return err == nil, err
}

// ReleaseLease gives a lease back, if the holder has it.
func (s *Store) ReleaseLease(ctx context.Context, name, holder string) error {
	_, err := s.write(ctx, func(db *gorm.DB) *gorm.DB { return db.Where("name = ? AND holder = ?", name, holder).Delete(&lease{}) })
	return err
}
