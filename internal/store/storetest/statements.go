package storetest

import (
	"errors"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"

	"modernc.org/sqlite"
)

// Statements counts what SQLite itself is asked to do in one database file, by its own hooks. A connection that was open
// before the schema changed compiles its first statement twice.
type Statements struct {
	reads, writes, explicit atomic.Int64
	atCommit                atomic.Pointer[func()]
}

// Count is a moment's state of Statements.
type Count struct {
	// Reads counts each SELECT that is compiled; the store prepares each statement it runs.
	Reads int64
	// Writes counts write transactions that commit, which a conditional UPDATE that matches nothing is too.
	Writes int64
	// Explicit counts each BEGIN, COMMIT and ROLLBACK.
	Explicit int64
}

// Take returns the count since the last call.
func (s *Statements) Take() Count {
	return Count{s.reads.Swap(0), s.writes.Swap(0), s.explicit.Swap(0)}
}

// AtCommit has a function called within each commit from now on, when all that can fail is behind it.
func (s *Statements) AtCommit(f func()) { s.atCommit.Store(&f) }

var countedFiles sync.Map // path to *Statements

// CountStatements counts on every connection that is opened to the file from now on.
func CountStatements(t testing.TB, path string) *Statements {
	t.Helper()
	s := &Statements{}
	countedFiles.Store(path, s)
	t.Cleanup(func() { countedFiles.Delete(path) })
	return s
}

func init() { sqlite.RegisterConnectionHook(count) }

func count(conn sqlite.ExecQuerierContext, dsn string) error {
	file, err := url.Parse(dsn)
	if err != nil {
		return err
	}
	found, ok := countedFiles.Load(file.Path)
	if !ok {
		return nil
	}
	s := found.(*Statements)
	hooks, isHookable := conn.(sqlite.HookRegisterer)
	authorizer, isAuthorizable := conn.(sqlite.AuthorizerRegisterer)
	if !isHookable || !isAuthorizable {
		return errors.New("the driver has no hooks to count statements with")
	}
	hooks.RegisterCommitHook(func() int32 {
		s.writes.Add(1)
		if f := s.atCommit.Load(); f != nil {
			(*f)()
		}
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
}
