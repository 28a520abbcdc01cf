//go:build e2e

// Package replicas holds the tests of several servers behind nginx, each a process of its own, over one database:
// restarts, upgrades, and what has to hold whichever of them a request meets. Each client has an address of its own on the
// loopback interface, which Linux gives it unasked.
package replicas

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// shippedConfig is what is recommended, and what is tested.
const shippedConfig = "../../../docs/nginx.conf"

// patience is how long a test waits for what must happen: far longer than it takes.
const patience = 60 * time.Second

// mainConfig is what a distribution has around the file: one process in the foreground that leaves nothing behind.
const mainConfig = `daemon off;
pid nginx.pid;
error_log error.log warn;
worker_processes 2;
%s
events { worker_connections 1024; }
http {
    access_log            access.log;
    client_body_temp_path temp;
    proxy_temp_path       temp;
    fastcgi_temp_path     temp;
    uwsgi_temp_path       temp;
    scgi_temp_path        temp;
    include               latchkey.conf;
}
`

// ports hands out ports below those that the kernel takes for connections: a server that is restarted must get its own
// again.
var ports atomic.Int32

func freePort(t *testing.T) int {
	t.Helper()
	for range 5000 {
		port := 20000 + int(ports.Add(1)+int32(os.Getpid()))%10000
		listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = listener.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

// startNginx starts nginx with the shipped configuration, on a port and in front of two servers, until the test ends.
func startNginx(t *testing.T, port int, first, second string) {
	t.Helper()
	path, err := exec.LookPath("nginx")
	if errors.Is(err, exec.ErrNotFound) {
		path, err = exec.LookPath("/usr/sbin/nginx") // which is not in everybody's PATH
	}
	if err != nil {
		t.Fatal("nginx is not installed: on Debian, `apt-get install nginx-light`")
	}
	folder := t.TempDir()
	user := ""
	if os.Geteuid() == 0 {
		user = "user root root;" // the one to whom the test's folder belongs
	}
	write(t, filepath.Join(folder, "nginx.conf"), fmt.Sprintf(mainConfig, user))
	text, err := os.ReadFile(shippedConfig)
	if err != nil {
		t.Fatal(err)
	}
	shipped := string(text)
	for from, to := range map[string]string{
		"listen 8080;": fmt.Sprintf("listen 127.0.0.1:%d;", port), "latchkey1:8080": first, "latchkey2:8080": second,
	} {
		if !strings.Contains(shipped, from) {
			t.Fatalf("%s has no %q", shippedConfig, from)
		}
		shipped = strings.ReplaceAll(shipped, from, to)
	}
	write(t, filepath.Join(folder, "latchkey.conf"), shipped)

	command := exec.CommandContext(context.WithoutCancel(t.Context()), path, "-p", folder, "-c", "nginx.conf", "-e", "error.log")
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Signal(syscall.SIGTERM) // which ends the workers too
		_ = command.Wait()
		log, err := os.ReadFile(filepath.Join(folder, "error.log"))
		if err != nil || bytes.Contains(log, []byte("temporary file")) {
			t.Errorf("nginx has written a body to the disk, or no log: %v", err)
		}
		if t.Failed() {
			t.Logf("nginx:\n%s%s", &output, tail(log, 20))
		}
	})
	await(t, "nginx listens", func() bool {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// tail returns the last lines of a log.
func tail(log []byte, lines int) string {
	all := strings.SplitAfter(string(log), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "")
}

// await waits until something holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: wait until %s", what)
		}
	}
}

// answers tells whether a GET gets a 200.
func answers(t *testing.T, url string) bool {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}
