package password

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// occupied is a Hasher whose slots are all taken, as by hashes that never end.
func occupied(concurrency int) *Hasher {
	h := NewHasher(concurrency)
	for range concurrency {
		h.slots <- struct{}{}
	}
	return h
}

// Whoever waits in vain is told so after the wait: refused at once, a crowd would come again at once.
func TestWaitInVainIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := occupied(2)
		for range cap(h.places) {
			h.places <- struct{}{}
		}
		for name, call := range map[string]func() error{
			"Hash":       func() error { _, err := h.Hash(t.Context(), "correct horse"); return err },
			"Verify":     func() error { _, err := h.Verify(t.Context(), "correct horse", h.dummy); return err },
			"VerifyNone": func() error { return h.VerifyNone(t.Context(), "correct horse") },
			"Admit":      func() error { _, err := h.Admit(t.Context()); return err },
		} {
			began := time.Now()
			if err := call(); !errors.Is(err, ErrBusy) {
				t.Errorf("%s gives %v, want ErrBusy", name, err)
			}
			if waited := time.Since(began); waited != 2*time.Second {
				t.Errorf("%s waits for %v, want 2 s", name, waited)
			}
		}
	})
}

func TestCrowdIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := occupied(1)
		done := make(chan error, 1000)
		for range cap(done) {
			go func() { done <- h.VerifyNone(t.Context(), "correct horse") }()
		}
		synctest.Wait()
		if n := len(done); n != 0 {
			t.Fatalf("%d of 1,000 do not wait", n)
		}
		began := time.Now()
		if err := h.VerifyNone(t.Context(), "correct horse"); !errors.Is(err, ErrBusy) || time.Since(began) != 0 {
			t.Errorf("the next one gets %v after %v, want ErrBusy at once", err, time.Since(began))
		}
		for range cap(done) {
			if err := <-done; !errors.Is(err, ErrBusy) {
				t.Errorf("one that waited in vain gets %v", err)
			}
		}
		wantIdle(t, h, 1)
	})
}

// wantIdle checks that nobody waits, and that every slot but those taken can be had.
func wantIdle(t *testing.T, h *Hasher, taken int) {
	t.Helper()
	if n := h.waiting.Load(); n != 0 {
		t.Errorf("%d calls count as waiting, want none", n)
	}
	if n := len(h.slots); n != taken {
		t.Errorf("%d slots are taken, want %d", n, taken)
	}
}

func TestWaitingCallGoesOnWhenASlotIsFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := occupied(1)
		done := make(chan error, 3)
		for range 3 {
			go func() { done <- h.VerifyNone(t.Context(), "correct horse") }()
		}
		synctest.Wait()
		if n := len(done); n != 0 {
			t.Fatalf("%d calls did not wait: VerifyNone must cost what a real hash costs", n)
		}
		<-h.slots
		for range 3 {
			if err := <-done; err != nil {
				t.Errorf("a call that waited gives %v", err)
			}
		}
		wantIdle(t, h, 0)
	})
}

func TestCancelledWaitTakesNoSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := occupied(1)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 2)
		go func() { _, err := h.Hash(ctx, "correct horse"); done <- err }()
		go func() { _, err := h.Verify(ctx, "correct horse", h.dummy); done <- err }()
		synctest.Wait()
		cancel()
		for range 2 {
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("a cancelled call gives %v, want context.Canceled", err)
			}
		}
		wantIdle(t, h, 1)
		<-h.slots
		if err := h.VerifyNone(t.Context(), "correct horse"); err != nil {
			t.Errorf("afterwards a call gives %v", err)
		}
		wantIdle(t, h, 0)
	})
}

func TestDeadlineWhileWaitingIsTheContextsError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := occupied(1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := h.VerifyNone(ctx, "correct horse"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("VerifyNone gives %v, want context.DeadlineExceeded", err)
		}
		wantIdle(t, h, 1)
	})
}

func TestParallelHashesGiveTheirSlotsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // whose clock stands still while something is hashed
		h := NewHasher(2)
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if _, err := h.Hash(t.Context(), "correct horse"); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		wantIdle(t, h, 0)
	})
}

func TestRefusalsLeaveNothingBehind(t *testing.T) {
	h := NewHasher(1)
	if _, err := h.Verify(t.Context(), "correct horse", "malformed"); !errors.Is(err, ErrMalformedHash) {
		t.Fatal(err)
	}
	wantIdle(t, h, 0)
}

// A place is taken until it is given back, and whoever finds none has the first that becomes free.
func TestPlacesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHasher(2)
		for range 2 { // a second time, when all were given back
			var leave []func()
			for range 2 + maxWaiting {
				give, err := h.Admit(t.Context())
				if err != nil {
					t.Fatalf("after %d places Admit gives %v", len(leave), err)
				}
				leave = append(leave, give)
			}
			began, next := time.Now(), make(chan error)
			go func() {
				give, err := h.Admit(t.Context())
				if err == nil {
					give()
				}
				next <- err
			}()
			synctest.Wait()
			select {
			case err := <-next:
				t.Fatalf("after %d places Admit gives one more, or %v", len(leave), err)
			default:
			}
			leave[0]()
			if err := <-next; err != nil || time.Since(began) != 0 {
				t.Errorf("when a place is free again Admit gives %v after %v", err, time.Since(began))
			}
			for _, give := range leave[1:] {
				give()
			}
		}
	})
}

// Nothing was done for a client that leaves before it has a place, so what it asked must not be charged to it.
func TestClientThatLeavesBeforeItHasAPlaceIsTurnedAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHasher(1)
		for range cap(h.places) {
			h.places <- struct{}{}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := h.Admit(ctx); !errors.Is(err, ErrBusy) || errors.Is(err, context.Canceled) {
			t.Errorf("Admit gives %v, want ErrBusy", err)
		}
		if n := len(h.places); n != cap(h.places) {
			t.Errorf("%d places are taken, want %d", n, cap(h.places))
		}
		time.Sleep(calm) // until the reserve is gone
	})
}

// The reserve is there while somebody waits, once, and gone when nobody has waited for a second.
func TestReserveIsThereWhileSomebodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := runtime.GOMAXPROCS(0)
		h := occupied(3)
		want := func(threads int, when string) {
			t.Helper()
			if got := runtime.GOMAXPROCS(0) - before; got != threads {
				t.Errorf("%s there are %d threads more, want %d", when, got, threads)
			}
		}
		wait := func() {
			ctx, cancel := context.WithTimeout(t.Context(), 600*time.Millisecond)
			defer cancel()
			if _, err := h.Admit(ctx); err != nil {
				t.Errorf("Admit gives %v", err)
			}
			if err := h.VerifyNone(ctx, "correct horse"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("VerifyNone gives %v", err)
			}
		}
		want(0, "at first")
		wait()
		want(3, "after a wait")
		wait()
		want(3, "after another")
		time.Sleep(300 * time.Millisecond)
		want(3, "within a second of its beginning")
		time.Sleep(200 * time.Millisecond)
		want(0, "a second after that")
		wait()
		want(3, "after one more")
		time.Sleep(time.Second)
	})
}
