//go:build e2e

package replicas

import (
	"net/http"
	"testing"
	"time"
)

// Each replica is stopped and started again, the next one as soon as the last one is ready. No client notices.
func TestRollingRestartUnderLoadFailsNoRequest(t *testing.T) {
	t.Parallel()
	s := newSite(t, unlimited...)
	l := s.startLoad(t)
	l.pour(t.Context())
	begun := time.Now()
	l.run(t, 3000)
	before := time.Now()
	for range 2 {
		for _, r := range s.replicas {
			r.stop(t)
			r.start(t)
		}
	}
	during := time.Now()
	l.run(t, 300)
	l.wantNoFault(t)
	t.Logf("before: %s", l.figures(begun, before))
	t.Logf("during: %s", l.figures(before, during))
}

// A replica is killed in the middle of its work, some times. What it was at may be lost, but for what nginx may send to
// the other one; those whose sign-in was lost are told to try again; and no session ends.
func TestKilledReplicaLosesNoMoreThanSignInsUnderWay(t *testing.T) {
	t.Parallel()
	s := newSite(t, unlimited...)
	l := s.startLoad(t)
	kills := 0
	for range 2 {
		for _, r := range s.replicas {
			l.run(t, 200)
			r.kill(t)
			kills++
			l.run(t, 200)
			r.start(t)
			r.awaitCalls(t)
		}
	}
	faults := l.end()
	for _, f := range faults {
		if f.err != nil || f.call != "POST /api/user/login" || !f.answer.is(http.StatusServiceUnavailable, "unavailable") ||
			f.answer.header.Get("Retry-After") == "" {
			t.Error(f)
		}
	}
	if len(faults) > kills*visitors {
		t.Errorf("%d requests were lost, more than can have been under way", len(faults))
	}
	t.Logf("%d requests, %d kills, %d sign-ins lost", len(l.samples), kills, len(faults))
}
