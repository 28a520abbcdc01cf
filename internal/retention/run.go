package retention

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"
)

const (
	// interval is how long after the end of a turn the next one begins.
	interval = time.Hour
	// firstWait bounds the wait before the first turn, which is random: servers that start together do not begin together.
	firstWait = 10 * time.Minute
)

// Run calls Purge every hour until ctx ends, and tells the logger of each turn that deleted something or failed; what
// failed is tried again at the next.
func (p *Purger) Run(ctx context.Context, logger *slog.Logger) {
	for pause := rand.N(firstWait); wait(ctx, pause) == nil; pause = interval { //nolint:gosec // nobody gains by guessing it
		began := time.Now()
		d, err := p.Purge(ctx)
		if d != (Deleted{}) {
			logger.Info("deleted what has expired", "sessions", d.Sessions, "login_throttles", d.LoginThrottles,
				"audit_events", d.AuditEvents, "seconds", time.Since(began).Seconds())
		}
		if err != nil && ctx.Err() == nil && !errors.Is(err, ErrBusy) {
			logger.Warn("what has expired was not all deleted: the next turn tries again", "error", err)
		}
	}
}
