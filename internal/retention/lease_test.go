package retention

import (
	"errors"
	"testing"
	"time"

	"latchkey/internal/store/storetest"
)

func TestOnePurgerWorksAtATime(t *testing.T) {
	url := storetest.URL(t)
	one, other := storetest.OpenURL(t, url), storetest.OpenURL(t, url)
	addExpired(t, one, several)
	c := &clock{now: testTime}
	busy := false
	c.after(6, func() {
		busy = true
		if d, err := newPurger(other, func() time.Time { return testTime }).Purge(t.Context()); !errors.Is(err, ErrBusy) || d != (Deleted{}) {
			t.Errorf("beside another one it deletes %+v and says %v", d, err)
		}
	})
	if d := mustPurge(t, newPurger(one, c.Now)); d != (Deleted{several, several, several}) {
		t.Errorf("it deleted %+v", d)
	}
	if !busy {
		t.Error("nobody came between")
	}
	mustPurge(t, newPurger(other, c.Now)) // at once, for the lease was given back
}

func TestPurgerMakesItsLeaseLastWhileItWorks(t *testing.T) {
	url := storetest.URL(t)
	one, other := storetest.OpenURL(t, url), storetest.OpenURL(t, url)
	addExpired(t, one, several)
	c := &clock{now: testTime}
	c.after(6, func() {
		c.set(testTime.Add(leaseTime - time.Second))
		c.after(2, func() { // it has had the lease lengthened by then
			later := testTime.Add(leaseTime + time.Minute)
			if _, err := newPurger(other, func() time.Time { return later }).Purge(t.Context()); !errors.Is(err, ErrBusy) {
				t.Errorf("after the lease's first end another one says %v", err)
			}
		})
	})
	mustPurge(t, newPurger(one, c.Now))
	if c.n > 0 {
		t.Error("nobody came between")
	}
}

func TestPurgerThatDiedIsFollowedInTwoMinutes(t *testing.T) {
	st := storetest.Open(t)
	dead := &lease{purger: newPurger(st, func() time.Time { return testTime }), holder: "dead"}
	if err := dead.keep(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, after := range []time.Duration{0, leaseTime - time.Millisecond} {
		if _, err := newPurger(st, func() time.Time { return testTime.Add(after) }).Purge(t.Context()); !errors.Is(err, ErrBusy) {
			t.Errorf("after %s it says %v, want ErrBusy", after, err)
		}
	}
	mustPurge(t, newPurger(st, func() time.Time { return testTime.Add(leaseTime) }))
}

func TestPurgerThatWasHeldUpForTooLongStops(t *testing.T) {
	url := storetest.URL(t)
	one, other := storetest.OpenURL(t, url), storetest.OpenURL(t, url)
	addExpired(t, one, several)
	c := &clock{now: testTime}
	taken := &lease{purger: newPurger(other, c.Now), holder: "other"}
	c.after(6, func() {
		c.set(testTime.Add(leaseTime))
		if err := taken.keep(t.Context()); err != nil {
			t.Errorf("a lease that has run out cannot be taken: %v", err)
		}
	})
	d, err := newPurger(one, c.Now).Purge(t.Context())
	if !errors.Is(err, ErrBusy) || d.Sessions == 0 || d.Sessions == several || d.AuditEvents > 0 {
		t.Errorf("it deleted %+v and says %v", d, err)
	}
	taken.release(t.Context())
	if rest := mustPurge(t, newPurger(one, c.Now)); rest.Sessions+d.Sessions != several {
		t.Errorf("then it deleted %+v", rest)
	}
}

func TestClockThatWasSetBackStopsNoPurgerForLong(t *testing.T) {
	st := storetest.Open(t)
	ahead := &lease{purger: newPurger(st, func() time.Time { return testTime.Add(365 * day) }), holder: "one that died"}
	if err := ahead.keep(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustPurge(t, newPurger(st, func() time.Time { return testTime }))
}
