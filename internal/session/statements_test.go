package session_test

import (
	"os"
	"testing"

	"latchkey/internal/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(storetest.Main(m)) }

// The counter is worth nothing if it misses what it is there to count.
func TestStatementsAreCounted(t *testing.T) {
	w := newCountedWorld(t, nil)
	grant := w.login(t)
	w.counts.Take()
	row := w.row(t, grant.RefreshToken)
	if got, want := w.counts.Take(), (storetest.Count{Reads: 1}); got != want {
		t.Errorf("one read was counted as %+v", got)
	}
	stale := row.Session
	stale.Generation += 7
	if moved, err := w.store.AdvanceSession(t.Context(), stale, stale); moved || err != nil {
		t.Fatalf("an update of a generation that is not there: %v, %v", moved, err)
	}
	if got, want := w.counts.Take(), (storetest.Count{Writes: 1}); got != want {
		t.Errorf("one update that matches nothing was counted as %+v", got)
	}
	w.start(t, w.user(t))
	if got := w.counts.Take(); got.Explicit == 0 {
		t.Errorf("a transaction was counted as %+v", got)
	}
}
