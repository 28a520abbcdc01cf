package store

import (
	"context"
	"slices"
	"time"

	"gorm.io/gorm"

	"latchkey/internal/audit"
)

// MaxPurge is the most rows that one call of a method below should look at.
const MaxPurge = batchRows

// What can be deleted is looked for by reading, so that where there is nothing nobody waits for a writer, and deleted by a
// range of the primary key, for which every database has one plan, and a cheap one.

// DeleteSessions deletes those sessions among the first n, by their ids, that began before a time, and returns how many.
// Ids are in the order of the sign-ins: where none is deleted there is none behind them either, but those of a few
// seconds perhaps in which a clock was set back.
func (s *Store) DeleteSessions(ctx context.Context, createdBefore time.Time, n int) (int64, error) {
	first, err := read(ctx, s, func(db *gorm.DB, first *[]Session) *gorm.DB {
		return db.Select("id, created_at").Order("id").Limit(n).Find(first)
	})
	old := func(s Session) bool { return s.CreatedAt.Before(createdBefore) }
	if err != nil || !slices.ContainsFunc(first, old) {
		return 0, err
	}
	last := first[len(first)-1].ID
	return s.write(ctx, func(db *gorm.DB) *gorm.DB {
		return db.Where("id <= ? AND created_at < ?", last[:], createdBefore).Delete(&Session{})
	})
}

// DeleteAuditEvents deletes the n oldest audit events of before a time, by its millisecond, and returns how many.
func (s *Store) DeleteAuditEvents(ctx context.Context, before time.Time, n int) (int64, error) {
	end := audit.FirstID(before)
	first, err := read(ctx, s, func(db *gorm.DB, first *[]auditRow) *gorm.DB {
		return db.Select("id").Where("id < ?", end[:]).Order("id").Limit(n).Find(first)
	})
	if err != nil || len(first) == 0 {
		return 0, err
	}
	last := first[len(first)-1].ID
	return s.write(ctx, func(db *gorm.DB) *gorm.DB { return db.Where("id <= ?", last[:]).Delete(&auditRow{}) })
}

// DeleteLoginThrottles looks at the n throttles with the next keys after one (nil: from the first) and deletes those of
// them that were charged last before a time, or hold no failures. It returns the last key that it has
// looked at, or nil if there was none left, and how many it deleted. An index on charged_at would find them without
// looking at the others, but each sign-in writes and deletes a throttle, and would have to keep the index.
func (s *Store) DeleteLoginThrottles(ctx context.Context, after []byte, chargedBefore time.Time, n int) (last []byte, deleted int64, err error) {
	list, err := read(ctx, s, func(db *gorm.DB, list *[]LoginThrottle) *gorm.DB {
		return db.Where("key_hash > ?", append([]byte{}, after...)).Order("key_hash").Limit(n).Find(list)
	})
	if err != nil || len(list) == 0 {
		return nil, 0, err
	}
	last = list[len(list)-1].KeyHash
	forgotten := func(t LoginThrottle) bool { return t.Failures <= 0 || t.ChargedAt.Before(chargedBefore) }
	if !slices.ContainsFunc(list, forgotten) {
		return last, 0, nil
	}
	deleted, err = s.write(ctx, func(db *gorm.DB) *gorm.DB {
		// As they are now: one may have been charged since it was read.
		return db.Where("failures <= 0 OR charged_at < ?", chargedBefore).
			Where("key_hash BETWEEN ? AND ?", list[0].KeyHash, last).Delete(&LoginThrottle{})
	})
	return last, deleted, err
}
