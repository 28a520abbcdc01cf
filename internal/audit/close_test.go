package audit

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"
)

func TestCloseHandsOverWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &database{}
		log, _ := keeper(t, d)
		recordKnown(t, log, 3*batchSize/2)
		for range 2 {
			if err := log.Close(t.Context()); err != nil {
				t.Errorf("Close gives %v", err)
			}
		}
		if events, _ := d.state(); len(events) != 3*batchSize/2 {
			t.Errorf("%d events are kept", len(events))
		}
		log.Record(t.Context(), known(1))
		log.wantDropped(t, droppedClosed, 1)
	})
}

func TestCloseDoesNotWaitForADatabaseThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &database{away: true}
		log, _ := keeper(t, d)
		recordKnown(t, log, 2*batchSize+7)
		began := time.Now()
		if err := log.Close(t.Context()); !errors.Is(err, ErrNotKept) {
			t.Errorf("Close gives %v, want ErrNotKept", err)
		}
		if took := time.Since(began); took > 0 { // by the bubble's clock
			t.Errorf("it took %v", took)
		}
		log.wantDropped(t, droppedClosed, 2*batchSize+7)
	})
}

// A database that hangs is not waited for longer than the caller says.
func TestCloseEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := New(slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		log.Keep(time.Now, func(ctx context.Context, _ []Event) error {
			<-ctx.Done()
			return ctx.Err()
		})
		recordKnown(t, log, 10)
		time.Sleep(1500 * time.Millisecond) // the attempt is under way
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if err := log.Close(ctx); !errors.Is(err, ErrNotKept) {
			t.Errorf("Close gives %v, want ErrNotKept", err)
		}
		if took := time.Since(began); took > time.Second { // by the bubble's clock
			t.Errorf("it took %v", took)
		}
		log.wantDropped(t, droppedClosed, 10)
	})
}

// A request must not wait for a database that hangs.
func TestRecordDoesNotWaitForTheDatabase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := New(slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		log.Keep(time.Now, func(ctx context.Context, _ []Event) error {
			<-ctx.Done()
			return ctx.Err()
		})
		began := time.Now()
		recordKnown(t, log, 2*maxQueued)
		if took := time.Since(began); took > 0 { // by the bubble's clock
			t.Errorf("it took %v", took)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_ = log.Close(ctx)
	})
}

func TestALogWithoutATableCloses(t *testing.T) {
	if err := New(slog.New(slog.DiscardHandler), prometheus.NewRegistry()).Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestIDsSortInTheOrderOfTheirTimes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s sequence
		at := time.UnixMilli(rapid.Int64Range(0, 1<<47).Draw(t, "start"))
		last := FirstID(at)
		for range rapid.IntRange(1, 100).Draw(t, "events") {
			at = at.Add(time.Duration(rapid.SampledFrom([]int64{0, 0, 0, 1, 2, 1000}).Draw(t, "pause")) * time.Millisecond)
			id := s.next(at)
			if slices.Compare(id[:], last[:]) <= 0 {
				t.Fatalf("%s follows %s", id, last)
			}
			if first := FirstID(at); slices.Compare(first[:], id[:]) > 0 || first[5] != id[5] {
				t.Fatalf("%s is not of %s", id, at)
			}
			if next := FirstID(at.Add(time.Millisecond)); slices.Compare(id[:], next[:]) >= 0 {
				t.Fatalf("%s is not before the next millisecond", id)
			}
			if seconds, nanoseconds := id.Time().UnixTime(); id.Version() != 7 || seconds*1000+nanoseconds/1e6 != at.UnixMilli() {
				t.Fatalf("%s does not tell the time %d", id, at.UnixMilli())
			}
			last = id
		}
	})
}

// Two servers make ids in the same millisecond.
func TestIDsOfTwoProcessesDiffer(t *testing.T) {
	seen := map[string]bool{}
	at := time.UnixMilli(1_800_000_000_000)
	for range 100 {
		var s sequence
		for range 100 {
			id := s.next(at).String()
			if seen[id] {
				t.Fatalf("%s was made twice", id)
			}
			seen[id] = true
		}
	}
}
