package store_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/internal/store"
	"latchkey/internal/store/storetest"
)

func takeLease(t *testing.T, s *store.Store, holder string, now time.Time) bool {
	t.Helper()
	held, err := s.TakeLease(t.Context(), "work", holder, now, now.Add(2*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	return held
}

func TestLeaseIsOneHoldersUntilItEnds(t *testing.T) {
	s := storetest.Open(t)
	const minute = time.Minute
	for _, step := range []struct {
		what, holder string
		at           time.Duration
		want         bool
	}{
		{"a free one is taken", "a", 0, true},
		{"another holder does not get it", "b", 0, false},
		{"nor a millisecond before its end", "b", 2*minute - time.Millisecond, false},
		{"its holder makes it last", "a", minute, true},
		{"so that it has not ended when it would have", "b", 2 * minute, false},
		{"at its end another takes it", "b", 3 * minute, true},
		{"and the first has lost it", "a", 3 * minute, false},
		{"a clock that was set back by minutes does not matter", "a", -4 * minute, false},
		{"one that was set back by more sees that the lease cannot be right", "a", -6 * minute, true},
		{"and then counts", "b", -5 * minute, false},
	} {
		if got := takeLease(t, s, step.holder, testTime.Add(step.at)); got != step.want {
			t.Errorf("%s: %t, want %t", step.what, got, step.want)
		}
	}
}

func TestLeaseThatIsGivenBackIsFree(t *testing.T) {
	s := storetest.Open(t)
	release := func(holder string) {
		t.Helper()
		if err := s.ReleaseLease(t.Context(), "work", holder); err != nil {
			t.Error(err)
		}
	}
	release("a") // there being none is no error
	takeLease(t, s, "a", testTime)
	release("b")
	if takeLease(t, s, "b", testTime) {
		t.Error("one that has not got it gave it back")
	}
	release("a")
	if !takeLease(t, s, "b", testTime) {
		t.Error("one that was given back is not free")
	}
	if held, err := s.TakeLease(t.Context(), "other work", "a", testTime, testTime.Add(time.Minute)); !held || err != nil {
		t.Errorf("that of another name gives %t and %v", held, err)
	}
}

func TestOneOfParallelHoldersGetsTheLease(t *testing.T) {
	s := storetest.Open(t)
	for round, what := range []string{"a new one", "one that has ended", "one that has ended, again"} {
		now := testTime.Add(time.Duration(round) * time.Hour)
		var held atomic.Int32
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				if takeLease(t, s, fmt.Sprint("holder ", i), now) {
					held.Add(1)
				}
			})
		}
		wg.Wait()
		if held.Load() != 1 {
			t.Errorf("%s is held by %d of 8, want 1", what, held.Load())
		}
	}
}
