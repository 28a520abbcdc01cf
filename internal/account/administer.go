package account

import (
	"context"
	"database/sql"
	"errors"

	"github.com/google/uuid"

	"latchkey/internal/audit"
	"latchkey/internal/session"
	"latchkey/internal/store"
)

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

// SetPassword replaces a password without asking for the current one, ends all sessions and forgets wrong guesses.
// *ValidationError: the new one is not acceptable. ErrNotFound: there is no such account.
func (s *Service) SetPassword(ctx context.Context, name, replacement string) (store.User, error) {
	if fault := s.checkPassword("password", replacement, name); fault != nil {
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
	for _, key := range s.names.NameHashes(user.CanonicalName) { // a running server may still use another secret
		if err := s.store.DeleteLoginThrottle(ctx, key[:]); err != nil {
			return store.User{}, err
		}
	}
	return user, nil
}

// EndSessions ends the sessions of a user, or of everybody if name is "", and returns how many. ErrNotFound: there is
// no such account.
func (s *Service) EndSessions(ctx context.Context, name string) (int64, error) {
	if name == "" {
		n, err := s.store.RevokeAllSessions(ctx, session.ReasonAdmin, s.now())
		s.sessions.Changed(ctx, uuid.Nil, n, session.ReasonAdmin)
		s.recordRevocation(ctx, uuid.Nil, err)
		return n, err
	}
	user, err := s.Find(ctx, name)
	if err != nil {
		return 0, err
	}
	n, err := s.store.RevokeUserSessions(ctx, user.ID, uuid.Nil, session.ReasonAdmin, s.now())
	s.sessions.Changed(ctx, user.ID, n, session.ReasonAdmin)
	s.recordRevocation(ctx, user.ID, err)
	return n, err
}

// recordRevocation records the command, which is an act also where there was nothing to end.
func (s *Service) recordRevocation(ctx context.Context, userID uuid.UUID, err error) {
	if err == nil {
		s.audit.Record(ctx, audit.Event{Action: audit.Administer, Result: "revoke_sessions", UserID: userID})
	}
}

func notFound(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return ErrNotFound
	}
	return err
}
