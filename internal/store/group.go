package store

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"gorm.io/gorm"
	sqlite3 "modernc.org/sqlite/lib"
)

// A transaction takes in up to groupSize writes, and none any more when it has lasted for groupTime: so that the first of
// them does not wait for ever more, and slow ones leave the commit some of statementTime.
const (
	groupSize = 128
	groupTime = statementTime / 2
)

// errAlone says that a transaction of several came to nothing, and each of them has to be tried by itself.
var errAlone = errors.New("a write that shared the transaction ended it")

// group lets single writes that wait for SQLite's one writing connection share a transaction, and so the wait for the disk
// at its end. Each is answered after that commit, and none by what became of another.
//
// All wait for the connection. Whoever gets it executes, with its own write, what else waits: those need it no more.
// A write that finds nobody beside it is executed at once and by itself.
type group struct {
	mu      sync.Mutex
	waiting []*groupedWrite // in the order in which they came
}

type groupedWrite struct {
	ctx       context.Context
	statement func(db *gorm.DB) *gorm.DB
	done      chan struct{} // closed when rows and err are there
	rows      int64
	err       error
}

// run executes a statement that is a transaction of its own, and returns how many rows it touched; or errAlone, and then
// nothing is left of it.
func (g *group) run(ctx context.Context, p pool, statement func(db *gorm.DB) *gorm.DB) (int64, error) {
	w := &groupedWrite{ctx: ctx, statement: statement, done: make(chan struct{})}
	g.mu.Lock()
	g.waiting = append(g.waiting, w)
	g.mu.Unlock()

	leave, err := p.enter(ctx, w.done)
	if err == nil {
		defer leave()
	}
	mine, others := g.withdraw(w)
	switch {
	case !mine:
		<-w.done
	case err != nil:
		return 0, err
	case others > 0:
		g.together(p, w, min(1+others, groupSize))
	default:
		return p.execute(ctx, false, statement)
	}
	return w.rows, w.err
}

// withdraw takes a write out of those that wait; mine says that it was one of them, so that nobody else executes it,
// and others how many there are beside it.
func (g *group) withdraw(w *groupedWrite) (mine bool, others int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.waiting, w); i >= 0 {
		g.waiting, mine = slices.Delete(g.waiting, i, i+1), true
	}
	return mine, len(g.waiting)
}

// next takes the first of those that wait; nil if there is none.
func (g *group) next() *groupedWrite {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.waiting) == 0 {
		return nil
	}
	w := g.waiting[0]
	g.waiting = slices.Delete(g.waiting, 0, 1)
	return w
}

// together executes a write and others that wait, size in all, in one transaction, and answers them. What comes meanwhile is
// for the next one, which else would find few. A row that is refused, as a duplicate is, is undone by itself, and the others
// go on. Any other error ends the transaction, perhaps by SQLite's own doing.
func (g *group) together(p pool, w *groupedWrite, size int) {
	// A client that leaves stops its own write alone.
	limited, cancel := context.WithTimeout(context.Background(), statementTime)
	defer cancel()
	writes, began, err := []*groupedWrite{w}, time.Now(), errAlone
	defer func() {
		_ = recover() // a panic is for the one whose statement it is: there it comes again
		for _, w := range writes {
			if err != nil {
				w.rows, w.err = 0, err
			}
			close(w.done)
		}
	}()
	err = p.db.WithContext(limited).Transaction(func(tx *gorm.DB) error {
		for {
			if w.err = wrap(w.ctx.Err()); w.err == nil {
				done := w.statement(tx)
				if done.Error != nil && !isConstraint(done.Error) {
					return errAlone
				}
				w.rows, w.err = done.RowsAffected, wrap(done.Error)
			}
			if len(writes) == size || time.Since(began) > groupTime {
				return nil
			}
			if w = g.next(); w == nil {
				return nil
			}
			writes = append(writes, w)
		}
	})
	if isRefused(err) {
		p.refused.Store(true)
	}
	err = wrap(stopped(limited, err))
}

// isConstraint says that SQLite refused a row, and undid no more than that statement.
func isConstraint(err error) bool {
	return errors.Is(err, gorm.ErrDuplicatedKey) || sqliteCode(err) == sqlite3.SQLITE_CONSTRAINT
}
