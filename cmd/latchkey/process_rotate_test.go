package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"latchkey/internal/token"
)

// loaded finds what the log says when a server has taken over just these keys and so many secrets.
func loaded(secrets int, kids ...string) *regexp.Regexp {
	return regexp.MustCompile(fmt.Sprintf(`msg="keys loaded" kids="?\[%s\].* refresh_secrets=%d`, strings.Join(kids, " "), secrets))
}

// load is clients of several servers, each of which does one thing after another until it is stopped.
type load struct {
	urls   []string
	rounds atomic.Int64 // done by all clients
	stop   context.CancelFunc
	all    sync.WaitGroup
}

func startLoad(t *testing.T, clients int, urls ...string) *load {
	t.Helper()
	l := &load{urls: urls}
	var ctx context.Context
	ctx, l.stop = context.WithCancel(t.Context())
	for i := range clients {
		in := credentials(fmt.Sprintf("client%d", i), "correct horse")
		mustCall(t, http.StatusCreated, http.MethodPost, urls[0]+"/api/user/register", in, "", "")
		l.all.Go(func() {
			long := l.must(t, http.MethodPost, i, "/login", in, answer{})
			var short answer // replaced by each sign-in
			for n := i; ctx.Err() == nil && !t.Failed(); n++ {
				short = l.must(t, http.MethodPost, n, "/login", in, short)
				l.must(t, http.MethodGet, n+1, "/me", "", short)
				short = l.must(t, http.MethodPost, n+1, "/refresh", "", short)
				l.must(t, http.MethodGet, n, "/me", "", short)
				long = l.must(t, http.MethodPost, n, "/refresh", "", long)
				l.must(t, http.MethodGet, n+1, "/me", "", long)
				l.rounds.Add(1)
			}
		})
	}
	t.Cleanup(func() {
		l.stop()
		l.all.Wait()
	})
	return l
}

// must sends a request of the session that a names to one of the servers. Any answer but 200 is a fault.
func (l *load) must(t *testing.T, method string, server int, path, body string, a answer) answer {
	t.Helper()
	bearer, cookie := a.body.AccessToken, ""
	if method == http.MethodPost {
		bearer, cookie = "", a.cookie
	}
	got, err := call(context.WithoutCancel(t.Context()), method, l.urls[server%len(l.urls)]+"/api/user"+path, body, cookie, bearer)
	if err != nil {
		t.Error(err)
	} else if got.status != http.StatusOK {
		t.Errorf("%s: status %d %s", path, got.status, got.body.Code)
	}
	return got
}

// run waits until the clients have done some more.
func (l *load) run(t *testing.T) {
	t.Helper()
	deadline, want := time.Now().Add(patience), l.rounds.Load()+4
	for l.rounds.Load() < want && !t.Failed() {
		if time.Now().After(deadline) {
			t.Fatal("the clients do nothing")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestKeysAndSecretsRotateUnderLoadWithoutARefusal(t *testing.T) {
	t.Parallel()
	const lead = 8 * time.Second // an hour in production
	dir := t.TempDir()
	keysDir := filepath.Join(dir, "data/keys")
	// Every refresh rotates, and no session ends because there are many.
	settings := append(unlimited, "LATCHKEY_REFRESH_GRACE=0s", "LATCHKEY_REVOCATION_DELAY=0s", "LATCHKEY_MAX_SESSIONS_PER_USER=1000")
	one, other := start(t, dir, settings...), start(t, dir, settings...)
	clients := startLoad(t, 2, one.url, other.url)
	oldSecret, err := os.ReadFile(filepath.Join(keysDir, refreshSecretFile))
	if err != nil {
		t.Fatal(err)
	}
	in := credentials("client0", "correct horse")
	login := func(p *process) answer {
		t.Helper()
		return mustCall(t, http.StatusOK, http.MethodPost, p.url+"/api/user/login", in, "", "")
	}
	before := login(one)

	// One server knows the new key and the new secret, and the other one does not yet.
	usedFrom := time.Now().Add(lead).UTC().Truncate(time.Second)
	key, err := token.NewKey(usedFrom)
	if err != nil {
		t.Fatal(err)
	}
	if err := key.Save(keysDir); err != nil {
		t.Fatal(err)
	}
	secrets := usedFrom.Format("20060102T150405Z") + ":" + secretB + ","
	replaceFile(t, filepath.Join(keysDir, refreshSecretFile), secrets+string(oldSecret))
	one.signal(t, syscall.SIGHUP)
	one.await(t, loaded(2, kidOf(t, before.body.AccessToken), key.ID))
	clients.run(t)
	other.signal(t, syscall.SIGHUP)
	other.await(t, loaded(2, kidOf(t, before.body.AccessToken), key.ID))
	for _, p := range []*process{one, other} {
		if set := publishedKeys(t, p.url); !strings.Contains(set, key.ID) {
			t.Errorf("the new key is not published: %s", set)
		}
	}
	between := login(one)
	if time.Now().Before(usedFrom) && (kidOf(t, between.body.AccessToken) == key.ID || accepts(t, secretB, between.cookie)) {
		t.Error("the new key or the new secret is used before its time")
	}

	// Nothing is loaded when their time comes.
	for _, p := range []*process{one, other} {
		deadline := time.Now().Add(lead + patience)
		for a := login(p); kidOf(t, a.body.AccessToken) != key.ID || !accepts(t, secretB, a.cookie); a = login(p) {
			if t.Failed() || time.Now().After(deadline) {
				t.Fatal("the new key or the new secret is not used")
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	clients.run(t)

	// What is not needed any more is nothing yet, and so all sessions go on.
	operate(t, dir, nil, "", "keys", "prune")
	operate(t, dir, nil, "", "keys", "prune", "--refresh-secret")
	for _, p := range []*process{one, other} {
		p.signal(t, syscall.SIGHUP)
	}
	clients.run(t)
	clients.stop()
	clients.all.Wait()
	mustCall(t, http.StatusOK, http.MethodGet, other.url+"/api/user/me", "", "", before.body.AccessToken)
	before = mustCall(t, http.StatusOK, http.MethodPost, other.url+"/api/user/refresh", "", before.cookie, "")

	// Stolen ones are taken away.
	after := login(other)
	replaceFile(t, filepath.Join(keysDir, refreshSecretFile), secretB)
	oldKeys, err := filepath.Glob(filepath.Join(keysDir, "19700101T000000Z.pem"))
	if err != nil || len(oldKeys) != 1 || os.Remove(oldKeys[0]) != nil {
		t.Fatalf("%v, %v", oldKeys, err)
	}
	for _, p := range []*process{one, other} {
		p.signal(t, syscall.SIGHUP)
		p.await(t, loaded(1, key.ID))
		mustCall(t, http.StatusUnauthorized, http.MethodGet, p.url+"/api/user/me", "", "", between.body.AccessToken)
		mustCall(t, http.StatusBadRequest, http.MethodPost, p.url+"/api/user/refresh", "", before.cookie, "")
		mustCall(t, http.StatusOK, http.MethodGet, p.url+"/api/user/me", "", "", after.body.AccessToken)
		after = mustCall(t, http.StatusOK, http.MethodPost, p.url+"/api/user/refresh", "", after.cookie, "")
	}
	mustCall(t, http.StatusNoContent, http.MethodPost, one.url+"/api/user/logout", "", after.cookie, "")
	mustCall(t, http.StatusUnauthorized, http.MethodGet, other.url+"/api/user/me", "", "", after.body.AccessToken)
}

// replaceFile gives a file another content in one step.
func replaceFile(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file+".new", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

func TestAHangupNeverEndsTheServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, dir, unlimited...)
	published := publishedKeys(t, p.url)
	if err := os.WriteFile(filepath.Join(dir, "data/keys/20270101T000000Z.pem"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		p.signal(t, syscall.SIGHUP)
	}
	p.await(t, regexp.MustCompile(`keys not loaded.*20270101T000000Z\.pem`))
	mustCall(t, http.StatusOK, http.MethodGet, p.url+"/readyz", "", "", "")
	if now := publishedKeys(t, p.url); now != published {
		t.Errorf("it publishes other keys:\n%s\n%s", published, now)
	}

	// Not even while it stops.
	request := begin(t, p, "/api/user/register", credentials("alice", "correct horse"))
	p.signal(t, syscall.SIGTERM)
	p.await(t, stopping)
	p.signal(t, syscall.SIGHUP)
	request.send(t)
	if status := request.status(t); status != http.StatusCreated {
		t.Errorf("the request under way got %d", status)
	}
	if state := p.ended(t); state.ExitCode() != 0 {
		t.Errorf("it ended with %v", state)
	}
}
