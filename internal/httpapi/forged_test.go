package httpapi

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"latchkey/internal/store/storetest"
	"latchkey/internal/token/tokentest"
)

// A forged access token gets the answer that every other one gets, whatever is wrong with it: nothing to learn from,
// nothing fetched, nothing changed.
func TestForgedAccessTokensGetOneAnswer(t *testing.T) {
	f := newFixture(t)
	f.signUp(t, "alice", "admin")
	alice, other := f.signIn(t, "alice"), f.signIn(t, "alice")
	trap, calls := newTrap(t)
	forger := tokentest.New(t, f.signingKey(t), alice.access, other.access, trap)
	forgeries := forger.Forgeries(t)
	forgeries["a refresh token"] = alice.refresh
	if len(forgeries) < 400 { // an empty list would pass, too
		t.Fatalf("only %d forgeries", len(forgeries))
	}
	unchanged := forger.Sign(t, forger.Header, forger.Change(t, nil)) // what is refused is the forger's one change
	wantAccepted := func() {
		t.Helper()
		for _, good := range []string{alice.access, other.access, unchanged} {
			for _, path := range bearerPaths {
				wantStatus(t, f.get(t, path, good), http.StatusOK)
			}
		}
	}
	wantAccepted()
	for name, forged := range forgeries {
		if len(forged) > maxHeaders-1024 { // no header can hold it
			wantProblem(t, f.get(t, "/api/user/me", strings.Repeat("a", 1024)+forged), http.StatusRequestHeaderFieldsTooLarge, "headers_too_large")
			delete(forgeries, name)
		}
	}
	rows, refusal := f.rows(t), f.refusal(t)
	recorded := len(f.refusals(t))

	for name, forged := range forgeries {
		t.Run(name, func(t *testing.T) {
			if got := f.bearerAnswers(t, forged); got != refusal {
				t.Errorf("%.200s gets\n%s\nand junk\n%s", forged, got, refusal)
			}
			// Logout takes expired tokens too, but no forged ones: that alice is still signed in shows below.
			wantStatus(t, f.do(t, http.MethodPost, "/api/user/logout", "", bearerOf(forged)...), http.StatusNoContent)
		})
	}

	if after := f.rows(t); !slices.Equal(after, rows) {
		t.Errorf("the database held\n%s\nand holds\n%s", strings.Join(rows, "\n"), strings.Join(after, "\n"))
	}
	wantAccepted()
	if n := calls(); n != 0 {
		t.Errorf("the server opened %d connections to where a token told it", n)
	}
	f.Close() // the last line is there
	if strings.Contains(f.logs.String(), `"msg":"panic"`) {
		t.Error("a token made a handler panic")
	}
	for _, entry := range f.refusals(t) {
		if entry["result"] != "invalid" || entry["user_id"] != nil || entry["session_id"] != nil {
			t.Errorf("something of a forged token is taken for true in the log: %v", entry)
		}
	}
	if n, want := len(f.refusals(t))-recorded, len(bearerPaths)*len(forgeries); n != want {
		t.Errorf("%d refusals are in the log, want %d", n, want)
	}
}

// What no header can hold never gets as far as a token.
func TestTokenWithALineBreakIsNoRequest(t *testing.T) {
	f := newFixture(t)
	f.signUp(t, "alice")
	access := f.signIn(t, "alice").access
	half := len(access) / 2
	for name, inserted := range map[string]string{
		"LF": "\n", "CR": "\r", "CR LF": "\r\n", "CR LF and a space": "\r\n ", "NUL": "\x00", "an escape": "\x1b", "DEL": "\x7f",
	} {
		t.Run(name, func(t *testing.T) {
			status, body, _ := f.raw(t, "GET /api/user/me HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"+
				"Authorization: Bearer "+access[:half]+inserted+access[half:]+"\r\n\r\n")
			if status != http.StatusBadRequest && status != http.StatusUnauthorized {
				t.Errorf("%d %s", status, body)
			}
		})
	}
	wantStatus(t, f.get(t, "/api/user/me", access), http.StatusOK)
}

var bearerPaths = []string{"/api/user/me", "/api/user/protected"}

// bearerAnswers presents a token to each of bearerPaths and returns all that is answered but the date.
func (f *fixture) bearerAnswers(t testing.TB, token string) string {
	t.Helper()
	var all strings.Builder
	for _, path := range bearerPaths {
		// Answers differ by the id of their request, so let it be the same.
		a := f.do(t, http.MethodGet, path, "", append(bearerOf(token), "X-Request-Id", "one-for-all")...)
		a.Header.Del("Date")
		fmt.Fprintln(&all, path, a.Status)
		if err := a.Header.Write(&all); err != nil {
			t.Fatal(err)
		}
		all.WriteString(a.body)
	}
	return all.String()
}

// refusal is what bearerAnswers returns for every token that is refused.
func (f *fixture) refusal(t testing.TB) string {
	t.Helper()
	for _, path := range bearerPaths {
		a := f.get(t, path, "x")
		wantProblem(t, a, http.StatusUnauthorized, "invalid_token")
		if challenge := a.Header.Values("WWW-Authenticate"); !slices.Equal(challenge, []string{`Bearer error="invalid_token"`}) {
			t.Errorf("%s: WWW-Authenticate is %q", path, challenge)
		}
	}
	return f.bearerAnswers(t, "x")
}

// signingKey is the private part of the server's first key.
func (f *fixture) signingKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	dir := t.TempDir()
	if err := f.keys[0].Save(dir); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.pem"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return key.(*ecdsa.PrivateKey)
}

// newTrap listens where a forger would have the server look for keys, and counts the connections.
func newTrap(t *testing.T) (url string, calls func() int64) {
	t.Helper()
	var opened atomic.Int64
	trap := httptest.NewUnstartedServer(http.NotFoundHandler())
	trap.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	trap.Start()
	t.Cleanup(trap.Close)
	t.Cleanup(func() { // a trap that catches nothing proves nothing
		before := opened.Load()
		response, err := trap.Client().Get(trap.URL) //nolint:noctx // the test's context has ended
		if err != nil {
			t.Error(err)
			return
		}
		_ = response.Body.Close()
		if opened.Load() != before+1 {
			t.Error("the trap does not count")
		}
	})
	return trap.URL, opened.Load
}

// rows returns every column of every row of the tables, past the code under test.
func (f *fixture) rows(t testing.TB) (lines []string) {
	t.Helper()
	db := storetest.SQL(t, string(f.config.DatabaseURL))
	for _, table := range []string{"users", "sessions"} {
		lines = append(lines, storetest.Rows(t, db, "SELECT * FROM "+table+" ORDER BY id")...)
	}
	if len(lines) < 2 {
		t.Fatalf("only %d rows: that nothing changed would prove nothing", len(lines))
	}
	return lines
}

// refusals are the log's records of the access tokens that were refused.
func (f *fixture) refusals(t testing.TB) (entries []map[string]any) {
	t.Helper()
	for line := range strings.Lines(f.logs.String()) {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatal(err)
		}
		if entry["action"] == "token.verify" {
			entries = append(entries, entry)
		}
	}
	return entries
}
