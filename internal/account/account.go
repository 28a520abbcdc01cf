// Package account owns users: who may register, who a name and a password belong to, and what an operator changes. It
// knows names only in their canonical form and passwords only on their way to the hasher.
//
// A sign-in costs the same work for a name that exists and for one that does not, and fails in one and the same way.
package account

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"latchkey/internal/audit"
	"latchkey/internal/password"
	"latchkey/internal/session"
	"latchkey/internal/store"
	"latchkey/internal/token"
)

var (
	// ErrUsernameTaken says that an account has this name already.
	ErrUsernameTaken = errors.New("account: username taken")
	// ErrInvalidCredentials says that a name and a password do not belong together, or that the account is disabled:
	// which of these, is in the audit log only.
	ErrInvalidCredentials = errors.New("account: invalid credentials")
	// ErrNotFound says that there is no such account.
	ErrNotFound = errors.New("account: no such user")
)

// Service is safe for concurrent use.
type Service struct {
	store    *store.Store
	hasher   *password.Hasher
	sessions *session.Service
	names    *token.RefreshKeys // for keyed hashes of names
	audit    *audit.Log
	now      func() time.Time
}

// NewService makes a Service. now is the clock.
func NewService(st *store.Store, hasher *password.Hasher, sessions *session.Service, names *token.RefreshKeys,
	log *audit.Log, now func() time.Time) *Service {
	return &Service{store: st, hasher: hasher, sessions: sessions, names: names, audit: log, now: func() time.Time {
		return now().UTC().Truncate(time.Millisecond)
	}}
}

// Create adds an account. A *ValidationError says what is wrong with the name, the password or the roles; ErrUsernameTaken,
// that the name is taken, which costs the same time.
func (s *Service) Create(ctx context.Context, name, pass string, roles []string) (store.User, error) {
	var fields []FieldError
	canonical, fault := checkName(name)
	if fault != "" {
		fields = append(fields, FieldError{"username", fault, nameMessages[fault]})
	}
	if fault := checkPassword("password", pass); fault != nil {
		fields = append(fields, *fault)
	}
	roles, rolesFault := checkRoles(roles)
	if rolesFault != nil {
		fields = append(fields, *rolesFault)
	}
	if fields != nil {
		s.audit.Record(ctx, audit.Event{Action: audit.Register, Result: "invalid"})
		return store.User{}, &ValidationError{fields}
	}
	hash, err := s.hasher.Hash(ctx, pass)
	if err != nil {
		return store.User{}, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return store.User{}, fmt.Errorf("make a user id: %w", err)
	}
	user := store.User{ID: id, Username: name, CanonicalName: canonical, PasswordHash: hash, Roles: roles, CreatedAt: s.now()}
	// Nobody asked before whether the name is free: of parallel registrations the unique key lets one through.
	switch err := s.store.CreateUser(ctx, &user); {
	case errors.Is(err, store.ErrDuplicate):
		s.audit.Record(ctx, audit.Event{Action: audit.Register, Result: "taken"})
		return store.User{}, ErrUsernameTaken
	case err != nil:
		return store.User{}, err
	}
	s.audit.Record(ctx, audit.Event{Action: audit.Register, Result: "ok", UserID: id})
	return user, nil
}

// Login verifies a name and a password and begins a session, which replaces that of presented, the refresh token that
// the browser holds, or "". ErrInvalidCredentials: they were refused. *ThrottledError: there were too many wrong guesses.
func (s *Service) Login(ctx context.Context, name, pass string, client session.Client, presented string) (session.Grant, error) {
	canonical := CanonicalName(name)
	attempt, err := s.beginAttempt(ctx, canonical, func() (string, error) { return s.familiarNetwork(ctx, canonical, client.IP) })
	if err != nil {
		return session.Grant{}, err
	}
	grant, err := s.login(ctx, canonical, pass, client, presented, attempt.nameHash)
	attempt.settle(ctx, err)
	return grant, err
}

func (s *Service) login(ctx context.Context, canonical, pass string, client session.Client, presented, nameHash string) (session.Grant, error) {
	user, err := s.store.UserByName(ctx, canonical)
	if errors.Is(err, store.ErrNotFound) {
		if err := s.hasher.VerifyNone(ctx, pass); err != nil {
			return session.Grant{}, err
		}
		s.audit.Record(ctx, audit.Event{Action: audit.Login, Result: "unknown_user", NameHash: nameHash})
		return session.Grant{}, ErrInvalidCredentials
	}
	if err != nil {
		return session.Grant{}, err
	}
	right, err := s.hasher.Verify(ctx, pass, user.PasswordHash)
	switch {
	case err != nil:
		return session.Grant{}, fmt.Errorf("verify the password of user %s: %w", user.ID, err)
	case !right:
		return session.Grant{}, s.refuseLogin(ctx, "wrong_password", user.ID)
	case user.DisabledAt.Valid:
		return session.Grant{}, s.refuseLogin(ctx, "disabled", user.ID)
	}
	grant, err := s.sessions.Start(ctx, user, client, presented)
	if errors.Is(err, session.ErrCredentialsChanged) {
		return session.Grant{}, s.refuseLogin(ctx, "changed_meanwhile", user.ID)
	}
	return grant, err
}

func (s *Service) refuseLogin(ctx context.Context, cause string, userID uuid.UUID) error {
	s.audit.Record(ctx, audit.Event{Action: audit.Login, Result: cause, UserID: userID})
	return ErrInvalidCredentials
}

// ChangePassword replaces the principal's password and ends all their other sessions, or does neither.
// ErrInvalidCredentials: the current password is wrong, which counts as a wrong guess at login does. *ThrottledError:
// there were too many of them. *ValidationError: the new one is not acceptable.
func (s *Service) ChangePassword(ctx context.Context, p session.Principal, current, replacement string) error {
	if fault := checkPassword("new_password", replacement); fault != nil {
		return &ValidationError{[]FieldError{*fault}}
	}
	attempt, err := s.beginAttempt(ctx, CanonicalName(p.Username), func() (string, error) { return p.SessionID.String(), nil })
	if err != nil {
		return err
	}
	err = s.changePassword(ctx, p, current, replacement)
	attempt.settle(ctx, err)
	return err
}

func (s *Service) changePassword(ctx context.Context, p session.Principal, current, replacement string) error {
	user, err := s.store.UserByID(ctx, p.UserID)
	if errors.Is(err, store.ErrNotFound) {
		return ErrInvalidCredentials
	}
	if err != nil {
		return err
	}
	right, err := s.hasher.Verify(ctx, current, user.PasswordHash)
	if err != nil {
		return fmt.Errorf("verify the password of user %s: %w", user.ID, err)
	}
	if !right {
		s.audit.Record(ctx, audit.Event{Action: audit.PasswordChange, Result: "wrong_password", UserID: user.ID, SessionID: p.SessionID})
		return ErrInvalidCredentials
	}
	hash, err := s.hasher.Hash(ctx, replacement)
	if err != nil {
		return err
	}
	replaced, err := s.replacePassword(ctx, user, hash, p.SessionID)
	if err != nil {
		return err
	}
	if !replaced { // another change was faster: what was verified is no longer the current password
		s.audit.Record(ctx, audit.Event{Action: audit.PasswordChange, Result: "changed_meanwhile", UserID: user.ID, SessionID: p.SessionID})
		return ErrInvalidCredentials
	}
	s.audit.Record(ctx, audit.Event{Action: audit.PasswordChange, Result: "ok", UserID: user.ID, SessionID: p.SessionID})
	return nil
}

// replacePassword replaces the hash that user has and ends the sessions but one, both or neither; false says that the
// hash is no longer the one that user has.
func (s *Service) replacePassword(ctx context.Context, user store.User, hash string, except uuid.UUID) (replaced bool, err error) {
	var ended int64
	err = s.store.InTx(ctx, func(tx *store.Store) error {
		if replaced, err = tx.SetPasswordHash(ctx, user.ID, user.PasswordHash, hash); err != nil || !replaced {
			return err
		}
		ended, err = tx.RevokeUserSessions(ctx, user.ID, except, session.ReasonPassword, s.now())
		return err
	})
	if err != nil {
		return false, err
	}
	s.sessions.Changed(ctx, user.ID, ended, session.ReasonPassword)
	return replaced, nil
}
