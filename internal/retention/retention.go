// Package retention owns how long rows are kept, and deletes those that have expired: in small batches with pauses, so
// that nobody who signs in waits for it, and by one process of all at a time.
//
// What still counts is never deleted. A turn that ends in the middle, however it does, leaves less to the next.
package retention

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"latchkey/internal/account"
	"latchkey/internal/store"
)

// A batch should keep the writers behind it waiting for about batchTime: so it has more rows or fewer, from minBatch to
// store.MaxPurge, as the last one took. After it there are restFactor times as long for everybody else.
const (
	batchTime  = 50 * time.Millisecond
	minBatch   = 100
	restFactor = 2
)

// ErrBusy says that another process is deleting, or died within the last two minutes, before it was done.
var ErrBusy = errors.New("retention: another process is deleting")

// Options say what is kept for how long.
type Options struct {
	// SessionTTL is the absolute limit of a session. Until then its row stays, for a stolen token to be known by; and it
	// stays for account.FamiliarTime, for its owner's network to be known by, whether the session has ended or not.
	SessionTTL time.Duration
	// AuditEvents is how long audit events are kept; 0 keeps them for ever.
	AuditEvents time.Duration
	// Now is the clock.
	Now func() time.Time
}

// Deleted is how many rows were deleted.
type Deleted struct {
	Sessions, LoginThrottles, AuditEvents int64
}

// Purger deletes what has expired. It is safe for concurrent use.
type Purger struct {
	options Options
	store   *store.Store
	counts  *prometheus.CounterVec
}

// New makes a Purger that counts latchkey_purged_rows_total{table} in the registry.
func New(o Options, st *store.Store, registry prometheus.Registerer) *Purger {
	counts := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "latchkey_purged_rows_total",
		Help: "Rows that were deleted because they had expired, by table.",
	}, []string{"table"})
	registry.MustRegister(counts)
	for _, table := range []string{"sessions", "login_throttles", "audit_events"} {
		counts.WithLabelValues(table) // at 0: Prometheus sees no rise in what begins with more
	}
	return &Purger{options: o, store: st, counts: counts}
}

// now has the precision of the database, so that what is compared is what is stored.
func (p *Purger) now() time.Time { return p.options.Now().UTC().Truncate(time.Millisecond) }

// Purge deletes all that has expired, and returns what it deleted, also with an error. ErrBusy: another process is at it.
func (p *Purger) Purge(ctx context.Context) (d Deleted, err error) {
	l := &lease{purger: p, holder: rand.Text()}
	if err := l.keep(ctx); err != nil {
		return d, err
	}
	defer l.release(ctx)
	for _, table := range []struct {
		name    string
		deleted *int64
		batch   batch
	}{
		{"sessions", &d.Sessions, p.sessions},
		{"login_throttles", &d.LoginThrottles, p.throttles()},
		{"audit_events", &d.AuditEvents, p.auditEvents},
	} {
		fault := inBatches(ctx, l, table.batch, func(n int64) {
			*table.deleted += n
			p.counts.WithLabelValues(table.name).Add(float64(n))
		})
		if fault != nil {
			err = errors.Join(err, fmt.Errorf("delete from %s: %w", table.name, fault))
		}
		if errors.Is(fault, ErrBusy) || ctx.Err() != nil {
			break
		}
	}
	return d, err
}

// batch looks at up to n rows and deletes those that have expired; done says that there are no more.
type batch func(ctx context.Context, n int) (deleted int64, done bool, err error)

func (p *Purger) sessions(ctx context.Context, n int) (int64, bool, error) {
	deleted, err := p.store.DeleteSessions(ctx, p.now().Add(-max(p.options.SessionTTL, account.FamiliarTime)), n)
	return deleted, deleted == 0, err
}

func (p *Purger) throttles() batch {
	var last []byte
	return func(ctx context.Context, n int) (deleted int64, done bool, err error) {
		last, deleted, err = p.store.DeleteLoginThrottles(ctx, last, p.now().Add(-account.ForgetAfter), n)
		return deleted, last == nil, err
	}
}

func (p *Purger) auditEvents(ctx context.Context, n int) (int64, bool, error) {
	if p.options.AuditEvents == 0 {
		return 0, true, nil
	}
	deleted, err := p.store.DeleteAuditEvents(ctx, p.now().Add(-p.options.AuditEvents), n)
	return deleted, deleted == 0, err
}

// inBatches counts what each batch deletes, until one is done.
func inBatches(ctx context.Context, l *lease, next batch, count func(deleted int64)) error {
	for size := minBatch; ; {
		if err := l.keep(ctx); err != nil {
			return err
		}
		began := time.Now()
		// A stop does not end a batch that is under way, or nobody would know whether its rows are deleted: it takes moments.
		n, done, err := next(context.WithoutCancel(ctx), size)
		if count(n); err != nil || done {
			return err
		}
		took := time.Since(began)
		size = nextSize(size, took)
		if err := wait(ctx, restFactor*took); err != nil {
			return err
		}
	}
}

// nextSize is the size of the batch after one that took so long.
func nextSize(size int, took time.Duration) int {
	switch {
	case took > 2*batchTime:
		size /= 2
	case took < batchTime/2:
		size *= 2
	}
	return min(max(size, minBatch), store.MaxPurge)
}

// wait returns after a time, or with an error when the context ends.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
