//go:build sqlserver

package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"latchkey/internal/store/storetest"
)

// How long a request may take: at all, and where the database's machine says that nobody is there.
const (
	longest = 10 * time.Second
	soon    = 3 * time.Second
)

// flip is how long /readyz may take to notice that the database has gone or come back.
const flip = 5 * time.Second

// remote is a server whose SQL Server is behind a network that can fail.
type remote struct {
	*process
	ops   string
	relay *storetest.Relay
	// db goes round the relay.
	db *sql.DB
	// password is that of the database.
	password string
}

func startRemote(t *testing.T, settings ...string) *remote {
	t.Helper()
	database := storetest.URL(t)
	r := &remote{ops: freeAddress(t), relay: storetest.NewRelay(t, database)}
	var err error
	if r.db, err = sql.Open("sqlserver", database); err != nil {
		t.Fatal("the database's URL is not understood")
	}
	t.Cleanup(func() { _ = r.db.Close() })
	if parsed, err := url.Parse(database); err == nil {
		r.password, _ = parsed.User.Password()
	}
	// Nothing is answered from memory: each call needs the database.
	settings = append(append(unlimited, "LATCHKEY_REVOCATION_DELAY=0s", "LATCHKEY_OPS_ADDR="+r.ops, "LATCHKEY_DATABASE_URL="+r.relay.URL()), settings...)
	r.process = start(t, t.TempDir(), settings...)
	t.Cleanup(func() {
		if text, _ := r.stderr.read(); t.Failed() {
			t.Logf("the server's log:\n%s", text)
		}
	})
	return r
}

// count returns what a statement counts.
func (r *remote) count(t *testing.T, statement string, args ...any) (n int) {
	t.Helper()
	if err := r.db.QueryRowContext(t.Context(), statement, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// metric returns the sum of a metric whose name and labels begin like this.
func (r *remote) metric(t *testing.T, name string) (sum float64) {
	t.Helper()
	found := false
	for line := range strings.Lines(fetch(t, "http://"+r.ops+"/metrics")) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && strings.HasPrefix(key, name) {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatal(err)
			}
			sum, found = sum+n, true
		}
	}
	if !found {
		t.Fatalf("there is no metric %s", name)
	}
	return sum
}

// user is a browser of somebody's.
type user struct{ name, cookie, access string }

// post calls, and again while the server asks for that: a machine with much to do needs more than 3 s for a statement.
func (r *remote) post(t *testing.T, status int, path, body, cookie, access string) answer {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		a, err := call(t.Context(), http.MethodPost, r.url+"/api/user"+path, body, cookie, access)
		if err != nil {
			t.Fatal(err)
		}
		if a.status == status {
			return a
		}
		if a.status != http.StatusServiceUnavailable || time.Now().After(deadline) {
			t.Fatalf("%s: status %d %s, want %d", path, a.status, a.body.Code, status)
		}
		t.Logf("%s: the server asks to come again", path)
	}
}

func (r *remote) signUp(t *testing.T, name string) user {
	t.Helper()
	r.post(t, http.StatusCreated, "/register", credentials(name, passwordOf(name)), "", "")
	return r.signIn(t, name)
}

func (r *remote) signIn(t *testing.T, name string) user {
	t.Helper()
	a := r.post(t, http.StatusOK, "/login", credentials(name, passwordOf(name)), "", "")
	return user{name, a.cookie, a.body.AccessToken}
}

// request is one of a client's.
type request struct{ method, path, body, cookie, access string }

// databaseRequests are one of each call that needs the database, by a client that is in order.
func databaseRequests(u user) map[string]request {
	change, _ := json.Marshal(map[string]string{"current_password": passwordOf(u.name), "new_password": "another secret"})
	return map[string]request{
		"register":            {"POST", "/api/user/register", credentials("newcomer", passwordOf("newcomer")), "", ""},
		"login":               {"POST", "/api/user/login", credentials(u.name, passwordOf(u.name)), "", ""},
		"login, wrong":        {"POST", "/api/user/login", credentials(u.name, "wrong"), "", ""},
		"login, unknown":      {"POST", "/api/user/login", credentials("nobody", "wrong"), "", ""},
		"refresh":             {"POST", "/api/user/refresh", "", u.cookie, ""},
		"logout by cookie":    {"POST", "/api/user/logout", "", u.cookie, ""},
		"logout by token":     {"POST", "/api/user/logout", "", "", u.access},
		"me":                  {"GET", "/api/user/me", "", "", u.access},
		"protected":           {"GET", "/api/user/protected", "", "", u.access},
		"list the sessions":   {"GET", "/api/user/sessions", "", "", u.access},
		"end the others":      {"DELETE", "/api/user/sessions", "", "", u.access},
		"end one":             {"DELETE", "/api/user/sessions/" + uuid.NewString(), "", "", u.access},
		"change the password": {"POST", "/api/user/password", string(change), "", u.access},
		"audit":               {"GET", "/api/admin/audit", "", "", u.access},
	}
}

// reply is a whole answer.
type reply struct {
	*http.Response
	code string
}

// impatient has no connections but those in use, and so leaves no goroutines behind in the server.
var impatient = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// send sends a request and waits for the answer no longer than the limit.
func (r *remote) send(t *testing.T, limit time.Duration, q request) (reply, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	h, err := http.NewRequestWithContext(ctx, q.method, r.url+q.path, strings.NewReader(q.body))
	if err != nil {
		t.Fatal(err)
	}
	if q.body != "" {
		h.Header.Set("Content-Type", "application/json")
	}
	if q.cookie != "" {
		h.Header.Set("Cookie", "refresh_token="+q.cookie)
	}
	if q.access != "" {
		h.Header.Set("Authorization", "Bearer "+q.access)
	}
	response, err := impatient.Do(h)
	if err != nil {
		return reply{}, err
	}
	defer func() { _ = response.Body.Close() }()
	var body struct{ Code string }
	all, err := io.ReadAll(response.Body)
	if len(all) > 0 && err == nil {
		err = json.Unmarshal(all, &body)
	}
	return reply{response, body.Code}, err
}

// unavailable sends all these requests at once and wants each to be told, within the limit, to come back later, and
// nothing about its session.
func (r *remote) unavailable(t *testing.T, limit time.Duration, requests map[string]request) {
	t.Helper()
	var all sync.WaitGroup
	for name, q := range requests {
		all.Go(func() {
			a, err := r.send(t, limit, q)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				return
			}
			if a.StatusCode != http.StatusServiceUnavailable || a.code != "unavailable" || a.Header.Get("Retry-After") == "" {
				t.Errorf("%s: %d %s, Retry-After %q", name, a.StatusCode, a.code, a.Header.Get("Retry-After"))
			}
			if set := a.Header.Values("Set-Cookie"); len(set) > 0 {
				t.Errorf("%s sets a cookie: %q", name, set)
			}
		})
	}
	all.Wait()
}

func (r *remote) eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it does not come about that %s", what)
		}
	}
}

// becomes waits until /readyz has a status.
func (r *remote) becomes(t *testing.T, status int) {
	t.Helper()
	for deadline := time.Now().Add(flip); ; time.Sleep(20 * time.Millisecond) {
		a, err := r.send(t, longest, request{method: "GET", path: "/readyz"})
		if err != nil {
			t.Fatal(err)
		}
		if a.StatusCode == status {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("readyz is %d for %s, want %d", a.StatusCode, flip, status)
		}
	}
}

// Each way in which the database can be away, and back, while the server runs.
func TestDatabaseOutOfReach(t *testing.T) {
	r := startRemote(t)
	alice := r.signUp(t, "alice")
	r.signUp(t, "bob") // whose session nobody looks at meanwhile
	calm := r.metric(t, "go_goroutines")
	for _, test := range []struct {
		name       string
		limit      time.Duration
		away, back func()
	}{
		{"refuses", soon, r.relay.Refuse, r.relay.Accept},
		{"says nothing", longest, r.relay.Hush, r.relay.Talk},
		{"takes 5 s for everything", longest, func() { r.relay.Delay(5 * time.Second) }, func() { r.relay.Delay(0) }},
	} {
		t.Run("a database that "+test.name, func(t *testing.T) {
			before, _ := r.stderr.read()
			test.away()
			requests := databaseRequests(alice)
			many := map[string]request{}
			for name, q := range requests {
				for _, copy := range []string{"", " again", " and again"} {
					many[name+copy] = q
				}
			}
			r.unavailable(t, test.limit, many)
			r.becomes(t, http.StatusServiceUnavailable)
			mustCall(t, http.StatusOK, http.MethodGet, r.url+"/livez", "", "", "")
			r.checkLog(t, before, len(many))

			test.back()
			r.becomes(t, http.StatusOK)
			a := r.post(t, http.StatusOK, "/refresh", "", alice.cookie, "") // with the cookie of before
			if a.cookie != "" {
				alice.cookie = a.cookie
			}
			alice.access = a.body.AccessToken
			mustCall(t, http.StatusOK, http.MethodGet, r.url+"/api/user/me", "", "", alice.access)
			r.signIn(t, "bob")
			if n := r.count(t, "SELECT COUNT(*) FROM users"); n != 2 {
				t.Errorf("there are %d users, want 2: somebody was let in", n)
			}
		})
	}
	http.DefaultClient.CloseIdleConnections()
	r.eventually(t, "the connections are free and the goroutines those of before", func() bool {
		goroutines, busy := r.metric(t, "go_goroutines"), r.metric(t, `go_sql_in_use_connections{db_name="main"}`)
		return busy == 0 && goroutines <= calm+5 // some serve this question
	})
}

var failedRequest = regexp.MustCompile(`msg="request failed" error="([^"]+)" request_id=([^ \n]+)`)

// checkLog wants one line with the cause for each request that failed, and no secret.
func (r *remote) checkLog(t *testing.T, before string, want int) {
	t.Helper()
	text, _ := r.stderr.read()
	text = text[len(before):]
	seen := map[string]bool{}
	for _, found := range failedRequest.FindAllStringSubmatch(text, -1) {
		if !strings.Contains(found[1], "store: database unavailable: ") {
			t.Errorf("the log tells no cause: %s", found[0])
		}
		if seen[found[2]] {
			t.Errorf("more than one line about request %s", found[2])
		}
		seen[found[2]] = true
	}
	if len(seen) < want {
		t.Errorf("the log has lines about %d failed requests, want %d at least", len(seen), want)
	}
	if r.password != "" {
		mustNotHold(t, text, r.password)
	}
	t.Logf("%d failed requests made %d bytes of log", len(seen), len(text))
}
