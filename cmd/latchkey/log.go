package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/prometheus/client_golang/prometheus"

	"latchkey/internal/config"
)

const (
	// logQueue is how many lines may wait for whoever reads the log.
	logQueue = 4096
	// logJoin is about how many bytes of waiting lines are written at once.
	logJoin = 64 << 10
	// logTime is how long the end of the program may wait for the last lines to be read.
	logTime = 2 * time.Second
)

func newLogger(c *config.Config, w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.LogLevel, ReplaceAttr: visible}
	if c.LogJSON {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// visible replaces what a terminal obeys and a person does not see, such as marks that turn the direction of writing.
// The formats escape what is below a space; of the rest, JSON lets all through and text the delete character.
func visible(_ []string, a slog.Attr) slog.Attr {
	var text string
	switch a.Value.Kind() {
	case slog.KindString:
		text = a.Value.String()
	case slog.KindAny:
		err, isError := a.Value.Any().(error)
		if !isError {
			return a
		}
		text = err.Error()
	default:
		return a
	}
	return slog.String(a.Key, strings.Map(func(c rune) rune {
		if c >= 0x7f && !unicode.IsPrint(c) {
			return unicode.ReplacementChar
		}
		return c
	}, text))
}

// logSink takes the lines of a server's log and writes them in a goroutine of its own. It never keeps a request
// waiting: where the reader has stopped, or the disk is full, lines are dropped and counted, and when it is well again
// a line says how many are missing. It is safe for concurrent use.
type logSink struct {
	out io.Writer
	// notice makes the line that says how many lines are missing.
	notice  func(missing int) []byte
	dropped prometheus.Counter

	mu      sync.Mutex // held for short moments only, and never while out is written
	missing int        // lines dropped since the last notice was queued

	queue   chan logLine
	closing chan struct{}
	ended   chan struct{}
}

// logLine is one write to the log. A notice stands for the lines that it says are missing.
type logLine struct {
	text   []byte
	notice int
}

func newLogSink(c *config.Config, out io.Writer) *logSink {
	s := &logSink{
		out: out,
		notice: func(missing int) []byte {
			var line bytes.Buffer
			record := slog.NewRecord(time.Now(), slog.LevelWarn, "log lines are missing here", 0) // at whatever level
			record.Add("lines", missing)
			_ = newLogger(c, &line).Handler().Handle(context.Background(), record) // into memory
			return line.Bytes()
		},
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "latchkey_log_dropped_lines_total",
			Help: "Lines that are not in the log, because it was not read fast enough or could not be written.",
		}),
		queue: make(chan logLine, logQueue), closing: make(chan struct{}), ended: make(chan struct{}),
	}
	go s.run()
	return s
}

// Write queues a line, or drops it. It always succeeds.
func (s *logSink) Write(line []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.tell() || !s.admit(logLine{text: bytes.Clone(line)}) {
		s.missing++
		s.dropped.Inc()
	}
	return len(line), nil
}

// tell queues the notice, where one is due, so that it stands in the place of what is missing.
func (s *logSink) tell() bool {
	if s.missing > 0 {
		if !s.admit(logLine{text: s.notice(s.missing), notice: s.missing}) {
			return false
		}
		s.missing = 0
	}
	return true
}

func (s *logSink) admit(line logLine) bool {
	select {
	case s.queue <- line:
		return true
	default:
		return false
	}
}

// Close writes what waits, for at most logTime: a reader that has stopped does not keep the program from ending. It is
// called once. What is written to the sink afterwards is lost.
func (s *logSink) Close() {
	close(s.closing)
	select {
	case <-s.ended:
	case <-time.After(logTime):
	}
}

func (s *logSink) run() {
	defer close(s.ended)
	torn := false
	for {
		select {
		case line := <-s.queue:
			torn = s.write(s.join(line), torn)
		case <-s.closing:
			if len(s.queue) == 0 {
				return
			}
		}
	}
}

// join adds to a line those that wait behind it.
func (s *logSink) join(first logLine) []logLine {
	lines := []logLine{first}
	for size := len(first.text); size < logJoin; {
		select {
		case line := <-s.queue:
			lines = append(lines, line)
			size += len(line.text)
		default:
			return lines
		}
	}
	return lines
}

// write writes lines. torn says, before and after, that the log ends in the middle of a line.
func (s *logSink) write(lines []logLine, torn bool) bool {
	var text []byte
	if torn {
		text = append(text, '\n')
	}
	ends := make([]int, len(lines))
	for i, line := range lines {
		text = append(text, line.text...)
		ends[i] = len(text)
	}
	n, err := s.out.Write(text)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.tell() // there may be no further line for long
		return false
	}
	for i, end := range ends {
		switch {
		case n >= end:
		case lines[i].notice > 0:
			s.missing += lines[i].notice
		default:
			s.missing++
			s.dropped.Inc()
		}
	}
	if n == 0 {
		return torn
	}
	return text[n-1] != '\n'
}
