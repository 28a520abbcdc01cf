// Package session owns sign-ins: it begins a session, refreshes it by acknowledged rotation (docs/rotation.md), checks
// at every request that the session behind an access token still lives, and ends it.
//
// A client that retries with what its cookie jar holds keeps its session, whatever was lost on the way; a token that
// two parties hold ends it. What has ended stays ended.
package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"latchkey/internal/audit"
	"latchkey/internal/store"
	"latchkey/internal/token"
)

var (
	// ErrInvalidRefresh says that a refresh token was refused. Its cause is in the audit log, and only there.
	ErrInvalidRefresh = errors.New("session: refresh token refused")
	// ErrInvalidAccess says that an access token was refused. Its cause is in the audit log, and only there.
	ErrInvalidAccess = errors.New("session: access token refused")
	// ErrNotFound says that the user has no live session with this id.
	ErrNotFound = errors.New("session: no such session")
	// ErrCredentialsChanged says that between the check of a password and the start of a session the password was
	// changed, or the account disabled or deleted.
	ErrCredentialsChanged = errors.New("session: the credentials are no longer valid")
)

// Why a session ended, as its row and the audit log say it.
const (
	ReasonLogout   = "logout"
	ReasonEnded    = "ended"    // by its user, from another session or this one
	ReasonReplaced = "replaced" // by a new sign-in in the same browser
	ReasonLimit    = "limit"    // too many sessions: the oldest ends
	ReasonPassword = "password" // the password was changed
	ReasonDisabled = "disabled" // the account was disabled
	ReasonAdmin    = "admin"    // by an operator's command
)

// maxAttempts bounds how often a decision is made again because another request moved the session first. A move ends
// in a state in which most requests need no write, so two or three attempts are the rule.
const maxAttempts = 10

// Options configure a Service.
type Options struct {
	Policy
	// AccessTTL is an access token's life, at most token.MaxAccessTTL.
	AccessTTL time.Duration
	// RevocationDelay is how long a session that was read may be used without being read again; 0 reads it for each
	// request. What this Service does itself takes effect at once.
	RevocationDelay time.Duration
	// MaxPerUser is how many sessions a user can have; a further sign-in ends the oldest.
	MaxPerUser int
	// Now is the clock that the rows are written by, which replicas share.
	Now func() time.Time
	// Elapsed is the time since the start by a clock that nobody sets, for tests to step the one without the other. Nil
	// takes it from Now: time.Now's times carry it.
	Elapsed func() time.Duration
}

// Service is safe for concurrent use; several may share one database.
type Service struct {
	options Options
	store   *store.Store
	access  *token.Issuer
	refresh *token.RefreshKeys
	audit   *audit.Log
	memory  *memory
	clock   *clock
}

// NewService makes a Service.
func NewService(o Options, st *store.Store, access *token.Issuer, refresh *token.RefreshKeys, log *audit.Log) *Service {
	return &Service{options: o, store: st, access: access, refresh: refresh, audit: log, memory: newMemory(o.RevocationDelay), clock: newClock(o)}
}

// Client is what a request says of the program and the place it comes from: both of ASCII, at most 255 and 45 characters.
type Client struct{ UserAgent, IP string }

// Grant is the answer to a sign-in or a refresh.
type Grant struct {
	AccessToken string
	// ExpiresIn is the access token's life, in whole seconds.
	ExpiresIn time.Duration
	// RefreshToken is for the cookie. It is empty after a Repeat: the client has it already, or a newer one.
	RefreshToken string
	// RefreshExpiresIn is the rest of the session's life, if it is not refreshed before.
	RefreshExpiresIn time.Duration
}

func (s *Service) now() time.Time { return s.clock.read().wall }

// Start begins a session for a user whose password has just been verified against user.PasswordHash. The session of
// presented, the refresh token that the browser held until now (or ""), ends: the browser is about to lose it, and
// nobody could end that session later. ErrCredentialsChanged: the verification no longer holds.
func (s *Service) Start(ctx context.Context, user store.User, client Client, presented string) (Grant, error) {
	now := s.now()
	id, err := uuid.NewV7()
	if err != nil {
		return Grant{}, fmt.Errorf("make a session id: %w", err)
	}
	first := s.refresh.First(id)
	hash := first.Hash()
	row := store.Session{
		ID: id, UserID: user.ID, Generation: 1, OldestGeneration: 1, CurrentHash: hash[:], IssuedAt: now, CreatedAt: now,
		UserAgent: client.UserAgent, IP: client.IP,
	}
	replaced, parseErr := s.refresh.Parse(presented)
	var wasReplaced bool
	var surplus int64
	err = s.store.InTx(ctx, func(tx *store.Store) error {
		valid, err := tx.BeginLogin(ctx, user.ID, user.PasswordHash, now)
		if err != nil {
			return err
		}
		if !valid {
			return ErrCredentialsChanged
		}
		if parseErr == nil {
			if wasReplaced, err = tx.RevokeSession(ctx, replaced.SessionID, ReasonReplaced, now); err != nil {
				return err
			}
		}
		if err := tx.CreateSession(ctx, &row); err != nil {
			return err
		}
		surplus, err = tx.RevokeOldestSessions(ctx, row, s.options.MaxPerUser-1,
			now.Add(-s.options.Idle), now.Add(-s.options.Absolute), ReasonLimit, now)
		return err
	})
	if err != nil {
		return Grant{}, err
	}
	if wasReplaced {
		s.memory.forget(replaced.SessionID)
		s.recordEnd(ctx, replaced.SessionID, ReasonReplaced)
	}
	if surplus > 0 {
		s.Changed(ctx, user.ID, surplus, ReasonLimit)
	}
	s.audit.Record(ctx, audit.Event{Action: audit.Login, Result: "ok", UserID: user.ID, SessionID: id})
	return s.grant(row, user.Roles, s.refresh.Encode(first), now)
}

func (s *Service) grant(row store.Session, roles []string, refreshToken string, now time.Time) (Grant, error) {
	end := row.CreatedAt.Add(s.options.Absolute)
	expires := now.Add(s.options.AccessTTL)
	if end.Before(expires) { // other services, which know no sessions, see the token end with it too
		expires = end
	}
	// A JWT counts whole seconds. In the session's last second it expires with that second.
	issued := now.Truncate(time.Second)
	if expires = expires.Truncate(time.Second); !expires.After(issued) {
		expires = issued.Add(time.Second)
	}
	signed, err := s.access.Sign(token.Access{
		UserID: row.UserID, SessionID: row.ID, Generation: row.Generation, Roles: roles, ExpiresAt: expires,
	})
	if err != nil {
		return Grant{}, err
	}
	return Grant{
		AccessToken: signed, ExpiresIn: expires.Sub(issued),
		RefreshToken: refreshToken, RefreshExpiresIn: s.options.ExpiresAt(row).Sub(now),
	}, nil
}
