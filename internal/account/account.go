// Package account owns users: who may register, who a name and a password belong to, and what an operator changes. It
// knows names only in their canonical form and passwords only on their way to the hasher.
//
// A sign-in costs the same work for a name that exists and for one that does not, and fails in one and the same way.
package account

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"latchkey/internal/audit"
	"latchkey/internal/password"
	"latchkey/internal/session"
	"latchkey/internal/store"
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

// ValidationError says which fields of a request cannot be accepted, all of them.
type ValidationError struct{ Fields []FieldError }

// FieldError is what is wrong with one field. Code is stable; Message is for people.
type FieldError struct{ Field, Code, Message string }

// Error lists the faults for people.
func (e *ValidationError) Error() string {
	faults := make([]string, len(e.Fields))
	for i, f := range e.Fields {
		faults[i] = f.Field + " " + f.Message
	}
	return strings.Join(faults, "; ")
}

// Service is safe for concurrent use.
type Service struct {
	store    *store.Store
	hasher   *password.Hasher
	sessions *session.Service
	audit    *audit.Log
	now      func() time.Time
}

// NewService makes a Service. now is the clock.
func NewService(st *store.Store, hasher *password.Hasher, sessions *session.Service, log *audit.Log, now func() time.Time) *Service {
	return &Service{store: st, hasher: hasher, sessions: sessions, audit: log, now: func() time.Time {
		return now().UTC().Truncate(time.Millisecond)
	}}
}

// Create adds an account. A *ValidationError says what is wrong with the name, the password or the roles; ErrUsernameTaken,
// that the name is taken, which costs the same time.
func (s *Service) Create(ctx context.Context, name, pass string, roles []string) (store.User, error) {
	canonical, fields := CanonicalName(name), []FieldError(nil)
	if _, fault := checkName(name); fault != "" {
		fields = append(fields, FieldError{"username", fault, nameMessages[fault]})
	}
	if fault := checkPassword("password", pass); fault != nil {
		fields = append(fields, *fault)
	}
	roles, fault := checkRoles(roles)
	if fault != nil {
		fields = append(fields, *fault)
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
// the browser holds, or "". ErrInvalidCredentials: they were refused.
func (s *Service) Login(ctx context.Context, name, pass string, client session.Client, presented string) (session.Grant, error) {
	user, err := s.store.UserByName(ctx, CanonicalName(name))
	if errors.Is(err, store.ErrNotFound) {
		if err := s.hasher.VerifyNone(ctx, pass); err != nil {
			return session.Grant{}, err
		}
		return session.Grant{}, s.refuseLogin(ctx, "unknown_user", uuid.Nil)
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
// ErrInvalidCredentials: the current password is wrong. *ValidationError: the new one is not acceptable.
func (s *Service) ChangePassword(ctx context.Context, p session.Principal, current, replacement string) error {
	if fault := checkPassword("new_password", replacement); fault != nil {
		return &ValidationError{[]FieldError{*fault}}
	}
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
		return ErrInvalidCredentials
	}
	s.audit.Record(ctx, audit.Event{Action: audit.PasswordChange, Result: "ok", UserID: user.ID, SessionID: p.SessionID})
	return nil
}

// Find returns the account of a name, or ErrNotFound.
func (s *Service) Find(ctx context.Context, name string) (store.User, error) {
	user, err := s.store.UserByName(ctx, CanonicalName(name))
	return user, notFound(err)
}

// List returns up to limit accounts in order of their canonical names, those after the given one.
func (s *Service) List(ctx context.Context, after string, limit int) ([]store.User, error) {
	return s.store.ListUsers(ctx, CanonicalName(after), limit)
}

// SetRoles replaces the roles of an account. They count at once here, and on other replicas within the revocation
// delay. *ValidationError: a role is not a word. ErrNotFound: there is no such account.
func (s *Service) SetRoles(ctx context.Context, name string, roles []string) (store.User, error) {
	roles, fault := checkRoles(roles)
	if fault != nil {
		return store.User{}, &ValidationError{[]FieldError{*fault}}
	}
	user, err := s.Find(ctx, name)
	if err != nil {
		return store.User{}, err
	}
	if err := s.store.SetRoles(ctx, user.ID, roles); err != nil {
		return store.User{}, notFound(err)
	}
	s.sessions.Changed(ctx, user.ID, 0, "")
	s.audit.Record(ctx, audit.Event{Action: audit.Administer, Result: "set_roles", UserID: user.ID})
	user.Roles = roles
	return user, nil
}

// Disable keeps an account from being used and ends its sessions, or returns ErrNotFound.
func (s *Service) Disable(ctx context.Context, name string) (store.User, error) {
	user, err := s.Find(ctx, name)
	if err != nil {
		return store.User{}, err
	}
	now := s.now()
	user.DisabledAt = sql.NullTime{Time: now, Valid: true}
	var ended int64
	err = s.store.InTx(ctx, func(tx *store.Store) error {
		if err := tx.SetDisabled(ctx, user.ID, user.DisabledAt); err != nil {
			return err
		}
		ended, err = tx.RevokeUserSessions(ctx, user.ID, uuid.Nil, session.ReasonDisabled, now)
		return err
	})
	if err != nil {
		return store.User{}, notFound(err)
	}
	s.sessions.Changed(ctx, user.ID, ended, session.ReasonDisabled)
	s.audit.Record(ctx, audit.Event{Action: audit.Administer, Result: "disable", UserID: user.ID})
	return user, nil
}

// Enable lets a disabled account be used again, or returns ErrNotFound. Its sessions stay ended.
func (s *Service) Enable(ctx context.Context, name string) (store.User, error) {
	user, err := s.Find(ctx, name)
	if err != nil {
		return store.User{}, err
	}
	user.DisabledAt = sql.NullTime{}
	if err := s.store.SetDisabled(ctx, user.ID, user.DisabledAt); err != nil {
		return store.User{}, notFound(err)
	}
	s.audit.Record(ctx, audit.Event{Action: audit.Administer, Result: "enable", UserID: user.ID})
	return user, nil
}

// Delete removes an account and its sessions, or returns ErrNotFound. The name is free again, for another id.
func (s *Service) Delete(ctx context.Context, name string) (store.User, error) {
	user, err := s.Find(ctx, name)
	if err != nil {
		return store.User{}, err
	}
	if err := s.store.DeleteUser(ctx, user.ID); err != nil {
		return store.User{}, notFound(err)
	}
	s.sessions.Changed(ctx, user.ID, 0, "")
	s.audit.Record(ctx, audit.Event{Action: audit.Administer, Result: "delete", UserID: user.ID})
	return user, nil
}

// SetPassword replaces a password without asking for the current one, and ends all sessions. *ValidationError: the new
// one is not acceptable. ErrNotFound: there is no such account.
func (s *Service) SetPassword(ctx context.Context, name, replacement string) (store.User, error) {
	if fault := checkPassword("password", replacement); fault != nil {
		return store.User{}, &ValidationError{[]FieldError{*fault}}
	}
	user, err := s.Find(ctx, name)
	if err != nil {
		return store.User{}, err
	}
	hash, err := s.hasher.Hash(ctx, replacement)
	if err != nil {
		return store.User{}, err
	}
	if replaced, err := s.replacePassword(ctx, user, hash, uuid.Nil); err != nil {
		return store.User{}, err
	} else if !replaced {
		return store.User{}, errors.New("the password was changed by somebody else at the same moment: try again")
	}
	s.audit.Record(ctx, audit.Event{Action: audit.Administer, Result: "set_password", UserID: user.ID})
	return user, nil
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

// EndSessions ends the sessions of a user, or of everybody if name is "", and returns how many. ErrNotFound: there is
// no such account.
func (s *Service) EndSessions(ctx context.Context, name string) (int64, error) {
	if name == "" {
		n, err := s.store.RevokeAllSessions(ctx, session.ReasonAdmin, s.now())
		s.sessions.Changed(ctx, uuid.Nil, n, session.ReasonAdmin)
		return n, err
	}
	user, err := s.Find(ctx, name)
	if err != nil {
		return 0, err
	}
	n, err := s.store.RevokeUserSessions(ctx, user.ID, uuid.Nil, session.ReasonAdmin, s.now())
	s.sessions.Changed(ctx, user.ID, n, session.ReasonAdmin)
	return n, err
}

func notFound(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return ErrNotFound
	}
	return err
}

var nameMessages = map[string]string{
	"too_short":          fmt.Sprintf("must have at least %d characters", MinName),
	"too_long":           fmt.Sprintf("must have at most %d characters", MaxName),
	"invalid_characters": "must not contain control characters, invisible ones or two spaces in a row",
}

func checkPassword(field, pass string) *FieldError {
	switch err := password.Check(pass); {
	case errors.Is(err, password.ErrTooShort):
		return &FieldError{field, "too_short", err.Error()}
	case errors.Is(err, password.ErrNotText):
		return &FieldError{field, "invalid_characters", err.Error()}
	case err != nil:
		return &FieldError{field, "too_long", err.Error()}
	}
	return nil
}

// The roles of an account are a few short words: they go into every access token and into one column of 255 characters.
var role = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,30}$`)

const maxRoles = 8

func checkRoles(roles []string) ([]string, *FieldError) {
	sorted := slices.Compact(slices.Sorted(slices.Values(roles)))
	if len(sorted) > maxRoles {
		return nil, &FieldError{"roles", "too_many", fmt.Sprintf("must be at most %d", maxRoles)}
	}
	for _, r := range sorted {
		if !role.MatchString(r) {
			return nil, &FieldError{"roles", "invalid", "must be words of lower-case letters, digits, - and _, at most 31 characters each"}
		}
	}
	return sorted, nil
}
