package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/prometheus/client_golang/prometheus"

	"latchkey/internal/config"
)

// gate is a log's reader that can stop, and a disk that can be full.
type gate struct {
	mu      sync.Mutex
	text    bytes.Buffer
	stopped chan struct{} // reading goes on when it is closed
	room    int           // bytes that a full disk still takes; -1 if it is not full
}

var errFull = errors.New("full")

// Write waits while the reader has stopped.
func (g *gate) Write(p []byte) (int, error) {
	g.mu.Lock()
	stopped := g.stopped
	g.mu.Unlock()
	if stopped != nil {
		<-stopped
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.room < 0 || len(p) <= g.room {
		g.text.Write(p)
		return len(p), nil
	}
	n := g.room
	g.text.Write(p[:n])
	g.room = 0
	return n, errFull
}

func (g *gate) fill(room int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.room = room
}

func (g *gate) lines() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return strings.Split(strings.TrimSuffix(g.text.String(), "\n"), "\n")
}

func newTestSink(g *gate) (*logSink, *slog.Logger) {
	c := &config.Config{LogLevel: slog.LevelInfo}
	s := newLogSink(c, g)
	return s, newLogger(c, s)
}

func (s *logSink) droppedLines(t *testing.T) int {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(s.dropped)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == "latchkey_log_dropped_lines_total" {
			return int(family.GetMetric()[0].GetCounter().GetValue())
		}
	}
	t.Fatal("dropped lines are not counted")
	return 0
}

func TestLogKeepsItsOrderAndLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{room: -1}
		s, logger := newTestSink(g)
		for i := range 3000 { // fewer than the queue takes
			logger.Info("line", "n", i)
		}
		s.Close()
		lines := g.lines()
		if len(lines) != 3000 || s.droppedLines(t) != 0 {
			t.Fatalf("there are %d lines, and %d were dropped", len(lines), s.droppedLines(t))
		}
		for i, line := range lines {
			if !strings.HasSuffix(line, fmt.Sprint(" n=", i)) {
				t.Fatalf("line %d is %q", i, line)
			}
		}
	})
}

var (
	numbered = regexp.MustCompile(`^time=\S+ level=INFO msg=line n=(\d+)$`)
	missing  = regexp.MustCompile(`^time=\S+ level=WARN msg="log lines are missing here" lines=(\d+)$`)
)

// wantAccount reads lines 0, 1, 2, … of which some are missing: each gap must be told of, in its place and to the line.
func wantAccount(t *testing.T, lines []string, written, dropped int) {
	t.Helper()
	next, told := 0, 0
	for _, line := range lines {
		if m := missing.FindStringSubmatch(line); m != nil {
			n, _ := strconv.Atoi(m[1])
			next, told = next+n, told+n
			continue
		}
		m := numbered.FindStringSubmatch(line)
		if m == nil {
			continue // torn
		}
		if n, _ := strconv.Atoi(m[1]); n != next {
			t.Fatalf("line %d stands where %d was expected", n, next)
		}
		next++
	}
	if next != written || told != dropped {
		t.Errorf("the log accounts for %d of %d lines, and tells of %d missing ones of %d", next, written, told, dropped)
	}
}

func TestLogWhoseReaderStopsKeepsNobodyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{room: -1, stopped: make(chan struct{})}
		s, logger := newTestSink(g)
		began := time.Now()
		for i := range 3 * logQueue {
			logger.Info("line", "n", i)
		}
		if took := time.Since(began); took > 0 { // by the bubble's clock
			t.Errorf("it took %v", took)
		}
		dropped := s.droppedLines(t)
		if dropped < logQueue {
			t.Errorf("%d lines were dropped", dropped)
		}
		close(g.stopped) // it reads again
		synctest.Wait()
		wantAccount(t, g.lines(), 3*logQueue, dropped) // although there is no further line
		logger.Info("line", "n", 3*logQueue)
		s.Close()
		wantAccount(t, g.lines(), 3*logQueue+1, dropped)
	})
}

func TestLogOnAFullDiskGoesOnWhenThereIsRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{room: -1}
		s, logger := newTestSink(g)
		line := func(n int) {
			logger.Info("line", "n", n)
			synctest.Wait()
		}
		line(0)
		g.fill(30) // less than a line
		line(1)
		line(2)
		line(3)
		g.fill(-1)
		line(4)
		s.Close()
		if n := s.droppedLines(t); n != 3 {
			t.Errorf("%d lines were dropped, want 3", n)
		}
		wantAccount(t, g.lines(), 5, 3)
	})
}

// Of two lines that were written at once, the first fits to the byte.
func TestLogOnAFullDiskCountsWhatIsMissingToTheLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{room: -1}
		s, logger := newTestSink(g)
		logger.Info("line", "n", 0)
		synctest.Wait()
		stopped := make(chan struct{})
		g.mu.Lock()
		g.stopped, g.room = stopped, g.text.Len()
		g.mu.Unlock()
		logger.Info("line", "n", 1)
		synctest.Wait()
		logger.Info("line", "n", 2)
		logger.Info("line", "n", 3)
		close(stopped)
		synctest.Wait()
		g.fill(-1)
		logger.Info("line", "n", 4)
		s.Close()
		if n := s.droppedLines(t); n != 1 {
			t.Errorf("%d lines were dropped, want 1", n)
		}
		wantAccount(t, g.lines(), 5, 1)
	})
}

func TestLogDoesNotKeepTheProgramFromEnding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{room: -1, stopped: make(chan struct{})}
		s, logger := newTestSink(g)
		logger.Info("line")
		began := time.Now()
		s.Close()
		if took := time.Since(began); took != logTime { // by the bubble's clock
			t.Errorf("it took %v", took)
		}
		close(g.stopped)
	})
}

// Whatever a stranger gets into a log line, it stays one line, with the fields that it had, and no terminal obeys it.
func FuzzLogLines(f *testing.F) {
	for _, evil := range []string{
		"plain", "", "a\nlevel=WARN msg=forged", "a\r\n{\"msg\":\"forged\"}", "\" forged=\"1", `\`, "a=b c", "\x00\x07\x1b[31mred", "\u009b31m",
		"\u202egnp.exe", "\u2066x\u2069", "\u2028x\u2029", "\ufeff", "\u200b", "\xff\xfe", "\u007f", strings.Repeat("x", 10_000),
	} {
		f.Add(evil)
	}
	f.Fuzz(func(t *testing.T, evil string) {
		for _, asJSON := range []bool{false, true} {
			var text bytes.Buffer
			logger := newLogger(&config.Config{LogJSON: asJSON}, &text)
			logger.Info("request", "before", 1, "evil", evil, "error", errors.New(evil), "after", 2)
			line, ended := strings.CutSuffix(text.String(), "\n")
			if !ended || strings.ContainsFunc(line, func(c rune) bool { return !unicode.IsPrint(c) }) {
				t.Fatalf("the line breaks, or moves a terminal: %q", line)
			}
			if !asJSON {
				wantTextLine(t, line)
				continue
			}
			var fields map[string]any
			if err := json.Unmarshal([]byte(line), &fields); err != nil || len(fields) != 7 || fields["msg"] != "request" || fields["after"] != 2.0 {
				t.Fatalf("the line is %q: %v", line, err)
			}
		}
	})
}

var textLine = regexp.MustCompile(`^time=\S+ level=INFO msg=request before=1 evil=(\S*|"(?:[^"\\]|\\.)*") error=(\S*|"(?:[^"\\]|\\.)*") after=2$`)

func wantTextLine(t *testing.T, line string) {
	t.Helper()
	values := textLine.FindStringSubmatch(line)
	if values == nil {
		t.Fatalf("the line is %q", line)
	}
	for _, value := range values[1:] {
		if _, err := strconv.Unquote(value); err != nil && strings.ContainsAny(value, `"= `) {
			t.Fatalf("the line is %q", line)
		}
	}
}
