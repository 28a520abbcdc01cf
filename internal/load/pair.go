package main

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"gorm.io/driver/sqlite"
	"gorm.io/driver/sqlserver"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
	_ "modernc.org/sqlite" // the driver of SQLite
)

// pair is what a refresh cannot do without, through GORM: to read a session, and to change it if it is still as it was. On
// SQLite it has a pool that reads and a connection that writes, and the writes that wait share a commit.
type pair struct {
	readers, writers *gorm.DB
	ids              []uuid.UUID
	queue            chan *update // nil where each is a transaction of its own
}

// row has as much in it as a session.
type row struct {
	ID                           []byte `gorm:"primaryKey"`
	UserID                       []byte
	Generation, OldestGeneration int
	CurrentHash, ParentHash      []byte
	IssuedAt                     time.Time
	AcknowledgedAt               sql.NullTime
	CreatedAt                    time.Time
	RevokedAt                    sql.NullTime
	RevokedReason, UserAgent, IP string
}

// TableName is the table that GORM uses.
func (row) TableName() string { return "load_pairs" }

type update struct {
	from, to row
	done     chan error
}

const sharers = 128

func openPair(ctx context.Context, url string, rows int) (*pair, error) {
	p := &pair{}
	var err error
	columns := `(id BINARY(16) NOT NULL PRIMARY KEY, user_id BINARY(16) NOT NULL, generation INT NOT NULL, oldest_generation INT NOT NULL,
		current_hash BINARY(32) NOT NULL, parent_hash BINARY(32), issued_at DATETIME2(3) NOT NULL, acknowledged_at DATETIME2(3),
		created_at DATETIME2(3) NOT NULL, revoked_at DATETIME2(3),
		revoked_reason NVARCHAR(32) NOT NULL, user_agent NVARCHAR(255) NOT NULL, ip NVARCHAR(45) NOT NULL)`
	if path, isFile := strings.CutPrefix(url, "sqlite:"); isFile {
		columns = `(id BLOB NOT NULL PRIMARY KEY, user_id BLOB NOT NULL, generation INTEGER NOT NULL, oldest_generation INTEGER NOT NULL,
			current_hash BLOB NOT NULL, parent_hash BLOB, issued_at DATETIME NOT NULL, acknowledged_at DATETIME,
			created_at DATETIME NOT NULL, revoked_at DATETIME,
			revoked_reason TEXT NOT NULL, user_agent TEXT NOT NULL, ip TEXT NOT NULL) WITHOUT ROWID`
		dsn := "file:" + path + "?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)&_txlock=immediate" +
			"&_time_integer_format=unix_milli&_inttotime=1"
		if p.writers, err = openSQLite(dsn, 1); err != nil {
			return nil, err
		}
		if p.readers, err = openSQLite(dsn, 4); err != nil {
			return nil, err
		}
		p.queue = make(chan *update, 1024)
		go p.shareCommits(ctx)
	} else {
		if p.writers, err = open(sqlserver.New(sqlserver.Config{DSN: url}), 20); err != nil {
			return nil, err
		}
		p.readers = p.writers
	}
	if err := p.writers.Exec("DROP TABLE IF EXISTS load_pairs").Error; err != nil {
		return nil, err
	}
	if err := p.writers.Exec("CREATE TABLE load_pairs " + columns).Error; err != nil {
		return nil, err
	}
	for range rows {
		id := uuid.New()
		p.ids = append(p.ids, id)
		now := time.Now().UTC()
		first := row{ID: id[:], UserID: id[:], Generation: 1, OldestGeneration: 1, CurrentHash: make([]byte, 32), IssuedAt: now, CreatedAt: now,
			UserAgent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", IP: "192.0.2.1"}
		if err := p.writers.Create(&first).Error; err != nil {
			return nil, err
		}
	}
	return p, nil
}

func openSQLite(dsn string, connections int) (*gorm.DB, error) {
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, err
	}
	return open(sqlite.Dialector{Conn: db}, connections)
}

func open(dialect gorm.Dialector, connections int) (*gorm.DB, error) {
	db, err := gorm.Open(dialect, &gorm.Config{SkipDefaultTransaction: true, Logger: logger.Discard})
	if err != nil {
		return nil, err
	}
	pool, err := db.DB()
	if err != nil {
		return nil, err
	}
	pool.SetMaxOpenConns(connections)
	pool.SetMaxIdleConns(connections)
	return db, nil
}

// step reads the row of a number and changes it.
func (p *pair) step(ctx context.Context, n int) error {
	u := &update{done: make(chan error, 1)}
	if err := p.readers.WithContext(ctx).Where("id = ?", p.ids[n][:]).Take(&u.from).Error; err != nil {
		return err
	}
	u.to = u.from
	u.to.Generation++
	u.to.ParentHash = u.from.CurrentHash
	u.to.IssuedAt = time.Now().UTC()
	if p.queue == nil {
		return u.write(p.writers.WithContext(ctx))
	}
	p.queue <- u
	return <-u.done
}

func (u *update) write(db *gorm.DB) error {
	done := db.Model(&row{}).Where("id = ? AND generation = ? AND revoked_at IS NULL AND acknowledged_at IS NULL", u.from.ID, u.from.Generation).
		Updates(map[string]any{"generation": u.to.Generation, "oldest_generation": u.to.OldestGeneration, "current_hash": u.to.CurrentHash,
			"parent_hash": u.to.ParentHash, "issued_at": u.to.IssuedAt, "acknowledged_at": u.to.AcknowledgedAt})
	if done.Error == nil && done.RowsAffected != 1 {
		return fmt.Errorf("%d rows changed", done.RowsAffected)
	}
	return done.Error
}

// shareCommits commits what has come while it committed the last.
func (p *pair) shareCommits(ctx context.Context) {
	for {
		var waiting []*update
		select {
		case u := <-p.queue:
			waiting = append(waiting, u)
		case <-ctx.Done():
			return
		}
		for more := true; more && len(waiting) < sharers; {
			select {
			case u := <-p.queue:
				waiting = append(waiting, u)
			default:
				more = false
			}
		}
		err := p.writers.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
			for _, u := range waiting {
				if err := u.write(tx); err != nil {
					return err
				}
			}
			return nil
		})
		for _, u := range waiting {
			u.done <- err
		}
	}
}
