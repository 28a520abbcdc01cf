package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"latchkey/internal/store"
)

const (
	// startTime is how long a start waits for the database before it listens all the same.
	startTime = 5 * time.Second
	// firstPause and longestPause are between two tries to reach the database, doubling. With the time that a try takes,
	// a database that comes back is used within 5 s.
	firstPause   = 100 * time.Millisecond
	longestPause = 2 * time.Second
	// reminderTime is how often the log says that the database is still away.
	reminderTime = time.Minute
)

// prepare reaches the database and checks or migrates its schema. Where all is well that is done when it returns, so that
// a load balancer that sees connections only never finds a server that is not ready. Where the database does not answer,
// or takes long, prepare goes on in the background until ctx ends: the order in which machines come up must not matter.
// The end of that comes by prepared, with an error that only an operator can mend.
func (s *services) prepare(ctx context.Context) (prepared <-chan error, ready bool, err error) {
	done, tried := make(chan error, 1), make(chan struct{}, 1)
	go func() { done <- s.untilPrepared(ctx, tried) }()
	select {
	case err := <-done:
		return nil, err == nil, err
	case <-tried:
	case <-time.After(startTime):
		s.logger.Warn("the database takes long: the server listens meanwhile, and is not ready", "database", s.store.Description())
	case <-ctx.Done():
		s.logger.Info("stopped")
		return nil, false, nil
	}
	return done, false, nil
}

// untilPrepared prepares the schema, again and again while the database does not answer. After the first failure there is
// something to be had from tried. When ctx ends, so does it, with nil.
func (s *services) untilPrepared(ctx context.Context, tried chan<- struct{}) error {
	var since, told time.Time
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		err := prepareSchema(ctx, s)
		switch {
		case err == nil && !since.IsZero():
			s.logger.Info("the database answers: the server is ready", "after_seconds", int(time.Since(since).Seconds()))
			return nil
		case err == nil, ctx.Err() != nil:
			return nil //nolint:nilerr // a stop is no failure
		case !errors.Is(err, store.ErrUnavailable), errors.Is(err, store.ErrUnusable):
			return err
		}
		first := since.IsZero()
		if first {
			since = time.Now()
		}
		if time.Since(told) >= reminderTime {
			told = time.Now()
			s.logger.Error("the database does not answer: the server is not ready, and tries again. Look whether the database "+
				"runs, whether it can be reached from here, and at LATCHKEY_DATABASE_URL", "database", s.store.Description(), "error", err)
		}
		if first {
			tried <- struct{}{}
		}
		select {
		case <-time.After(pause/2 + rand.N(pause/2)): //nolint:gosec // random only so that replicas do not come together
		case <-ctx.Done():
			return nil
		}
	}
}

// prepareSchema brings the schema up to date where the settings say so, and otherwise demands it to be.
func prepareSchema(ctx context.Context, s *services) error {
	if !s.config.AutoMigrate {
		return requireSchema(ctx, s.store)
	}
	applied, err := s.store.Migrate(ctx)
	for _, m := range applied {
		s.logger.Info("migration applied", "version", m.Version, "name", m.Name)
	}
	return err
}

// requireSchema explains what to do about a schema that is behind.
func requireSchema(ctx context.Context, st *store.Store) error {
	err := st.CheckSchema(ctx)
	if errors.Is(err, store.ErrSchemaBehind) {
		return fmt.Errorf("%w: run `latchkey migrate up`", err)
	}
	return explainDenied(err)
}

// explainDenied says what to do about a login that has no rights.
func explainDenied(err error) error {
	if errors.Is(err, store.ErrDenied) {
		return fmt.Errorf("%w: run docs/deploy/grants.sql, as after each `latchkey migrate up`", err)
	}
	return err
}
