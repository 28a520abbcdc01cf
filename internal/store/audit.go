package store

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"

	"latchkey/internal/audit"
)

// auditBatch is how many events one statement adds to SQL Server: its plan takes the longer to make for each value, the more of
// them there are, and an event has nine. On SQLite a statement is a commit, which has to reach the disk.
const auditBatch, auditBatchOfFile = 25, 200

// auditRow is an audit.Event as it is stored.
type auditRow struct {
	ID             uuid.UUID `gorm:"serializer:uuid"`
	At             time.Time
	Action, Result string
	// UserID and SessionID are NULL where the event has none.
	UserID, SessionID            []byte
	NameHash, Address, RequestID string
}

// TableName is the table that GORM uses.
func (auditRow) TableName() string { return "audit_events" }

// AppendAuditEvents adds events, a batch in each statement. Events that are there already are no error: an
// answer was lost, and the writer comes again with the same batch.
func (s *Store) AppendAuditEvents(ctx context.Context, events []audit.Event) error {
	size := auditBatch
	if s.isFile {
		size = auditBatchOfFile
	}
	for len(events) > 0 {
		n := min(len(events), size)
		rows := make([]auditRow, n)
		for i, e := range events[:n] {
			rows[i] = auditRow{
				ID: e.ID, At: e.At, Action: string(e.Action), Result: e.Result, UserID: nullable(e.UserID), SessionID: nullable(e.SessionID),
				NameHash: e.NameHash, Address: e.Address, RequestID: e.RequestID,
			}
		}
		if _, err := s.write(ctx, func(db *gorm.DB) *gorm.DB { return db.Create(&rows) }); err != nil && !errors.Is(err, ErrDuplicate) {
			return err
		}
		events = events[n:]
	}
	return nil
}

// AuditFilter says which events are asked for; what is zero asks for all.
type AuditFilter struct {
	UserID uuid.UUID
	Action audit.Action
	// Since leaves out what is older, by its millisecond.
	Since time.Time
	// Before leaves out the event with this id and all newer ones: it is the last one of the page before.
	Before uuid.UUID
}

// AuditEvents returns up to limit events, newest first.
func (s *Store) AuditEvents(ctx context.Context, f AuditFilter, limit int) ([]audit.Event, error) {
	rows, err := read(ctx, s, func(db *gorm.DB, rows *[]auditRow) *gorm.DB {
		q := db.Order("id DESC").Limit(limit)
		if f.UserID != uuid.Nil {
			q = q.Where("user_id = ?", f.UserID[:])
		}
		if f.Action != "" {
			q = q.Where("action = ?", string(f.Action))
		}
		if first := audit.FirstID(f.Since); !f.Since.IsZero() {
			q = q.Where("id >= ?", first[:])
		}
		if f.Before != uuid.Nil {
			q = q.Where("id < ?", f.Before[:])
		}
		return q.Find(rows)
	})
	if err != nil {
		return nil, err
	}
	events := make([]audit.Event, len(rows))
	for i, r := range rows {
		events[i] = audit.Event{
			ID: r.ID, At: r.At, Action: audit.Action(r.Action), Result: r.Result, NameHash: r.NameHash, Address: r.Address, RequestID: r.RequestID,
		}
		copy(events[i].UserID[:], r.UserID)
		copy(events[i].SessionID[:], r.SessionID)
	}
	return events, nil
}

// nullable is an id's bytes, or nil for the nil UUID: of the column's type, for SQL Server refuses a NULL without one.
func nullable(id uuid.UUID) []byte {
	if id == uuid.Nil {
		return nil
	}
	return id[:]
}
