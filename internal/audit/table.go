package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
)

// MaxField is the most bytes that the table has for an address, a request id or a word.
const MaxField = 64

// The limits of the table's queue.
const (
	// maxQueued is how many events may wait for the database: 3 MB or so.
	maxQueued = 10_000
	// batchSize is how many events are handed over at once, and writePause how long fewer of them wait.
	batchSize  = 200
	writePause = time.Second
	// writeTimeout bounds one attempt.
	writeTimeout = 5 * time.Second
	// The events that anybody could make, without end, come into the table at this many a second, after a first burst.
	strangersRate  = 20
	strangersBurst = 200
)

// Why an event is not in the table.
const (
	droppedRate   = "rate"   // more than strangersRate of what anybody could make
	droppedFull   = "full"   // the database has been away for too long
	droppedClosed = "closed" // the program has ended, and the database would not take it
)

// ErrNotKept says that events are in the log only, because the database did not take them before the end.
var ErrNotKept = errors.New("audit events are not in the database")

// table hands events to the database, from a queue and by one goroutine of its own, so that nobody waits for it.
type table struct {
	write   func(context.Context, []Event) error
	now     func() time.Time
	logger  *slog.Logger
	dropped *prometheus.CounterVec

	mu        sync.Mutex
	queue     []Event
	closed    bool
	ids       sequence
	strangers allowance

	full    chan struct{} // a whole batch waits
	closing chan struct{}
	ended   chan struct{}
	cancel  context.CancelFunc // ends an attempt that is under way
	// lost is how many events the last flush could not hand over; it is read when ended is closed.
	lost int
}

// Keep has every event from now on also written to a table, by a function that adds events to it, all or none, and
// takes no notice of those that it has already: after a failure it gets the same ones again. now is the clock of the
// events. Keep is called at most once, and before anything is recorded; whoever calls it has to call Close.
func (l *Log) Keep(now func() time.Time, write func(context.Context, []Event) error) {
	t := &table{
		write: write, now: now, logger: l.logger, dropped: l.dropped,
		full: make(chan struct{}, 1), closing: make(chan struct{}), ended: make(chan struct{}),
	}
	for _, reason := range []string{droppedRate, droppedFull, droppedClosed} {
		l.dropped.WithLabelValues(reason) // at 0, for an alert needs a value to see it rise
	}
	ctx, cancel := context.WithCancel(context.Background())
	l.table, t.cancel = t, cancel
	go t.run(ctx)
}

// Close hands over what still waits, once and without waiting for a database that is away, until ctx ends. What is
// recorded afterwards is only logged. ErrNotKept: some of it is not in the table; it wraps no cause, which was logged.
func (l *Log) Close(ctx context.Context) error {
	if l.table == nil {
		return nil
	}
	t := l.table
	t.mu.Lock()
	if !t.closed {
		t.closed = true
		close(t.closing)
	}
	t.mu.Unlock()
	defer context.AfterFunc(ctx, t.cancel)()
	<-t.ended // soon, once ctx has ended: an attempt ends with its context
	if t.lost > 0 {
		return fmt.Errorf("%w: %d", ErrNotKept, t.lost)
	}
	return nil
}

// add queues an event, if there is room for it.
func (t *table) add(e Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e.At = t.now().UTC().Truncate(time.Millisecond)
	switch {
	case t.closed:
		t.dropped.WithLabelValues(droppedClosed).Inc()
		return
	case e.isAnybodys() && !t.strangers.take(e.At):
		t.dropped.WithLabelValues(droppedRate).Inc()
		return
	case len(t.queue) >= maxQueued:
		t.dropped.WithLabelValues(droppedFull).Inc()
		return
	}
	e.ID = t.ids.next(e.At)
	// One value that is too long for its column would keep the batch, and all behind it, out of the table for good.
	e.Address, e.RequestID = e.Address[:min(len(e.Address), MaxField)], e.RequestID[:min(len(e.RequestID), MaxField)]
	t.queue = append(t.queue, e)
	if len(t.queue) >= batchSize {
		select {
		case t.full <- struct{}{}:
		default:
		}
	}
}

// isAnybodys tells whether strangers can make events like this one without end: whoever sends junk must not fill the
// disk. A token that was once good counts as junk too: its user may send it as often as they like, and so does a try at a
// closed name. All else of a known user takes a login or a refresh, which have limits of their own, and what an operator
// does no flood may hide.
func (e Event) isAnybodys() bool {
	switch e.Action {
	case Verify, Forbidden, Throttle:
		return true
	case PasswordChange: // refused before the current password is looked at, so nothing else slows it down
		return e.Result == "invalid"
	case Administer, KeyChange:
		return false
	}
	return e.UserID == uuid.Nil
}

// run writes a batch whenever one is full, and otherwise every writePause. A batch that failed is tried again as it is,
// at that pace, so that a database which took it and could not say so recognizes it.
func (t *table) run(ctx context.Context) {
	defer close(t.ended)
	defer t.cancel()
	tick := time.NewTicker(writePause)
	defer tick.Stop()
	var batch []Event
	for away := false; ; {
		full := t.full
		if away {
			full = nil
		}
		closing := false
		select {
		case <-full:
		case <-tick.C:
		case <-t.closing:
			closing = true
		}
		var err error
		if batch, err = t.drain(ctx, batch); err != nil && !away {
			t.logger.Error("the audit table cannot be written: events wait, and are in this log", "error", err)
		} else if err == nil && away {
			t.logger.Info("the audit table can be written again")
		}
		if away = err != nil; closing {
			t.lost = len(batch) + t.waiting()
			t.dropped.WithLabelValues(droppedClosed).Add(float64(t.lost))
			return
		}
	}
}

// drain writes batch, if it is one that failed before, and then all that waits. It returns the batch that fails.
func (t *table) drain(ctx context.Context, batch []Event) ([]Event, error) {
	for {
		if len(batch) == 0 {
			if batch = t.next(); len(batch) == 0 {
				return nil, nil
			}
		}
		attempt, cancel := context.WithTimeout(ctx, writeTimeout)
		err := t.write(attempt, batch)
		cancel()
		if err != nil {
			return batch, err
		}
		batch = nil
	}
}

// next takes up to a batch out of the queue.
func (t *table) next() []Event {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := min(len(t.queue), batchSize)
	batch := t.queue[:n:n]
	if t.queue = t.queue[n:]; len(t.queue) == 0 {
		t.queue = nil
	}
	return batch
}

func (t *table) waiting() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.queue)
}

// allowance is a token bucket for what strangers do.
type allowance struct {
	spent float64
	at    time.Time
}

func (a *allowance) take(now time.Time) bool {
	if elapsed := now.Sub(a.at); elapsed > 0 { // a clock that was set back refills nothing
		a.spent = max(0, a.spent-elapsed.Seconds()*strangersRate)
	}
	if a.at = now; a.spent+1 > strangersBurst {
		return false
	}
	a.spent++
	return true
}
