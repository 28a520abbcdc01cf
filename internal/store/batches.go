package store

import (
	"context"
	"time"

	"gorm.io/gorm"
)

// batchRows is the most rows that one statement changes: the next writer waits for no more than that, and SQL Server,
// which would lock the whole table for a statement of 5,000 rows or so, locks rows.
const batchRows = 1000

// inBatches calls step, which changes some batchRows rows at the most, until it is done, and returns how many it changed
// in all, also with an error. After each the other writers have as much time as it took: those of other processes, on
// SQLite, look only now and then whether the file is free. In a transaction that would only make them wait for longer.
func (s *Store) inBatches(ctx context.Context, step func() (n int64, done bool, err error)) (total int64, err error) {
	for {
		began := time.Now()
		n, done, err := step()
		if total += n; err != nil || done {
			return total, err
		}
		if s.writers.places == nil {
			continue
		}
		select {
		case <-time.After(time.Since(began)):
		case <-ctx.Done(): // which the next step reports
		}
	}
}

// firstSessions tells where the first batchRows of some of a user's sessions end, which choose chooses by conditions: at
// the time when the last of them began. all says that there are no more than that.
func (s *Store) firstSessions(ctx context.Context, choose func(*gorm.DB) *gorm.DB) (until time.Time, all bool, err error) {
	last, err := read(ctx, s, func(db *gorm.DB, last *[]Session) *gorm.DB {
		return choose(db).Select("created_at").Order("created_at").Limit(1).Offset(batchRows - 1).Find(last)
	})
	if err != nil || len(last) == 0 {
		return until, true, err
	}
	return last[0].CreatedAt, false, nil
}
