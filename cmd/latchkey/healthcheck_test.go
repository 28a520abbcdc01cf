package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// healthcheck runs the command in a folder, and returns its exit status and standard error.
func healthcheck(t *testing.T, dir string, settings ...string) (status int, stderr string) {
	t.Helper()
	c := command(t, dir, settings, "healthcheck")
	var errors strings.Builder
	c.Stderr = &errors
	_ = c.Run() // which ProcessState tells, too
	return c.ProcessState.ExitCode(), errors.String()
}

func TestHealthcheckAsksTheServerOfItsAddress(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, dir, unlimited...)
	_, port, err := net.SplitHostPort(strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	// A proxy that the environment names is none for this machine, and what else is wrong with the settings is the server's
	// concern: it goes on with what it had when a file of its secrets is broken.
	settings := []string{"HTTP_PROXY=http://127.0.0.1:1", "LATCHKEY_REFRESH_SECRET_FILE=missing", "LATCHKEY_NONSENSE=1"}
	for _, addr := range []string{"127.0.0.1:" + port, ":" + port, "0.0.0.0:" + port} {
		if status, stderr := healthcheck(t, dir, append(settings, "LATCHKEY_ADDR="+addr)...); status != 0 || stderr != "" {
			t.Errorf("LATCHKEY_ADDR=%s: exit status %d: %s", addr, status, stderr)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, ".env"), []byte("LATCHKEY_ADDR=127.0.0.1:"+port), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, stderr := healthcheck(t, dir); status != 0 {
		t.Errorf("the address of .env: exit status %d: %s", status, stderr)
	}
	if err := p.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	p.ended(t)
	status, stderr := healthcheck(t, dir, "LATCHKEY_ADDR=127.0.0.1:"+port)
	if status != 1 || !strings.HasPrefix(stderr, "latchkey: no answer from the server at 127.0.0.1:"+port) || strings.Count(stderr, "\n") != 1 {
		t.Errorf("without a server: exit status %d, want 1, and a line that says why: %q", status, stderr)
	}
}

func TestHealthcheckFailsWhereNoHealthyServerCanBe(t *testing.T) {
	t.Parallel()
	unwell := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/livez" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(unwell.Close)
	for name, test := range map[string]struct{ addr, want string }{
		"a server that answers 503":    {unwell.Listener.Addr().String(), "answers 503"},
		"a port that the server chose": {"127.0.0.1:0", "takes any free port"},
		"a host that is none":          {"a b:80", "no server can be at a b:80"},
		"an address that is malformed": {"nowhere", "LATCHKEY_ADDR must be an address with a port"},
	} {
		t.Run(name, func(t *testing.T) {
			status, stderr := healthcheck(t, t.TempDir(), "LATCHKEY_ADDR="+test.addr)
			if status != 1 || !strings.Contains(stderr, test.want) {
				t.Errorf("exit status %d, want 1 and %q: %s", status, test.want, stderr)
			}
		})
	}
}

// A database that is away is mended by nobody who ends servers.
func TestHealthcheckPassesWithoutTheDatabase(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 10)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r.URL.Path }))
	t.Cleanup(server.Close)
	if status, stderr := healthcheck(t, t.TempDir(), "LATCHKEY_ADDR="+server.Listener.Addr().String()); status != 0 {
		t.Errorf("exit status %d: %s", status, stderr)
	}
	close(asked)
	for path := range asked {
		if path != "/livez" {
			t.Errorf("it asked %s, which may depend on the database", path)
		}
	}
}
