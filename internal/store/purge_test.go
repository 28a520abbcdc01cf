package store_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"latchkey/internal/store"
	"latchkey/internal/store/storetest"
)

// remaining lists the numbers of those sessions that are still there.
func remaining(t *testing.T, s *store.Store, numbers ...int) []int {
	t.Helper()
	return slices.DeleteFunc(numbers, func(n int) bool {
		_, err := s.SessionByID(t.Context(), id(n))
		return err != nil
	})
}

func TestDeleteSessionsTakesTheOldOnesAmongTheFirst(t *testing.T) {
	s := storetest.Open(t)
	createUser(t, s, 1)
	before := testTime.Add(time.Hour)
	for n, created := range map[int]time.Time{
		11: testTime, 12: before.Add(-time.Millisecond),
		13: before, // not before
		14: testTime, 15: before.Add(time.Hour), 16: testTime,
	} {
		session := newSession(1, n)
		session.CreatedAt = created
		if n == 12 {
			session.RevokedAt = at(testTime)
		}
		createSession(t, s, session)
	}
	for _, step := range []struct {
		n    int
		want []int // of which the difference was deleted
	}{
		{1, []int{12, 13, 14, 15, 16}},
		{2, []int{13, 14, 15, 16}},
		{1, []int{13, 14, 15, 16}}, // the first one stays, and hides what is behind it
		{2, []int{13, 15, 16}},
		{store.MaxPurge, []int{13, 15}},
		{store.MaxPurge, []int{13, 15}},
	} {
		was := remaining(t, s, 11, 12, 13, 14, 15, 16)
		deleted, err := s.DeleteSessions(t.Context(), before, step.n)
		now := remaining(t, s, 11, 12, 13, 14, 15, 16)
		if err != nil || int(deleted) != len(was)-len(now) || !slices.Equal(now, step.want) {
			t.Errorf("with %d it says %d and %v, and leaves %v, want %v", step.n, deleted, err, now, step.want)
		}
	}
}

func TestDeleteAuditEventsTakesTheOldest(t *testing.T) {
	s := storetest.Open(t)
	appendEvents(t, s, newEvents(10, testTime))
	before := testTime.Add(5*time.Second + time.Millisecond) // the one of this second is older
	for _, want := range []int64{4, 2, 0} {
		if deleted, err := s.DeleteAuditEvents(t.Context(), before, 4); err != nil || deleted != want {
			t.Errorf("it says %d and %v, want %d", deleted, err, want)
		}
	}
	left := readEvents(t, s, store.AuditFilter{}, 100)
	if len(left) != 4 || !left[3].At.Equal(testTime.Add(6*time.Second)) {
		t.Errorf("%d events are left, the oldest of %v", len(left), left[len(left)-1].At)
	}
}

func TestDeleteLoginThrottlesTakesThoseThatDoNotCount(t *testing.T) {
	s := storetest.Open(t)
	before := testTime.Add(time.Hour)
	for key, change := range map[byte]func(*store.LoginThrottle){
		1: func(l *store.LoginThrottle) { l.ChargedAt = before.Add(-time.Millisecond) },
		2: func(l *store.LoginThrottle) { l.ChargedAt = before },
		3: func(l *store.LoginThrottle) { l.ChargedAt, l.Failures = before.Add(time.Hour), 0 },
		4: func(l *store.LoginThrottle) { l.ChargedAt, l.Failures = before.Add(time.Hour), 9 },
		5: func(l *store.LoginThrottle) { l.ChargedAt = testTime },
	} {
		throttle := newThrottle(key)
		change(&throttle)
		if made, err := s.AdvanceLoginThrottle(t.Context(), store.LoginThrottle{}, throttle); err != nil || !made {
			t.Fatal(made, err)
		}
	}
	var last []byte
	for _, want := range []struct {
		last    byte
		deleted int64
	}{{2, 1}, {4, 1}, {5, 1}, {0, 0}} {
		var deleted int64
		var err error
		last, deleted, err = s.DeleteLoginThrottles(t.Context(), last, before, 2)
		if err != nil || deleted != want.deleted || want.last == 0 && last != nil || want.last > 0 && !bytes.Equal(last, newThrottle(want.last).KeyHash) {
			t.Errorf("it says %x, %d and %v, want key %d and %d", last, deleted, err, want.last, want.deleted)
		}
	}
	for key := byte(1); key <= 5; key++ {
		throttle, err := s.LoginThrottle(t.Context(), newThrottle(key).KeyHash)
		if there := !throttle.ChargedAt.IsZero(); err != nil || there != (key == 2 || key == 4) {
			t.Errorf("number %d is there: %t (%v)", key, there, err)
		}
	}
}
