package session_test

import (
	"errors"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"modernc.org/sqlite"
)

// statements counts what SQLite itself is asked to do in one database file, by its own hooks: every SELECT that is
// compiled (the store prepares each statement it runs), every write transaction that commits, which a conditional
// UPDATE that matches nothing is too, and every explicit BEGIN, COMMIT or ROLLBACK. A connection that was open before
// the schema changed compiles its first statement twice.
type statements struct{ reads, writes, explicit atomic.Int64 }

// count is a moment's state of statements.
type count struct{ reads, writes, explicit int64 }

func (s *statements) take() count {
	return count{s.reads.Swap(0), s.writes.Swap(0), s.explicit.Swap(0)}
}

var countedFiles sync.Map // path to *statements

// countStatements counts on every connection that is opened to the file from now on.
func countStatements(t testing.TB, path string) *statements {
	t.Helper()
	s := &statements{}
	countedFiles.Store(path, s)
	t.Cleanup(func() { countedFiles.Delete(path) })
	return s
}

func TestMain(m *testing.M) {
	sqlite.RegisterConnectionHook(func(conn sqlite.ExecQuerierContext, dsn string) error {
		file, err := url.Parse(dsn)
		if err != nil {
			return err
		}
		found, ok := countedFiles.Load(file.Path)
		if !ok {
			return nil
		}
		s := found.(*statements)
		hooks, isHookable := conn.(sqlite.HookRegisterer)
		authorizer, isAuthorizable := conn.(sqlite.AuthorizerRegisterer)
		if !isHookable || !isAuthorizable {
			return errors.New("the driver has no hooks to count statements with")
		}
		hooks.RegisterCommitHook(func() int32 {
			s.writes.Add(1)
			return 0
		})
		return authorizer.RegisterAuthorizer(func(action sqlite.AuthorizerActionCode, _, _, _, _ string) sqlite.AuthorizerReturnCode {
			switch action {
			case sqlite.AuthSelect:
				s.reads.Add(1)
			case sqlite.AuthTransaction:
				s.explicit.Add(1)
			}
			return sqlite.AuthorizerOK
		})
	})
	os.Exit(m.Run())
}

// The counter is worth nothing if it misses what it is there to count.
func TestStatementsAreCounted(t *testing.T) {
	w := newWorld(t, 1, nil)
	grant := w.login(t)
	w.counts.take()
	row := w.row(t, grant.RefreshToken)
	if got, want := w.counts.take(), (count{reads: 1}); got != want {
		t.Errorf("one read was counted as %+v", got)
	}
	stale := row.Session
	stale.Generation += 7
	if moved, err := w.store.AdvanceSession(t.Context(), stale, stale); moved || err != nil {
		t.Fatalf("an update of a generation that is not there: %v, %v", moved, err)
	}
	if got, want := w.counts.take(), (count{writes: 1}); got != want {
		t.Errorf("one update that matches nothing was counted as %+v", got)
	}
	w.start(t, w.user(t))
	if got := w.counts.take(); got.explicit == 0 {
		t.Errorf("a transaction was counted as %+v", got)
	}
}
