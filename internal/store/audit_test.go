package store_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"latchkey/internal/audit"
	"latchkey/internal/store"
	"latchkey/internal/store/storetest"
)

// newEvents makes events from a moment on, a second apart, of two users in turn and of nobody. They are anonymous logins,
// but for every tenth.
func newEvents(n int, from time.Time) []audit.Event {
	events := make([]audit.Event, n)
	for i := range events {
		at := from.Add(time.Duration(i) * time.Second)
		e := audit.Event{ID: audit.FirstID(at), At: at, Action: audit.Login, Result: "unknown_user", NameHash: "0123456789abcdef0123456789abcdef"}
		if i%3 > 0 {
			e.UserID, e.SessionID, e.NameHash, e.Result = id(i%3), id(100+i), "", "ok"
			e.Address, e.RequestID = "2001:db8::1", fmt.Sprint("request-", i)
		}
		if i%10 == 9 {
			e.Action = audit.Reuse
		}
		events[i] = e
	}
	return events
}

func appendEvents(t *testing.T, s *store.Store, events []audit.Event) {
	t.Helper()
	if err := s.AppendAuditEvents(t.Context(), events); err != nil {
		t.Fatal(err)
	}
}

func readEvents(t *testing.T, s *store.Store, f store.AuditFilter, limit int) []audit.Event {
	t.Helper()
	events, err := s.AuditEvents(t.Context(), f, limit)
	if err != nil {
		t.Fatal(err)
	}
	return events
}

func TestAuditEventsComeBackAsTheyWere(t *testing.T) {
	s := storetest.Open(t)
	if got := readEvents(t, s, store.AuditFilter{}, 10); len(got) != 0 {
		t.Errorf("a new table has %v", got)
	}
	want := newEvents(1000, testTime) // several statements
	appendEvents(t, s, want)
	appendEvents(t, s, nil)
	slices.Reverse(want)
	if got := readEvents(t, s, store.AuditFilter{}, 2000); !slices.Equal(got, want) {
		t.Errorf("%d events came back, the newest is %+v, want %+v", len(got), got[0], want[0])
	}
}

// The answer to a batch may be lost: it is written again, as it was.
func TestAppendingAuditEventsAgainChangesNothing(t *testing.T) {
	s := storetest.Open(t)
	events := newEvents(450, testTime)
	appendEvents(t, s, events[:200])
	for range 2 {
		appendEvents(t, s, events)
	}
	if n := len(readEvents(t, s, store.AuditFilter{}, 1000)); n != len(events) {
		t.Errorf("there are %d events, want %d", n, len(events))
	}
}

func TestAuditEventsAreFiltered(t *testing.T) {
	s := storetest.Open(t)
	all := newEvents(100, testTime)
	appendEvents(t, s, all)
	slices.Reverse(all)
	for name, test := range map[string]struct {
		filter store.AuditFilter
		wanted func(audit.Event) bool
	}{
		"by user":   {store.AuditFilter{UserID: id(1)}, func(e audit.Event) bool { return e.UserID == id(1) }},
		"by action": {store.AuditFilter{Action: audit.Reuse}, func(e audit.Event) bool { return e.Action == audit.Reuse }},
		"since a moment, which belongs to it": {
			store.AuditFilter{Since: testTime.Add(50 * time.Second)},
			func(e audit.Event) bool { return !e.At.Before(testTime.Add(50 * time.Second)) },
		},
		"since a moment between two": {
			store.AuditFilter{Since: testTime.Add(50*time.Second + time.Millisecond)},
			func(e audit.Event) bool { return e.At.After(testTime.Add(50 * time.Second)) },
		},
		"before an event": {store.AuditFilter{Before: all[30].ID}, func(e audit.Event) bool { return e.At.Before(all[30].At) }},
		"by everything": {
			store.AuditFilter{UserID: id(2), Action: audit.Reuse, Since: testTime.Add(20 * time.Second), Before: all[5].ID},
			func(e audit.Event) bool {
				return e.UserID == id(2) && e.Action == audit.Reuse && !e.At.Before(testTime.Add(20*time.Second)) && e.At.Before(all[5].At)
			},
		},
		"by a user without any": {store.AuditFilter{UserID: id(9)}, func(audit.Event) bool { return false }},
	} {
		t.Run(name, func(t *testing.T) {
			want := slices.DeleteFunc(slices.Clone(all), func(e audit.Event) bool { return !test.wanted(e) })
			if got := readEvents(t, s, test.filter, 1000); !slices.Equal(got, want) {
				t.Errorf("%d events, want %d", len(got), len(want))
			}
			if got := readEvents(t, s, test.filter, 3); !slices.Equal(got, want[:min(3, len(want))]) {
				t.Errorf("with a limit of 3 there are %d", len(got))
			}
		})
	}
}

func TestAuditEventsOutliveTheirUser(t *testing.T) {
	s := storetest.Open(t)
	user := createUser(t, s, 1)
	appendEvents(t, s, []audit.Event{{ID: id(5), At: testTime, Action: audit.Administer, Result: "delete", UserID: user.ID}})
	if err := s.DeleteUser(t.Context(), user.ID); err != nil {
		t.Fatal(err)
	}
	if n := len(readEvents(t, s, store.AuditFilter{UserID: user.ID}, 10)); n != 1 {
		t.Errorf("%d events are left, want 1", n)
	}
}

// Two servers on one database write at the same time.
func TestAuditEventsOfSeveralWritersAllArrive(t *testing.T) {
	url := storetest.URL(t)
	var wg sync.WaitGroup
	for i := range 2 {
		s := storetest.OpenURL(t, url)
		wg.Go(func() {
			for j := range 20 {
				if err := s.AppendAuditEvents(t.Context(), newEvents(20, testTime.Add(time.Duration(2*j+i)*time.Hour))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	got := readEvents(t, storetest.OpenURL(t, url), store.AuditFilter{}, 2000)
	if len(got) != 800 || !slices.IsSortedFunc(got, func(a, b audit.Event) int { return slices.Compare(b.ID[:], a.ID[:]) }) {
		t.Errorf("there are %d events, or they are not in order", len(got))
	}
	if got[0].UserID == uuid.Nil && got[1].UserID == uuid.Nil {
		t.Error("the users are lost")
	}
}
