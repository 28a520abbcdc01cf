package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"latchkey/internal/audit"
	"latchkey/internal/config"
	"latchkey/internal/token"
)

// ring is a keyring on a folder of its own, with a clock that the test sets.
type ring struct {
	*keyring
	dir      string
	clock    time.Time
	logs     bytes.Buffer
	registry *prometheus.Registry
}

func newRing(t *testing.T, c config.Config) *ring {
	t.Helper()
	r := &ring{dir: filepath.Join(t.TempDir(), "keys"), registry: prometheus.NewRegistry(),
		clock: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	c.KeysDir, c.Issuer, c.Audience = r.dir, "issuer", "audience"
	logger := slog.New(slog.NewTextHandler(&r.logs, nil))
	var err error
	r.keyring, err = openKeyring(&c, audit.New(logger, r.registry), logger, r.registry, func() time.Time { return r.clock })
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// look reloads and returns what the log says about it.
func (r *ring) look(t *testing.T) string {
	t.Helper()
	r.logs.Reset()
	r.reload(t.Context())
	return r.logs.String()
}

// metric is the value of a metric, of all its labels together.
func (r *ring) metric(t *testing.T, name string) float64 {
	t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			if family.GetName() == name {
				sum += metric.GetGauge().GetValue() + metric.GetCounter().GetValue()
			}
		}
	}
	return sum
}

func (r *ring) save(t *testing.T, in time.Duration) token.Key {
	t.Helper()
	key, err := token.NewKey(r.clock.Add(in))
	if err != nil {
		t.Fatal(err)
	}
	if err := key.Save(r.dir); err != nil {
		t.Fatal(err)
	}
	return key
}

func (r *ring) writeSecrets(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, refreshSecretFile), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// kid is the key that signs.
func (r *ring) kid(t *testing.T) string {
	t.Helper()
	raw, err := r.access.Sign(token.Access{UserID: uuid.New(), SessionID: uuid.New(), Generation: 1, ExpiresAt: r.clock.Add(time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	return kidOf(t, raw)
}

func kidOf(t *testing.T, raw string) string {
	t.Helper()
	header, _, _ := strings.Cut(raw, ".")
	text, err := base64.RawURLEncoding.DecodeString(header)
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`"kid":"([A-Za-z0-9_-]{43})"`).FindSubmatch(text)
	if found == nil {
		t.Fatalf("a header without a kid: %s", text)
	}
	return string(found[1])
}

// mustBegin checks that new sessions begin under a secret, of base64.
func (r *ring) mustBegin(t *testing.T, under string) {
	t.Helper()
	if !accepts(t, under, r.refresh.Encode(r.refresh.First(uuid.New()))) {
		t.Error("new sessions begin under another secret")
	}
}

// accepts tells whether a server that has just this secret accepts a refresh token.
func accepts(t *testing.T, secret, raw string) bool {
	t.Helper()
	list, err := config.ParseRefreshSecrets(secret)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := token.NewRefreshKeys(tokenSecrets(list), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	_, err = keys.Parse(raw)
	return err == nil
}

func TestReloadTakesOverANewSigningKey(t *testing.T) {
	r := newRing(t, config.Config{})
	old := r.kid(t)
	if log := r.look(t); log != "" {
		t.Errorf("nothing has changed, and the log says %s", log)
	}
	fresh := r.save(t, time.Hour)
	log := r.look(t)
	for _, want := range []string{old, fresh.ID, "signs=" + old, "action=key.change result=loaded"} {
		if !strings.Contains(log, want) {
			t.Errorf("want %q in:\n%s", want, log)
		}
	}
	if !strings.Contains(string(r.access.JWKS()), fresh.ID) || r.kid(t) != old {
		t.Error("the new key is not published, or signs already")
	}
	r.clock = r.clock.Add(time.Hour)
	if r.kid(t) != fresh.ID {
		t.Error("the new key does not sign when its time has come")
	}
	if log := r.look(t); log != "" {
		t.Errorf("nothing has changed, and the log says %s", log)
	}
}

func TestReloadKeepsWhatItHasWhereTheFilesHaveAFault(t *testing.T) {
	write := func(content string, mode os.FileMode) func(file string) error {
		return func(file string) error {
			return errors.Join(os.WriteFile(file, []byte(content), mode), os.Chmod(file, mode))
		}
	}
	open := func(file string) error { return os.Chmod(file, 0o640) }
	for name, test := range map[string]struct {
		file  string
		spoil func(file string) error
		want  string
	}{
		"a key that is half written":     {"20270101T000000Z.pem", write("-----BEGIN PRIVATE KEY-----\nMIGH", 0o600), "not one PEM block"},
		"a new key that others may read": {"20270101T000000Z.pem", write("", 0o644), "chmod 600"},
		"a key that others may read":     {"19700101T000000Z.pem", open, "chmod 600"},
		"a secret that is cut":           {refreshSecretFile, write("c2hvcnQ=", 0o600), "32 bytes in base64"},
		"a secret that is empty":         {refreshSecretFile, write("\n", 0o600), "empty"},
		"a secret that can be guessed":   {refreshSecretFile, write(strings.Repeat("A", 43)+"=", 0o600), "not random"},
		"a secret that others may read":  {refreshSecretFile, open, "chmod 600"},
		"a secret that is gone":          {refreshSecretFile, os.Remove, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRing(t, config.Config{})
			kid, set, session := r.kid(t), string(r.access.JWKS()), r.refresh.Encode(r.refresh.First(uuid.New()))
			file := filepath.Join(r.dir, test.file)
			before, missing := os.ReadFile(file)
			if err := test.spoil(file); err != nil {
				t.Fatal(err)
			}
			for i, events := range []int{1, 0, 0} {
				log := r.look(t)
				if n := strings.Count(log, "action=key.change result=refused"); n != events {
					t.Errorf("look %d records %d refusals, want %d:\n%s", i+1, n, events, log)
				}
				if i == 0 && !strings.Contains(log, test.want) {
					t.Errorf("want %q in:\n%s", test.want, log)
				}
			}
			if r.kid(t) != kid || string(r.access.JWKS()) != set {
				t.Error("the signing keys have changed")
			}
			if _, err := r.refresh.Parse(session); err != nil {
				t.Errorf("a session is refused: %v", err)
			}
			if r.metric(t, "latchkey_keys_stale") != 1 {
				t.Error("the metric does not tell")
			}
			heal := write(string(before), 0o600)
			if missing != nil {
				heal = os.Remove
			}
			if err := heal(file); err != nil {
				t.Fatal(err)
			}
			if log := r.look(t); !strings.Contains(log, "in order again") || r.metric(t, "latchkey_keys_stale") != 0 {
				t.Errorf("the fault is over, and the log says %q", log)
			}
		})
	}
}

func TestReloadKeepsItsKeysWhereTheFolderIsEmpty(t *testing.T) {
	r := newRing(t, config.Config{})
	kid := r.kid(t)
	if err := os.Rename(r.dir, r.dir+"-away"); err != nil {
		t.Fatal(err)
	}
	if log := r.look(t); !strings.Contains(log, "no signing key") || r.kid(t) != kid {
		t.Errorf("the log says %s", log)
	}
	if _, err := os.Stat(r.dir); err == nil {
		t.Error("a running server has made a folder")
	}
}

// A fault in one of the two must not keep the other from being known in time.
func TestReloadTakesOverWhatHasNoFault(t *testing.T) {
	r := newRing(t, config.Config{})
	r.writeSecrets(t, "c2hvcnQ=")
	fresh := r.save(t, time.Hour)
	log := r.look(t)
	if !strings.Contains(log, "result=loaded") || !strings.Contains(log, "result=refused") ||
		!strings.Contains(string(r.access.JWKS()), fresh.ID) {
		t.Errorf("the new key is not taken over:\n%s", log)
	}
}

func TestReloadTellsEachFaultOnce(t *testing.T) {
	r := newRing(t, config.Config{})
	r.writeSecrets(t, "c2hvcnQ=")
	first := r.look(t)
	r.writeSecrets(t, "")
	second := r.look(t)
	if first == "" || second == "" || r.look(t) != "" || r.metric(t, "latchkey_events_total") != 2 {
		t.Errorf("the log says\n%s\n%s", first, second)
	}
	if strings.Contains(first+second, "c2hvcnQ") {
		t.Error("the log shows what is in the file")
	}
}

func TestFollowLooksAtEveryTickAndHangup(t *testing.T) {
	r := newRing(t, config.Config{})
	ticks, hangups := make(chan time.Time), make(chan os.Signal)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.follow(ctx, ticks, hangups)
	}()
	// A channel takes the second value when the first has been dealt with.
	byTick := r.save(t, time.Hour)
	ticks <- time.Time{}
	ticks <- time.Time{}
	if !strings.Contains(string(r.access.JWKS()), byTick.ID) {
		t.Error("a tick did nothing")
	}
	byHangup := r.save(t, 2*time.Hour)
	hangups <- os.Interrupt
	hangups <- os.Interrupt
	if !strings.Contains(string(r.access.JWKS()), byHangup.ID) {
		t.Error("a hangup did nothing")
	}
	cancel()
	<-done
}
