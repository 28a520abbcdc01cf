package retention

import (
	"context"
	"time"
)

const (
	// leaseName is what processes agree by that one of them deletes.
	leaseName = "retention"
	// leaseTime is how long a process that died keeps the others from going on.
	leaseTime = 2 * time.Minute
	// releaseTime bounds the last statement, also of a process that has to stop.
	releaseTime = time.Second
)

// lease lets one process delete. Two at once would do no harm, only less of it: so nothing depends on the clocks of two
// servers being the same.
type lease struct {
	purger  *Purger
	holder  string
	renewed time.Time
}

// keep takes the lease, or lengthens it, well before it runs out. ErrBusy: another process has it, perhaps because this
// one was held up for too long.
func (l *lease) keep(ctx context.Context) error {
	now := l.purger.now()
	if now.Sub(l.renewed).Abs() < leaseTime/4 {
		return nil
	}
	held, err := l.purger.store.TakeLease(ctx, leaseName, l.holder, now, now.Add(leaseTime))
	if err != nil {
		return err
	}
	if !held {
		return ErrBusy
	}
	l.renewed = now
	return nil
}

// release lets the next process begin at once. Where it fails, the lease runs out.
func (l *lease) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
	defer cancel()
	_ = l.purger.store.ReleaseLease(ctx, leaseName, l.holder)
}
