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

// Dependencies are what a Service is made of.
type Dependencies struct {
	Store    *store.Store
	Hasher   *password.Hasher
	Policy   *password.Policy
	Sessions *session.Service
	// Names makes the keyed hashes under which failed sign-ins are counted; servers that share a database share it too.
	Names *token.RefreshKeys
	Audit *audit.Log
	Now   func() time.Time
}

// Service is safe for concurrent use.
type Service struct {
	store    *store.Store
	hasher   *password.Hasher
	policy   *password.Policy
	sessions *session.Service
	names    *token.RefreshKeys
	audit    *audit.Log
	now      func() time.Time
}

// NewService makes a Service.
func NewService(d Dependencies) *Service {
	return &Service{
		store: d.Store, hasher: d.Hasher, policy: d.Policy, sessions: d.Sessions, names: d.Names, audit: d.Audit,
		now: func() time.Time { return d.Now().UTC().Truncate(time.Millisecond) },
	}
}

// Register adds an account for whoever asks, without roles. A *ValidationError says what is wrong with the name or the
// password; ErrUsernameTaken, that the name is taken, which costs the same time.
func (s *Service) Register(ctx context.Context, name, pass string) (store.User, error) {
	user, err := s.create(ctx, name, pass, nil)
	var invalid *ValidationError
	switch {
	case err == nil:
		s.audit.Record(ctx, audit.Event{Action: audit.Register, Result: "ok", UserID: user.ID})
	case errors.As(err, &invalid):
		s.audit.Record(ctx, audit.Event{Action: audit.Register, Result: "invalid"})
	case errors.Is(err, ErrUsernameTaken):
		s.audit.Record(ctx, audit.Event{Action: audit.Register, Result: "taken", NameHash: s.nameHash(name)})
	}
	return user, err
}

// Create is Register for an operator, who also says the roles.
func (s *Service) Create(ctx context.Context, name, pass string, roles []string) (store.User, error) {
	user, err := s.create(ctx, name, pass, roles)
	if err == nil {
		s.audit.Record(ctx, audit.Event{Action: audit.Administer, Result: "create", UserID: user.ID})
	}
	return user, err
}

func (s *Service) create(ctx context.Context, name, pass string, roles []string) (store.User, error) {
	var fields []FieldError
	canonical, fault := checkName(name)
	if fault != "" {
		fields = append(fields, FieldError{"username", fault, nameMessages[fault]})
	}
	if fault := s.checkPassword("password", pass, name); fault != nil {
		fields = append(fields, *fault)
	}
	roles, rolesFault := checkRoles(roles)
	if rolesFault != nil {
		fields = append(fields, *rolesFault)
	}
	if fields != nil {
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
		return store.User{}, ErrUsernameTaken
	case err != nil:
		return store.User{}, err
	}
	return user, nil
}

// verifications is how often a password is verified at most: again where the stored hash was replaced meanwhile, perhaps
// by another sign-in, which has only given it today's form.
const verifications = 2

// Login verifies a name and a password and begins a session, which replaces that of presented, the refresh token that
// the browser holds, or "". ErrInvalidCredentials: they were refused. *ThrottledError: there were too many wrong guesses.
// A hash of another form than today's, as another program's, is replaced.
func (s *Service) Login(ctx context.Context, name, pass string, client session.Client, presented string) (session.Grant, error) {
	canonical := CanonicalName(name)
	attempt, err := s.beginAttempt(ctx, canonical, func() (string, error) { return s.familiarNetwork(ctx, canonical, client.IP) })
	if err != nil {
		return session.Grant{}, err
	}
	var grant session.Grant
	err = attempt.run(ctx, func() error {
		grant, err = s.login(ctx, canonical, pass, client, presented, attempt.nameHash)
		return err
	})
	return grant, err
}

func (s *Service) login(ctx context.Context, canonical, pass string, client session.Client, presented, nameHash string) (session.Grant, error) {
	var user store.User
	for range verifications {
		var replacement string
		var err error
		if user, replacement, err = s.authenticate(ctx, canonical, pass, nameHash); err != nil {
			return session.Grant{}, err
		}
		grant, err := s.sessions.Start(ctx, user, client, presented)
		if err == nil {
			s.upgrade(ctx, user, replacement)
		}
		if !errors.Is(err, session.ErrCredentialsChanged) {
			return grant, err
		}
	}
	return session.Grant{}, s.refuseLogin(ctx, "changed_meanwhile", user.ID)
}

// authenticate returns the user whose name and password these are, and the hash to store from now on, if it is another
// one, or ErrInvalidCredentials. It costs one read and one hash for every name.
func (s *Service) authenticate(ctx context.Context, canonical, pass, nameHash string) (user store.User, replacement string, err error) {
	user, err = s.store.UserByName(ctx, canonical)
	if errors.Is(err, store.ErrNotFound) {
		if err := s.hasher.VerifyNone(ctx, pass); err != nil {
			return user, "", err
		}
		s.audit.Record(ctx, audit.Event{Action: audit.Login, Result: "unknown_user", NameHash: nameHash})
		return user, "", ErrInvalidCredentials
	}
	if err != nil {
		return user, "", err
	}
	replacement, fault, err := s.verify(ctx, user, pass)
	switch {
	case err != nil:
		return user, "", err
	case fault != "":
		return user, "", s.refuseLogin(ctx, fault, user.ID)
	case user.DisabledAt.Valid:
		return user, "", s.refuseLogin(ctx, "disabled", user.ID)
	}
	return user, replacement, nil
}

// verify tells whether a password is the user's: a fault, in a word of the audit log, says that it is not. replacement is
// the hash to store from now on, or "".
func (s *Service) verify(ctx context.Context, user store.User, pass string) (replacement, fault string, err error) {
	verdict, err := s.hasher.Verify(ctx, pass, user.PasswordHash)
	switch {
	case errors.Is(err, password.ErrMalformedHash):
		// Only the work and the answer of a wrong password keep from strangers that there is an account of this name.
		return "", "unusable_hash", s.hasher.VerifyNone(ctx, pass)
	case err != nil:
		return "", "", err
	case !verdict.Right:
		return "", "wrong_password", nil
	}
	return verdict.Replacement, "", nil
}

// upgrade stores a hash of today's form in the place of the user's. The password was right, so a failure of this keeps
// nobody out: the next sign-in tries again.
func (s *Service) upgrade(ctx context.Context, user store.User, replacement string) {
	if replacement == "" {
		return
	}
	result := "ok"
	switch replaced, err := s.store.SetPasswordHash(ctx, user.ID, user.PasswordHash, replacement); {
	case err != nil:
		result = "failed"
	case !replaced:
		result = "changed_meanwhile"
	}
	s.audit.Record(ctx, audit.Event{Action: audit.PasswordUpgrade, Result: result, UserID: user.ID})
}

func (s *Service) refuseLogin(ctx context.Context, cause string, userID uuid.UUID) error {
	s.audit.Record(ctx, audit.Event{Action: audit.Login, Result: cause, UserID: userID})
	return ErrInvalidCredentials
}

// ChangePassword replaces the principal's password and ends all their other sessions, or does neither.
// ErrInvalidCredentials: the current password is wrong, which counts as a wrong guess at login does. *ThrottledError:
// there were too many of them. *ValidationError: the new one is not acceptable.
func (s *Service) ChangePassword(ctx context.Context, p session.Principal, current, replacement string) error {
	if fault := s.checkPassword("new_password", replacement, p.Username); fault != nil {
		s.audit.Record(ctx, audit.Event{Action: audit.PasswordChange, Result: "invalid", UserID: p.UserID, SessionID: p.SessionID})
		return &ValidationError{[]FieldError{*fault}}
	}
	attempt, err := s.beginAttempt(ctx, CanonicalName(p.Username), func() (string, error) { return p.SessionID.String(), nil })
	if err != nil {
		return err
	}
	return attempt.run(ctx, func() error {
		result, err := s.changePassword(ctx, p, current, replacement)
		if err != nil {
			return err
		}
		s.audit.Record(ctx, audit.Event{Action: audit.PasswordChange, Result: result, UserID: p.UserID, SessionID: p.SessionID})
		if result != "ok" {
			return ErrInvalidCredentials
		}
		return nil
	})
}

// changePassword returns what became of it, in a word of the audit log.
func (s *Service) changePassword(ctx context.Context, p session.Principal, current, replacement string) (result string, err error) {
	var hash string
	for range verifications {
		user, err := s.store.UserByID(ctx, p.UserID)
		if errors.Is(err, store.ErrNotFound) {
			return "unknown_user", nil
		}
		if err != nil {
			return "", err
		}
		if _, fault, err := s.verify(ctx, user, current); err != nil || fault != "" {
			return fault, err
		}
		if hash == "" {
			if hash, err = s.hasher.Hash(ctx, replacement); err != nil {
				return "", err
			}
		}
		if replaced, err := s.replacePassword(ctx, user, hash, p.SessionID); err != nil || replaced {
			return "ok", err
		}
	}
	return "changed_meanwhile", nil // other changes were faster, each time
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
