package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long a test waits for what must happen: far longer than it takes.
const patience = 30 * time.Second

var buildDir string

// programVariable holds the path of the binary in a test that another test runs in a process of its own.
const programVariable = "TEST_PROGRAM"

// program builds latchkey, once, and returns the path of the binary.
var program = sync.OnceValues(func() (string, error) {
	if path := os.Getenv(programVariable); path != "" {
		return path, nil
	}
	var err error
	if buildDir, err = os.MkdirTemp("", "latchkey-test"); err != nil {
		return "", err
	}
	path := filepath.Join(buildDir, "latchkey")
	build := exec.Command("go", "build", "-o", path, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

// command prepares a run of the program in a folder, with these settings and no others.
func command(t *testing.T, dir string, settings []string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(context.WithoutCancel(t.Context()), path, args...)
	c.Dir, c.Env = dir, append([]string{}, settings...) // nil would be this process's
	return c
}

// operate runs a command of the operator, which must succeed, and returns its standard output.
func operate(t *testing.T, dir string, settings []string, stdin string, args ...string) string {
	t.Helper()
	c := command(t, dir, settings, args...)
	var stderr bytes.Buffer
	c.Stdin, c.Stderr = strings.NewReader(stdin), &stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("latchkey %q: %v\n%s", args, err, stderr.Bytes())
	}
	return string(out)
}

// process is a running server.
type process struct {
	*exec.Cmd
	url    string
	stdout bytes.Buffer // to be read when the process has ended
	stderr transcript
	done   chan struct{} // closed when it has ended
}

// unlimited are settings that let a test send as much as it likes.
var unlimited = []string{
	"LATCHKEY_ADDR=127.0.0.1:0", "LATCHKEY_LIMIT_LOGIN=off", "LATCHKEY_LIMIT_REGISTER=off", "LATCHKEY_LIMIT_REFRESH=off",
}

// launch starts a server in a folder and does not wait for it. It is killed when the test ends.
func launch(t *testing.T, dir string, settings ...string) *process {
	t.Helper()
	p := &process{Cmd: command(t, dir, settings, "serve"), done: make(chan struct{})}
	p.Stdout, p.Stderr = &p.stdout, &p.stderr
	p.run(t)
	return p
}

// run starts the process, which is killed when the test ends.
func (p *process) run(t *testing.T) {
	t.Helper()
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.Wait() // the tests ask for ProcessState
		close(p.done)
	}()
	t.Cleanup(func() {
		_ = p.Process.Kill() // most have ended already
		<-p.done
	})
}

// fetch returns the body behind a URL.
func fetch(t *testing.T, url string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

var listening = regexp.MustCompile(`listening"?[ ,]"?address"?[=:]"?(127\.0\.0\.1:[0-9]+)`)

// start starts a server in a folder and waits until it listens.
func start(t *testing.T, dir string, settings ...string) *process {
	t.Helper()
	p := launch(t, dir, settings...)
	p.awaitListening(t)
	return p
}

func (p *process) awaitListening(t *testing.T) {
	t.Helper()
	p.url = "http://" + p.await(t, listening)[1]
}

// await waits until something stands on standard error.
func (p *process) await(t *testing.T, what *regexp.Regexp) []string {
	t.Helper()
	deadline := time.After(patience)
	for {
		text, changed := p.stderr.read()
		if found := what.FindStringSubmatch(text); found != nil {
			return found
		}
		select {
		case <-changed:
		case <-p.done:
			if text, _ := p.stderr.read(); !what.MatchString(text) {
				t.Fatalf("%v without %q on standard error:\n%s", p.ProcessState, what, text)
			}
		case <-deadline:
			t.Fatalf("no %q on standard error:\n%s", what, text)
		}
	}
}

// signal sends a signal.
func (p *process) signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := p.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// ended waits for the process to end, and returns how it did.
func (p *process) ended(t *testing.T) *os.ProcessState {
	t.Helper()
	select {
	case <-p.done:
		return p.ProcessState
	case <-time.After(patience):
		text, _ := p.stderr.read()
		t.Fatalf("the process did not end:\n%s", text)
		return nil
	}
}

// transcript is what a process writes, readable while it does.
type transcript struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{}
}

// Write adds text.
func (l *transcript) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
	return l.text.Write(b)
}

// read returns what there is, and a channel that is closed when there is more.
func (l *transcript) read() (string, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return l.text.String(), l.changed
}

// answer is what a server said.
type answer struct {
	status     int
	cookie     string // the refresh token that it set, or ""
	setsCookie bool   // also where it cleared one
	retryAfter string
	body       struct {
		AccessToken string `json:"access_token"`
		Code        string `json:"code"`
	}
}

// call sends a request with a refresh token and an access token, each of which may be "". The error says that there is
// no whole answer.
func call(ctx context.Context, method, url, body, refreshToken, accessToken string) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if refreshToken != "" {
		r.Header.Set("Cookie", "refresh_token="+refreshToken)
	}
	if accessToken != "" {
		r.Header.Set("Authorization", "Bearer "+accessToken)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	all, err := io.ReadAll(response.Body)
	if err != nil {
		return answer{}, err
	}
	a := answer{status: response.StatusCode, retryAfter: response.Header.Get("Retry-After")}
	for _, c := range response.Cookies() {
		a.cookie, a.setsCookie = c.Value, true
	}
	if strings.Contains(response.Header.Get("Content-Type"), "json") {
		err = json.Unmarshal(all, &a.body)
	}
	return a, err
}

// mustCall is call where there has to be an answer with this status.
func mustCall(t *testing.T, status int, method, url, body, refreshToken, accessToken string) answer {
	t.Helper()
	a, err := call(t.Context(), method, url, body, refreshToken, accessToken)
	if err != nil {
		t.Fatal(err)
	}
	if a.status != status {
		t.Fatalf("%s %s: status %d %s, want %d", method, url, a.status, a.body.Code, status)
	}
	return a
}

func credentials(name, password string) string {
	return fmt.Sprintf(`{"username": %q, "password": %q}`, name, password)
}

func TestServeNeedsNothingButAnEmptyFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, dir, "LATCHKEY_ADDR=127.0.0.1:0")

	t.Run("it answers", func(t *testing.T) {
		for _, path := range []string{"/livez", "/readyz", "/.well-known/jwks.json", "/openapi.yaml", "/demo/", "/swagger/index.html"} {
			mustCall(t, http.StatusOK, http.MethodGet, p.url+path, "", "", "")
		}
	})
	t.Run("it says where everything is and what to do first", func(t *testing.T) {
		p.await(t, regexp.MustCompile(`(?m)^ *.*/latchkey user create NAME --role admin$`))
		text, _ := p.stderr.read()
		for _, want := range []string{
			"listens on " + p.url, p.url + "/demo/", p.url + "/swagger/", filepath.Join(dir, "data/latchkey.db"), "data/keys", "no users yet",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("want %q in:\n%s", want, text)
			}
		}
	})
	t.Run("only its owner can read what it has made", func(t *testing.T) {
		files := 0
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || path == dir {
				return err
			}
			info, err := entry.Info()
			if err != nil {
				return err
			}
			want := fs.FileMode(0o600)
			if entry.IsDir() {
				want = fs.ModeDir | 0o700
			} else {
				files++
			}
			if info.Mode() != want {
				t.Errorf("%s has mode %v, want %v", path, info.Mode(), want)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		if files < 3 {
			t.Errorf("there are %d files; a database, a key and a secret were expected", files)
		}
	})
	t.Run("started again with a user and without the demo, it tells of neither", func(t *testing.T) {
		operate(t, dir, nil, "correct horse\n", "user", "create", "alice", "--role", "admin", "--password-stdin")
		p.signal(t, os.Interrupt)
		if state := p.ended(t); state.ExitCode() != 0 {
			t.Errorf("the first one ended with %v", state)
		}
		if p.stdout.Len() > 0 {
			t.Errorf("it wrote to standard output, which is for results: %s", &p.stdout)
		}
		again := start(t, dir, "LATCHKEY_ADDR=127.0.0.1:0", "LATCHKEY_DEMO=false")
		again.await(t, regexp.MustCompile(`Keys: .*\n\n`))
		if text, _ := again.stderr.read(); strings.Contains(text, "no users") || strings.Contains(text, "/demo/") {
			t.Errorf("it asks for an admin or names the demo:\n%s", text)
		}
		token := mustCall(t, http.StatusOK, http.MethodPost, again.url+"/api/user/login",
			credentials("alice", "correct horse"), "", "").body.AccessToken
		mustCall(t, http.StatusOK, http.MethodGet, again.url+"/api/user/protected", "", "", token)
	})
}
