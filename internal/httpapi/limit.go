package httpapi

import (
	"net/netip"
	"sync"
	"time"

	"latchkey/internal/account"
	"latchkey/internal/config"
)

// maxBuckets bounds the memory of a limiter, to about 10 MiB, whatever addresses requests come from.
const maxBuckets = 100_000

// evictionLook is how many buckets are looked at to make room for one.
const evictionLook = 100

// limiter allows each client address so many events in a period, as a token bucket: the whole count at once, then one
// at a time. Requests whose address is not known share one bucket.
type limiter struct {
	limit config.Limit
	now   func() time.Time

	mu      sync.Mutex
	buckets map[netip.Prefix]bucket
}

type bucket struct {
	spent float64 // of limit.Count, as of at
	at    time.Time
}

func newLimiter(limit config.Limit, now func() time.Time) *limiter {
	return &limiter{limit: limit, now: now, buckets: make(map[netip.Prefix]bucket)}
}

// charge counts an event, or returns a limitError that says how long to wait. It is called before the work is done:
// parallel requests cannot all pass on one look at the count.
func (l *limiter) charge(address netip.Addr) error {
	if l.limit.Count == 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	key, now := account.Network(address), l.now()
	b := l.refill(key, now)
	if over := b.spent + 1 - float64(l.limit.Count); over > 0 {
		l.buckets[key] = b // it is there already, for it is not empty
		return limitError{wait: time.Duration(over * float64(l.limit.Per) / float64(l.limit.Count))}
	}
	b.spent++
	if _, known := l.buckets[key]; !known && len(l.buckets) >= maxBuckets {
		l.evict(now)
	}
	l.buckets[key] = b
	return nil
}

// refund takes back a charge, for an event that does not count after all.
func (l *limiter) refund(address netip.Addr) {
	if l.limit.Count == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	key := account.Network(address)
	if b, known := l.buckets[key]; known {
		b.spent = max(0, b.spent-1)
		l.buckets[key] = b
	}
}

func (l *limiter) refill(key netip.Prefix, now time.Time) bucket {
	b := l.buckets[key]
	// Times of time.Now are compared by their monotonic readings; by any other clock that is set back, nothing is refilled.
	if elapsed := now.Sub(b.at); elapsed > 0 {
		b.spent = max(0, b.spent-float64(elapsed)/float64(l.limit.Per)*float64(l.limit.Count))
	}
	b.at = now
	return b
}

// evict makes room: of the first buckets in the map's random order it drops those that are empty again, or, if none is,
// one that is in use. It looks at a few only, so that a flood of addresses does not make each request dear.
func (l *limiter) evict(now time.Time) {
	var looked int
	var last netip.Prefix
	for key := range l.buckets {
		if l.refill(key, now).spent == 0 {
			delete(l.buckets, key)
		}
		if last = key; looked == evictionLook {
			break
		}
		looked++
	}
	if len(l.buckets) >= maxBuckets {
		delete(l.buckets, last)
	}
}
