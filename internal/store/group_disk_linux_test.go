package store

import (
	"errors"
	"os/signal"
	"syscall"
	"testing"
)

// A disk that does not take the commit of several writes keeps none of them, and the server is not ready until it does.
// It must not run beside others: no file of this process may grow meanwhile.
func TestCommitThatTheDiskDoesNotTake(t *testing.T) {
	s := openTest(t)
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	limit := func(to uint64) {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: to, Max: before.Max}); err != nil {
			t.Fatal(err)
		}
	}
	defer limit(before.Cur)
	limit(4096)
	errs := atOnce(t, s, add(t, s, 2), add(t, s, 3), add(t, s, 4))
	refused := s.writable(t.Context())
	limit(before.Cur)
	for i, err := range errs {
		if !errors.Is(err, ErrUnavailable) || !isRefused(err) {
			t.Errorf("write %d: %v", i, err)
		}
		wantUser(t, s, byte(2+i), ErrNotFound)
	}
	if !isRefused(refused) {
		t.Errorf("writable gives %v", refused)
	}
	if err := s.writable(t.Context()); err != nil || s.writers.refused.Load() {
		t.Errorf("afterwards writable gives %v", err)
	}
	addUser(t, s, 2)
}
