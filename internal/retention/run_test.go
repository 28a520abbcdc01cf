package retention

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"latchkey/internal/store/storetest"
)

func TestRunPurgesSoonAndThenEveryHour(t *testing.T) {
	url := "sqlite:" + t.TempDir() + "/latchkey.db"
	synctest.Test(t, func(t *testing.T) {
		st := storetest.OpenURL(t, url)
		began := time.Now()
		var log bytes.Buffer
		p := New(Options{SessionTTL: sessionTTL, AuditEvents: auditKept, Now: time.Now}, st, prometheus.NewRegistry())
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { p.Run(ctx, slog.New(slog.NewTextHandler(&log, nil))) })
		turn := func(what string) string {
			t.Helper()
			synctest.Wait()
			text := log.String()
			log.Reset()
			t.Logf("%s, after %s: %s", what, time.Since(began), text)
			return text
		}
		addEvents(t, st, 3, began.Add(-auditKept-time.Hour))
		time.Sleep(firstWait + time.Minute)
		if text := turn("the first turn"); !strings.Contains(text, "level=INFO") || !strings.Contains(text, "sessions=0 login_throttles=0 audit_events=3") {
			t.Error("it does not tell what it deleted")
		}
		time.Sleep(interval)
		if text := turn("one with nothing to delete"); text != "" {
			t.Error("it tells of nothing")
		}
		addEvents(t, st, 2, began.Add(-auditKept-time.Hour))
		time.Sleep(interval)
		if text := turn("a later one"); strings.Count(text, "audit_events=2") != 1 {
			t.Error("it did not delete")
		}
		cancel()
		stopped := time.Now()
		running.Wait()
		if late := time.Since(stopped); late > 0 { // time goes on here only where something waits for it
			t.Errorf("it stopped %s after it was told to", late)
		}
	})
}

func TestRunTriesAgainWhatFailed(t *testing.T) {
	url := "sqlite:" + t.TempDir() + "/latchkey.db"
	synctest.Test(t, func(t *testing.T) {
		st := storetest.OpenURL(t, url)
		if _, err := st.MigrateDown(t.Context()); err != nil { // without the table of leases nothing can begin
			t.Fatal(err)
		}
		addEvents(t, st, 3, time.Now().Add(-auditKept-time.Hour))
		var log bytes.Buffer
		p := New(Options{SessionTTL: sessionTTL, AuditEvents: auditKept, Now: time.Now}, st, prometheus.NewRegistry())
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { p.Run(ctx, slog.New(slog.NewTextHandler(&log, nil))) })
		time.Sleep(firstWait + time.Minute)
		synctest.Wait()
		if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "level=WARN") || !strings.Contains(text, "leases") {
			t.Errorf("of a failure it tells %q", text)
		}
		log.Reset()
		if _, err := st.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(interval)
		synctest.Wait()
		if text := log.String(); !strings.Contains(text, "audit_events=3") {
			t.Errorf("at the next turn it tells %q", text)
		}
		cancel()
		running.Wait()
	})
}
