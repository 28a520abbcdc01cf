package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"gorm.io/gorm"
	sqlite3 "modernc.org/sqlite/lib"
)

// groupSize bounds how many writes share a transaction, so that the first of them does not wait for ever more.
const groupSize = 128

// group lets single writes that wait for SQLite's one writing connection share a transaction, and so the wait for the disk
// at its end. Each is answered after that commit, and none by what became of another.
//
// Whoever comes first leads: waits for the connection, executes what has come meanwhile, and makes the next one leader.
// A write that finds nobody before it is executed at once and by itself.
type group struct {
	mu      sync.Mutex
	waiting []*groupedWrite // in the order in which they came
	led     bool
}

type groupedWrite struct {
	ctx       context.Context
	statement func(db *gorm.DB) *gorm.DB
	lead      chan struct{} // has room for one: it is this one's turn to lead
	done      chan struct{} // closed when rows and err are there
	rows      int64
	err       error
}

// run executes a statement that is a transaction of its own, and returns how many rows it touched.
func (g *group) run(ctx context.Context, p pool, statement func(db *gorm.DB) *gorm.DB) (int64, error) {
	w := &groupedWrite{ctx: ctx, statement: statement, lead: make(chan struct{}, 1), done: make(chan struct{})}
	g.mu.Lock()
	g.waiting = append(g.waiting, w)
	if !g.led {
		g.led = true
		w.lead <- struct{}{}
	}
	g.mu.Unlock()

	patience := time.NewTimer(connectionWait)
	defer patience.Stop()
	select {
	case <-w.done:
	case <-w.lead:
		leave, err := p.enter(ctx)
		if err != nil {
			g.leave(w, err)
			g.passOn()
			break
		}
		func() {
			defer g.passOn()
			defer leave()
			execute(p, g.take())
		}()
	case <-patience.C:
		g.leave(w, fmt.Errorf("%w: %w", ErrUnavailable, errNoConnection))
	case <-ctx.Done():
		g.leave(w, fmt.Errorf("%w: wait for a database connection: %w", ErrUnavailable, ctx.Err()))
	}
	return w.rows, w.err
}

// leave gives a write up that nobody has taken yet. One that is being executed is waited for.
func (g *group) leave(w *groupedWrite, err error) {
	g.mu.Lock()
	i := slices.Index(g.waiting, w)
	if i >= 0 {
		g.waiting = slices.Delete(g.waiting, i, i+1)
	}
	g.mu.Unlock()
	if i < 0 {
		<-w.done
		return
	}
	w.err = err
	select {
	case <-w.lead: // it was made leader just now
		g.passOn()
	default:
	}
}

// take takes what waits, as much as may share a transaction; the leader is the first of it.
func (g *group) take() []*groupedWrite {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := min(len(g.waiting), groupSize)
	taken := slices.Clone(g.waiting[:n])
	g.waiting = slices.Delete(g.waiting, 0, n)
	return taken
}

// passOn makes the next one leader, if there is one.
func (g *group) passOn() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.led = len(g.waiting) > 0; g.led {
		g.waiting[0].lead <- struct{}{}
	}
}

// execute executes writes, in one transaction if there are several and nothing speaks against it, and answers them.
func execute(p pool, writes []*groupedWrite) {
	defer func() {
		for _, w := range writes {
			close(w.done)
		}
	}()
	if len(writes) > 1 && together(p, writes) {
		return
	}
	for _, w := range writes {
		w.rows, w.err = p.execute(w.ctx, false, w.statement)
	}
}

// together executes writes in one transaction. A row that is refused, as a duplicate is, is undone by itself, and the others
// go on. Any other error ends the transaction, perhaps by SQLite's own doing: then nothing is left of it, and false says that
// each has to be tried by itself. If there is no transaction to be had, or none to be committed, within statementTime, all
// are told, for one by one they would fare no better.
func together(p pool, writes []*groupedWrite) bool {
	limited, cancel := context.WithTimeout(context.Background(), statementTime) // a client that leaves stops its own write alone
	defer cancel()
	spoiled := false
	err := p.db.WithContext(limited).Transaction(func(tx *gorm.DB) error {
		for _, w := range writes {
			if w.err = w.ctx.Err(); w.err != nil {
				continue
			}
			done := w.statement(tx)
			w.rows, w.err = done.RowsAffected, done.Error
			if w.err != nil && !isConstraint(w.err) {
				spoiled = limited.Err() == nil
				return w.err
			}
		}
		return nil
	})
	if spoiled {
		return false
	}
	if isRefused(err) {
		p.refused.Store(true)
	}
	for _, w := range writes {
		if err != nil {
			w.rows, w.err = 0, stopped(limited, err)
		}
		w.err = wrap(w.err)
	}
	return true
}

// isConstraint says that SQLite refused a row, and undid no more than that statement.
func isConstraint(err error) bool {
	return errors.Is(err, gorm.ErrDuplicatedKey) || sqliteCode(err) == sqlite3.SQLITE_CONSTRAINT
}
