package audit

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
)

// database stands for the table: it can be away, and it can take a batch and lose the answer.
type database struct {
	mu      sync.Mutex
	away    bool
	lost    int // answers to lose
	batches [][]Event
	kept    map[uuid.UUID]bool
	events  []Event
	calls   int
}

var errAway = errors.New("away")

func (d *database) write(ctx context.Context, events []Event) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls++
	if d.away || ctx.Err() != nil {
		return errAway
	}
	d.batches = append(d.batches, slices.Clone(events))
	if d.kept == nil {
		d.kept = map[uuid.UUID]bool{}
	}
	if !d.kept[events[0].ID] { // the first one tells for all, as the statement does
		for _, e := range events {
			d.kept[e.ID] = true
		}
		d.events = append(d.events, events...)
	}
	if d.lost > 0 {
		d.lost--
		return errAway
	}
	return nil
}

func (d *database) goAway(away bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.away = away
}

func (d *database) state() (events []Event, calls int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.events), d.calls
}

// keeper is a Log that keeps its events in d, within a synctest bubble, whose clock it uses.
func keeper(t *testing.T, d *database) (*Log, *bytes.Buffer) {
	t.Helper()
	var text bytes.Buffer
	log := New(slog.New(slog.NewTextHandler(&text, nil)), prometheus.NewRegistry())
	log.Keep(time.Now, d.write)
	t.Cleanup(func() { _ = log.Close(t.Context()) })
	return log, &text
}

// droppedFor reads latchkey_audit_dropped_total of a reason, which must be there, be it 0.
func (l *Log) droppedFor(t *testing.T, reason string) float64 {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(l.dropped)
	families, err := registry.Gather()
	if err != nil || len(families) != 1 || families[0].GetName() != "latchkey_audit_dropped_total" {
		t.Fatalf("gathered %v, %v", families, err)
	}
	for _, metric := range families[0].GetMetric() {
		if metric.GetLabel()[0].GetValue() == reason {
			return metric.GetCounter().GetValue()
		}
	}
	t.Fatalf("nothing counts %q", reason)
	return 0
}

func (l *Log) wantDropped(t *testing.T, reason string, want float64) {
	t.Helper()
	if got := l.droppedFor(t, reason); got != want {
		t.Errorf("%v events were dropped for %q, want %v", got, reason, want)
	}
}

// known is an event of a known user, the i-th.
func known(i int) Event {
	return Event{Action: Login, Result: "ok", UserID: userID, SessionID: uuid.UUID{15: byte(i), 14: byte(i >> 8)}}
}

func recordKnown(t *testing.T, log *Log, n int) {
	t.Helper()
	for i := range n {
		log.Record(t.Context(), known(i))
	}
}

func TestEventsAreKeptWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &database{}
		log, _ := keeper(t, d)
		began := time.Now().UTC()
		ctx := WithOrigin(t.Context(), Origin{"request-1", "192.0.2.1"})
		log.Record(ctx, Event{Action: Refresh, Result: "rotate", UserID: userID, SessionID: sessionID, NameHash: "hash"})
		if _, calls := d.state(); calls != 0 {
			t.Error("Record has written by itself: a request would wait for it")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		events, _ := d.state()
		if len(events) != 1 {
			t.Fatalf("%d events are kept", len(events))
		}
		e := events[0]
		if !e.At.Equal(began) || e.At.Location() != time.UTC || e.ID.Version() != 7 || e.ID.Variant() != uuid.RFC4122 {
			t.Errorf("it is kept as %+v", e)
		}
		e.ID, e.At = uuid.Nil, time.Time{}
		want := Event{
			Action: Refresh, Result: "rotate", UserID: userID, SessionID: sessionID, NameHash: "hash", Address: "192.0.2.1", RequestID: "request-1",
		}
		if e != want {
			t.Errorf("it is kept as %+v, want %+v", e, want)
		}
	})
}

func TestAFullBatchDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &database{}
		log, _ := keeper(t, d)
		recordKnown(t, log, batchSize)
		synctest.Wait() // no time passes
		if events, _ := d.state(); len(events) != batchSize {
			t.Errorf("%d events are kept", len(events))
		}
	})
}

func TestBatchesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &database{away: true}
		log, _ := keeper(t, d)
		recordKnown(t, log, 5*batchSize+1)
		d.goAway(false)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		events, _ := d.state()
		if len(events) != 5*batchSize+1 {
			t.Errorf("%d events are kept", len(events))
		}
		for _, batch := range d.batches {
			if len(batch) > batchSize {
				t.Errorf("a batch has %d events", len(batch))
			}
		}
	})
}

func TestEventsWaitForADatabaseThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &database{away: true}
		log, text := keeper(t, d)
		recordKnown(t, log, maxQueued+batchSize+500)
		time.Sleep(10500 * time.Millisecond)
		synctest.Wait()
		if _, calls := d.state(); calls > 12 {
			t.Errorf("a database that is away was asked %d times in ten seconds", calls)
		}
		d.goAway(false)
		time.Sleep(time.Second)
		synctest.Wait()
		events, _ := d.state()
		dropped := log.droppedFor(t, droppedFull)
		if n := len(events); n < maxQueued || n > maxQueued+batchSize || float64(n)+dropped != maxQueued+batchSize+500 {
			t.Errorf("%d events are kept and %v dropped", n, dropped)
		}
		for i, e := range events {
			if e.SessionID != known(i).SessionID {
				t.Fatalf("event %d is out of order, or one before it is lost", i)
			}
		}
		if n := strings.Count(text.String(), "cannot be written"); n != 1 || !strings.Contains(text.String(), "can be written again") {
			t.Errorf("the outage is reported %d times, or its end is not", n)
		}
		if n := strings.Count(text.String(), "msg=audit"); n != maxQueued+batchSize+500 {
			t.Errorf("the log has %d of the events", n)
		}
	})
}

// An attempt that hangs, as over a connection that is dead, is given up and made again.
func TestADatabaseThatHangsIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, hung := &database{}, false
		log := New(slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		log.Keep(time.Now, func(ctx context.Context, events []Event) error {
			if !hung {
				hung = true
				<-ctx.Done()
			}
			return d.write(ctx, events)
		})
		defer func() { _ = log.Close(t.Context()) }()
		recordKnown(t, log, 3)
		time.Sleep(writePause + writeTimeout + writePause)
		synctest.Wait()
		if events, _ := d.state(); len(events) != 3 {
			t.Errorf("%d events are kept, want 3", len(events))
		}
	})
}

// The database took a batch and could not say so. It is given the same batch again, not a longer one that begins alike:
// it would take that for known, and the rest would be lost.
func TestABatchIsRepeatedAsItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &database{lost: 2}
		log, _ := keeper(t, d)
		for range 4 {
			recordKnown(t, log, 3)
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if events, _ := d.state(); len(events) != 12 {
			t.Errorf("%d events are kept, want 12", len(events))
		}
	})
}

// Whoever makes up tokens and names, or sends a token that has been revoked, must not fill the disk.
func TestStrangersCannotFillTheTable(t *testing.T) {
	for name, e := range map[string]Event{
		"an unknown name":         {Action: Login, Result: "unknown_user"},
		"junk as a token":         {Action: Verify, Result: "invalid"},
		"a token that is revoked": {Action: Verify, Result: "revoked", UserID: userID, SessionID: sessionID},
		"a role that is missing":  {Action: Forbidden, Result: "role", UserID: userID, SessionID: sessionID},
		"a try at a closed name":  {Action: Throttle, Result: "account", UserID: userID},
		"a bad new password":      {Action: PasswordChange, Result: "invalid", UserID: userID, SessionID: sessionID},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &database{}
				log, _ := keeper(t, d)
				kept := func() int {
					time.Sleep(time.Second)
					synctest.Wait()
					events, _ := d.state()
					return len(events)
				}
				for range 1000 {
					log.Record(t.Context(), e)
				}
				others := []Event{
					known(1), {Action: KeyChange, Result: "refused"}, {Action: Administer, Result: "revoke_sessions"},
					{Action: PasswordChange, Result: "wrong_password", UserID: userID, SessionID: sessionID},
				}
				for _, e := range others {
					log.Record(t.Context(), e)
				}
				if n := kept(); n != strangersBurst+len(others) {
					t.Errorf("%d of 1000 events and %d others are kept, want %d", n, len(others), strangersBurst+len(others))
				}
				log.wantDropped(t, droppedRate, 1000-strangersBurst)
				for range 1000 { // a second later
					log.Record(t.Context(), e)
				}
				if n := kept(); n != strangersBurst+len(others)+strangersRate {
					t.Errorf("a second later %d are kept, want %d more", n, strangersRate)
				}
			})
		})
	}
}

func TestAClockThatIsSetBackLetsNoMoreIn(t *testing.T) {
	var a allowance
	now := time.Unix(1_800_000_000, 0)
	for range strangersBurst {
		a.take(now)
	}
	for i := range 10 {
		if a.take(now.Add(-time.Duration(i) * time.Hour)) {
			t.Fatal("it lets one in")
		}
	}
}

// A value that does not fit would be refused with its whole batch, again and again.
func TestOverlongValuesAreCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &database{}
		log, _ := keeper(t, d)
		long := strings.Repeat("x", 1000)
		log.Record(WithOrigin(t.Context(), Origin{long, long}), known(1))
		time.Sleep(time.Second)
		synctest.Wait()
		events, _ := d.state()
		if len(events) != 1 || len(events[0].Address) != MaxField || len(events[0].RequestID) != MaxField {
			t.Errorf("it is kept as %+v", events)
		}
	})
}
