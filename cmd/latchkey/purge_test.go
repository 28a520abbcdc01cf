package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rogpeppe/go-internal/testscript"

	"latchkey/internal/audit"
	"latchkey/internal/retention"
	"latchkey/internal/store"
)

// longAgo is when everything has expired that was made then.
const longAgo = 100 * 24 * time.Hour

// addExpired adds sessions of a user, counts of failed sign-ins and audit events, n of each, of a day long past.
func addExpired(file, user string, n int) error {
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(5000)&_time_integer_format=unix_milli&_txlock=immediate")
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	tx, err := db.BeginTx(context.Background(), nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // unless it is committed
	began := time.Now().Add(-longAgo)
	for i := range n {
		at := began.Add(time.Duration(i) * time.Millisecond)
		id, key := audit.FirstID(at), make([]byte, 32)
		_, _ = rand.Read(id[8:])
		_, _ = rand.Read(key)
		for _, statement := range []struct {
			text      string
			arguments []any
		}{
			{`INSERT INTO sessions (id, user_id, generation, oldest_generation, current_hash, issued_at, created_at)
				SELECT ?, id, 1, 1, ?, ?, ? FROM users WHERE canonical_name = ?`, []any{id[:], key, at, at, user}},
			{`INSERT INTO login_throttles VALUES (?, 5, ?, ?)`, []any{key, at, at}},
			{`INSERT INTO audit_events (id, at, action, result) VALUES (?, ?, 'user.login', 'unknown_user')`, []any{id[:], at}},
		} {
			if _, err := tx.ExecContext(context.Background(), statement.text, statement.arguments...); err != nil {
				return err
			}
		}
	}
	return tx.Commit()
}

// expired USER N adds N expired sessions of the user, and as many expired rows of other tables.
func expired(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: expired USER N")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	ts.Check(addExpired(ts.MkAbs("data/latchkey.db"), args[0], n))
}

// lease HOLDER takes the lease of whoever deletes what has expired.
func lease(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: lease HOLDER")
	}
	st, err := store.Open("sqlite:" + ts.MkAbs("data/latchkey.db"))
	ts.Check(err)
	defer func() { _ = st.Close() }()
	held, err := st.TakeLease(context.Background(), "retention", args[0], time.Now(), time.Now().Add(time.Minute))
	ts.Check(err)
	if !held {
		ts.Fatalf("another one has the lease")
	}
}

// left counts what is left of what addExpired added.
func left(t *testing.T, file string) (n int) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+file+"?mode=ro&_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	limit := time.Now().Add(-longAgo / 2).UnixMilli()
	err = db.QueryRowContext(t.Context(), `SELECT (SELECT COUNT(*) FROM sessions WHERE created_at < ?1) +
		(SELECT COUNT(*) FROM login_throttles WHERE charged_at < ?1) + (SELECT COUNT(*) FROM audit_events WHERE at < ?1)`, limit).Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// awaitLess waits until fewer than n rows are left.
func awaitLess(t *testing.T, file string, n int) int {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if found := left(t, file); found < n {
			return found
		} else if time.Now().After(deadline) {
			t.Fatalf("%d rows are still there", found)
		}
	}
}

// A purge that is killed half-way beside a server that works: what is left is right, and others go on.
func TestKilledPurgeIsCarriedOnByTheNext(t *testing.T) {
	t.Parallel()
	const rows = 5000
	dir := t.TempDir()
	file := filepath.Join(dir, "data/latchkey.db")
	p := start(t, dir, unlimited...)
	user := p.url + "/api/user"
	mustCall(t, http.StatusCreated, http.MethodPost, user+"/register", credentials("alice", "correct horse"), "", "")
	login := mustCall(t, http.StatusOK, http.MethodPost, user+"/login", credentials("alice", "correct horse"), "", "")
	if err := addExpired(file, "alice", rows); err != nil {
		t.Fatal(err)
	}
	purge := &process{Cmd: command(t, dir, nil, "purge"), done: make(chan struct{})}
	purge.run(t)
	awaitLess(t, file, 3*rows)
	purge.signal(t, syscall.SIGKILL)
	purge.ended(t)
	kept := left(t, file)
	t.Logf("killed with %d of %d rows left", kept, 3*rows)
	if kept == 0 {
		t.Error("it was killed too late")
	}
	checkIntegrity(t, file)

	again := command(t, dir, nil, "purge")
	if out, err := again.CombinedOutput(); again.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), "another process") {
		t.Errorf("the next one, at once: %v\n%s", err, out)
	}
	st, err := store.Open("sqlite:" + file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	later := func() time.Time { return time.Now().Add(2 * time.Minute) }
	d, err := retention.New(retention.Options{SessionTTL: longAgo / 2, AuditEvents: longAgo / 2, Now: later}, st, prometheus.NewRegistry()).Purge(t.Context())
	if total := d.Sessions + d.LoginThrottles + d.AuditEvents; err != nil || total != int64(kept) || left(t, file) != 0 {
		t.Errorf("two minutes later: %+v and %v, and %d of %d are left", d, err, left(t, file), kept)
	}
	checkIntegrity(t, file)
	mustCall(t, http.StatusOK, http.MethodPost, user+"/refresh", "", login.cookie, "")
}

func TestPurgeThatIsStoppedLetsTheNextBeginAtOnce(t *testing.T) {
	t.Parallel()
	const rows = 5000
	dir := t.TempDir()
	file := filepath.Join(dir, "data/latchkey.db")
	operate(t, dir, nil, "correct horse\n", "user", "create", "alice", "--password-stdin")
	if err := addExpired(file, "alice", rows); err != nil {
		t.Fatal(err)
	}
	purge := &process{Cmd: command(t, dir, nil, "purge"), done: make(chan struct{})}
	purge.Stdout, purge.Stderr = &purge.stdout, &purge.stderr
	purge.run(t)
	awaitLess(t, file, 3*rows)
	purge.signal(t, syscall.SIGTERM)
	state := purge.ended(t)
	if text, _ := purge.stderr.read(); state.ExitCode() != 1 || text != "latchkey: stopped before all was deleted: the next one goes on\n" {
		t.Errorf("it ended with %v and says %q", state, text)
	}
	kept := left(t, file)
	first := regexp.MustCompile(`deleted (\d+) session\(s\), (\d+) .* and (\d+) audit`).FindStringSubmatch(purge.stdout.String())
	if first == nil {
		t.Fatalf("it said %q", purge.stdout.String())
	}
	sum := 0
	for _, number := range first[1:] {
		n, _ := strconv.Atoi(number)
		sum += n
	}
	if sum+kept != 3*rows {
		t.Errorf("it said that it deleted %d, and left %d, of %d", sum, kept, 3*rows)
	}
	operate(t, dir, nil, "", "purge")
	if n := left(t, file); n != 0 {
		t.Errorf("the next one left %d", n)
	}
}

// The server's own turns are too far apart for a test; that it counts them shows that it has begun, and its end that it
// stops at once.
func TestServerCountsWhatItDeletes(t *testing.T) {
	t.Parallel()
	ops := freeAddress(t)
	p := start(t, t.TempDir(), append(unlimited, "LATCHKEY_OPS_ADDR="+ops)...)
	text := fetch(t, "http://"+ops+"/metrics")
	for _, table := range []string{"sessions", "login_throttles", "audit_events"} {
		if want := fmt.Sprintf("latchkey_purged_rows_total{table=%q} 0\n", table); !strings.Contains(text, want) {
			t.Errorf("no %q", want)
		}
	}
	p.signal(t, syscall.SIGTERM)
	if state := p.ended(t); state.ExitCode() != 0 {
		t.Errorf("it ended with %v", state)
	}
}
