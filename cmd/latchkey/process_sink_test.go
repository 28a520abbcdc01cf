package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// freeAddress finds an address for a server that cannot say which one it has taken.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

// mute is a server whose log cannot be read by the test.
type mute struct {
	*process
	ops string
}

// startMute starts a server with this as its standard error, nil for none at all, and waits until it answers.
func startMute(t *testing.T, stderr *os.File) *mute {
	t.Helper()
	public, ops := freeAddress(t), freeAddress(t)
	settings := append(unlimited, "LATCHKEY_ADDR="+public, "LATCHKEY_OPS_ADDR="+ops)
	c := command(t, t.TempDir(), settings, "serve")
	if c.Stderr = stderr; stderr == nil {
		shell := exec.CommandContext(context.WithoutCancel(t.Context()), "/bin/sh", "-c", `exec "$0" serve 2>&-`, c.Path)
		shell.Dir, shell.Env = c.Dir, settings
		c = shell
	}
	m := &mute{&process{Cmd: c, url: "http://" + public, done: make(chan struct{})}, "http://" + ops}
	m.run(t)
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if a, err := call(t.Context(), http.MethodGet, m.url+"/readyz", "", "", ""); err == nil && a.status == http.StatusOK {
			return m
		}
		if time.Now().After(deadline) {
			t.Fatal("the server does not answer")
		}
	}
}

// ask calls /livez n times, over several connections.
func (m *mute) ask(t *testing.T, n int) {
	t.Helper()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range n / 8 {
				if a, err := call(t.Context(), http.MethodGet, m.url+"/livez", "", "", ""); err != nil || a.status != http.StatusOK {
					t.Errorf("livez: %d, %v", a.status, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

var droppedMetric = regexp.MustCompile(`(?m)^latchkey_log_dropped_lines_total ([0-9.e+]+)$`)

// dropped reads the counter from the operations listener.
func (m *mute) dropped(t *testing.T) float64 {
	t.Helper()
	found := droppedMetric.FindStringSubmatch(fetch(t, m.ops+"/metrics"))
	if found == nil {
		t.Fatalf("no %s in the metrics", droppedMetric)
	}
	n, err := strconv.ParseFloat(found[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// stops wants the server to serve until it is told to stop, and then to end in good order.
func (m *mute) stops(t *testing.T) {
	t.Helper()
	mustCall(t, http.StatusCreated, http.MethodPost, m.url+"/api/user/register", credentials("alice", "correct horse"), "", "")
	mustCall(t, http.StatusOK, http.MethodPost, m.url+"/api/user/login", credentials("alice", "correct horse"), "", "")
	m.signal(t, syscall.SIGTERM)
	if state := m.ended(t); state.ExitCode() != 0 {
		t.Errorf("the process ended with %v", state)
	}
}

func TestServerWhoseLogNobodyReadsGoesOn(t *testing.T) {
	t.Parallel()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close() }()
	m := startMute(t, writer)
	_ = writer.Close()         // it is the server's now
	m.ask(t, 2*logQueue+2*800) // a line has some 150 bytes, a pipe holds 64 KiB, and the sink joins as much
	if n := m.dropped(t); n < logQueue/2 {
		t.Errorf("%v lines are counted as dropped", n)
	}

	// Somebody reads again: all is told of that is missing.
	read := make(chan string)
	go func() {
		all, _ := io.ReadAll(reader)
		read <- string(all)
	}()
	m.stops(t)
	told := 0.0
	text := <-read
	for _, found := range regexp.MustCompile(`msg="log lines are missing here" lines=(\d+)\n`).FindAllStringSubmatch(text, -1) {
		n, _ := strconv.ParseFloat(found[1], 64)
		told += n
	}
	if told < logQueue/2 || !strings.HasSuffix(text, "msg=stopped\n") {
		t.Errorf("the log tells of %v missing lines, and ends with %.200q", told, text[max(0, len(text)-200):])
	}
}

// From its first line on: not even what it tells the person at the terminal must keep it.
func TestServerWhoseLogNobodyReadsStartsAndStops(t *testing.T) {
	t.Parallel()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close() }()
	fill(t, writer)
	m := startMute(t, writer)
	_ = writer.Close()
	m.stops(t)
}

func TestServerSurvivesTheEndOfItsLog(t *testing.T) {
	t.Parallel()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	m := startMute(t, writer)
	_, _ = writer.Close(), reader.Close() // whoever read it has died
	m.ask(t, 80)
	if n := m.dropped(t); n < 40 {
		t.Errorf("%v lines are counted as dropped", n)
	}
	m.stops(t)
}

func TestServerSurvivesAFullDiskUnderItsLog(t *testing.T) {
	t.Parallel()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer func() { _ = full.Close() }()
	m := startMute(t, full)
	m.ask(t, 80)
	if n := m.dropped(t); n < 40 {
		t.Errorf("%v lines are counted as dropped", n)
	}
	m.stops(t)
}

// The next file that is opened, which is the database, would get the number of standard error.
func TestServerWithoutStandardErrorDoesNotLogIntoItsDatabase(t *testing.T) {
	t.Parallel()
	m := startMute(t, nil)
	m.ask(t, 80)
	m.stops(t)
	database, err := os.ReadFile(m.Dir + "/data/latchkey.db")
	if err != nil {
		t.Fatal(err)
	}
	if text := string(database); !strings.HasPrefix(text, "SQLite format 3") || strings.Contains(text, "msg=request") {
		t.Error("the log is in the database")
	}
}

// A start that fails says why, behind what led to it, also where the log is about to be lost.
func TestServerThatCannotStartSaysWhyLast(t *testing.T) {
	t.Parallel()
	taken := start(t, t.TempDir(), unlimited...)
	p := launch(t, t.TempDir(), append(unlimited, "LATCHKEY_ADDR="+strings.TrimPrefix(taken.url, "http://"))...)
	if state := p.ended(t); state.ExitCode() != exitFailure {
		t.Errorf("it ended with %v", state)
	}
	text, _ := p.stderr.read()
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if last := lines[len(lines)-1]; !strings.HasPrefix(last, "latchkey: ") || !strings.Contains(last, "is in use") ||
		strings.Count(text, "is in use") != 1 || !strings.Contains(lines[0], "made the first signing key") {
		t.Errorf("it says %s", text)
	}
	blocked, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = blocked.Close(), writer.Close() }()
	fill(t, writer)
	c := command(t, t.TempDir(), append(unlimited, "LATCHKEY_ADDR="+strings.TrimPrefix(taken.url, "http://")), "serve")
	c.Stderr = writer
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = c.Process.Kill() })()
	if err := c.Run(); c.ProcessState.ExitCode() != exitFailure {
		t.Errorf("with a log that is full already it ended with %v", err)
	}
}

// fill writes into a pipe until it takes no more.
func fill(t *testing.T, pipe *os.File) {
	t.Helper()
	if err := pipe.SetWriteDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := fmt.Fprintln(pipe, strings.Repeat("x", 4095)); err != nil {
			return
		}
	}
}
