package password

import (
	"context"
	"errors"
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

func TestUpTo64WaitAndTheRestIsRefusedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := occupied(2)
		began := time.Now()
		refused := make(chan error, 64)
		for range 64 {
			go func() { refused <- h.VerifyNone(t.Context(), "correct horse") }()
		}
		synctest.Wait()
		if n := len(refused); n != 0 {
			t.Fatalf("%d of 64 calls were refused although 64 may wait: %v", n, <-refused)
		}
		for name, call := range map[string]func() error{
			"Hash":       func() error { _, err := h.Hash(t.Context(), "correct horse"); return err },
			"Verify":     func() error { _, err := h.Verify(t.Context(), "correct horse", h.dummy); return err },
			"VerifyNone": func() error { return h.VerifyNone(t.Context(), "correct horse") },
		} {
			if err := call(); !errors.Is(err, ErrBusy) {
				t.Errorf("beyond 64, %s gives %v, want ErrBusy", name, err)
			}
		}
		if waited := time.Since(began); waited != 0 {
			t.Errorf("the refusals beyond 64 took %v, want none", waited)
		}
		for range 64 {
			if err := <-refused; !errors.Is(err, ErrBusy) {
				t.Errorf("a call that waited in vain gives %v, want ErrBusy", err)
			}
		}
		if waited := time.Since(began); waited != 2*time.Second {
			t.Errorf("a call that waits in vain waits for %v, want 2 s", waited)
		}
		wantIdle(t, h, 2)
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
		if n := h.waiting.Load(); n != 3 {
			t.Fatalf("%d calls wait, want 3: VerifyNone must cost what a real hash costs", n)
		}
		h.leave()
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
		h.leave()
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

// A place is taken until it is given back, and one beyond the hashes and those that may wait is refused at once.
func TestPlacesAreBounded(t *testing.T) {
	h := NewHasher(2)
	for range 2 { // a second time, when all were given back
		var leave []func()
		for range 2 + maxWaiting {
			give, err := h.Admit()
			if err != nil {
				t.Fatalf("after %d places Admit gives %v", len(leave), err)
			}
			leave = append(leave, give)
		}
		if _, err := h.Admit(); !errors.Is(err, ErrBusy) {
			t.Errorf("after %d places Admit gives %v, want ErrBusy", len(leave), err)
		}
		for _, give := range leave {
			give()
		}
	}
}
