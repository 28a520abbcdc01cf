package main

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"latchkey/internal/account"
	"latchkey/internal/audit"
	"latchkey/internal/config"
	"latchkey/internal/password"
	"latchkey/internal/session"
	"latchkey/internal/store"
)

// auditTime is how long the end of the program may wait for the last audit events to reach the database.
const auditTime = 5 * time.Second

// services are the parts of the program, put together by the settings.
type services struct {
	config   *config.Config
	logger   *slog.Logger
	registry *prometheus.Registry
	store    *store.Store
	keys     *keyring
	audit    *audit.Log
	sessions *session.Service
	accounts *account.Service
}

// openStore is store.Open, for commands that may make a database, or store.OpenExisting, for those that may not.
type openStore func(url string) (*store.Store, error)

// openServices opens the database, first, so that nothing is made where it fails, and puts the parts together. Keys and
// secrets that development may make, it makes.
func openServices(c *config.Config, logs io.Writer, open openStore) (_ *services, err error) {
	s := &services{config: c, logger: newLogger(c, logs), registry: prometheus.NewRegistry()}
	s.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	s.audit = audit.New(s.logger, s.registry)
	if s.store, err = open(string(c.DatabaseURL)); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = s.store.Close()
		}
	}()
	s.registry.MustRegister(s.store.Metrics()...)
	if s.keys, err = openKeyring(c, s.audit, s.logger, s.registry, time.Now); err != nil {
		return nil, err
	}
	s.sessions = session.NewService(session.Options{
		Policy:    session.Policy{Grace: c.RefreshGrace, Idle: c.RefreshTokenTTL, Absolute: c.SessionTTL},
		AccessTTL: c.AccessTokenTTL, RevocationDelay: c.RevocationDelay, MaxPerUser: c.MaxSessions, Now: time.Now,
	}, s.store, s.keys.access, s.keys.refresh, s.audit)
	s.accounts = account.NewService(account.Dependencies{
		Store: s.store, Hasher: password.NewHasher(c.HashConcurrency),
		Policy:   password.NewPolicy(c.PasswordMinLength, "latchkey", c.PublicURL.Hostname()),
		Sessions: s.sessions, Names: s.keys.refresh, Audit: s.audit, Now: time.Now,
	})
	s.audit.Keep(time.Now, s.store.AppendAuditEvents)
	return s, nil
}

// close hands over the audit events that still wait, for at most auditTime, and closes the database. ErrNotKept: the
// database did not take them all.
func (s *services) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditTime)
	defer cancel()
	err := s.audit.Close(ctx)
	_ = s.store.Close()
	return err
}
