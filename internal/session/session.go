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
	// Now is the clock.
	Now func() time.Time
}

// Service is safe for concurrent use; several may share one database.
type Service struct {
	options Options
	store   *store.Store
	access  *token.Issuer
	refresh *token.RefreshKeys
	audit   *audit.Log
	memory  *memory
}

// NewService makes a Service.
func NewService(o Options, st *store.Store, access *token.Issuer, refresh *token.RefreshKeys, log *audit.Log) *Service {
	return &Service{options: o, store: st, access: access, refresh: refresh, audit: log, memory: newMemory(o.RevocationDelay)}
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

// Principal is who makes a request, as the database says it now, or said it within the revocation delay.
type Principal struct {
	UserID, SessionID uuid.UUID
	Username          string
	Roles             []string
	CreatedAt         time.Time
}

// now has the precision of the database, so that what is compared is what is stored.
func (s *Service) now() time.Time { return s.options.Now().UTC().Truncate(time.Millisecond) }

// Start begins a session for a user whose password has just been verified against user.PasswordHash. The session of
// presented, the refresh token that the browser held until now (or ""), ends: it was never adopted, and nobody could
// end it later. ErrCredentialsChanged: the verification no longer holds.
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
		s.audit.Record(ctx, audit.Event{Action: audit.End, Result: ReasonReplaced, SessionID: replaced.SessionID})
	}
	if surplus > 0 {
		s.Changed(ctx, user.ID, surplus, ReasonLimit)
	}
	s.audit.Record(ctx, audit.Event{Action: audit.Login, Result: "ok", UserID: user.ID, SessionID: id})
	return s.grant(row, user.Roles, s.refresh.Encode(first), now)
}

// Refresh answers a presented refresh token by the protocol: at most one read and one conditional write, unless others
// move the session at the same moment. ErrInvalidRefresh: it was refused.
func (s *Service) Refresh(ctx context.Context, presented string) (Grant, error) {
	held, err := s.refresh.Parse(presented)
	if err != nil {
		return Grant{}, s.refuseRefresh(ctx, "malformed", audit.Event{})
	}
	successor := s.refresh.Successor(held)
	for range maxAttempts {
		row, err := s.store.SessionByID(ctx, held.SessionID)
		if errors.Is(err, store.ErrNotFound) {
			return Grant{}, s.refuseRefresh(ctx, "unknown", audit.Event{SessionID: held.SessionID})
		}
		if err != nil {
			return Grant{}, err
		}
		now := s.now()
		outcome, next := s.options.Decide(row, held.Hash(), successor.Hash(), now)
		moved, err := s.advance(ctx, outcome, row.Session, next)
		if err != nil {
			return Grant{}, err
		}
		if !moved {
			continue
		}
		event := audit.Event{Action: audit.Refresh, Result: string(outcome), UserID: row.UserID, SessionID: row.ID}
		switch outcome {
		case Rotate, Replay, Recover: // in each of them what follows the presented token is the current one
			s.audit.Record(ctx, event)
			return s.grant(next, row.Roles, s.refresh.Encode(successor), now)
		case Repeat:
			s.audit.Record(ctx, event)
			return s.grant(next, row.Roles, "", now)
		case Reuse:
			s.memory.forget(row.ID)
			s.audit.Record(ctx, audit.Event{Action: audit.Reuse, Result: "revoked", UserID: row.UserID, SessionID: row.ID})
		}
		return Grant{}, s.refuseRefresh(ctx, string(outcome), event)
	}
	return Grant{}, fmt.Errorf("%w: session %s kept moving", store.ErrUnavailable, held.SessionID)
}

// advance makes the write that an outcome asks for, if it asks for one; false says that another request came first.
func (s *Service) advance(ctx context.Context, outcome Outcome, from, to store.Session) (bool, error) {
	switch outcome {
	case Rotate, Recover, Reuse:
	case Repeat:
		if from.AcknowledgedAt == to.AcknowledgedAt {
			return true, nil
		}
	default:
		return true, nil
	}
	return s.store.AdvanceSession(ctx, from, to)
}

func (s *Service) refuseRefresh(ctx context.Context, cause string, e audit.Event) error {
	e.Action, e.Result = audit.Refresh, cause
	s.audit.Record(ctx, e)
	return ErrInvalidRefresh
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

// Authenticate says who presents an access token, and acknowledges the generation that it came with. ErrInvalidAccess:
// it was refused.
func (s *Service) Authenticate(ctx context.Context, bearer string) (Principal, error) {
	held, err := s.access.Verify(bearer)
	if err != nil {
		return Principal{}, s.refuseAccess(ctx, "invalid", audit.Event{})
	}
	event := audit.Event{UserID: held.UserID, SessionID: held.SessionID}
	now := s.now()
	seen, recalled, epoch := s.memory.recall(held.SessionID, now)
	for range maxAttempts {
		if !recalled {
			seen.read = now
			seen.row, err = s.store.SessionByID(ctx, held.SessionID)
			if errors.Is(err, store.ErrNotFound) {
				return Principal{}, s.refuseAccess(ctx, "unknown_session", event)
			}
			if err != nil {
				return Principal{}, err
			}
			s.memory.remember(seen, epoch)
		}
		row := seen.row
		cause, dead := s.options.dead(row, now)
		superseded := held.Generation < row.OldestGeneration
		unacknowledged := held.Generation == row.Generation && !row.AcknowledgedAt.Valid
		// Memory never refuses anybody, and a generation that it does not know yet must be read to be acknowledged.
		if recalled && (dead || superseded || held.Generation > row.Generation) {
			recalled = false
			continue
		}
		switch {
		case held.UserID != row.UserID:
			return Principal{}, s.refuseAccess(ctx, "wrong_user", event)
		case dead:
			return Principal{}, s.refuseAccess(ctx, string(cause), event)
		case superseded:
			return Principal{}, s.refuseAccess(ctx, "superseded", event)
		case unacknowledged:
			acknowledged := row
			acknowledged.AcknowledgedAt = at(now)
			moved, err := s.store.AdvanceSession(ctx, row.Session, acknowledged.Session)
			if err != nil {
				return Principal{}, err
			}
			if !moved {
				recalled = false
				continue
			}
			// What the statement said nothing about, the roles for one, is as old as it was.
			s.memory.remember(remembered{row: acknowledged, read: seen.read}, epoch)
		}
		return Principal{
			UserID: row.UserID, SessionID: row.ID, Username: row.Username, Roles: row.Roles, CreatedAt: row.UserCreatedAt,
		}, nil
	}
	return Principal{}, fmt.Errorf("%w: session %s kept moving", store.ErrUnavailable, held.SessionID)
}

func (s *Service) refuseAccess(ctx context.Context, cause string, e audit.Event) error {
	e.Action, e.Result = audit.Verify, cause
	s.audit.Record(ctx, e)
	return ErrInvalidAccess
}

// Logout ends the sessions of a refresh token and of an access token, either of which may be "", expired or junk: what
// names no session ends none. An expired access token still ends its session: whoever logs out must not stay signed in.
func (s *Service) Logout(ctx context.Context, refreshToken, accessToken string) error {
	if held, err := s.refresh.Parse(refreshToken); err == nil {
		if _, err := s.end(ctx, held.SessionID, ReasonLogout); err != nil {
			return err
		}
	}
	if held, err := s.access.VerifyIgnoringTime(accessToken); err == nil {
		if _, err := s.end(ctx, held.SessionID, ReasonLogout); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) end(ctx context.Context, id uuid.UUID, reason string) (bool, error) {
	ended, err := s.store.RevokeSession(ctx, id, reason, s.now())
	s.memory.forget(id)
	if ended {
		s.audit.Record(ctx, audit.Event{Action: audit.End, Result: reason, SessionID: id})
	}
	return ended, err
}

// Session is one of a user's live sessions, as shown to them.
type Session struct {
	ID        uuid.UUID
	CreatedAt time.Time
	// LastUsedAt is the hour of the last refresh or of the first use of what it issued, or the sign-in. ExpiresAt is when
	// the session ends unless it is refreshed before, rounded up to the hour. Both take the current session for used
	// now. More precisely, they would tell a thief, who has an access token until it expires, when the owner
	// refreshes: the moment at which a stolen token passes for a retry.
	LastUsedAt, ExpiresAt time.Time
	Client                Client
	Current               bool
}

// List returns the live sessions of the principal, newest first.
func (s *Service) List(ctx context.Context, p Principal) ([]Session, error) {
	now := s.now()
	rows, err := s.store.LiveSessions(ctx, p.UserID, now.Add(-s.options.Idle), now.Add(-s.options.Absolute))
	if err != nil {
		return nil, err
	}
	list := make([]Session, len(rows))
	for i, row := range rows {
		used := row.IssuedAt
		if row.AcknowledgedAt.Valid {
			used = later(used, row.AcknowledgedAt.Time)
		}
		used = later(row.CreatedAt, used.Truncate(time.Hour))
		if row.ID == p.SessionID {
			used, row.IssuedAt = now, now
		}
		row.IssuedAt = row.IssuedAt.Truncate(time.Hour).Add(time.Hour)
		list[i] = Session{
			ID: row.ID, CreatedAt: row.CreatedAt, LastUsedAt: used, ExpiresAt: s.options.ExpiresAt(row),
			Client: Client{UserAgent: row.UserAgent, IP: row.IP}, Current: row.ID == p.SessionID,
		}
	}
	return list, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// End ends a live session of the principal's, or returns ErrNotFound, also for one of another user's.
func (s *Service) End(ctx context.Context, p Principal, id uuid.UUID) error {
	row, err := s.store.SessionByID(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return ErrNotFound
	}
	if err != nil {
		return err
	}
	if _, dead := s.options.dead(row, s.now()); dead || row.UserID != p.UserID {
		return ErrNotFound
	}
	ended, err := s.end(ctx, id, ReasonEnded)
	if err == nil && !ended {
		return ErrNotFound
	}
	return err
}

// EndOthers ends every session of the principal but the one that asks.
func (s *Service) EndOthers(ctx context.Context, p Principal) error {
	n, err := s.store.RevokeUserSessions(ctx, p.UserID, p.SessionID, ReasonEnded, s.now())
	if n > 0 || err != nil { // an error may hide that they ended
		s.Changed(ctx, p.UserID, n, ReasonEnded)
	}
	return err
}

// Changed makes a change of a user's roles, account or sessions, which this process has committed, take effect here at
// once. n is how many sessions ended with it, for the audit log; userID is the nil UUID if they were everybody's.
func (s *Service) Changed(ctx context.Context, userID uuid.UUID, n int64, reason string) {
	s.memory.forgetUser(userID)
	if n > 0 {
		s.audit.Record(ctx, audit.Event{Action: audit.End, Result: reason, UserID: userID})
	}
}
