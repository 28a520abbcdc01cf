//go:build e2e

package replicas

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"latchkey/internal/store/storetest"
)

// load is visitors who come one after another without pause, each from an address of its own: sign in, refresh, look
// around, sign out. Beside them as many stay signed in for the whole time. Every answer has to be the expected one.
type load struct {
	site *site
	ctx  context.Context // until the load is ended
	stop context.CancelFunc
	all  sync.WaitGroup

	mu      sync.Mutex
	samples []sample
	faults  []fault
}

type sample struct {
	at   time.Time
	took time.Duration
}

// fault is an answer that was not the expected one, or none.
type fault struct {
	at     time.Time
	call   string
	answer answer
	err    error
}

func (f fault) String() string {
	return fmt.Sprintf("%s %s: %v, %v", f.at.Format("15:04:05.000"), f.call, f.answer, f.err)
}

// visitors is enough to keep both replicas at work all the time, and no more than a busy machine can serve: a replica that
// has too much to do says so by a 503.
const visitors = 4

// startLoad has visitors come, each to an account of their own, until the load is ended.
func (s *site) startLoad(t *testing.T) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{site: s, ctx: ctx, stop: cancel}
	for i := range visitors {
		name := fmt.Sprintf("visitor%d", i)
		long := s.client()
		long.signUp(t, name)
		l.all.Go(func() {
			for ctx.Err() == nil {
				l.visit(ctx, name)
				l.must(ctx, long, "POST", "/api/user/refresh", "", http.StatusOK)
				l.must(ctx, long, "GET", "/api/user/me", "", http.StatusOK)
			}
			l.must(ctx, long, "POST", "/api/user/logout", "", http.StatusNoContent)
		})
	}
	t.Cleanup(func() { // where the test has failed
		cancel()
		l.all.Wait()
	})
	return l
}

// visit is one sign-in, and what a front end does with it. It ends when something goes wrong.
func (l *load) visit(ctx context.Context, name string) {
	c := l.site.client()
	ok := l.must(ctx, c, "POST", "/api/user/login", credentials(name), http.StatusOK)
	for range 4 {
		ok = ok && l.must(ctx, c, "GET", "/api/user/me", "", http.StatusOK) &&
			l.must(ctx, c, "POST", "/api/user/refresh", "", http.StatusOK)
	}
	ended := *c
	if ok && l.must(ctx, c, "POST", "/api/user/logout", "", http.StatusNoContent) {
		l.must(ctx, &ended, "POST", "/api/user/refresh", "", http.StatusBadRequest)
	}
}

// pour adds requests that cost next to nothing and that nginx does not send twice, so many that some are on their way at
// whatever moment a connection is closed.
func (l *load) pour(ctx context.Context) {
	if os.Getenv(storetest.ServerVariable) != "" {
		return // a server of the database that is on this machine needs the processors itself
	}
	for range 6 {
		l.all.Go(func() {
			for l.ctx.Err() == nil {
				c := l.site.client() // another one before nginx bounds what one may send
				for range 50 {
					l.must(ctx, c, "POST", "/api/user/login", "{}", http.StatusBadRequest)
				}
			}
		})
	}
}

// must sends a request and records it. Whatever is not the expected status is a fault.
func (l *load) must(ctx context.Context, c *client, method, path, body string, status int) bool {
	started := time.Now()
	a, err := c.call(ctx, method, path, body)
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.samples = append(l.samples, sample{now, now.Sub(started)})
	if err == nil && a.status == status {
		return true
	}
	l.faults = append(l.faults, fault{now, method + " " + path, a, err})
	return false
}

// end ends the load, and returns what went wrong.
func (l *load) end() []fault {
	l.stop()
	l.all.Wait()
	return l.faults
}

// wantNoFault ends the load, in which nothing may have gone wrong.
func (l *load) wantNoFault(t *testing.T) {
	t.Helper()
	faults := l.end()
	for i, f := range faults {
		if i == 20 {
			break
		}
		t.Error(f)
	}
	if len(l.samples) < 50*visitors {
		t.Errorf("%d requests are no load", len(l.samples))
	}
	t.Logf("%d requests, %d failed", len(l.samples), len(faults))
}

// run waits until the visitors have done some more.
func (l *load) run(t *testing.T, requests int) {
	t.Helper()
	done := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.samples)
	}
	before := done()
	await(t, "the visitors do something", func() bool { return done() >= before+requests })
}

// figures describes the requests of a time.
func (l *load) figures(from, to time.Time) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var took []time.Duration
	for _, s := range l.samples {
		if s.at.After(from) && s.at.Before(to) {
			took = append(took, s.took.Round(100*time.Microsecond))
		}
	}
	if len(took) == 0 {
		return "no requests"
	}
	slices.Sort(took)
	return fmt.Sprintf("%d requests in %s, p50 %s, p99 %s, longest %s", len(took), to.Sub(from).Round(100*time.Millisecond),
		took[len(took)/2], took[len(took)*99/100], took[len(took)-1])
}
