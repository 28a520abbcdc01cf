package session

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"latchkey/internal/store"
)

const (
	// maxDrift is how far the wall clock may run ahead of or behind the monotonic one before that counts as a jump.
	maxDrift = time.Second
	// maxSkew is how far ahead of this one another replica's clock may be for what it has just written to be known as that.
	maxSkew = 5 * time.Second
	// maxStretches is how many stretches between jumps are remembered.
	maxStretches = 16
)

// clock reads the wall clock, which rows are written by and replicas share, beside the monotonic one, and remembers where
// the two came apart: somebody set the clock, or the machine was suspended. So it can tell how long ago something was
// written although the clock has jumped since. It is safe for concurrent use.
type clock struct {
	now     func() time.Time
	elapsed func() time.Duration // nil: by now
	started time.Time

	mu   sync.Mutex
	last time.Duration // elapsed, at the latest reading
	// stretches are the time from one jump to the next, the last one open. The slice is replaced, never changed.
	stretches []stretch
}

// stretch is a time in which the clocks ran alike. A jump happens between two readings, so stretches overlap by that much.
type stretch struct {
	from, to time.Duration // elapsed
	offset   time.Duration // of the wall clock, since the start, against elapsed
}

// instant is one reading of the clock.
type instant struct {
	// wall has the precision of the database, so that what is compared is what is stored.
	wall time.Time
	// elapsed is the time since the service was made. It does not count while the machine is suspended.
	elapsed time.Duration
	// here is elapsed as the wall clock has it, by the stretch that is open.
	here      time.Duration
	started   time.Time
	stretches []stretch
}

func newClock(o Options) *clock {
	return &clock{now: o.Now, elapsed: o.Elapsed, started: o.Now(), stretches: []stretch{{from: math.MinInt64}}}
}

func (c *clock) read() instant {
	now := c.now()
	at := instant{wall: now.UTC().Truncate(time.Millisecond), started: c.started.Round(0)}
	if at.elapsed = now.Sub(c.started); c.elapsed != nil {
		at.elapsed = c.elapsed()
	}
	offset := now.Round(0).Sub(at.started) - at.elapsed
	c.mu.Lock()
	defer c.mu.Unlock()
	at.here = at.elapsed
	if at.elapsed >= c.last { // else another request has read it since
		if (offset - c.offset()).Abs() > maxDrift {
			c.jump(at.elapsed, offset)
		}
		at.here = at.wall.Sub(at.started) - c.offset()
		c.last = at.elapsed
	}
	at.stretches = c.stretches
	return at
}

func (c *clock) offset() time.Duration { return c.stretches[len(c.stretches)-1].offset }

// jump ends the open stretch and begins another, which may have begun as early as at the last reading.
func (c *clock) jump(elapsed, offset time.Duration) {
	n := len(c.stretches)
	next := append(slices.Clone(c.stretches[max(0, n+1-maxStretches):]), stretch{from: c.last - maxDrift, offset: offset})
	next[0].from = math.MinInt64
	next[len(next)-2].to = elapsed
	c.stretches = next
}

// since returns how long ago a time was written into a row, by this replica's clock or one that was set with it: exactly,
// but for maxDrift, unless the clock has come to that time more than once, of which the latest counts. What the clock has
// jumped over counts from the jump, and what lies ahead of it as now: those come from replicas whose clocks differ. So does
// what lies ahead by up to maxSkew though the clock was there once, before it was set back.
func (i instant) since(then time.Time) time.Duration {
	const never = math.MinInt64
	wall := then.Sub(i.started)
	written, jumpedOver, end := time.Duration(never), time.Duration(never), time.Duration(math.MaxInt64)
	for n, s := range i.stretches {
		if n == len(i.stretches)-1 {
			s.to = i.here + maxSkew
		}
		switch at := wall - s.offset; {
		case s.from <= at && at <= s.to:
			written = max(written, at)
		case at < s.from && wall > end:
			jumpedOver = s.from
		}
		end = s.to + s.offset
	}
	switch {
	case written != never:
		return max(0, i.here-written)
	case jumpedOver != never:
		return i.here - jumpedOver
	}
	return 0
}

// agesOf returns how long ago a session's current generation was issued, and first seen in use.
func (i instant) agesOf(row store.Session) Ages {
	ages := Ages{SinceIssue: i.since(row.IssuedAt)}
	if row.AcknowledgedAt.Valid {
		ages.SinceUse = i.since(row.AcknowledgedAt.Time)
	}
	return ages
}

// WatchClock looks at the clock at every tick, until the context ends, and tells of each jump, ahead or (negative) back.
// Requests notice jumps by themselves, but not one that is taken back before the next request.
func (s *Service) WatchClock(ctx context.Context, ticks <-chan time.Time, jumped func(by time.Duration)) {
	for told := time.Duration(0); ; {
		select {
		case <-ticks:
		case <-ctx.Done():
			return
		}
		stretches := s.clock.read().stretches
		if offset := stretches[len(stretches)-1].offset; offset != told {
			jumped(offset - told)
			told = offset
		}
	}
}
