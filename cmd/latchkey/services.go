package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"latchkey/internal/account"
	"latchkey/internal/audit"
	"latchkey/internal/config"
	"latchkey/internal/password"
	"latchkey/internal/session"
	"latchkey/internal/store"
	"latchkey/internal/token"
)

// refreshSecretFile is the secret that development makes, beside the signing keys.
const refreshSecretFile = "refresh.secret"

// auditTime is how long the end of the program may wait for the last audit events to reach the database.
const auditTime = 5 * time.Second

// services are the parts of the program, put together by the settings.
type services struct {
	config   *config.Config
	logger   *slog.Logger
	registry *prometheus.Registry
	store    *store.Store
	keys     token.Keys
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
	if s.keys, err = openKeys(c, s.logger); err != nil {
		return nil, err
	}
	access, err := token.NewIssuer(s.keys, c.Issuer, c.Audience, time.Now)
	if err != nil {
		return nil, err
	}
	refresh, err := openRefreshKeys(c, s.logger)
	if err != nil {
		return nil, err
	}
	s.sessions = session.NewService(session.Options{
		Policy:    session.Policy{Grace: c.RefreshGrace, Idle: c.RefreshTokenTTL, Absolute: c.SessionTTL},
		AccessTTL: c.AccessTokenTTL, RevocationDelay: c.RevocationDelay, MaxPerUser: c.MaxSessions, Now: time.Now,
	}, s.store, access, refresh, s.audit)
	s.accounts = account.NewService(account.Dependencies{
		Store: s.store, Hasher: password.NewHasher(c.HashConcurrency),
		Policy:   password.NewPolicy(c.PasswordMinLength, "latchkey", c.PublicURL.Hostname()),
		Sessions: s.sessions, Names: refresh, Audit: s.audit, Now: time.Now,
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

// openKeys loads the signing keys. In development the first start makes one; in production a folder without any is a
// mistake, for instance a volume that was not mounted, and a new key would make every other service refuse our tokens.
func openKeys(c *config.Config, logger *slog.Logger) (token.Keys, error) {
	keys, err := token.LoadKeys(c.KeysDir)
	if err == nil {
		return keys, nil
	}
	if !errors.Is(err, token.ErrNoKeys) {
		return nil, err
	}
	if c.Production {
		return nil, fmt.Errorf("%w: mount the folder that LATCHKEY_KEYS_DIR names, or make the first key with `latchkey keys rotate`", err)
	}
	// The first key signs from ever: so it has one name, and of two first starts at once one makes it and both have it.
	key, err := token.NewKey(time.Unix(0, 0))
	if err != nil {
		return nil, err
	}
	switch err := key.Save(c.KeysDir); {
	case err == nil:
		logger.Info("made a signing key: access tokens of any other one are refused", "folder", c.KeysDir)
	case !errors.Is(err, fs.ErrExist):
		return nil, err
	}
	return token.LoadKeys(c.KeysDir)
}

// openRefreshKeys derives the keys from the settings' secrets, or from the one that the first start in development makes.
func openRefreshKeys(c *config.Config, logger *slog.Logger) (*token.RefreshKeys, error) {
	keys, err := loadRefreshKeys(c)
	if !errors.Is(err, fs.ErrNotExist) {
		return keys, err
	}
	fresh := base64.StdEncoding.EncodeToString(token.NewSecret())
	switch err := token.WriteSecret(c.KeysDir, refreshSecretFile, []byte(fresh+"\n")); {
	case err == nil:
		logger.Info("made a refresh secret: sessions of any other one are over", "folder", c.KeysDir)
	case !errors.Is(err, fs.ErrExist):
		return nil, err
	}
	return loadRefreshKeys(c)
}

// loadRefreshKeys is openRefreshKeys without making anything.
func loadRefreshKeys(c *config.Config) (*token.RefreshKeys, error) {
	if len(c.RefreshSecrets) > 0 {
		secrets := make([][]byte, len(c.RefreshSecrets))
		for i, secret := range c.RefreshSecrets {
			secrets[i] = []byte(secret)
		}
		return token.NewRefreshKeys(secrets...)
	}
	file := filepath.Join(c.KeysDir, refreshSecretFile)
	text, err := token.ReadSecret(file)
	if err != nil {
		return nil, fmt.Errorf("refresh secret %s: %w", file, err)
	}
	secret, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(secret) != token.SecretSize {
		return nil, fmt.Errorf("the refresh secret %s is not 32 bytes in base64: restore it from a backup, or remove it, which ends all sessions", file)
	}
	return token.NewRefreshKeys(secret)
}

// requireSchema explains what to do about a schema that is behind.
func requireSchema(ctx context.Context, st *store.Store) error {
	err := st.Ready(ctx)
	if errors.Is(err, store.ErrSchemaBehind) {
		return fmt.Errorf("%w: run `latchkey migrate up`", err)
	}
	return err
}
