//go:build e2e

// Package e2e holds the tests that a real browser makes against the real program.
package e2e

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"testing"
)

// binary builds the program once for all tests.
var binary = sync.OnceValues(func() (string, error) {
	folder, err := os.MkdirTemp("", "latchkey-e2e-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(folder, "latchkey")
	build := exec.CommandContext(context.Background(), "go", "build", "-o", path, "latchkey/cmd/latchkey")
	build.Stderr = os.Stderr
	return path, build.Run()
})

func TestMain(m *testing.M) {
	status := m.Run()
	if path, err := binary(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(status)
}

// server is the program, running in a folder of its own.
type server struct {
	url      string
	folder   string
	settings []string // beside a free port
}

var listening = regexp.MustCompile(`msg=listening address=(\S+)`)

// startServer starts the program as a newcomer would: in an empty folder, with no setting but a free port, and those
// that the test gives.
func startServer(t *testing.T, settings ...string) server {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	s := server{folder: t.TempDir(), settings: settings}
	command := s.command(path, "serve")
	logs, err := command.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(logs)
	for s.url == "" && lines.Scan() {
		if match := listening.FindStringSubmatch(lines.Text()); match != nil {
			s.url = "http://" + match[1]
		}
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		for lines.Scan() { // a full pipe would stop the server
		}
	}()
	t.Cleanup(func() {
		if err := command.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		<-drained
		if err := command.Wait(); err != nil {
			t.Error("the server stopped with", err)
		}
	})
	if s.url == "" {
		t.Fatal("the server does not say where it listens")
	}
	return s
}

func (s server) command(path string, arguments ...string) *exec.Cmd {
	command := exec.CommandContext(context.Background(), path, arguments...)
	command.Dir = s.folder
	command.Env = append(append(os.Environ(), "LATCHKEY_ADDR=127.0.0.1:0"), s.settings...)
	return command
}

// makeAdmin does what the operator does at the command line. The running server learns of it within the revocation
// delay; the session that begins afterwards knows at once.
func (s server) makeAdmin(t *testing.T, user string) {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := s.command(path, "user", "set-roles", user, "admin").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}
