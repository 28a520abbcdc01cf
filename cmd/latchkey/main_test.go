package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"latchkey/internal/account"
	"latchkey/internal/password"
	"latchkey/internal/store"
)

// TestMain lets the test binary be the program when a script calls it by the program's name.
func TestMain(m *testing.M) {
	testscript.Main(cleaner{m}, map[string]func(){"latchkey": main})
}

// cleaner removes what was built for the tests when they have run.
type cleaner struct{ *testing.M }

// Run runs the tests.
func (c cleaner) Run() int {
	defer func() { _ = os.RemoveAll(buildDir) }()
	return c.M.Run()
}

// TestScripts runs the scripts in testdata, each in an empty folder and without any setting.
func TestScripts(t *testing.T) {
	testscript.Run(t, scripts("testdata"))
}

// scripts are those of a folder, and what they can do.
func scripts(folder string) testscript.Params {
	return testscript.Params{
		Dir:                 folder,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Deadline:            time.Now().Add(4 * patience), // for a server that should have refused to start
		Setup: func(env *testscript.Env) error {
			env.Setenv("GORACE", "atexit_sleep_ms=0") // otherwise each command takes a second under the race detector
			return nil
		},
		Condition: func(condition string) (bool, error) {
			if condition == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", condition)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status":      status,
			"id-of-event": idOfEvent,
			"json":        isJSON,
			"name-key":    nameKey,
			"occupy":      occupy,
			"password-is": passwordIs,
			"expired":     expired,
			"lease":       lease,
		},
	}
}

// status N COMMAND... runs a command that must exit with status N.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N command...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// json checks that standard output is one JSON value.
func isJSON(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: json")
	}
	if out := ts.ReadFile("stdout"); !json.Valid([]byte(out)) {
		ts.Fatalf("no JSON: %s", out)
	}
}

// name-key FILE renames the only key in data/keys, as if it were made at another time.
func nameKey(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: name-key FILE")
	}
	dir := ts.MkAbs("data/keys")
	files, err := filepath.Glob(filepath.Join(dir, "*.pem"))
	ts.Check(err)
	if len(files) != 1 {
		ts.Fatalf("there are %d keys in %s", len(files), dir)
	}
	ts.Check(os.Rename(files[0], filepath.Join(dir, args[0])))
}

// id-of-event VARIABLE RESULT puts the user's id of the newest event with this result into the variable.
func idOfEvent(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: id-of-event VARIABLE RESULT")
	}
	st, err := store.Open("sqlite:" + ts.MkAbs("data/latchkey.db"))
	ts.Check(err)
	defer func() { _ = st.Close() }()
	events, err := st.AuditEvents(context.Background(), store.AuditFilter{}, 100)
	ts.Check(err)
	for _, e := range events {
		if e.Result == args[1] {
			ts.Setenv(args[0], e.UserID.String())
			return
		}
	}
	ts.Fatalf("no event %q", args[1])
}

// occupy VARIABLE listens on a port of its own and puts the address into the variable.
func occupy(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: occupy VARIABLE")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it lasts until the script ends
	ts.Check(err)
	ts.Defer(func() { _ = listener.Close() })
	ts.Setenv(args[0], listener.Addr().String())
}

// password-is NAME PASSWORD checks what the database knows as the password of a user.
func passwordIs(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: [!] password-is NAME PASSWORD")
	}
	st, err := store.Open("sqlite:" + ts.MkAbs("data/latchkey.db"))
	ts.Check(err)
	defer func() { _ = st.Close() }()
	ctx := context.Background()
	user, err := st.UserByName(ctx, account.CanonicalName(args[0]))
	ts.Check(err)
	verdict, err := password.NewHasher(1).Verify(ctx, args[1], user.PasswordHash)
	ts.Check(err)
	if verdict.Right == neg {
		ts.Fatalf("%q is the password of %s: %v", args[1], args[0], verdict.Right)
	}
}
