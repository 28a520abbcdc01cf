package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
)

var (
	userID    = uuid.MustParse("019b7d5e-0000-7000-8000-000000000001")
	sessionID = uuid.MustParse("019b7d5e-0000-7000-8000-000000000002")
)

// record records events and gives their lines, without the time.
func record(t *testing.T, ctx context.Context, events ...Event) []map[string]any {
	t.Helper()
	var text bytes.Buffer
	log := New(slog.New(slog.NewJSONHandler(&text, nil)), prometheus.NewRegistry())
	for _, e := range events {
		log.Record(ctx, e)
	}
	var lines []map[string]any
	for line := range strings.Lines(text.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if m["time"] == "" || m["time"] == nil {
			t.Errorf("the line has no time: %s", line)
		}
		delete(m, "time")
		lines = append(lines, m)
	}
	if len(lines) != len(events) {
		t.Fatalf("%d events make %d lines", len(events), len(lines))
	}
	return lines
}

func TestRecordLogsTheFieldsThatAreKnown(t *testing.T) {
	plain := t.Context()
	request := WithOrigin(plain, Origin{"request-1", "192.0.2.1"})
	tests := map[string]struct {
		ctx   context.Context
		event Event
		want  map[string]any
	}{
		"everything": {
			request, Event{Action: Refresh, Result: "rotate", UserID: userID, SessionID: sessionID},
			map[string]any{
				"level": "INFO", "msg": "audit", "action": "session.refresh", "result": "rotate", "user_id": userID.String(),
				"session_id": sessionID.String(), "address": "192.0.2.1", "request_id": "request-1",
			},
		},
		"nobody known": {
			request, Event{Action: Login, Result: "unknown_user"},
			map[string]any{"level": "INFO", "msg": "audit", "action": "user.login", "result": "unknown_user", "address": "192.0.2.1", "request_id": "request-1"},
		},
		"a user without a session": {
			plain, Event{Action: Login, Result: "disabled", UserID: userID},
			map[string]any{"level": "INFO", "msg": "audit", "action": "user.login", "result": "disabled", "user_id": userID.String()},
		},
		"a session of a user who is not known": {
			plain, Event{Action: Refresh, Result: "unknown", SessionID: sessionID},
			map[string]any{"level": "INFO", "msg": "audit", "action": "session.refresh", "result": "unknown", "session_id": sessionID.String()},
		},
		"the alarm": {
			plain, Event{Action: Reuse, Result: "revoked", UserID: userID, SessionID: sessionID},
			map[string]any{
				"level": "WARN", "msg": "audit", "action": "session.reuse", "result": "revoked", "user_id": userID.String(), "session_id": sessionID.String(),
			},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := record(t, test.ctx, test.event)[0]; !maps.Equal(got, test.want) {
				t.Errorf("the line has %v, want %v", got, test.want)
			}
		})
	}
}

func TestInnermostOriginCounts(t *testing.T) {
	ctx := WithOrigin(WithOrigin(t.Context(), Origin{"outer", "192.0.2.1"}), Origin{"inner", "192.0.2.2"})
	line := record(t, ctx, Event{Action: Login, Result: "ok"})[0]
	if line["request_id"] != "inner" || line["address"] != "192.0.2.2" {
		t.Errorf("the line has %v", line)
	}
}

func TestWhatARequestSaysCannotForgeALine(t *testing.T) {
	evil := "x\n{\"action\":\"user.login\",\"result\":\"ok\"}\r\n\x1b[31m\u202e\x00\xff"
	lines := record(t, WithOrigin(t.Context(), Origin{evil, evil}), Event{Action: Login, Result: "ok"}) // one event, one line
	if lines[0]["action"] != "user.login" || lines[0]["request_id"] == "" {
		t.Errorf("the line has %v", lines[0])
	}
}

// counts reads latchkey_events_total, by action and result.
func counts(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, family := range families {
		if family.GetName() != "latchkey_events_total" {
			t.Errorf("there is a metric %s", family.GetName())
		}
		for _, metric := range family.GetMetric() {
			var labels []string
			for _, label := range metric.GetLabel() {
				labels = append(labels, label.GetName()+"="+label.GetValue())
			}
			if n := metric.GetCounter().GetValue(); n > 0 {
				got[strings.Join(labels, " ")] = n
			}
		}
	}
	return got
}

func TestEventsAreCountedByActionAndResultAlone(t *testing.T) {
	registry := prometheus.NewRegistry()
	log := New(slog.New(slog.NewTextHandler(io.Discard, nil)), registry)
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			ctx := WithOrigin(t.Context(), Origin{uuid.NewString(), "192.0.2.1"})
			log.Record(ctx, Event{Action: Login, Result: "ok", UserID: uuid.New(), SessionID: uuid.New()}) // ids in a label would make a series for each
			if i%2 == 0 {
				log.Record(ctx, Event{Action: Login, Result: "wrong_password"})
			}
			log.Record(ctx, Event{Action: End, Result: "logout"})
		})
	}
	wg.Wait()
	want := map[string]float64{
		"action=user.login result=ok": 10, "action=user.login result=wrong_password": 5, "action=session.end result=logout": 10,
	}
	if got := counts(t, registry); !maps.Equal(got, want) {
		t.Errorf("the counts are %v, want %v", got, want)
	}
}

// A log level that leaves the lines out must not leave the counts out.
func TestEventsAreCountedWhateverIsLogged(t *testing.T) {
	registry := prometheus.NewRegistry()
	log := New(slog.New(slog.DiscardHandler), registry)
	log.Record(t.Context(), Event{Action: Throttle, Result: "login"})
	if got, want := counts(t, registry), map[string]float64{"action=throttle result=login": 1}; !maps.Equal(got, want) {
		t.Errorf("the counts are %v, want %v", got, want)
	}
}

func TestTwoLogsInOneRegistryAreAMistake(t *testing.T) {
	registry := prometheus.NewRegistry()
	New(slog.New(slog.DiscardHandler), registry)
	defer func() {
		if recover() == nil {
			t.Error("the counts of the second log would be lost in silence")
		}
	}()
	New(slog.New(slog.DiscardHandler), registry)
}

// Prometheus sees no rise in a counter that begins with its first event: the first alarm would wake nobody.
func TestAlarmIsCountedFromZero(t *testing.T) {
	registry := prometheus.NewRegistry()
	New(slog.New(slog.DiscardHandler), registry)
	families, err := registry.Gather()
	if err != nil || len(families) != 1 || len(families[0].GetMetric()) != 1 {
		t.Fatalf("gathered %v, %v", families, err)
	}
	if text := families[0].GetMetric()[0].String(); !strings.Contains(text, string(Reuse)) || !strings.Contains(text, "revoked") {
		t.Errorf("there is %s", text)
	}
}
